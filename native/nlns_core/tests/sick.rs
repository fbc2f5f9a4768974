//! Helpers that are blocked or panic, and paths with too much to do: only theirs notice.

mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use nlns_core::{Config, Error, Spec, State};

use support::faults::{Faults, start};
use support::netns::Directory;
use support::{
    Answer, CONFIG, FOREVER, Running, alone, alone_with, descriptors, eventually, helpers, key,
    patience, settle,
};

#[test]
fn panicking_helper_leaks_nothing() {
    let (pool, path, names, _) = &alone_with(CONFIG);
    let other = names.make("b");
    pool.open(path, 0).unwrap();
    let before = descriptors();
    for _ in 0..20 {
        pool.ask_rudely(path, || panic!("a panic that belongs to this test"));
        let behind = pool.ask(path, 0).unwrap();
        assert!(pool.open(&other, 0).is_ok());
        assert!(behind.recv_timeout(patience()).unwrap().is_ok());
    }
    eventually("counted", || pool.0.info().died == 20);
    pool.release(path);
    pool.release(&other);
    eventually("closed", || descriptors() <= before);
}

#[test]
fn requests_behind_a_panic_are_served() {
    let (pool, path, ..) = &alone_with(FOREVER);
    for died in 1..=5 {
        // Settled, so that the manager does not look by itself. For what comes behind nobody is called.
        settle(pool, path);
        let (ask_again, answer) = (pool.asking(path), bounded(1));
        pool.ask_rudely(path, move || {
            answer.0.send(ask_again()).unwrap();
            panic!("a panic that belongs to this test");
        });
        let behind = answer.1.recv_timeout(patience()).unwrap();
        assert!(behind.recv_timeout(patience()).unwrap().is_ok());
        eventually("counted", || pool.0.info().died == died);
        // The next one settles for the first time again.
        pool.release(path);
    }
}

#[test]
fn retry_after_busy_is_served() {
    let (pool, sick, names, _) = &alone_with(helpers(1));
    let well = names.make("b");
    let let_go = pool.hold(sick);
    let (ask_again, answer, info) = (pool.asking(&well), bounded(1), pool.0.clone());
    pool.ask_rudely(&well, move || {
        answer.0.send(ask_again()).unwrap();
        drop(let_go);
        eventually("it is back", || {
            info.info().helpers.iter().all(|h| h.state != State::Stuck)
        });
    });
    let again = answer.1.recv_timeout(patience()).unwrap();
    assert!(again.recv_timeout(patience()).unwrap().is_ok());
    assert_eq!(pool.0.info().refused, 1);
}

#[test]
fn stuck_helper_blocks_only_its_path() {
    let (pool, sick, names, _) = &alone_with(Config {
        max_queue: 3,
        ..helpers(2)
    });
    let well = names.make("b");
    let let_go = pool.hold(sick);
    for _ in 0..100 {
        assert!(pool.open(&well, 0).is_ok());
    }
    pool.await_stuck();
    let waiting: Vec<_> = (0..3).map(|_| pool.ask(sick, 0).unwrap()).collect();
    assert_eq!(pool.ask(sick, 0).err(), Some(Error::BUSY));

    // With every helper stuck nothing can be served, and nothing waits for ever.
    let let_go_too = pool.hold_now(&well);
    let third = names.make("c");
    assert_eq!(pool.open(&third, 0).err(), Some(Error::BUSY));
    drop((let_go, let_go_too));
    for answer in waiting {
        assert!(answer.recv_timeout(patience()).unwrap().is_ok());
    }
    assert!(pool.open(&third, 0).is_ok());
}

#[test]
fn waiting_releases_are_bounded() {
    let max_queue = 3;
    let (pool, path, ..) = &alone_with(Config {
        max_queue,
        ..CONFIG
    });
    let let_go = pool.hold_now(path);
    let (sender, said) = unbounded();
    let release = |n| {
        let sender = sender.clone();
        let released = Box::new(move |_| sender.send(n).unwrap());
        pool.0.release(key(path), released)
    };
    for n in 0..max_queue {
        assert_eq!(release(n), Ok(true));
    }
    assert_eq!(release(max_queue), Err(Error::BUSY));
    let answers: Vec<_> = (0..max_queue).map(|_| pool.ask(path, 0).unwrap()).collect();
    assert_eq!(pool.ask(path, 0).err(), Some(Error::BUSY));
    assert_eq!(pool.0.info().waiting, max_queue);
    drop(let_go);
    // Each once; who leaves last, and so says it, is nobody's promise.
    let mut all: Vec<_> = (0..max_queue)
        .map(|_| said.recv_timeout(patience()).unwrap())
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..max_queue).collect::<Vec<_>>());
    for answer in answers {
        assert!(answer.recv_timeout(patience()).unwrap().is_ok());
    }
    pool.release(path);
    assert!(said.try_recv().is_err());
}

/// How long a new path waits behind so many that block, until enough helpers were woken.
fn time_behind_blocked(count: usize) -> Duration {
    let names = Directory::new();
    let well = names.make("well");
    let pool = Running::start(helpers(2 * count));
    let sick: Vec<_> = (0..count).map(|n| names.make(&n.to_string())).collect();
    let held: Vec<_> = sick.iter().map(|path| pool.hold(path)).collect();
    let asked = Instant::now();
    pool.open(&well, 0).unwrap();
    let time = asked.elapsed();
    drop(held);
    time
}

#[test]
fn path_behind_many_blocked_is_served() {
    let _alone = alone();
    // Helpers double until one gets through. One at a time, it would take eight times as long.
    let is_shorter = |_| time_behind_blocked(96) < 4 * time_behind_blocked(12);
    assert!((0..5).any(is_shorter));
}

#[test]
fn refusals_by_stuck_helpers_are_counted() {
    let (pool, sick, names, _) = &alone_with(helpers(1));
    let well = names.make("b");
    let let_go = pool.hold(sick);
    let (given_up, answer) = Answer::new();
    given_up.wanted.store(false, Ordering::SeqCst);
    pool.0.open(key(&well), Spec::netlink(0), given_up).unwrap();
    for _ in 0..3 {
        assert_eq!(pool.open(&well, 0).err(), Some(Error::BUSY));
    }
    assert!(answer.recv_timeout(patience()).is_err());
    let info = pool.0.info();
    assert_eq!((info.refused, info.cancelled), (3, 1));
    assert_eq!((info.opened, info.failed), (1, 0));
    drop(let_go);
}

/// Shows the pool that these paths are slow, keeps every helper that takes one of them, and returns how many were
/// taken before a path that is new.
fn taken_before_healthy(pool: &Running, slow: &[PathBuf], busy: &Path, healthy: &Path) -> usize {
    // A pool at rest forgets how paths were.
    let busy = pool.hold_now(busy);
    for path in slow {
        let (sender, served) = bounded(1);
        pool.ask_rudely(path, move || {
            std::thread::sleep(Duration::from_millis(2));
            sender.send(()).unwrap();
        });
        served.recv_timeout(patience()).unwrap();
    }
    let (let_go, held) = bounded::<()>(0);
    let taken = Arc::<AtomicUsize>::default();
    for path in slow {
        let (taken, held) = (taken.clone(), held.clone());
        pool.ask_rudely(path, move || {
            taken.fetch_add(1, Ordering::SeqCst);
            held.recv().unwrap_or_default();
        });
    }
    pool.open(healthy, 0).unwrap();
    let before = taken.load(Ordering::SeqCst);
    drop((let_go, busy));
    eventually("all are served", || pool.0.info().waiting == 0);
    before
}

fn assert_healthy_comes_first(start: impl Fn() -> Running, they_exist: bool) {
    // More than the helpers that serve slow paths at a time.
    const SLOW_PATHS: usize = 24;
    const SLOW_AT_ONCE: usize = 16;
    let names = Directory::new();
    let slow = (0..SLOW_PATHS).map(|n| match they_exist {
        true => names.make(&n.to_string()),
        false => names.0.join(n.to_string()),
    });
    let slow = Vec::from_iter(slow);
    let [busy, healthy] = ["busy", "healthy"].map(|name| names.make(name));
    // In one queue with them it would be each of them. A helper that is kept for 100 ms is replaced, and a busy
    // machine lets that pass.
    let comes_first = |_| taken_before_healthy(&start(), &slow, &busy, &healthy) <= SLOW_AT_ONCE;
    assert!((0..20).any(comes_first));
}

#[test]
fn healthy_path_comes_before_slow_ones() {
    let _alone = alone();
    for they_exist in [true, false] {
        assert_healthy_comes_first(|| Running::start(helpers(64)), they_exist);
        let Some(faults) = Faults::new() else { return };
        // From one path to the next a helper goes by the VM's own namespace, as it does for those of FUSE.
        faults.fail(libc::SYS_openat2, libc::ENOSYS);
        assert_healthy_comes_first(|| start(&faults, helpers(64)), they_exist);
    }
}
