//! Closers: threads on which the last close of a socket may take its time.
//!
//! Each [`Lane`] has a queue and threads of its own, so that sockets that wait for one thing do not keep
//! those from being closed that wait for another. The manager starts as many threads as there are
//! descriptors to be closed at the same time, up to [`MAX_THREADS`] a lane. Where a namespace may hold its threads
//! up for long, it has no more than a share of them ([`Lane::share`]).
//!
//! # Back pressure
//!
//! A caller that closes a socket waits until it is closed. Three others cannot wait: a destructor, a caller
//! that was killed, and `:socket`. Their sockets would pile up, faster opened than closed, until the VM has
//! no descriptors. So an open of a kind that is slow to close even unused is *held back* while
//! [`MAX_CLOSING`] sockets of its lane are being closed, one of its own namespace among them (see
//! [`Path`](crate::path)). The callers of such kinds slow down to the rate of closing. On one path they wait in
//! line, so an open of another slow kind may wait too, though its own lane has room. Kinds that are quick to
//! close wait only behind their own caller's.
//!
//! The bound: an open of such a kind finds fewer than [`MAX_CLOSING`] of its lane being closed, or none of its
//! namespace. What it adds is the caller's own, until the caller drops it.
//!
//! Sockets tell their namespace since Linux 5.14. Before, and while a helper does not know it of a path, all
//! namespaces are held back together.

mod jobs;
mod threads;

use std::os::fd::{AsFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::features::{self, Feature};
use crate::identity::Identity;
use crate::linger::stop_lingering;
use crate::sys;

pub(crate) use threads::{Closers, Inbox};

/// The most threads of a lane. Fewer and a few sockets that linger stop the closing of all others; more is
/// more threads for a caller that closes many at once, which wait for the same thing together.
const MAX_THREADS: usize = 16;

/// How many sockets of a lane are being closed before opens that add to them are held back. Fewer than
/// [`MAX_THREADS`] and threads are idle while callers wait; more is more descriptors of a process that may
/// have 1,024 in all.
pub const MAX_CLOSING: usize = 2 * MAX_THREADS;

/// How long a close waits for its duplicate's.
const DUPLICATE_TIME: Duration = Duration::from_secs(1);

/// What a close waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lane {
    /// Data, peers or locks: what a socket was used for.
    Used,
    /// A lock of the kernel, or nobody knows.
    Lock,
    /// A grace period of RCU.
    GracePeriod,
}

impl Lane {
    const ALL: [Self; 3] = [Self::Used, Self::Lock, Self::GracePeriod];

    fn closing(self) -> &'static AtomicUsize {
        &CLOSING[self as usize]
    }

    /// Whether another socket may be opened that will be closed here, in the namespace of this cookie.
    pub(crate) fn has_room(self, netns: Option<u64>) -> bool {
        let closes_none = |netns| {
            let inbox = INBOX.lock();
            inbox
                .as_ref()
                .is_none_or(|inbox| !inbox.closes(self, netns))
        };
        self.closing().load(Ordering::SeqCst) < MAX_CLOSING || netns.is_some_and(closes_none)
    }

    /// How many threads may close sockets of one namespace at the same time.
    fn share(self) -> usize {
        match self {
            // All wait for the same thing, and a namespace does not make that longer.
            Self::GracePeriod => MAX_THREADS,
            Self::Used | Self::Lock => MAX_THREADS / 2,
        }
    }
}

/// Called on a closer, never on the thread that gave the descriptor away.
pub(crate) type Closed = Box<dyn FnOnce() + Send>;

/// A descriptor, closed when this is dropped.
pub(crate) struct Job {
    fd: Option<OwnedFd>,
    lane: Lane,
    /// The cookie of its namespace, if sockets have one.
    netns: Option<u64>,
    /// A number of the same socket that is to be closed before.
    pub(crate) duplicate: Option<RawFd>,
    pub(crate) closed: Option<Closed>,
}

impl Job {
    pub(crate) fn new(fd: OwnedFd, lane: Lane) -> Self {
        lane.closing().fetch_add(1, Ordering::SeqCst);
        let netns = match features::get().has(Feature::NetnsCookie) {
            true => sys::netns_cookie(fd.as_fd()).ok(),
            false => None,
        };
        Self {
            fd: Some(fd),
            lane,
            netns,
            duplicate: None,
            closed: None,
        }
    }

    /// Waits until the duplicate is closed, which takes microseconds. After that nobody waits for this close, so
    /// it need not wait for the socket's data to be sent.
    fn await_duplicate(&self) {
        const LOOK: Duration = Duration::from_micros(100);
        let (Some(fd), Some(duplicate)) = (&self.fd, self.duplicate) else {
            return;
        };
        let Ok(identity) = Identity::of(fd) else {
            return;
        };
        let mut looks = DUPLICATE_TIME.as_micros() / LOOK.as_micros();
        while looks > 0 && identity.is_named_by(duplicate) {
            std::thread::sleep(LOOK);
            looks -= 1;
        }
        if looks > 0 {
            stop_lingering(fd);
        }
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        drop(self.fd.take());
        self.lane.closing().fetch_sub(1, Ordering::SeqCst);
        if let Some(closed) = self.closed.take() {
            closed();
        }
    }
}

/// Descriptors that were given away and are not closed yet.
static CLOSING: [AtomicUsize; Lane::ALL.len()] = [const { AtomicUsize::new(0) }; Lane::ALL.len()];

/// Where they go, while there is a pool. Held for a push.
static INBOX: Mutex<Option<Inbox>> = Mutex::new(None);

/// Gives a descriptor to the closers; back if there are none.
pub(crate) fn close(mut job: Job) -> Result<(), OwnedFd> {
    match &*INBOX.lock() {
        Some(inbox) => {
            inbox.push(job);
            Ok(())
        }
        None => {
            job.closed = None;
            Err(job.fd.take().expect("it is there until the drop"))
        }
    }
}

pub(crate) fn closing() -> usize {
    let closing = CLOSING.iter().map(|count| count.load(Ordering::Relaxed));
    closing.sum()
}
