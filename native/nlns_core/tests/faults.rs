//! What a pool answers when the kernel refuses what its threads ask for, and how it recovers.

#[path = "support/injected.rs"]
mod injected;
mod support;

use std::path::Path;
use std::time::Duration;

use crossbeam_channel::bounded;
use nlns_core::{Config, Error, Reply, Socket, Spec, Stage, State};

use injected::Faults;
use support::netns::{Directory, cookie, oracle, remove};
use support::{CONFIG, PATIENCE, Running, descriptors, eventually, outside};

/// Tests count the process's descriptors, so they run one at a time.
static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

const FOREVER: Config = Config {
    linger: None,
    ..CONFIG
};

fn error(stage: Stage, errno: i32) -> Error {
    Error { stage, errno }
}

fn start(faults: &Faults, config: Config) -> Running {
    let pool = Running::of(faults.start(config).unwrap());
    eventually("a first helper", || pool.0.info().started == 1);
    pool
}

/// An answer that holds its helper until told otherwise.
struct Holding(crossbeam_channel::Receiver<()>);

impl Reply for Holding {
    fn is_wanted(&self) -> bool {
        true
    }
    fn answer(self: Box<Self>, _result: Result<Socket, Error>) {
        let _ = self.0.recv();
    }
}

/// Sticks a helper in `path` until what this returns is dropped.
fn stick(pool: &Running, path: &Path) -> crossbeam_channel::Sender<()> {
    let (let_go, held) = bounded::<()>(0);
    let bytes = path.as_os_str().as_encoded_bytes();
    pool.0
        .open(bytes, Spec::netlink(0), Box::new(Holding(held)))
        .unwrap();
    eventually("it serves", || {
        let helpers = pool.0.info().helpers;
        helpers
            .iter()
            .any(|h| matches!(h.state, State::Serving | State::Stuck))
    });
    let_go
}

#[test]
fn a_failing_step_is_answered_with_its_errno_and_the_next_open_is_served() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    pool.open(&path, 0).unwrap();
    pool.release(&path);
    let before = descriptors();
    for (call, stage, errno) in [
        (libc::SYS_openat, Stage::Open, libc::EMFILE),
        (libc::SYS_openat, Stage::Open, libc::ENFILE),
        (libc::SYS_openat, Stage::Open, libc::ENOMEM),
        (libc::SYS_openat, Stage::Open, libc::EINTR),
        (libc::SYS_setns, Stage::Setns, libc::ENOMEM),
        (libc::SYS_socket, Stage::Socket, libc::EMFILE),
        (libc::SYS_socket, Stage::Socket, libc::ENFILE),
        (libc::SYS_socket, Stage::Socket, libc::ENOBUFS),
        (libc::SYS_socket, Stage::Socket, libc::ENOMEM),
    ] {
        faults.fail(call, errno);
        for _ in 0..3 {
            assert_eq!(pool.open(&path, 0).err(), Some(error(stage, errno)));
        }
        faults.heal();
        assert_eq!(pool.open(&path, 0).map(cookie), oracle(&path, 0));
        pool.release(&path);
        assert_eq!(pool.pinned(), 0);
    }
    assert_eq!(pool.0.info().died, 0);
    eventually("closed", || descriptors() == before);
}

#[test]
fn without_new_threads_the_helpers_there_are_serve_every_path() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let paths: Vec<_> = (0..6).map(|n| names.make(&n.to_string())).collect();
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    faults.fail(libc::SYS_clone3, libc::EAGAIN);
    for _ in 0..20 {
        let asked: Vec<_> = paths
            .iter()
            .map(|path| pool.ask(path, 0).unwrap())
            .collect();
        for (path, answer) in paths.iter().zip(asked) {
            let answer = answer.recv_timeout(PATIENCE).unwrap();
            assert_eq!(answer.map(cookie), oracle(path, 0));
        }
    }
    assert_eq!(pool.0.info().started, 1);
}

#[test]
fn without_new_threads_a_stuck_helper_holds_up_others_only_until_there_are_threads_again() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (sick, well) = (names.make("a"), names.make("b"));
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    let let_go = stick(&pool, &sick);
    faults.fail(libc::SYS_clone3, libc::EAGAIN);
    let waits = pool.ask(&well, 0).unwrap();
    let refused = waits.recv_timeout(Duration::from_millis(300));
    faults.heal();
    match refused {
        Ok(answer) => assert_eq!(answer.err(), Some(Error::BUSY)),
        Err(_) => assert!(waits.recv_timeout(PATIENCE).unwrap().is_ok()),
    }
    assert!(pool.open(&well, 0).is_ok());
    drop(let_go);
}

#[test]
fn a_mount_that_dies_under_an_idle_helper_holds_up_nobody() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (dead, well) = (names.make("a"), names.make("b"));
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    // Having served, the helper has the directory watched, and gets no answer.
    let let_go = faults.hold(libc::SYS_inotify_add_watch);
    pool.open(&dead, 0).unwrap();
    eventually("it is stuck", || {
        let helpers = pool.0.info().helpers;
        helpers.iter().any(|h| h.state == State::Stuck)
    });
    assert_eq!(pool.open(&well, 0).map(cookie), oracle(&well, 0));
    drop(let_go);
    faults.heal();
}

#[test]
fn a_helper_that_cannot_tell_where_it_arrived_ends() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    // Kernels that give a namespace no number (before 6.18) are not asked for it, and all is well.
    faults.fail(libc::SYS_ioctl, libc::EIO);
    let answer = pool.open(&path, 0);
    assert!(matches!(answer, Ok(_) | Err(Error::DIED)), "{answer:?}");
    faults.heal();
    drop(answer);
    eventually("nobody is outside unseen", || outside() == pool.pinned());
    assert_eq!(pool.open(&path, 0).map(cookie), oracle(&path, 0));
}

#[test]
fn a_path_that_does_not_answer_holds_no_other_namespace() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (path, dead) = (names.make("a"), names.make("b"));
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    pool.open(&path, 0).unwrap();
    faults.fail(libc::SYS_openat2, libc::EAGAIN);
    let let_go = faults.hold(libc::SYS_openat);
    // The helper that is in the one namespace is called for the other.
    let waits = pool.ask(&dead, 0).unwrap();
    eventually("it is stuck", || {
        let helpers = pool.0.info().helpers;
        helpers.iter().any(|h| h.state == State::Stuck)
    });
    remove(&path);
    eventually("nobody is in it", || outside() == 0);
    faults.heal();
    drop(let_go);
    assert!(waits.recv_timeout(PATIENCE).unwrap().is_ok());
}

#[test]
fn a_socket_that_may_wait_to_be_closed_keeps_nobody_waiting() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    let netfilter = pool.open(&path, libc::NETLINK_NETFILTER as u32);
    // Whose turn it is to close is seen by who is held up.
    let let_go = faults.hold(libc::SYS_close);
    drop(netfilter.unwrap());
    eventually("it is being closed", || pool.0.info().closing == 1);
    drop(let_go);
    faults.heal();
    eventually("it is closed", || pool.0.info().closing == 0);
}

#[test]
fn released_is_not_said_while_a_stuck_helper_is_inside() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (path, other) = (names.make("a"), names.make("b"));
    let faults = Faults::default();
    let max_helpers = 1;
    let pool = start(
        &faults,
        Config {
            max_helpers,
            ..FOREVER
        },
    );
    let let_go = faults.hold(libc::SYS_inotify_add_watch);
    pool.open(&path, 0).unwrap();
    eventually("it is stuck", || {
        let helpers = pool.0.info().helpers;
        helpers.iter().any(|h| h.state == State::Stuck)
    });
    let (done, released) = bounded(1);
    let done = Box::new(move || done.send(()).unwrap());
    assert!(pool.0.release(path.as_os_str().as_encoded_bytes(), done));
    // What waits is refused together, there being nobody to serve it.
    assert_eq!(pool.open(&other, 0).err(), Some(Error::BUSY));
    assert!(released.try_recv().is_err());
    faults.heal();
    drop(let_go);
    released.recv_timeout(PATIENCE).unwrap();
    assert_eq!(outside(), 0);
}
