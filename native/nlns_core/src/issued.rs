//! Which descriptors were handed out as bare numbers, so that `close_fd` closes those and no others.
//!
//! A number alone says nothing: it may have been closed and used again since. So each number that
//! leaves is remembered with its socket's `SO_COOKIE`, which the kernel never gives twice, and is
//! closed only by whoever removes the entry, and only if the number still has that cookie.

use std::collections::HashMap;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::atomic::{AtomicU64, Ordering};

use once_cell::sync::{Lazy, OnceCell};
use parking_lot::Mutex;
use rustix::net::sockopt::socket_cookie;

use crate::socket::{CloseCost, Socket};
use crate::sys;

const CHUNK: usize = 1024;
/// 1,024 chunks of 1,024 numbers: as many descriptors as a process can have unless an administrator
/// raised `fs.nr_open`.
const CHUNKS: usize = 1024;

/// What was issued under each number: its cookie and, in the lowest bits, what its close waits for; 0
/// where nothing is. (Cookies count up from 1; a quarter of 64 bits is as endless as all of them.)
struct Table<const N: usize> {
    /// Made when a number first falls into one and never freed; entries are single atomics, so nothing
    /// here waits.
    chunks: [OnceCell<Box<[AtomicU64; CHUNK]>>; N],
    /// For the numbers after them.
    beyond: Lazy<Mutex<HashMap<RawFd, u64>>>,
}

static ISSUED: Table<CHUNKS> = Table::new();

impl<const N: usize> Table<N> {
    const fn new() -> Self {
        Self {
            chunks: [const { OnceCell::new() }; N],
            beyond: Lazy::new(Mutex::default),
        }
    }

    fn entry(&self, fd: RawFd) -> Option<&AtomicU64> {
        let number = usize::try_from(fd).ok()?;
        let chunk = self.chunks.get(number / CHUNK)?;
        let entries = chunk.get_or_init(|| Box::new([const { AtomicU64::new(0) }; CHUNK]));
        Some(&entries[number % CHUNK])
    }

    fn put(&self, fd: RawFd, issued: u64) {
        match self.entry(fd) {
            Some(entry) => entry.store(issued, Ordering::Release),
            None => _ = self.beyond.lock().insert(fd, issued),
        }
    }

    fn take(&self, fd: RawFd) -> Option<u64> {
        match self.entry(fd) {
            Some(entry) => Some(entry.swap(0, Ordering::AcqRel)).filter(|issued| *issued != 0),
            None => self.beyond.lock().remove(&fd),
        }
    }
}

/// Turns a descriptor into a number that the caller of nlns owns from now on.
pub fn issue(fd: Socket) -> RawFd {
    // Every socket has one.
    if let Ok(cookie) = socket_cookie(fd.as_fd()) {
        ISSUED.put(fd.as_raw_fd(), cookie << CloseCost::BITS | fd.wait() as u64);
    }
    fd.into_raw_fd()
}

/// Takes a number back: its owner, if it was issued, has not been taken back since and still names
/// the same socket.
///
/// Whoever closes issued numbers behind nlns's back while this runs races with it, as with any
/// other `close(2)` of that number.
pub fn reclaim(fd: RawFd) -> Option<Socket> {
    let issued = ISSUED.take(fd)?;
    let (cookie, wait) = (issued >> CloseCost::BITS, CloseCost::from_bits(issued));
    let found = sys::with_borrowed(fd, |fd| socket_cookie(fd));
    (found == Ok(cookie)).then(|| Socket::used(sys::adopt(fd), wait))
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
    fn numbers_beyond_the_chunks_are_remembered_too() {
        let table = Table::<1>::new();
        for fd in [0, 1_023, 1_024, RawFd::MAX] {
            table.put(fd, 7);
            assert_eq!(table.take(fd), Some(7));
            assert_eq!(table.take(fd), None);
        }
        table.put(1_023, 7);
        assert!(table.beyond.lock().is_empty());
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
