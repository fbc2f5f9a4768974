//! Which socket a descriptor's number names.

use std::os::fd::{AsFd, RawFd};

use rustix::fs::fstat;
use rustix::io::Result;
use rustix::net::sockopt::socket_cookie;

use crate::features::{self, Feature};
use crate::sys;

/// One socket as distinct from all others. A number alone says nothing: it may have been closed and used
/// again since.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Identity {
    /// `SO_COOKIE`, which the kernel never gives twice (Linux 4.12).
    Cookie(u64),
    /// The device and number of the socket's inode. Its 32 bits start over after four billion.
    Inode(u64, u64),
}

impl Identity {
    pub(crate) fn of(fd: impl AsFd) -> Result<Self> {
        if features::get().has(Feature::SocketCookie) {
            socket_cookie(fd).map(Self::Cookie)
        } else {
            fstat(fd).map(|stat| Self::Inode(stat.st_dev, stat.st_ino))
        }
    }

    /// Whether the number `fd` names this socket now.
    pub(crate) fn is_named_by(self, fd: RawFd) -> bool {
        sys::with_borrowed(fd, |fd| Self::of(fd)) == Ok(self)
    }
}
