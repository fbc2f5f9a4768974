//! Which descriptors were handed out as bare numbers, so that `close_fd` closes those and no others.
//!
//! A number alone says nothing: it may have been closed and used again since. So each number that
//! leaves is remembered with its socket's `SO_COOKIE`, which the kernel never gives twice, and is
//! closed only by whoever removes the entry, and only if the number still has that cookie.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use once_cell::sync::OnceCell;
use rustix::net::sockopt::{socket_cookie, socket_domain};

use crate::socket::Socket;
use crate::sys;

const CHUNK: usize = 1024;
/// 1,024 chunks of 1,024 numbers: `fs.nr_open`, the most descriptors a process can have unless an
/// administrator raised it, is 1,048,576.
const CHUNKS: usize = 1024;

/// The cookie per number, 0 where nothing is issued. Chunks are made when a number first falls into
/// one and never freed; entries are single atomics, so nothing here waits.
struct Table([OnceCell<Box<[AtomicU64; CHUNK]>>; CHUNKS]);

static ISSUED: Table = Table([const { OnceCell::new() }; CHUNKS]);

impl Table {
    fn entry(&self, fd: RawFd) -> Option<&AtomicU64> {
        let number = usize::try_from(fd).ok()?;
        let chunk = self.0.get(number / CHUNK)?;
        let entries = chunk.get_or_init(|| Box::new([const { AtomicU64::new(0) }; CHUNK]));
        Some(&entries[number % CHUNK])
    }
}

/// Turns a descriptor into a number that the caller of nlns owns from now on.
///
/// A number beyond the table is handed out too; [`close`] then leaves it alone.
pub fn issue(fd: Socket) -> RawFd {
    // Every socket has one; 0 (never a cookie) only makes `close` refuse.
    let cookie = socket_cookie(fd.as_fd()).unwrap_or(0);
    if let Some(entry) = ISSUED.entry(fd.as_raw_fd()) {
        entry.store(cookie, Ordering::Release);
    }
    fd.into_raw_fd()
}

/// Takes a number back: its owner, if it was issued, has not been taken back since and still names
/// the same socket.
///
/// Whoever closes issued numbers behind nlns's back while this runs races with it, as with any
/// other `close(2)` of that number.
pub fn reclaim(fd: RawFd) -> Option<Socket> {
    let cookie = ISSUED.entry(fd)?.swap(0, Ordering::AcqRel);
    if cookie == 0 {
        return None;
    }
    let found = sys::with_borrowed(fd, |fd| Ok((socket_cookie(fd)?, socket_domain(fd)?)));
    let (found, domain) = found.ok()?;
    (found == cookie).then(|| Socket::new(sys::adopt(fd), domain.as_raw()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{Host, Spec};
    use rustix::io::{dup2, fcntl_getfd};

    fn socket() -> Socket {
        let mut netns = Host::find().unwrap().netns();
        netns.socket(Spec::netlink(0)).unwrap()
    }

    #[test]
    fn a_number_is_taken_back_once() {
        let fd = issue(socket());
        assert!(reclaim(fd).is_some());
        assert!(reclaim(fd).is_none());
        assert!(reclaim(-1).is_none());
        assert!(reclaim(RawFd::MAX).is_none());
    }

    #[test]
    fn a_number_that_names_another_socket_now_is_left_alone() {
        let fd = issue(socket());
        let mut reused = sys::adopt(fd);
        dup2(socket(), &mut reused).unwrap();
        assert!(reclaim(fd).is_none());
        assert!(fcntl_getfd(&reused).is_ok());
    }
}
