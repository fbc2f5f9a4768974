//! What a pool answers when the kernel refuses, interrupts or does not finish what its threads ask for.
#![allow(
    unsafe_code,
    reason = "setresuid(2) of a whole process has no safe wrapper"
)]

#[path = "support/injected.rs"]
mod injected;
mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use crossbeam_channel::bounded;
use nlns_core::{Config, Error, Stage, State};

use injected::{FOREVER, Faults, start};
use support::netns::{Directory, Process, cookie, oracle, remove};
use support::{
    PATIENCE, Running, descriptors, eventually, lacks, outside, settle, threads, threads_are_in,
};

/// Tests count the process's descriptors, so they run one at a time.
static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

fn error(stage: Stage, errno: i32) -> Error {
    Error { stage, errno }
}

#[test]
fn a_failing_step_is_answered_with_its_errno_and_the_next_open_is_served() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let Some(faults) = Faults::new() else { return };
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
        // The lookup that never blocks comes first, and its failure says nothing.
        if call == libc::SYS_openat {
            faults.fail(libc::SYS_openat2, libc::EAGAIN);
        }
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
fn a_mount_that_dies_under_an_idle_helper_holds_up_nobody() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (dead, well) = (names.make("a"), names.make("b"));
    let Some(faults) = Faults::new() else { return };
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
fn unwatched_namespace_is_left_soon_after_its_end() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (path, process) = (names.make("a"), Process::start());
    let Some(faults) = Faults::new() else { return };
    faults.fail(libc::SYS_inotify_add_watch, libc::ENOSPC);
    faults.fail(libc::SYS_pidfd_open, libc::ENOSYS);
    let pool = start(&faults, FOREVER);
    for (path, end) in [
        (
            path.clone(),
            Box::new(|| remove(&path)) as Box<dyn FnOnce()>,
        ),
        (process.path(), Box::new(|| drop(process))),
    ] {
        pool.open(&path, 0).unwrap();
        // It looks more than once, and stays for as long as all is well.
        std::thread::sleep(std::time::Duration::from_millis(2_500));
        assert_eq!(pool.pinned(), 1);
        end();
        eventually("left", || pool.pinned() == 0);
    }
}

#[test]
fn a_path_that_does_not_answer_holds_no_other_namespace() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let process = Process::start();
    // What is below /proc may be a mount that does not answer, too.
    for dead in [names.make("dead"), process.path()] {
        let path = names.make("a");
        let Some(faults) = Faults::new() else { return };
        let pool = start(&faults, FOREVER);
        pool.open(&path, 0).unwrap();
        faults.fail(libc::SYS_openat2, libc::EAGAIN);
        let let_go = faults.hold(libc::SYS_openat);
        // The helper that is in the one namespace is called for the other.
        let waits = pool.ask(&dead, 0).unwrap();
        eventually("it is stuck", || has_stuck(&pool));
        remove(&path);
        eventually("nobody is in it", || outside() == 0);
        faults.heal();
        drop(let_go);
        assert!(waits.recv_timeout(PATIENCE).unwrap().is_ok());
    }
}

/// Has the next lookup of a path block until the result is dropped.
fn hold_lookups(faults: &Faults) -> crossbeam_channel::Sender<()> {
    faults.fail(libc::SYS_openat2, libc::EAGAIN);
    faults.hold(libc::SYS_openat)
}

fn has_stuck(pool: &Running) -> bool {
    let helpers = pool.0.info().helpers;
    helpers.iter().any(|helper| helper.state == State::Stuck)
}

#[test]
fn path_that_blocked_is_served_once_it_answers() {
    if lacks((5, 12), "RESOLVE_CACHED") {
        return;
    }
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let Some(faults) = Faults::new() else { return };
    let pool = start(&faults, FOREVER);
    let let_go = hold_lookups(&faults);
    let waiting: Vec<_> = (0..3).map(|_| pool.ask(&path, 0).unwrap()).collect();
    eventually("it is stuck", || has_stuck(&pool));
    // From now on all is well with the path, but not with the helper that looks it up.
    faults.heal();
    for answer in &waiting {
        let answer = answer.recv_timeout(PATIENCE).unwrap();
        assert_eq!(answer.map(cookie), oracle(&path, 0));
    }
    assert!(has_stuck(&pool));
    // What is there now is another namespace.
    remove(&path);
    names.make("a");
    assert_eq!(pool.open(&path, 0).map(cookie), oracle(&path, 0));
    drop(let_go);
    eventually("it is back", || !has_stuck(&pool));
    assert_eq!(pool.open(&path, 0).map(cookie), oracle(&path, 0));
    pool.release(&path);
    assert_eq!(outside(), 0);
    assert!(waiting.iter().all(|answer| answer.try_recv().is_err()));
}

#[test]
fn proven_path_keeps_a_helper_beside_new_ones_that_block() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let proven = names.make("proven");
    let Some(faults) = Faults::new() else { return };
    let pool = start(
        &faults,
        Config {
            max_helpers: 4,
            ..FOREVER
        },
    );
    settle(&pool, &proven);
    let let_go = hold_lookups(&faults);
    let waiting: Vec<_> = (0..8)
        .map(|n| pool.ask(&names.make(&n.to_string()), 0).unwrap())
        .collect();
    // Three helpers are in doubtful paths for good, and what waits for those is refused.
    eventually("the others are refused", || {
        let mut answers = waiting.iter().map(|answer| answer.try_recv());
        answers.any(|answer| matches!(answer, Ok(Err(Error::BUSY))))
    });
    for _ in 0..10 {
        assert_eq!(pool.open(&proven, 0).map(cookie), oracle(&proven, 0));
    }
    faults.heal();
    drop(let_go);
}

#[test]
fn path_that_still_blocks_is_left_to_its_helper() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let Some(faults) = Faults::new() else { return };
    let pool = start(&faults, FOREVER);
    let let_go = hold_lookups(&faults);
    let waits = pool.ask(&path, 0).unwrap();
    eventually("it is stuck", || has_stuck(&pool));
    let more = pool.ask(&path, 0).unwrap();
    // Another spelling is another path.
    faults.forget(libc::SYS_openat);
    let other = names.0.join(".//a");
    assert_eq!(pool.open(&other, 0).map(cookie), oracle(&path, 0));
    assert!(waits.try_recv().is_err() && more.try_recv().is_err());
    drop(let_go);
    for answer in [waits, more] {
        let answer = answer.recv_timeout(PATIENCE).unwrap();
        assert_eq!(answer.map(cookie), oracle(&path, 0));
    }
}

#[test]
fn a_socket_that_may_wait_to_be_closed_keeps_nobody_waiting() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let Some(faults) = Faults::new() else { return };
    let pool = start(&faults, FOREVER);
    let sockets: Vec<_> = (0..3).map(|_| pool.open_packet(&path)).collect();
    // Whose turn it is to close is seen by who is held up.
    let let_go = faults.hold(libc::SYS_close);
    drop(sockets);
    eventually("each is being closed by one of its own", || {
        faults.held() == 3 && threads("nlns-closer") == 4
    });
    // Who closes takes its time, but not the next one's.
    faults.heal();
    let (done, closed) = bounded(1);
    let next = pool.open_packet(&path);
    assert!(next.close(Box::new(move || done.send(()).unwrap())));
    closed.recv_timeout(PATIENCE).unwrap();
    assert_eq!(pool.0.info().closing, 3);
    drop(let_go);
    eventually("all are closed", || pool.0.info().closing == 0);
    eventually("one is enough", || threads("nlns-closer") == 1);
}

#[test]
fn a_pool_that_cannot_start_takes_no_sockets_to_close() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(FOREVER);
    let socket = pool.open_packet(&path);
    let Some(faults) = Faults::new() else { return };
    faults.fail_threads(libc::EAGAIN);
    assert!(faults.among_them(|| nlns_core::Pool::start(FOREVER).is_err()));
    let (done, closed) = bounded(1);
    let closer = || std::thread::current().name().map(str::to_owned);
    assert!(socket.close(Box::new(move || done.send(closer()).unwrap())));
    let closer = closed.recv_timeout(PATIENCE).unwrap();
    assert_eq!(closer.as_deref(), Some("nlns-closer"));
}

#[test]
fn a_stop_waits_for_a_socket_that_is_not_closed_but_not_for_ever() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let Some(faults) = Faults::new() else { return };
    let pool = start(&faults, FOREVER);
    let socket = pool.open_packet(&path);
    let let_go = faults.hold(libc::SYS_close);
    drop(socket);
    eventually("it is being closed", || faults.held() == 1);
    assert_eq!(pool.stop(), 1);
    faults.heal();
    drop(let_go);
    eventually("it is closed", || threads("nlns") == 0);
    assert_eq!(pool.0.info().closing, 0);
}

#[test]
fn released_is_not_said_while_a_stuck_helper_is_inside() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (path, other) = (names.make("a"), names.make("b"));
    let Some(faults) = Faults::new() else { return };
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
    let done = Box::new(move |left| done.send(left).unwrap());
    let name = path.as_os_str().as_encoded_bytes();
    assert_eq!(pool.0.release(name, done), Ok(true));
    // What waits is refused together, there being nobody to serve it.
    assert_eq!(pool.open(&other, 0).err(), Some(Error::BUSY));
    assert!(released.try_recv().is_err());
    faults.heal();
    drop(let_go);
    assert_eq!(released.recv_timeout(PATIENCE), Ok(Ok(())));
    assert_eq!(outside(), 0);
}

#[test]
fn released_is_not_said_before_the_thread_has_moved() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let Some(faults) = Faults::new() else { return };
    let pool = start(&faults, FOREVER);
    pool.open(&path, 0).unwrap();
    eventually("asleep there", || pool.pinned() == 1);
    let let_go = faults.hold(libc::SYS_setns);
    let (done, released) = bounded(1);
    let done = Box::new(move |left| done.send(left).unwrap());
    let name = path.as_os_str().as_encoded_bytes();
    assert_eq!(pool.0.release(name, done), Ok(true));
    eventually("it is on its way", || faults.held() == 1);
    assert!(threads_are_in(&path));
    assert!(released.try_recv().is_err());
    assert_eq!(pool.pinned(), 1);
    faults.heal();
    drop(let_go);
    assert_eq!(released.recv_timeout(PATIENCE), Ok(Ok(())));
    assert!(!threads_are_in(&path));
}

#[test]
fn what_a_stop_leaves_stuck_is_announced_as_not_released() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let Some(faults) = Faults::new() else { return };
    let pool = start(&faults, FOREVER);
    let let_go = faults.hold(libc::SYS_inotify_add_watch);
    pool.open(&path, 0).unwrap();
    eventually("it is stuck", || {
        let helpers = pool.0.info().helpers;
        helpers.iter().any(|h| h.state == State::Stuck)
    });
    let (done, released) = bounded(1);
    let done = Box::new(move |left| done.send(left).unwrap());
    let name = path.as_os_str().as_encoded_bytes();
    assert_eq!(pool.0.release(name, done), Ok(true));
    assert_eq!(pool.stop(), 1);
    assert_eq!(released.recv_timeout(PATIENCE), Ok(Err(Error::STOPPED)));
    faults.heal();
    drop(let_go);
    eventually("it has ended", || threads("nlns-helper") == 0);
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
    let Some(faults) = Faults::new() else { return };
    let pool = start(&faults, FOREVER);
    for (call, stage) in [
        (libc::SYS_openat, Stage::Open),
        (libc::SYS_setns, Stage::Setns),
        (libc::SYS_socket, Stage::Socket),
    ] {
        faults.fail(libc::SYS_openat2, libc::EAGAIN);
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
