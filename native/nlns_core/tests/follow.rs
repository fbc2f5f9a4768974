//! Which processors a helper runs on.

mod support;

use nlns_core::Config;
use rustix::process::{Pid, getpid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use support::netns::Directory;
use support::{CONFIG, Running, eventually, skipped, tasks, waking_is_quick};

#[test]
fn a_helper_stays_with_its_only_caller_and_may_run_anywhere_when_that_is_gone() {
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(Config {
        max_helpers: 1,
        ..CONFIG
    });
    let anywhere = sched_getaffinity(Some(getpid())).unwrap();
    let before = sched_getaffinity(None).unwrap();
    let cpu = (0..CpuSet::MAX_CPU)
        .find(|cpu| before.is_set(*cpu))
        .unwrap();
    if !waking_is_quick(cpu) {
        return skipped("waking takes too long on this processor for a helper to stay");
    }
    let mut here = CpuSet::new();
    here.set(cpu);
    sched_setaffinity(None, &here).unwrap();

    let helpers_are_on = |set: &CpuSet| {
        let helpers = tasks("nlns-helper").into_iter().filter_map(Pid::from_raw);
        let mut sets = helpers.map(|helper| sched_getaffinity(Some(helper)).unwrap());
        sets.next().is_some_and(|first| first == *set)
    };
    eventually("it is where its caller is", || {
        // Some more than it takes, and than it takes where it did not pay at first.
        (0..500).for_each(|_| drop(pool.open(&path, 0).unwrap()));
        helpers_are_on(&here)
    });
    sched_setaffinity(None, &before).unwrap();
    eventually("it may run anywhere", || helpers_are_on(&anywhere));
}
