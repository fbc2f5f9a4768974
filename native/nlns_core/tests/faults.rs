//! What a pool answers when the kernel refuses, or pretends, what its threads ask for, and how it recovers.
#![allow(
    unsafe_code,
    reason = "setresuid(2) of a whole process has no safe wrapper"
)]

#[path = "support/injected.rs"]
mod injected;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam_channel::bounded;
use nlns_core::{Config, Error, Reply, Socket, Spec, Stage, State};
use rustix::param::page_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use injected::Faults;
use support::netns::{Directory, Process, cookie, oracle, remove};
use support::{
    CONFIG, PATIENCE, Running, descriptors, eventually, outside, sleeping, threads_are_in,
};

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

/// Interrupts every thread of this process over and over, until it is dropped: who a thread is, is its
/// own matter for the kernel, so glibc tells each by a signal that none can block (nptl(7)).
struct Storm(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Storm {
    fn begin() -> Self {
        let rages = Arc::new(AtomicBool::new(true));
        let still = rages.clone();
        let thread = std::thread::spawn(move || {
            const AS_IT_IS: libc::uid_t = libc::uid_t::MAX;
            while still.load(Ordering::SeqCst) {
                // SAFETY: takes no pointer.
                let done = unsafe { libc::setresuid(AS_IT_IS, AS_IT_IS, AS_IT_IS) };
                assert_eq!(done, 0);
            }
        });
        Self(rages, Some(thread))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
        let _ = self.1.take().map(JoinHandle::join);
    }
}

#[test]
fn a_storm_of_signals_changes_no_answer_and_keeps_nobody_in_a_deleted_namespace() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let paths: Vec<_> = (0..4).map(|n| names.make(&n.to_string())).collect();
    let process = Process::start();
    let storm = Storm::begin();
    let pool = Running::start(FOREVER);
    let cookies: Vec<_> = paths.iter().map(|path| oracle(path, 0)).collect();
    for _ in 0..20 {
        for (path, there) in paths.iter().zip(&cookies) {
            assert_eq!(pool.open(path, 0).map(cookie), *there);
        }
        assert!(pool.open_process(process.id(), 0).is_ok());
    }
    drop(process);
    paths.iter().for_each(|path| remove(path));
    eventually("left", || pool.pinned() == 0);
    assert_eq!(pool.stop(), 0);
    drop(storm);
}

#[test]
fn an_interrupted_step_is_done_again_and_one_that_always_is_holds_nobody() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    for (call, stage) in [
        (libc::SYS_openat, Stage::Open),
        (libc::SYS_setns, Stage::Setns),
        (libc::SYS_socket, Stage::Socket),
    ] {
        faults.fail_times(call, libc::EINTR, 20);
        assert_eq!(pool.open(&path, 0).map(cookie), oracle(&path, 0));
        pool.release(&path);
        faults.fail(call, libc::EINTR);
        assert_eq!(pool.open(&path, 0).err(), Some(error(stage, libc::EINTR)));
        faults.heal();
        pool.release(&path);
        assert_eq!(pool.pinned(), 0);
    }
}

/// What kernels before 6.18, 5.14 and 5.3 lack.
const OLDER: [&[(i64, i32)]; 3] = [
    &[(libc::SYS_ioctl, libc::ENOTTY)],
    &[
        (libc::SYS_ioctl, libc::ENOTTY),
        (libc::SYS_getsockopt, libc::ENOPROTOOPT),
    ],
    &[
        (libc::SYS_ioctl, libc::ENOTTY),
        (libc::SYS_getsockopt, libc::ENOPROTOOPT),
        (libc::SYS_pidfd_open, libc::ENOSYS),
    ],
];

fn on_each_kernel(test: impl Fn(&Faults, &Running)) {
    for lacks in std::iter::once(&[][..]).chain(OLDER) {
        let faults = Faults::default();
        for (call, errno) in lacks {
            faults.fail(*call, *errno);
        }
        let linger = Some(Duration::from_millis(100));
        let pool = start(&faults, Config { linger, ..CONFIG });
        test(&faults, &pool);
    }
}

#[test]
fn on_older_kernels_the_answers_are_the_same() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let paths = [names.make("a"), names.make("b")];
    let process = Process::start();
    on_each_kernel(|_, pool| {
        for _ in 0..20 {
            remove(&paths[0]);
            assert_eq!(pool.open(&paths[0], 0).err(), oracle(&paths[0], 0).err());
            names.make("a");
            for path in paths.iter().chain([&process.path()]) {
                assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
            }
        }
        eventually("lingered", || pool.pinned() == 0);
    });
}

/// Each is answered by a helper of its own: those that were there before, then new ones.
fn assert_each_open_ends_a_helper(pool: &Running, path: &Path) {
    let (opens, before) = (10, pool.0.info());
    for _ in 0..opens {
        assert_eq!(pool.open(path, 0).err(), Some(Error::DIED));
    }
    let started = before.started + opens - before.helpers.len() as u64;
    assert!(pool.0.info().started >= started);
}

#[test]
fn where_a_helper_is_not_where_it_went_the_answer_is_an_error_and_the_helper_ends() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (path, other) = (names.make("a"), names.make("b"));
    on_each_kernel(|faults, pool| {
        assert_eq!(pool.open(&other, 0).map(cookie), oracle(&other, 0));
        faults.pretend(libc::SYS_setns);
        assert_each_open_ends_a_helper(pool, &path);
        faults.forget(libc::SYS_setns);
        assert_eq!(pool.open(&path, 0).map(cookie), oracle(&path, 0));
    });
}

#[test]
fn a_socket_that_says_it_is_elsewhere_is_not_handed_out_and_the_helper_ends() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    pool.open(&path, 0).unwrap();
    let before = descriptors();
    // Its cookie is then said to be 0.
    faults.pretend(libc::SYS_getsockopt);
    assert_each_open_ends_a_helper(&pool, &path);
    faults.heal();
    assert_eq!(pool.open(&path, 0).map(cookie), oracle(&path, 0));
    pool.release(&path);
    eventually("closed", || descriptors() <= before);
}

#[test]
fn a_helper_that_cannot_go_back_ends_and_holds_no_namespace() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let faults = Faults::default();
    let pool = start(&faults, FOREVER);
    for _ in 0..5 {
        pool.open(&path, 0).unwrap();
        eventually("asleep there", || pool.pinned() == 1);
        faults.fail(libc::SYS_setns, libc::EPERM);
        pool.release(&path);
        assert!(!threads_are_in(&path));
        faults.heal();
    }
}

/// Opens in each, and gives the helper time to settle there, so that there is none for the next.
fn settle(pool: &Running, paths: &[(PathBuf, u64)]) {
    for (path, there) in paths {
        assert_eq!(pool.open(path, 0).map(cookie), Ok(*there));
        std::thread::sleep(Duration::from_millis(15));
    }
}

#[test]
fn without_memory_for_another_stack_the_helpers_there_are_serve_every_path() {
    const CHILD: &str = "NLNS_TEST_WITHOUT_MEMORY";
    if std::env::var_os(CHILD).is_none() {
        let _alone = ALONE.lock();
        // The limit is the process's, and whoever else allocates in it would fail.
        let test = "without_memory_for_another_stack_the_helpers_there_are_serve_every_path";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", test, "--nocapture"]).env(CHILD, "1");
        // Room for all that is not a stack (mallopt(3)): at the first small allocation that fails a
        // process ends, whatever it is.
        let child = child.env("MALLOC_ARENA_MAX", "1");
        let child = child.env("MALLOC_TOP_PAD_", "16777216");
        let output = child.output().unwrap();
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let names = Directory::new();
    let paths = (0..4).map(|n| names.make(&n.to_string()));
    let paths: Vec<_> = paths
        .map(|path| (path.clone(), oracle(&path, 0).unwrap()))
        .collect();
    let pool = Running::start(FOREVER);
    // Once they sleep they have all the memory that std gives a thread.
    eventually("keeper, watcher, closer, helper", || sleeping("nlns") == 4);
    let limit = getrlimit(Resource::As);
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    let current = Some(pages * page_size() as u64);
    setrlimit(Resource::As, Rlimit { current, ..limit }).unwrap();
    for _ in 0..5 {
        settle(&pool, &paths);
    }
    assert_eq!(pool.0.info().started, 1);
    setrlimit(Resource::As, limit).unwrap();
    eventually("a second helper", || {
        settle(&pool, &paths);
        pool.0.info().started > 1
    });
}
