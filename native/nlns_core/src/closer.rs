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
//!
//! # Duplicates
//!
//! A descriptor that is to be closed after its duplicate waits for that in [`Lane::Duplicate`], and then goes to its
//! own lane. The one thread there looks at all that wait in turn. So a duplicate that stays open, because its
//! `:socket` has another owner by now, keeps no other close waiting.

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

/// How long a close waits for its duplicate's. Less, and a busy VM has not closed it yet; more, and sockets that
/// were handed to another process have a second descriptor for longer.
const DUPLICATE_TIME: Duration = Duration::from_secs(1);

/// How many wait for a duplicate before those that owners leave get none any more. Fewer, and more of what an owner
/// leaves is closed on a scheduler; more is more descriptors of a process for up to [`DUPLICATE_TIME`].
const MAX_LEFT: usize = 512;

/// What a close waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Lane {
    /// Data, peers or locks: what a socket was used for.
    Used,
    /// A lock of the kernel, or nobody knows.
    Lock,
    /// A grace period of RCU.
    GracePeriod,
    /// The close of a duplicate.
    Duplicate,
}

impl Lane {
    const ALL: [Self; 4] = [Self::Used, Self::Lock, Self::GracePeriod, Self::Duplicate];

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
            // They keep no thread.
            Self::Duplicate => usize::MAX,
        }
    }

    fn max_threads(self) -> usize {
        match self {
            Self::Duplicate => 1,
            Self::Used | Self::Lock | Self::GracePeriod => MAX_THREADS,
        }
    }
}

/// A namespace, by its cookie, with what its sockets wait for.
type Sharer = (Lane, u64);

/// Called on a closer, never on the thread that gave the descriptor away.
pub(crate) type Closed = Box<dyn FnOnce() + Send>;

/// A descriptor, closed when this is dropped.
pub(crate) struct Job {
    fd: Option<OwnedFd>,
    lane: Lane,
    /// The cookie of its namespace, if sockets have one.
    netns: Option<u64>,
    duplicate: Option<Duplicate>,
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

    /// Has it closed after `fd`, another number of the same socket.
    pub(crate) fn set_duplicate(&mut self, fd: RawFd) {
        if let Some(Ok(identity)) = self.fd.as_ref().map(Identity::of) {
            self.duplicate = Some(Duplicate {
                fd,
                identity,
                time_left: DUPLICATE_TIME,
            });
        }
    }

    /// Whose share it has: its namespace's, of the sockets that wait for the same thing.
    fn sharer(&self) -> Option<Sharer> {
        self.netns.map(|netns| (self.lane, netns))
    }

    /// Where it waits now.
    fn queue(&self) -> Lane {
        match self.duplicate {
            Some(_) => Lane::Duplicate,
            None => self.lane,
        }
    }

    /// Whether it waits for its duplicate no more: that is closed, or the time is over, of which so much has
    /// `passed` since the last look. After the former nobody waits for this close, so it need not wait for the
    /// socket's data to be sent.
    fn is_due(&mut self, passed: Duration) -> bool {
        let Some(duplicate) = &mut self.duplicate else {
            return true;
        };
        let is_closed = !duplicate.identity.is_named_by(duplicate.fd);
        if is_closed {
            self.fd.iter().for_each(stop_lingering);
        } else {
            duplicate.time_left = duplicate.time_left.saturating_sub(passed);
            if !duplicate.time_left.is_zero() {
                return false;
            }
        }
        self.duplicate = None;
        true
    }
}

/// Another descriptor of a socket, which somebody else closes.
struct Duplicate {
    fd: RawFd,
    identity: Identity,
    /// For how long it is waited for yet.
    time_left: Duration,
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

/// Returns how many more sockets of owners that end may wait here for their duplicates; none without a pool.
pub(crate) fn room_for_left() -> usize {
    let waiting = INBOX.lock().as_ref().map(Inbox::waiting_for_duplicates);
    waiting.map_or(0, |waiting| MAX_LEFT.saturating_sub(waiting))
}

pub(crate) fn closing() -> usize {
    let closing = CLOSING.iter().map(|count| count.load(Ordering::Relaxed));
    closing.sum()
}
