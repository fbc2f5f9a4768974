//! Which processors a helper runs on.

mod support;

use nlns_core::Config;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use support::netns::Directory;
use support::processors::{allowed, numbers, of_helpers, only, waking_is_quick};
use support::{CONFIG, Running, eventually, skipped};

#[test]
fn helper_stays_on_only_callers_processor() {
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(Config {
        max_helpers: 1,
        ..CONFIG
    });
    let before = sched_getaffinity(None).unwrap();
    let cpu = numbers(&before)[0];
    if !waking_is_quick(cpu) {
        return skipped("waking takes too long on this processor for a helper to stay");
    }
    sched_setaffinity(None, &only(cpu)).unwrap();
    let is_on = |set: &CpuSet| of_helpers().first() == Some(set);
    eventually("it is where its caller is", || {
        // Where waking is slow, it does not stay for many more.
        (0..10).for_each(|_| drop(pool.open(&path, 0).unwrap()));
        is_on(&only(cpu))
    });
    sched_setaffinity(None, &before).unwrap();
    eventually("it may run anywhere", || is_on(&allowed()));
}
