//! Events of helpers: where they sleep, when they leave and why.

mod support;

use std::path::Path;
use std::time::Duration;

use nlns_core::{Config, EventKind, LeaveReason};

use support::netns::{Directory, remove};
use support::{Running, helpers, key, next_event};

const ALONE: Config = helpers(1);

#[track_caller]
fn assert_pinned(pool: &Running, path: &Path) {
    let event = next_event(pool);
    assert_eq!((event.what, event.count), (EventKind::Pinned, 1));
    assert_eq!(event.netns.key(), key(path));
}

#[track_caller]
fn assert_left(pool: &Running, path: &Path, reason: LeaveReason) -> Duration {
    let event = next_event(pool);
    assert_eq!(event.netns.key(), key(path));
    match event.what {
        EventKind::Left(after, why) if why == reason => after,
        what => panic!("{what:?} instead of left, {reason:?}"),
    }
}

/// A pool that has been asked for events before anything could happen.
fn observed(config: Config) -> Running {
    let pool = Running::start(config);
    assert_eq!(pool.0.events(1, Box::new(|| {})), []);
    pool
}

#[test]
fn settled_helper_leaves_for_each_reason() {
    let names = Directory::new();
    let [a, b] = ["a", "b"].map(|name| names.make(name));
    let pool = observed(ALONE);

    pool.open(&a, 0).unwrap();
    assert_pinned(&pool, &a);
    // From its bed and back.
    pool.open(&a, 0).unwrap();
    pool.release(&a);
    assert_left(&pool, &a, LeaveReason::Released);

    pool.open(&a, 0).unwrap();
    assert_pinned(&pool, &a);
    pool.open(&b, 0).unwrap();
    assert_left(&pool, &a, LeaveReason::Moved);
    assert_pinned(&pool, &b);

    remove(&b);
    assert_left(&pool, &b, LeaveReason::Gone);
}

#[test]
fn left_event_says_how_long() {
    let names = Directory::new();
    let path = names.make("a");
    let idle_timeout = Duration::from_millis(50);
    let pool = observed(Config {
        idle_timeout: Some(idle_timeout),
        ..ALONE
    });
    pool.open(&path, 0).unwrap();
    assert_pinned(&pool, &path);
    assert!(assert_left(&pool, &path, LeaveReason::Idle) >= idle_timeout);
}

#[test]
fn passing_helper_sends_no_event() {
    let names = Directory::new();
    let paths = ["a", "b"].map(|name| names.make(name));
    let idle_timeout = Some(Duration::ZERO);
    let pool = observed(Config {
        idle_timeout,
        ..ALONE
    });
    for _ in 0..100 {
        for path in &paths {
            pool.open(path, 0).unwrap();
        }
    }
    assert!(pool.0.info().entered >= 2);
    for path in &paths {
        pool.release(path);
    }
    assert_eq!(pool.0.events(1, Box::new(|| {})), []);
}

#[test]
fn settled_helper_that_dies_has_left() {
    let names = Directory::new();
    let path = names.make("a");
    let pool = observed(ALONE);
    pool.open(&path, 0).unwrap();
    assert_pinned(&pool, &path);
    pool.ask_rudely(&path, || panic!("a panic that belongs to this test"));
    assert_left(&pool, &path, LeaveReason::Died);
}
