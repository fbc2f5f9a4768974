//! An open socket and how it is closed: never where that would keep a scheduler waiting.
//!
//! What the last close of a socket takes depends on its kind and on its use (orders of magnitude;
//! `test/nlns/close_cost_test.exs` closes every kind that the running kernel has):
//!
//! | socket | its last close |
//! |---|---|
//! | netlink, most protocols | microseconds: the kernel frees what is unread later |
//! | inet, unix, vsock, xdp, unused | microseconds |
//! | TCP listener with 8,000 waiting connections | tens of milliseconds |
//! | unix listener with 4,000 waiting connections | milliseconds |
//! | unix stream with 50,000 descriptors in it | milliseconds |
//! | stream with `SO_LINGER` (socket(7)) | until its data is sent, or its time is over |
//! | datagram socket in a multicast group | until the lock for changes of network devices is free |
//! | `NETLINK_NETFILTER`, also unused | until the change of nftables that is under way is over |
//! | `AF_PACKET` and `SOCK_PACKET`, also unused | milliseconds, a grace period of RCU |
//!
//! A socket whose close is not proven to be short is given to [`crate::closer`].

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};

use crate::closer::{self, Closed, Job, Lane};
use crate::linger::stop_lingering;

/// What the last close of a kind of sockets costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CloseCost {
    /// Microseconds, whatever the socket was used for.
    Short,
    /// Microseconds, unless it was used.
    ShortUnused,
    /// It waits for a lock of the kernel, or nobody has measured it.
    Lock,
    /// It waits for a grace period of RCU.
    GracePeriod,
}

impl CloseCost {
    /// Where sockets of this kind are closed; `None` where they are dropped.
    pub(crate) fn lane(self, is_used: bool) -> Option<Lane> {
        match self {
            Self::ShortUnused if is_used => Some(Lane::Used),
            Self::Short | Self::ShortUnused => None,
            Self::Lock => Some(Lane::Lock),
            Self::GracePeriod => Some(Lane::GracePeriod),
        }
    }
}

/// Owns a descriptor; dropping it never waits.
// Aligned so that an `Option` of it can be exchanged in one instruction; see `Handover`.
#[repr(align(8))]
#[derive(Debug)]
pub struct Socket {
    /// Always there until it is closed or given away.
    fd: Option<OwnedFd>,
    cost: CloseCost,
    /// Others have had its number, and may have done anything with it.
    is_used: bool,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, cost: CloseCost) -> Self {
        Self {
            fd: Some(fd),
            cost,
            is_used: false,
        }
    }

    /// One that comes back.
    pub(crate) fn used(fd: OwnedFd, cost: CloseCost) -> Self {
        let mut socket = Self::new(fd, cost);
        socket.is_used = true;
        socket
    }

    pub(crate) fn cost(&self) -> CloseCost {
        self.cost
    }

    /// Takes the descriptor out of the guard.
    pub(crate) fn into_raw_fd(mut self) -> RawFd {
        self.fd.take().map_or(-1, IntoRawFd::into_raw_fd)
    }

    fn lane(&self) -> Option<Lane> {
        self.cost.lane(self.is_used)
    }

    /// Whether dropping it closes it there and then, because that does not wait.
    pub fn closes_at_once(&self) -> bool {
        self.lane().is_none()
    }

    /// Whether that may change with its use.
    pub fn may_become_slow(&self) -> bool {
        self.cost == CloseCost::ShortUnused
    }

    /// Drops it, and calls `closed` on a thread of the pool once it is closed; `false` if it is closed
    /// already, and `closed` was dropped after that.
    pub fn close(mut self, closed: Closed) -> bool {
        let mut closed = Some(closed);
        let is_given_away = self.give_away(|job| job.closed = closed.take());
        drop(self);
        is_given_away
    }

    /// Drops it, but has it closed after `duplicate`, another number of the same socket, which its owner
    /// is about to close: so the last close is never the owner's.
    pub fn close_after(mut self, duplicate: RawFd) {
        self.give_away(|job| job.set_duplicate(duplicate));
    }

    /// To a closer; if there is none, the pool being stopped, or none is needed, it is closed here: `false`.
    fn give_away(&mut self, add: impl FnOnce(&mut Job)) -> bool {
        let (Some(lane), Some(fd)) = (self.lane(), self.fd.take()) else {
            return false;
        };
        let mut job = Job::new(fd, lane);
        add(&mut job);
        match closer::close(job) {
            Ok(()) => true,
            Err(fd) => {
                stop_lingering(fd);
                false
            }
        }
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
        self.give_away(|_| {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_utils::atomic::AtomicCell;
    use rustix::net::{AddressFamily, SocketType, socket};

    #[test]
    fn socket_handover_takes_no_lock() {
        assert!(AtomicCell::<Option<Socket>>::is_lock_free());
    }

    #[test]
    fn used_socket_may_close_slowly() {
        let fd = || socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        assert!(Socket::new(fd(), CloseCost::ShortUnused).closes_at_once());
        assert!(!Socket::used(fd(), CloseCost::ShortUnused).closes_at_once());
        assert!(Socket::used(fd(), CloseCost::Short).closes_at_once());
        assert!(Socket::new(fd(), CloseCost::ShortUnused).may_become_slow());
        assert!(!Socket::new(fd(), CloseCost::Short).may_become_slow());
        for cost in [CloseCost::Lock, CloseCost::GracePeriod] {
            assert!(!Socket::new(fd(), cost).closes_at_once());
        }
    }
}
