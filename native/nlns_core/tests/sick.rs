//! Helpers that are blocked or panic, and paths with too much to do: only theirs notice.

mod support;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use nlns_core::{Config, Error, Pool, Spec, State};

use support::netns::Directory;
use support::{Answer, CONFIG, PATIENCE, Running, descriptors, eventually, settle, within};

/// Tests count the process's threads and descriptors, so they run one at a time.
static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

const FOREVER: Config = Config {
    idle_timeout: None,
    ..CONFIG
};

#[test]
fn a_helper_that_panics_takes_nothing_with_it() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (path, other) = (names.make("a"), names.make("b"));
    let pool = Running::start(CONFIG);
    pool.open(&path, 0).unwrap();
    let before = descriptors();
    for _ in 0..20 {
        pool.ask_rudely(&path, || panic!("a panic that belongs to this test"));
        let behind = pool.ask(&path, 0).unwrap();
        assert!(pool.open(&other, 0).is_ok());
        assert!(behind.recv_timeout(PATIENCE).unwrap().is_ok());
    }
    eventually("counted", || pool.0.info().died == 20);
    pool.release(&path);
    pool.release(&other);
    eventually("closed", || descriptors() <= before);
}

#[test]
fn what_came_behind_a_request_that_kills_its_helper_is_served() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(FOREVER);
    for died in 1..=5 {
        // Settled, so that the manager does not look by itself. For what comes behind nobody is called.
        settle(&pool, &path);
        let (ask_again, answer) = (pool.asking(&path), bounded(1));
        pool.ask_rudely(&path, move || {
            answer.0.send(ask_again()).unwrap();
            panic!("a panic that belongs to this test");
        });
        let behind = answer.1.recv_timeout(PATIENCE).unwrap();
        assert!(behind.recv_timeout(PATIENCE).unwrap().is_ok());
        eventually("counted", || pool.0.info().died == died);
    }
}

#[test]
fn who_asks_again_on_being_refused_is_not_refused_in_the_same_breath() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (sick, well) = (names.make("a"), names.make("b"));
    let max_helpers = 1;
    let pool = Running::start(Config {
        max_helpers,
        ..CONFIG
    });
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&sick, move || held.recv().unwrap_or_default());
    let (ask_again, answer, info) = (pool.asking(&well), bounded(1), pool.0.clone());
    pool.ask_rudely(&well, move || {
        answer.0.send(ask_again()).unwrap();
        drop(let_go);
        eventually("it is back", || {
            info.info().helpers.iter().all(|h| h.state != State::Stuck)
        });
    });
    let again = answer.1.recv_timeout(PATIENCE).unwrap();
    assert!(again.recv_timeout(PATIENCE).unwrap().is_ok());
    assert_eq!(pool.0.info().refused, 1);
}

#[test]
fn a_helper_that_is_stuck_holds_up_its_own_path_only() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (sick, well) = (names.make("a"), names.make("b"));
    let max_helpers = 2;
    let pool = Running::start(Config {
        max_helpers,
        max_queue: 3,
        ..CONFIG
    });
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&sick, move || held.recv().unwrap_or_default());
    for _ in 0..100 {
        assert!(pool.open(&well, 0).is_ok());
    }
    let stuck = |h: &nlns_core::HelperInfo| h.state == State::Stuck;
    eventually("seen", || pool.0.info().helpers.iter().any(stuck));
    let waiting: Vec<_> = (0..3).map(|_| pool.ask(&sick, 0).unwrap()).collect();
    assert_eq!(pool.ask(&sick, 0).err(), Some(Error::BUSY));

    // With every helper stuck nothing can be served, and nothing waits for ever.
    let (let_go_too, held) = bounded::<()>(0);
    pool.ask_rudely(&well, move || held.recv().unwrap_or_default());
    let third = names.make("c");
    assert_eq!(pool.open(&third, 0).err(), Some(Error::BUSY));
    drop((let_go, let_go_too));
    for answer in waiting {
        assert!(answer.recv_timeout(PATIENCE).unwrap().is_ok());
    }
    assert!(pool.open(&third, 0).is_ok());
}

#[test]
fn releases_that_wait_are_bounded_and_in_nobodys_way() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let path = names.make("a");
    let max_queue = 3;
    let pool = Running::start(Config {
        max_queue,
        ..CONFIG
    });
    let (there, arrived) = bounded(1);
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&path, move || {
        there.send(()).unwrap();
        held.recv().unwrap_or_default();
    });
    arrived.recv_timeout(PATIENCE).unwrap();
    let (sender, said) = unbounded();
    let release = |n| {
        let sender = sender.clone();
        let released = Box::new(move |_| sender.send(n).unwrap());
        pool.0
            .release(path.as_os_str().as_encoded_bytes(), released)
    };
    for n in 0..max_queue {
        assert_eq!(release(n), Ok(true));
    }
    assert_eq!(release(max_queue), Err(Error::BUSY));
    let answers: Vec<_> = (0..max_queue)
        .map(|_| pool.ask(&path, 0).unwrap())
        .collect();
    assert_eq!(pool.ask(&path, 0).err(), Some(Error::BUSY));
    assert_eq!(pool.0.info().waiting, max_queue);
    drop(let_go);
    // Each once; who leaves last, and so says it, is nobody's promise.
    let mut all: Vec<_> = (0..max_queue)
        .map(|_| said.recv_timeout(PATIENCE).unwrap())
        .collect();
    all.sort_unstable();
    assert_eq!(all, (0..max_queue).collect::<Vec<_>>());
    for answer in answers {
        assert!(answer.recv_timeout(PATIENCE).unwrap().is_ok());
    }
    pool.release(&path);
    assert!(said.try_recv().is_err());
}

#[test]
fn a_path_behind_many_that_block_does_not_wait_for_one_after_the_other() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let sick: Vec<_> = (0..64).map(|n| names.make(&n.to_string())).collect();
    let well = names.make("well");
    let pool = Running::start(Config {
        max_helpers: 128,
        ..CONFIG
    });
    pool.open(&well, 0).unwrap();
    let (let_go, held) = bounded::<()>(0);
    for path in &sick {
        let held = held.clone();
        pool.ask_rudely(path, move || held.recv().unwrap_or_default());
    }
    let asked = Instant::now();
    pool.open(&well, 0).unwrap();
    // That a helper is blocked takes 10 ms to be seen.
    assert!(asked.elapsed() < within(Duration::from_millis(400)));
    drop(let_go);
}

#[test]
fn what_is_refused_because_every_helper_is_stuck_is_counted() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (sick, well) = (names.make("a"), names.make("b"));
    let max_helpers = 1;
    let pool = Running::start(Config {
        max_helpers,
        ..CONFIG
    });
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&sick, move || held.recv().unwrap_or_default());
    let (given_up, answer) = Answer::new();
    given_up.wanted.store(false, Ordering::SeqCst);
    let path = well.as_os_str().as_encoded_bytes();
    pool.0.open(path, Spec::netlink(0), given_up).unwrap();
    for _ in 0..3 {
        assert_eq!(pool.open(&well, 0).err(), Some(Error::BUSY));
    }
    assert!(answer.recv_timeout(PATIENCE).is_err());
    let info = pool.0.info();
    assert_eq!((info.refused, info.cancelled), (3, 1));
    assert_eq!((info.opened, info.failed), (1, 0));
    drop(let_go);
}

#[test]
fn slow_paths_are_not_queued_before_a_healthy_one() {
    const SLOW_PATHS: usize = 64;
    const TURN: Duration = Duration::from_millis(4);
    let _alone = ALONE.lock();
    let names = Directory::new();
    let healthy = names.make("healthy");
    let slow: Vec<_> = (0..SLOW_PATHS)
        .map(|n| names.make(&n.to_string()))
        .collect();
    let pool = Running::start(Config {
        max_helpers: 32,
        ..FOREVER
    });
    let is_over = Arc::new(AtomicBool::new(false));
    // Each slow path always has a request, which takes the helper some time.
    fn again(pool: &Arc<Pool>, path: PathBuf, is_over: &Arc<AtomicBool>) {
        let (next_pool, next_path, next) = (pool.clone(), path.clone(), is_over.clone());
        let answer = move || {
            std::thread::sleep(TURN);
            if !next.load(Ordering::SeqCst) {
                again(&next_pool, next_path, &next);
            }
        };
        support::ask_rudely(pool, &path, answer);
    }
    for path in slow {
        again(&pool.0, path, &is_over);
    }
    pool.open(&healthy, 0).unwrap();
    let mut times: Vec<_> = (0..30)
        .map(|_| {
            let asked = Instant::now();
            pool.open(&healthy, 0).unwrap();
            asked.elapsed()
        })
        .collect();
    times.sort();
    is_over.store(true, Ordering::SeqCst);
    eventually("all are served", || pool.0.info().waiting == 0);
    // In one queue with them it would be 64 turns, with a second helper for those that are overdue 30.
    assert!(times[15] < TURN * SLOW_PATHS as u32 / 8, "{times:?}");
    // Slow paths are served by 16 at a time, and nothing else asks for more.
    assert!(pool.0.info().started <= 20, "{:?}", pool.0.info().started);
}
