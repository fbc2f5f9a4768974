//! Paths whose lookup does not return: whom they hold up, and whom not.

mod support;

use std::time::Duration;

use nlns_core::{Error, Stage, State};
use rustix::io::Errno;

use support::faults::under_faults;
use support::netns::{Process, cookie, oracle, remove};
use support::{
    FOREVER, eventually, has_slept_for, helpers, key, lacks, outside, patience, settle, tasks,
};

#[test]
fn blocked_watch_holds_up_no_other() {
    let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    let well = names.make("b");
    // Having served, the helper has the directory watched, and gets no answer.
    let let_go = faults.hold(libc::SYS_inotify_add_watch);
    pool.open(path, 0).unwrap();
    pool.await_stuck();
    assert_eq!(pool.open(&well, 0).map(cookie), oracle(&well, 0));
    drop(let_go);
    faults.heal();
}

#[test]
fn blocked_path_holds_no_other_namespace() {
    // A path below /proc may lead to a mount that does not answer, too.
    for is_process in [false, true] {
        let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
            return;
        };
        // Not before: others count the threads that are outside.
        let process = is_process.then(Process::start);
        let dead = process
            .as_ref()
            .map_or_else(|| names.make("dead"), Process::path);
        pool.open(path, 0).unwrap();
        // The helper that is in the one namespace is called for the other.
        let let_go = faults.hold_lookups();
        let waits = pool.ask(&dead, 0).unwrap();
        pool.await_stuck();
        remove(path);
        eventually("nobody is in it", || outside() == 0);
        faults.heal();
        drop(let_go);
        assert!(waits.recv_timeout(patience()).unwrap().is_ok());
    }
}

#[test]
fn foreign_file_is_opened_from_home() {
    if lacks((5, 12), "RESOLVE_CACHED") {
        return;
    }
    let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    // Its name is cached, and still a file system like FUSE may not return from the open.
    let file = names.0.join("file");
    std::fs::write(&file, "").unwrap();
    pool.open(path, 0).unwrap();
    // The helper that is in the namespace is called for the file.
    let let_go = faults.hold_opens();
    let waits = pool.ask(&file, 0).unwrap();
    eventually("it opens the file", || faults.held() > 0);
    remove(path);
    eventually("nobody is in it", || outside() == 0);
    drop(let_go);
    let refused = waits.recv_timeout(patience()).unwrap();
    assert_eq!(
        refused.map(cookie),
        Err(Error::new(Stage::Setns, Errno::INVAL))
    );
}

#[test]
fn blocked_look_gives_path_to_another() {
    if lacks((5, 12), "RESOLVE_CACHED") {
        return;
    }
    let Some((pool, faults, path, _, _)) = &under_faults(FOREVER) else {
        return;
    };
    settle(pool, path);
    // The helper that looks has to have it tick again.
    let manager = tasks("nlns-manager")[0];
    eventually("the manager ticks no more", || {
        has_slept_for(manager, Duration::from_millis(30))
    });
    let let_go = faults.hold(libc::SYS_newfstatat);
    let waits = pool.ask(path, 0).unwrap();
    eventually("the helper there looks", || faults.held() > 0);
    // The next look returns.
    faults.heal();
    let answer = waits.recv_timeout(patience()).unwrap();
    assert_eq!(answer.map(cookie), oracle(path, 0));
    assert_eq!(pool.count(State::Stuck), 1);
    drop(let_go);
    eventually("it is back", || pool.count(State::Stuck) == 0);
    pool.release(path);
    assert_eq!(outside(), 0);
}

#[test]
fn helper_blocked_between_turns_holds_up_no_other() {
    let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    let other = names.make("b");
    settle(pool, path);
    // As it leaves, after the turn in which it was asked to.
    let let_go = faults.hold(libc::SYS_setns);
    let released = pool.ask_release(path).unwrap();
    eventually("it is blocked", || faults.held() > 0);
    faults.heal();
    assert_eq!(pool.open(&other, 0).map(cookie), oracle(&other, 0));
    assert!(released.try_recv().is_err());
    drop(let_go);
    assert_eq!(released.recv_timeout(patience()), Ok(Ok(())));
}

#[test]
fn blocked_path_served_once_it_answers() {
    if lacks((5, 12), "RESOLVE_CACHED") {
        return;
    }
    let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    let let_go = faults.hold_lookups();
    let waiting: Vec<_> = (0..3).map(|_| pool.ask(path, 0).unwrap()).collect();
    pool.await_stuck();
    // From now on all is well with the path, but not with the helper that looks it up.
    faults.heal();
    for answer in &waiting {
        let answer = answer.recv_timeout(patience()).unwrap();
        assert_eq!(answer.map(cookie), oracle(path, 0));
    }
    assert_eq!(pool.count(State::Stuck), 1);
    // What is there now is another namespace.
    remove(path);
    names.make("a");
    assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
    drop(let_go);
    eventually("it is back", || pool.count(State::Stuck) == 0);
    assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
    pool.release(path);
    assert_eq!(outside(), 0);
    assert!(waiting.iter().all(|answer| answer.try_recv().is_err()));
}

#[test]
fn still_blocked_path_keeps_its_helper() {
    let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    let let_go = faults.hold_lookups();
    let waits = pool.ask(path, 0).unwrap();
    pool.await_stuck();
    let more = pool.ask(path, 0).unwrap();
    // Another spelling is another path.
    faults.forget(libc::SYS_openat);
    let other = names.0.join(".//a");
    assert_eq!(pool.open(&other, 0).map(cookie), oracle(path, 0));
    assert!(waits.try_recv().is_err() && more.try_recv().is_err());
    drop(let_go);
    for answer in [waits, more] {
        let answer = answer.recv_timeout(patience()).unwrap();
        assert_eq!(answer.map(cookie), oracle(path, 0));
    }
}

#[test]
fn proven_path_beside_blocked_is_served() {
    let Some((pool, faults, proven, names, _)) = &under_faults(helpers(4)) else {
        return;
    };
    let paths: Vec<_> = (0..8).map(|n| names.make(&n.to_string())).collect();
    // A helper that has just fallen asleep may be the first to be woken, so that it leaves the path.
    eventually("the proven path keeps its helper", || {
        settle(pool, proven);
        std::thread::sleep(Duration::from_millis(2));
        let let_go = faults.hold_lookups();
        let waiting: Vec<_> = paths
            .iter()
            .map(|path| pool.ask(path, 0).unwrap())
            .collect();
        // Three helpers are in doubtful paths for good, and what waits for those is refused.
        eventually("the others are refused", || {
            let mut answers = waiting.iter().map(|answer| answer.try_recv());
            answers.any(|answer| matches!(answer, Ok(Err(Error::BUSY))))
        });
        let is_kept = pool.is_pinned(key(proven));
        for _ in 0..if is_kept { 10 } else { 0 } {
            assert_eq!(pool.open(proven, 0).map(cookie), oracle(proven, 0));
        }
        faults.heal();
        drop(let_go);
        eventually("all are back", || pool.count(State::Stuck) == 0);
        for path in paths.iter().chain([proven]) {
            pool.release(path);
        }
        is_kept
    });
}
