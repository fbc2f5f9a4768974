//! Which processors there are, and which of them threads may use.

use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use crossbeam_utils::sync::Parker;
use rustix::process::{Pid, getpid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use super::tasks;

/// Returns the processors that this process may use.
pub fn allowed() -> CpuSet {
    sched_getaffinity(Some(getpid())).unwrap()
}

/// Returns the numbers of a set's processors.
pub fn numbers(cpus: &CpuSet) -> Vec<usize> {
    (0..CpuSet::MAX_CPU)
        .filter(|cpu| cpus.is_set(*cpu))
        .collect()
}

/// Returns the set of one processor.
pub fn only(cpu: usize) -> CpuSet {
    let mut only = CpuSet::new();
    only.set(cpu);
    only
}

/// Returns the processors that each helper may use.
pub fn of_helpers() -> Vec<CpuSet> {
    let helpers = tasks("nlns-helper").into_iter().filter_map(Pid::from_raw);
    helpers
        .filter_map(|helper| sched_getaffinity(Some(helper)).ok())
        .collect()
}

/// Returns whether a thread that another of this processor unparks wakes up quickly enough for a helper to stay
/// on it: on an emulated processor it may not. A helper stays while eight wake-ups of nine take less than 15 µs,
/// and does more on the way. Others may have the processor for a while, so one of several rounds is enough.
pub fn waking_is_quick(cpu: usize) -> bool {
    const ROUNDS: usize = 20;
    const WAKE_UPS: usize = 200;
    let only = only(cpu);
    let parker = Parker::new();
    let unparker = parker.unparker().clone();
    let (wake, woken_at) = bounded(1);
    let (tell, told) = bounded(1);
    let there = std::thread::spawn(move || {
        sched_setaffinity(None, &only).unwrap();
        loop {
            parker.park();
            let now = Instant::now();
            let Ok(woken_at) = woken_at.recv() else { break };
            tell.send(now - woken_at).unwrap();
        }
    });
    let here = std::thread::spawn(move || {
        sched_setaffinity(None, &only).unwrap();
        let wake_up = || {
            wake.send(Instant::now()).unwrap();
            unparker.unpark();
            told.recv().unwrap()
        };
        let is_quick = (0..ROUNDS).any(|_| {
            let mut times: Vec<_> = (0..WAKE_UPS).map(|_| wake_up()).collect();
            times.sort();
            times[WAKE_UPS * 8 / 9] * 2 < Duration::from_micros(15)
        });
        drop(wake);
        unparker.unpark();
        is_quick
    });
    let is_quick = here.join().unwrap();
    there.join().unwrap();
    is_quick
}
