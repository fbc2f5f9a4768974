//! Events of helpers: where they sleep, when they leave and why.

mod support;

use std::path::Path;
use std::time::Duration;

use nlns_core::{Config, Error, EventKind, LeaveReason, NetnsKey, Reply, Socket, Spec};

use support::netns::{Directory, remove};
use support::{CONFIG, Running, next_event};

const ALONE: Config = Config {
    max_helpers: 1,
    idle_timeout: None,
    ..CONFIG
};

#[track_caller]
fn assert_pinned(pool: &Running, path: &Path) {
    let event = next_event(pool);
    assert_eq!((event.what, event.count), (EventKind::Pinned, 1));
    assert_eq!(
        event.netns.key(),
        NetnsKey::Path(path.as_os_str().as_encoded_bytes())
    );
}

#[track_caller]
fn assert_left(pool: &Running, path: &Path, reason: LeaveReason) -> Duration {
    let event = next_event(pool);
    assert_eq!(
        event.netns.key(),
        NetnsKey::Path(path.as_os_str().as_encoded_bytes())
    );
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
fn a_helper_that_settles_is_told_once_and_when_it_leaves_why() {
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
fn left_event_says_how_long_the_helper_was_there() {
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
fn a_helper_that_only_passes_through_is_not_told_of() {
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

struct Rude;

impl Reply for Rude {
    fn is_wanted(&self) -> bool {
        true
    }
    fn answer(self: Box<Self>, _: Result<Socket, Error>) {
        panic!("a panic that belongs to this test");
    }
}

#[test]
fn a_helper_that_dies_where_it_had_settled_has_left() {
    let names = Directory::new();
    let path = names.make("a");
    let pool = observed(ALONE);
    pool.open(&path, 0).unwrap();
    assert_pinned(&pool, &path);
    let name = path.as_os_str().as_encoded_bytes();
    pool.0.open(name, Spec::netlink(0), Box::new(Rude)).unwrap();
    assert_left(&pool, &path, LeaveReason::Died);
}
