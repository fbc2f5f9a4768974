//! Which descriptors were handed out as bare numbers, so that `close_fd` closes those and no others.
//!
//! Each number that leaves is remembered with its socket's identity. It is closed only by the caller that
//! removes the entry, and only if the number still names that socket.

use std::collections::HashMap;
use std::os::fd::{AsRawFd, RawFd};

use once_cell::sync::Lazy;
use parking_lot::Mutex;

use crate::identity::Identity;
use crate::socket::{CloseCost, Socket};
use crate::sys;

/// Fewer and schedulers that close at the same time wait for each other; more is memory for nothing.
/// Neighbouring numbers are in different shards, and a lock is held for one look.
const SHARDS: usize = 64;

struct Issued {
    identity: Identity,
    cost: CloseCost,
}

type Shard = Mutex<HashMap<RawFd, Issued>>;

static ISSUED: Lazy<[Shard; SHARDS]> = Lazy::new(|| std::array::from_fn(|_| Mutex::default()));

fn shard(fd: RawFd) -> &'static Shard {
    &ISSUED[fd.unsigned_abs() as usize % SHARDS]
}

/// Turns a socket into a number that the caller of nlns owns from now on.
pub fn issue(socket: Socket) -> RawFd {
    let (fd, cost) = (socket.as_raw_fd(), socket.cost());
    // Every socket has one.
    if let Ok(identity) = Identity::of(&socket) {
        shard(fd).lock().insert(fd, Issued { identity, cost });
    }
    socket.into_raw_fd()
}

/// Takes a number back: its owner, if it was issued, has not been taken back since and still names
/// the same socket.
///
/// Note: an application that closes an issued number behind nlns's back while this runs races with it,
/// as with any other `close(2)` of that number.
pub fn reclaim(fd: RawFd) -> Option<Socket> {
    let issued = shard(fd).lock().remove(&fd)?;
    let is_it = issued.identity.is_named_by(fd);
    is_it.then(|| Socket::used(sys::adopt(fd), issued.cost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::{Host, Spec};
    use parking_lot::MutexGuard;
    use rustix::io::{dup2, fcntl_getfd};

    /// Has these tests run one at a time: a number that one has given back is the next for another to issue.
    fn alone() -> MutexGuard<'static, ()> {
        static ALONE: Mutex<()> = Mutex::new(());
        ALONE.lock()
    }

    fn socket() -> Socket {
        let host = Host::find().unwrap();
        host.socket(&mut host.netns(), Spec::netlink(0)).unwrap()
    }

    #[test]
    fn a_number_is_taken_back_once() {
        let _alone = alone();
        let fd = issue(socket());
        assert!(reclaim(fd).is_some());
        for fd in [fd, -1, RawFd::MAX, RawFd::MIN] {
            assert!(reclaim(fd).is_none());
        }
    }

    #[test]
    fn number_of_another_socket_is_kept() {
        let _alone = alone();
        let fd = issue(socket());
        let mut reused = sys::adopt(fd);
        dup2(socket(), &mut reused).unwrap();
        assert!(reclaim(fd).is_none());
        assert!(fcntl_getfd(&reused).is_ok());
    }

    #[test]
    fn reissued_number_is_the_new_socket() {
        let _alone = alone();
        let fd = issue(socket());
        let mut reused = sys::adopt(fd);
        dup2(socket(), &mut reused).unwrap();
        issue(Socket::new(reused, CloseCost::Short));
        assert!(reclaim(fd).is_some());
        assert!(reclaim(fd).is_none());
    }
}
