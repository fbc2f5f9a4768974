//! The pool's own promises, each by its effect.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{bounded, unbounded};
use nlns_core::{Error, NetnsKey, Spec, Stage, State};

use support::netns::{Directory, Process, cookie, oracle};
use support::{
    Answer, CONFIG, FOREVER, Running, alone, alone_with, descriptors, eventually, helpers, key,
    open_and_settle, patience, threads,
};

#[test]
fn more_paths_than_helpers_take_turns() {
    let _alone = alone();
    let names = Directory::new();
    let paths: Vec<_> = (0..12).map(|n| names.make(&n.to_string())).collect();
    let max_helpers = 2;
    let pool = Running::start(helpers(max_helpers));
    for _ in 0..20 {
        pool.assert_each_is_served(&paths);
        assert!(threads("nlns-helper") <= max_helpers);
    }
    assert!(pool.pinned() <= max_helpers);
}

#[test]
fn used_paths_are_known_until_the_pool_rests() {
    let (pool, held, names, _) = &alone_with(FOREVER);
    let paths: Vec<_> = (0..20).map(|n| names.make(&n.to_string())).collect();
    // Once the helper that is held is stuck, which takes a second, the others may rest.
    let are_known = (0..10).any(|n| {
        let last = names.make(&format!("last{n}"));
        let let_go = pool.hold_now(held);
        for path in &paths {
            pool.open(path, 0).unwrap();
        }
        open_and_settle(pool, &last);
        let woken = pool.0.info().woken;
        eventually("it was asleep there", || {
            pool.open(&last, 0).unwrap();
            pool.0.info().woken > woken
        });
        let known = pool.0.info().paths;
        drop(let_go);
        known >= paths.len() + 2
    });
    assert!(are_known);
    eventually("only those with a helper are", || {
        pool.0.info().paths <= pool.pinned()
    });
}

#[test]
fn answers_keep_the_order_of_requests() {
    let (pool, path, ..) = &alone_with(CONFIG);
    let (sender, answers) = unbounded();
    for n in 0..2_000 {
        let sender = sender.clone();
        pool.ask_rudely(path, move || sender.send(n).unwrap());
    }
    for n in 0..2_000 {
        assert_eq!(answers.recv_timeout(patience()).unwrap(), n);
    }
    assert_eq!(pool.0.info().opened, 2_000);
}

#[test]
fn request_after_lookup_gets_the_next() {
    let (pool, path, names, _) = &alone_with(FOREVER);
    let other = names.make("b");
    let (link, new) = (names.0.join("link"), names.0.join("new"));
    std::os::unix::fs::symlink(path, &link).unwrap();
    let let_go = pool.hold_now(&link);
    std::os::unix::fs::symlink(&other, &new).unwrap();
    std::fs::rename(&new, &link).unwrap();
    let answer = pool.ask(&link, 0).unwrap();
    drop(let_go);
    let answer = answer.recv_timeout(patience()).unwrap();
    assert_eq!(answer.map(cookie), oracle(&other, 0));
}

#[test]
fn process_ended_before_turn_is_refused() {
    let (pool, other, ..) = &alone_with(helpers(1));
    let process = Process::start();
    // While the one helper is held, what is asked becomes one batch, for which it looks at the path once.
    let begin = pool.hold(other);
    let (there, arrived) = bounded(1);
    let (let_go, held) = bounded::<()>(0);
    pool.ask_rudely(&process.path(), move || {
        there.send(()).unwrap();
        held.recv().unwrap_or_default();
    });
    let answer = pool
        .ask_by(
            NetnsKey::process(process.id() as i32).unwrap(),
            Spec::netlink(0),
        )
        .unwrap();
    drop(begin);
    arrived.recv_timeout(patience()).unwrap();
    drop((process, let_go));
    let ended = Error {
        stage: Stage::Open,
        errno: libc::ENOENT,
    };
    assert_eq!(answer.recv_timeout(patience()).unwrap().err(), Some(ended));
}

#[test]
fn unwanted_request_is_not_opened() {
    let (pool, path, ..) = &alone_with(CONFIG);
    let (reply, answer) = Answer::new();
    reply.wanted.store(false, Ordering::SeqCst);
    pool.0.open(key(path), Spec::netlink(0), reply).unwrap();
    assert!(answer.recv_timeout(patience()).is_err());
    eventually("counted", || pool.0.info().cancelled == 1);
    assert_eq!(pool.0.info().opened, 0);
}

#[test]
fn stop_answers_all_and_leaves_nothing() {
    let _alone = alone();
    let names = Directory::new();
    let paths: Vec<_> = (0..4).map(|n| names.make(&n.to_string())).collect();
    let before = descriptors();
    for _ in 0..10 {
        let pool = Running::start(FOREVER);
        let asked: Vec<_> = (0..4_000)
            .map(|n| pool.ask(&paths[n % paths.len()], 0).unwrap())
            .collect();
        assert_eq!(pool.stop(), 0);
        let mut stopped = 0;
        for answer in asked {
            match answer.try_recv().expect("every request is answered") {
                Ok(_) => {}
                Err(error) => {
                    assert_eq!(error, Error::STOPPED);
                    stopped += 1;
                }
            }
        }
        println!("{stopped} of 4000 were answered by the stop");
        let info = pool.0.info();
        assert_eq!((info.opened, info.refused), (4_000 - stopped, stopped));
        assert_eq!(pool.ask(&paths[0], 0).err(), Some(Error::STOPPED));
        eventually("threads", || threads("nlns") == 0);
        drop(pool);
        // Fewer, where something of an earlier test was still being closed.
        eventually(&format!("{before} descriptors"), || descriptors() <= before);
    }
}

#[test]
fn thousand_callers_are_answered_once_each() {
    let _alone = alone();
    let names = Directory::new();
    let paths: Arc<Vec<_>> = Arc::new((0..7).map(|n| names.make(&n.to_string())).collect());
    let pool = Arc::new(Running::start(CONFIG));
    let answered = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..50)
        .map(|caller| {
            let (pool, paths, answered) = (pool.clone(), paths.clone(), answered.clone());
            std::thread::spawn(move || {
                for n in 0..100 {
                    let answer = pool.ask(&paths[(caller + n) % paths.len()], 0).unwrap();
                    answer.recv_timeout(patience()).unwrap().unwrap();
                    // A second one would come before the sender is gone.
                    assert!(answer.recv_timeout(patience()).is_err());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.join().unwrap();
    }
    assert_eq!(answered.load(Ordering::Relaxed), 5_000);
    assert_eq!(pool.0.info().opened, 5_000);
}

/// A reply that keeps the helper busy for a while, which is work, not waiting.
fn work(time: Duration) -> impl FnOnce() + Send {
    move || {
        let begun = Instant::now();
        while begun.elapsed() < time {
            std::hint::spin_loop();
        }
    }
}

#[test]
fn deep_backlog_wakes_more_helpers() {
    let _alone = alone();
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let names = Directory::new();
    let paths: Vec<_> = (0..64).map(|n| names.make(&n.to_string())).collect();
    let pool = Running::start(CONFIG);
    // Proven, and so not slow.
    paths.iter().for_each(|path| drop(pool.open(path, 0)));
    let most = std::iter::repeat_with(|| {
        for path in &paths {
            pool.ask_rudely(path, work(Duration::from_micros(400)));
        }
        let mut most = 0;
        while pool.0.info().waiting > 0 {
            most = most.max(pool.count(State::Serving));
        }
        most
    });
    assert!(most.take(20).any(|most| most >= cpus.min(2)));
}
