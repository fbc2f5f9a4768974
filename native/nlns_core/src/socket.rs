//! An open socket and how it is closed: never where that would keep a scheduler waiting.
//!
//! Closing a netlink socket takes some 3 µs. Others take their time: `AF_PACKET` waits 12 to 16 ms for
//! RCU, TCP with `SO_LINGER` for as long as that says, and `NETLINK_NETFILTER` for whoever changes
//! nftables in its namespace, and for RCU if it owns a table. Those are given to the closer, a thread
//! that does nothing else.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};

use crossbeam_channel::{Sender, unbounded};
use parking_lot::Mutex;

/// Owns a descriptor; dropping it never waits.
// Aligned so that an `Option` of it can be exchanged in one instruction; see `Handover`.
#[repr(align(8))]
#[derive(Debug)]
pub struct Socket {
    /// Always there until the drop.
    fd: Option<OwnedFd>,
    /// Closing it takes no time. (A `bool`, because its spare values tell `None` apart without a byte.)
    closes_fast: bool,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, closes_fast: bool) -> Self {
        Self {
            fd: Some(fd),
            closes_fast,
        }
    }

    pub(crate) fn closes_fast(&self) -> bool {
        self.closes_fast
    }

    /// Takes the descriptor out of the guard.
    pub(crate) fn into_raw_fd(mut self) -> RawFd {
        self.fd.take().map_or(-1, IntoRawFd::into_raw_fd)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
            .as_ref()
            .expect("it is there until the drop")
            .as_fd()
    }
}

impl AsRawFd for Socket {
    fn as_raw_fd(&self) -> RawFd {
        self.as_fd().as_raw_fd()
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        if let Some(fd) = self.fd.take()
            && !self.closes_fast
            && let Some(closer) = &*CLOSER.lock()
        {
            WAITING.fetch_add(1, Ordering::Relaxed);
            // The closer reads as long as there is a sender.
            let _ = closer.send(fd);
        }
        // Without a closer the pool is stopped, and closing here is all that is left.
    }
}

/// Where the closer's work is sent, while there is one. Held for a push.
static CLOSER: Mutex<Option<Sender<OwnedFd>>> = Mutex::new(None);
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Descriptors that wait for the closer.
pub(crate) fn closing() -> usize {
    WAITING.load(Ordering::Relaxed)
}

/// The closer thread of a pool.
pub(crate) struct Closer {
    thread: JoinHandle<()>,
    /// To end this one and not the one of a pool that was started since.
    sender: Sender<OwnedFd>,
}

impl Closer {
    pub(crate) fn start(stack: usize) -> std::io::Result<Self> {
        let (sender, receiver) = unbounded::<OwnedFd>();
        let builder = Builder::new().name("nlns-closer".into()).stack_size(stack);
        let thread = builder.spawn(move || {
            for fd in receiver {
                drop(fd);
                WAITING.fetch_sub(1, Ordering::Relaxed);
            }
        })?;
        *CLOSER.lock() = Some(sender.clone());
        Ok(Self { thread, sender })
    }

    /// Ends it when everything that was given to it is closed.
    pub(crate) fn stop(self) {
        let mut closer = CLOSER.lock();
        if closer
            .as_ref()
            .is_some_and(|ours| ours.same_channel(&self.sender))
        {
            *closer = None;
        }
        drop(closer);
        drop(self.sender);
        let _ = self.thread.join();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_utils::atomic::AtomicCell;

    #[test]
    fn handing_one_over_takes_no_lock() {
        assert!(AtomicCell::<Option<Socket>>::is_lock_free());
    }
}
