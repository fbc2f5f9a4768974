//! An open socket and how it is closed: never where that would keep a scheduler waiting.
//!
//! The last close of a netlink socket takes some 3 µs. Others take their time: `AF_PACKET` waits 12 to
//! 16 ms for RCU, a stream with `SO_LINGER` for as long as that says, a datagram socket that has joined
//! multicast groups for the lock that whoever changes network devices holds, `NETLINK_NETFILTER` for
//! whoever changes nftables. Those are given to [`crate::closers`]. A socket that nobody could use yet has
//! no groups, no data and no tables.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, socket_linger};

use crate::closer::{self, Closed};

/// What the last close of a socket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum CloseCost {
    Never,
    /// For its data to be sent, if it lingers (socket(7)).
    SoLinger,
    /// Perhaps, once it has been used.
    Used,
    Always,
}

impl CloseCost {
    pub(crate) const BITS: u32 = 2;

    pub(crate) fn from_bits(bits: u64) -> Self {
        match bits & 3 {
            0 => Self::Never,
            1 => Self::SoLinger,
            2 => Self::Used,
            _ => Self::Always,
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
    wait: CloseCost,
    /// Others have had its number, and may have done anything with it.
    used: bool,
}

impl Socket {
    pub(crate) fn new(fd: OwnedFd, wait: CloseCost) -> Self {
        let (fd, used) = (Some(fd), false);
        Self { fd, wait, used }
    }

    /// One that comes back.
    pub(crate) fn used(fd: OwnedFd, wait: CloseCost) -> Self {
        let (fd, used) = (Some(fd), true);
        Self { fd, wait, used }
    }

    pub(crate) fn wait(&self) -> CloseCost {
        self.wait
    }

    /// Takes the descriptor out of the guard.
    pub(crate) fn into_raw_fd(mut self) -> RawFd {
        self.fd.take().map_or(-1, IntoRawFd::into_raw_fd)
    }

    /// Whether dropping it closes it there and then, because that does not wait.
    pub fn closes_at_once(&self) -> bool {
        match self.wait {
            CloseCost::Never => true,
            CloseCost::SoLinger => !self.used || !lingers(self),
            CloseCost::Used => !self.used,
            CloseCost::Always => false,
        }
    }

    /// Drops it, and calls `closed` on a thread of the pool once it is closed; `false` if it is closed
    /// already, and `closed` was dropped.
    pub fn close(mut self, closed: Closed) -> bool {
        !self.closes_at_once() && self.give_away(Some(closed))
    }

    /// To a closer; if there is none, the pool being stopped, it is closed here: `false`.
    fn give_away(&mut self, closed: Option<Closed>) -> bool {
        let Some(fd) = self.fd.take() else {
            return false;
        };
        match closer::close(fd, closed) {
            Ok(()) => true,
            Err(fd) => {
                if lingers(&fd) {
                    // Its data is sent all the same, only nobody waits for that.
                    let _ = set_socket_linger(&fd, None);
                }
                false
            }
        }
    }
}

fn lingers(fd: impl AsFd) -> bool {
    // With no time to linger the connection is reset, which does not wait.
    !matches!(socket_linger(fd), Ok(None | Some(Duration::ZERO)))
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
        if self.fd.is_some() && !self.closes_at_once() {
            self.give_away(None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crossbeam_utils::atomic::AtomicCell;
    use rustix::net::{AddressFamily, SocketType, socket};

    #[test]
    fn handing_one_over_takes_no_lock() {
        assert!(AtomicCell::<Option<Socket>>::is_lock_free());
    }

    #[test]
    fn only_a_stream_that_lingers_waits() {
        let stream = || socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
        let lingering = |time| {
            let fd = stream();
            set_socket_linger(&fd, time).unwrap();
            Socket::used(fd, CloseCost::SoLinger)
        };
        assert!(lingering(None).closes_at_once());
        assert!(lingering(Some(Duration::ZERO)).closes_at_once());
        assert!(!lingering(Some(Duration::from_secs(1))).closes_at_once());
        assert!(Socket::new(stream(), CloseCost::SoLinger).closes_at_once());
    }

    #[test]
    fn what_may_have_been_used_may_wait() {
        let fd = || socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap();
        assert!(Socket::new(fd(), CloseCost::Used).closes_at_once());
        assert!(!Socket::used(fd(), CloseCost::Used).closes_at_once());
        assert!(!Socket::new(fd(), CloseCost::Always).closes_at_once());
        assert!(Socket::used(fd(), CloseCost::Never).closes_at_once());
    }

    #[test]
    fn what_a_close_waits_for_fits_its_bits() {
        for wait in [
            CloseCost::Never,
            CloseCost::SoLinger,
            CloseCost::Used,
            CloseCost::Always,
        ] {
            assert!(u64::from(wait as u8) < 1 << CloseCost::BITS);
            assert_eq!(CloseCost::from_bits(wait as u64), wait);
        }
    }
}
