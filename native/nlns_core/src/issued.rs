//! Which descriptors were handed out as bare numbers, so that `close_fd` closes those and no others.
//!
//! A number alone says nothing: it may have been closed and used again since. So each number that
//! leaves is remembered with its socket's `SO_COOKIE`, which the kernel never gives twice, and is
//! closed only by whoever removes the entry, and only if the number still has that cookie.

use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use once_cell::sync::OnceCell;
use rustix::net::sockopt::socket_cookie;

use crate::socket::Socket;
use crate::sys;

const CHUNK: usize = 1024;
/// 1,024 chunks of 1,024 numbers: `fs.nr_open`, the most descriptors a process can have unless an
/// administrator raised it, is 1,048,576.
const CHUNKS: usize = 1024;

/// What was issued under each number: its cookie and, in the lowest bit, whether it closes fast; 0
/// where nothing is. (Cookies count up from 1; half of 64 bits is as endless as all of them.) Chunks are made when a number first falls into
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
    // Every socket has one; without, `close` would refuse.
    let cookie = socket_cookie(fd.as_fd()).unwrap_or(0);
    if let Some(entry) = ISSUED.entry(fd.as_raw_fd()) {
        let issued = cookie << 1 | u64::from(fd.closes_fast());
        entry.store(issued, Ordering::Release);
    }
    fd.into_raw_fd()
}

/// Takes a number back: its owner, if it was issued, has not been taken back since and still names
/// the same socket.
///
/// Whoever closes issued numbers behind nlns's back while this runs races with it, as with any
/// other `close(2)` of that number.
pub fn reclaim(fd: RawFd) -> Option<Socket> {
    let issued = ISSUED.entry(fd)?.swap(0, Ordering::AcqRel);
    let (cookie, closes_fast) = (issued >> 1, issued & 1 == 1);
    if cookie == 0 {
        return None;
    }
    let found = sys::with_borrowed(fd, |fd| socket_cookie(fd));
    (found == Ok(cookie)).then(|| Socket::new(sys::adopt(fd), closes_fast))
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
