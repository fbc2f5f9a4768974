//! Releases: said once no helper is in the namespace, not before.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nlns_core::Error;

use support::faults::under_faults;
use support::{
    FOREVER, alone_with, eventually, helpers, key, outside, patience, settle, threads,
    threads_are_in,
};

#[test]
fn release_follows_waiting_requests() {
    let (pool, path, ..) = &alone_with(FOREVER);
    let answers: Vec<_> = (0..500).map(|_| pool.ask(path, 0).unwrap()).collect();
    pool.release(path);
    assert_eq!(pool.pinned(), 0);
    let mut answers = answers.iter().map(|answer| answer.try_recv().unwrap());
    assert!(answers.all(|answer| answer.is_ok()));
    pool.release(path);
}

#[test]
fn release_of_sleeper_awaits_its_thread() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    settle(pool, path);
    let let_go = faults.hold(libc::SYS_setns);
    let released = pool.ask_release(path).unwrap();
    eventually("it is on its way", || faults.held() == 1);
    assert!(threads_are_in(path));
    assert!(released.try_recv().is_err());
    assert_eq!(pool.pinned(), 1);
    faults.heal();
    drop(let_go);
    assert_eq!(released.recv_timeout(patience()), Ok(Ok(())));
    assert!(!threads_are_in(path));
    assert_eq!(pool.pinned(), 0);
}

#[test]
fn release_waits_for_a_stuck_helper() {
    let Some((pool, faults, path, names, _)) = &under_faults(helpers(1)) else {
        return;
    };
    let other = names.make("b");
    let let_go = faults.hold(libc::SYS_inotify_add_watch);
    pool.open(path, 0).unwrap();
    pool.await_stuck();
    let released = pool.ask_release(path).unwrap();
    // What waits is refused together, there being nobody to serve it.
    assert_eq!(pool.open(&other, 0).err(), Some(Error::BUSY));
    assert!(released.try_recv().is_err());
    faults.heal();
    drop(let_go);
    assert_eq!(released.recv_timeout(patience()), Ok(Ok(())));
    assert_eq!(outside(), 0);
}

#[test]
fn stop_fails_release_of_stuck_helper() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let let_go = faults.hold(libc::SYS_inotify_add_watch);
    pool.open(path, 0).unwrap();
    pool.await_stuck();
    let released = pool.ask_release(path).unwrap();
    assert_eq!(pool.stop(), 1);
    assert_eq!(released.recv_timeout(patience()), Ok(Err(Error::STOPPED)));
    faults.heal();
    drop(let_go);
    eventually("it has ended", || threads("nlns-helper") == 0);
    assert_eq!(outside(), 0);
}

#[test]
fn stopped_pool_refuses_a_release() {
    let (pool, path, ..) = &alone_with(FOREVER);
    settle(pool, path);
    pool.stop();
    // The submitting thread may be a scheduler, which must not send.
    let said = Arc::new(AtomicUsize::new(0));
    let saying = said.clone();
    let released = Box::new(move |_| _ = saying.fetch_add(1, Ordering::SeqCst));
    assert_eq!(pool.0.release(key(path), released), Err(Error::STOPPED));
    assert_eq!(said.load(Ordering::SeqCst), 0);
}
