//! What a process of the VM leaves when it ends: the descriptors of its `:socket`s.
//!
//! `:socket` closes them as the process exits, on a scheduler. Most closes are short. Those that may take long
//! get a second descriptor in that moment, which a closer closes after the one of `:socket`: so the scheduler
//! never does the last close. Until then a socket has one descriptor only, and `:socket.close/1` closes it.
//!
//! | socket | why its close may take long |
//! |---|---|
//! | stream with `SO_LINGER` (socket(7)) | it waits until its data is sent, or its time is over |
//! | listener with many waiting connections | each is closed |
//! | datagram and raw sockets that share their port | most members of multicast groups do, and a socket does not tell whether it is one; to leave a group takes the lock for changes of network devices |
//! | unix socket with something to be read | descriptors in it are closed, and waiting connections |
//! | `AF_XDP`, vsock, some protocols of netlink | nobody has measured each use |
//!
//! A port that such a socket has is free when the closer is done, which is soon after the process has ended. So
//! a datagram socket that shares its port with nobody is left to `:socket`, and so is a listener with few waiting
//! connections. The port of those is free before the end of their owner is heard of.
//!
//! Both the looks and the second descriptors are bounded, [`MOST_LOOKED_AT`] and [`MAX_LEFT`](crate::closer): a VM
//! runs out of neither time nor descriptors by an owner of many. What is beyond is left to `:socket`, too.
//!
//! No open is held back for these. Nothing lingers once its owner has ended, and who joins a multicast group waits for
//! the lock that leaving it takes: so there are no more of them than were in use.

use std::os::fd::{BorrowedFd, OwnedFd, RawFd};

use parking_lot::Mutex;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, fcntl_dupfd_cloexec};
use rustix::net::{AddressFamily, SocketType, sockopt};

use crate::closer;
use crate::identity::Identity;
use crate::linger::lingers;
use crate::socket::{CloseCost, Socket};
use crate::sys;

/// How many waiting connections keep the last close of a listener for nearly a millisecond.
const MANY: u32 = 100;

/// How many are looked at when their owner ends, which takes a scheduler 1 µs each.
const MOST_LOOKED_AT: usize = 1_000;

/// How many are looked at with each that is added. Two, and there are no more than twice as many as lived at
/// some time since.
const LOOKS: usize = 2;

/// The `:socket`s of one process.
#[derive(Default)]
pub struct Owned(Mutex<Sockets>);

#[derive(Default)]
struct Sockets {
    open: Vec<(RawFd, Identity)>,
    /// The next one to be looked at.
    next: usize,
}

impl Owned {
    /// Remembers the descriptor of a `:socket`.
    pub fn add(&self, fd: RawFd) {
        if let Ok(identity) = sys::with_borrowed(fd, |fd| Identity::of(fd)) {
            let mut sockets = self.0.lock();
            sockets.forget_closed();
            sockets.open.push((fd, identity));
        }
    }

    /// Has closers do the last close of those that may take long. For the end of the process, before `:socket`
    /// closes them.
    ///
    /// Without a descriptor to spare, `:socket` does it. One that has been handed to another process stays
    /// open: its second descriptor alone is closed.
    pub fn leave(&self) {
        let open = std::mem::take(&mut self.0.lock().open);
        for (fd, second) in seconds(open, closer::room_for_left()) {
            Socket::used(second, CloseCost::ShortUnused).close_after(fd);
        }
    }
}

/// Other descriptors of those whose close may take long, up to `most`, with the numbers that they have.
fn seconds(open: Vec<(RawFd, Identity)>, most: usize) -> impl Iterator<Item = (RawFd, OwnedFd)> {
    let looked_at = open.into_iter().take(MOST_LOOKED_AT);
    let seconds = looked_at.filter_map(|(fd, identity)| Some((fd, second(fd, identity)?)));
    seconds.take(most)
}

/// Another descriptor of a socket whose close may take long, if it still has the number.
///
/// A thread may close it meanwhile, in `:socket.close/1` or for an owner that it was handed to, and the number may
/// be another's between any two calls. So the new descriptor is looked at last.
fn second(fd: RawFd, identity: Identity) -> Option<OwnedFd> {
    if !identity.is_named_by(fd) {
        return None;
    }
    let second = sys::with_borrowed(fd, |fd| match may_take_long(fd) {
        true => fcntl_dupfd_cloexec(fd, 0).map(Some),
        false => Ok(None),
    });
    let second = second.ok().flatten()?;
    (Identity::of(&second) == Ok(identity)).then_some(second)
}

impl Sockets {
    fn forget_closed(&mut self) {
        for _ in 0..LOOKS {
            match self.open.get(self.next) {
                Some((fd, identity)) if identity.is_named_by(*fd) => self.next += 1,
                Some(_) => _ = self.open.swap_remove(self.next),
                None => self.next = 0,
            }
        }
    }
}

/// What cannot be asked counts as long.
fn may_take_long(fd: BorrowedFd<'_>) -> bool {
    match (sockopt::socket_domain(fd), sockopt::socket_type(fd)) {
        (
            Ok(AddressFamily::INET | AddressFamily::INET6),
            Ok(SocketType::DGRAM | SocketType::RAW),
        ) => shares_its_port(fd),
        (Ok(AddressFamily::INET | AddressFamily::INET6), _) => lingers(fd) || has_many_waiting(fd),
        (Ok(AddressFamily::UNIX), _) => is_readable(fd),
        // Another's by now.
        (Err(Errno::NOTSOCK), _) => false,
        _ => true,
    }
}

fn shares_its_port(fd: BorrowedFd<'_>) -> bool {
    sockopt::socket_reuseaddr(fd) != Ok(false) || sockopt::socket_reuseport(fd) != Ok(false)
}

fn has_many_waiting(fd: BorrowedFd<'_>) -> bool {
    sockopt::socket_acceptconn(fd) != Ok(false)
        && sys::waiting_connections(fd).map_or_else(|_| is_readable(fd), |waiting| waiting > MANY)
}

fn is_readable(fd: BorrowedFd<'_>) -> bool {
    let mut asked = [PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    poll(&mut asked, Some(&Timespec::default())) != Ok(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};
    use std::os::fd::{AsFd, AsRawFd};
    use std::os::unix::net::UnixStream;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, Instant};

    use rustix::net::{listen, socket};

    use super::*;

    const SECONDS: Option<Duration> = Some(Duration::from_secs(60));

    fn udp() -> OwnedFd {
        socket(AddressFamily::INET, SocketType::DGRAM, None).unwrap()
    }

    /// Both ends of a connection.
    fn connect(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (near, listener.accept().unwrap().0)
    }

    #[test]
    fn closed_sockets_are_forgotten() {
        let owned = Owned::default();
        let open: Vec<_> = std::iter::repeat_with(udp).take(10).collect();
        open.iter().for_each(|fd| owned.add(fd.as_raw_fd()));
        for _ in 0..1_000 {
            owned.add(udp().as_raw_fd());
            assert!(owned.0.lock().open.len() <= 2 * (open.len() + 1));
        }
        let known = std::mem::take(&mut owned.0.lock().open);
        for fd in open {
            assert!(known.iter().any(|(number, _)| *number == fd.as_raw_fd()));
        }
    }

    #[test]
    fn only_closes_that_may_wait_take_long() {
        assert!(!may_take_long(udp().as_fd()));
        let shared = udp();
        sockopt::set_socket_reuseaddr(&shared, true).unwrap();
        assert!(may_take_long(shared.as_fd()));
        let shared = udp();
        sockopt::set_socket_reuseport(&shared, true).unwrap();
        assert!(may_take_long(shared.as_fd()));

        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (near, far) = connect(&listener);
        assert!(!may_take_long(near.as_fd()));
        sockopt::set_socket_linger(&near, Some(Duration::ZERO)).unwrap();
        assert!(!may_take_long(near.as_fd()));
        sockopt::set_socket_linger(&far, SECONDS).unwrap();
        assert!(may_take_long(far.as_fd()));

        let (near, mut far) = UnixStream::pair().unwrap();
        assert!(!may_take_long(near.as_fd()));
        far.write_all(b"unread").unwrap();
        assert!(may_take_long(near.as_fd()));
    }

    #[test]
    fn listener_takes_long_with_many_waiting() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listen(&listener, 2 * MANY as i32).unwrap();
        let connect = || TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        // A connection waits there once the kernel has done its own part, which may be after this end's.
        let await_waiting = |count| {
            let waiting = || sys::waiting_connections(listener.as_fd());
            let begun = Instant::now();
            while waiting().is_ok_and(|n| n < count) && Some(begun.elapsed()) < SECONDS {
                std::thread::yield_now();
            }
        };
        let mut waiting: Vec<_> = std::iter::repeat_with(connect)
            .take(MANY as usize)
            .collect();
        await_waiting(MANY);
        assert!(!may_take_long(listener.as_fd()));
        waiting.push(connect());
        await_waiting(MANY + 1);
        assert!(may_take_long(listener.as_fd()));
    }

    #[test]
    fn number_of_another_socket_is_let_alone() {
        let mut fd = udp();
        let identity = Identity::of(&fd).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let (other, _far) = connect(&listener);
        sockopt::set_socket_linger(&other, SECONDS).unwrap();
        rustix::io::dup2(&other, &mut fd).unwrap();
        assert!(may_take_long(fd.as_fd()) && second(fd.as_raw_fd(), identity).is_none());
        rustix::io::dup2(std::fs::File::open("/dev/null").unwrap(), &mut fd).unwrap();
        assert!(!may_take_long(fd.as_fd()));
    }

    #[test]
    fn looks_and_seconds_are_bounded() {
        let (short, long) = (udp(), udp());
        sockopt::set_socket_reuseport(&long, true).unwrap();
        let [short, long] = [&short, &long].map(|fd| (fd.as_raw_fd(), Identity::of(fd).unwrap()));
        let count = |open: &[_], most| seconds(open.to_vec(), most).count();
        assert_eq!(count(&[short, long, short, long], 9), 2);
        assert_eq!(count(&[short, long, short, long], 1), 1);
        assert_eq!(count(&[long], 0), 0);
        let mut open = vec![short; MOST_LOOKED_AT - 1];
        open.push(long);
        assert_eq!(count(&open, 9), 1);
        open.insert(0, short);
        assert_eq!(count(&open, 9), 0);
    }

    #[test]
    fn number_that_changes_hands_meanwhile_is_let_alone() {
        let (ours, others) = (udp(), udp());
        for shared in [&ours, &others] {
            sockopt::set_socket_reuseport(shared, true).unwrap();
        }
        let identity = Identity::of(&ours).unwrap();
        let mut number = udp();
        let fd = number.as_raw_fd();
        let is_over = AtomicBool::new(false);
        let identities = std::thread::scope(|scope| {
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    rustix::io::dup2(&ours, &mut number).unwrap();
                    rustix::io::dup2(&others, &mut number).unwrap();
                }
            });
            // So many that a wrong one would be among them.
            let seconds = std::iter::repeat_with(|| second(fd, identity)).flatten();
            let identities: Vec<_> = seconds.take(10_000).map(Identity::of).collect();
            is_over.store(true, Ordering::Relaxed);
            identities
        });
        assert!(identities.iter().all(|found| *found == Ok(identity)));
    }
}
