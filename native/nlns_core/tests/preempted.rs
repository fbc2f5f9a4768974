//! A helper whose processor is taken from it.

mod support;

use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::bounded;
use nlns_core::Error;
use rustix::process::Pid;
use rustix::thread::sched_setaffinity;

use support::faults::under_faults;
use support::processors::{allowed, numbers, of_helpers, only, waking_is_quick};
use support::{
    Running, alone_with, eventually, helpers, open_and_settle, patience, settle, skipped, tasks,
};

#[test]
fn helper_without_a_turn_goes_elsewhere() {
    let (pool, path, ..) = &alone_with(helpers(1));
    let Some((here, elsewhere)) = two_to_stay_on() else {
        return;
    };
    let mut times = Vec::new();
    for _ in 0..5 {
        let is_over = goes_elsewhere(here, || {
            stay(pool, path, here);
            sched_setaffinity(None, &only(elsewhere)).unwrap();
            let busy = Busy::start(here)?;
            let asked = Instant::now();
            drop(pool.open(path, 0).unwrap());
            times.push(asked.elapsed());
            Some(busy)
        });
        if !is_over {
            return;
        }
    }
    // The kernel leaves others the last twentieth of each second, so that it would mostly be served here, and
    // that after nearly a second.
    times.sort();
    assert!(times[2] < Duration::from_millis(600), "{times:?}");
}

#[test]
fn helper_preempted_in_request_goes_elsewhere() {
    let (pool, path, ..) = &alone_with(helpers(1));
    let Some((here, elsewhere)) = two_to_stay_on() else {
        return;
    };
    // So that the manager has no grace period to end.
    settle(pool, path);
    for _ in 0..3 {
        let is_over = goes_elsewhere(here, || {
            stay(pool, path, here);
            let (go_on, is_done) = loop {
                drop(pool.open(path, 0).unwrap());
                let served = Instant::now();
                // It falls asleep, or the next request would not have to call it.
                std::thread::sleep(Duration::from_micros(100));
                let (go_on, held) = bounded::<()>(0);
                let (done, is_done) = bounded(1);
                pool.ask_rudely(path, move || {
                    let _ = held.recv();
                    let _ = done.send(());
                });
                // Only of callers that come back soon it is known that they will miss it.
                if served.elapsed() < Duration::from_micros(500) {
                    break (go_on, is_done);
                }
            };
            // As the kernel would have the caller go on elsewhere, nothing else being wanted of the pool.
            sched_setaffinity(None, &only(elsewhere)).unwrap();
            let busy = Busy::start(here)?;
            drop(go_on);
            is_done.recv_timeout(patience()).unwrap();
            Some(busy)
        });
        if !is_over {
            return;
        }
    }
}

/// Waits for a round after which the helper is not bound to this processor, which another process had meanwhile;
/// `false`, said where it is seen, if that could not be had. Now and then the kernel gives the helper a turn there,
/// where others wait for the processor as well.
fn goes_elsewhere(here: usize, mut round: impl FnMut() -> Option<Busy>) -> bool {
    let mut is_skipped = false;
    eventually("it goes elsewhere", || {
        let busy = round();
        is_skipped = busy.is_none();
        is_skipped || !is_bound(here)
    });
    if is_skipped {
        skipped("it takes the right to a real-time priority");
    }
    !is_skipped
}

#[test]
fn path_waits_for_no_other_check() {
    let Some((pool, faults, there, names, _)) = &under_faults(helpers(1)) else {
        return;
    };
    let other = names.make("b");
    let Some((here, elsewhere)) = two_processors() else {
        return;
    };
    sched_setaffinity(None, &only(elsewhere)).unwrap();
    // A thread gives itself its name; until then it has that of the thread which made it.
    eventually("the helper has its name", || {
        !tasks("nlns-helper").is_empty()
    });
    sched_setaffinity(Pid::from_raw(tasks("nlns-helper")[0]), &only(here)).unwrap();
    let had_to_look = (0..20).any(|n| {
        let path = names.0.join(n.to_string());
        symlink(there, &path).unwrap();
        // Once it has settled, the manager ticks no more.
        open_and_settle(pool, &path);
        let Some(busy) = Busy::start(here) else {
            skipped("it takes the right to a real-time priority");
            return true;
        };
        // It is called, and before it wakes something happens to where it is.
        let answer = pool.ask(&other, 0).unwrap();
        let let_go = faults.hold(libc::SYS_newfstatat);
        // (To unmount it could take until the other process is done.)
        std::fs::rename(&path, names.0.join("gone")).unwrap();
        std::thread::sleep(Duration::from_millis(20));
        drop(busy);
        let answer = answer.recv_timeout(patience()).unwrap();
        faults.heal();
        drop(let_go);
        // Now and then the kernel gives it a turn before.
        answer.is_err_and(|error| error == Error::BUSY)
    });
    assert!(had_to_look);
}

/// Returns two processors, on the first of which a helper may stay; says so where there are none.
fn two_to_stay_on() -> Option<(usize, usize)> {
    let (here, elsewhere) = two_processors()?;
    if !waking_is_quick(here) {
        skipped("waking takes too long on this processor for a helper to stay");
        return None;
    }
    Some((here, elsewhere))
}

/// Returns two processors; says so where there is one.
fn two_processors() -> Option<(usize, usize)> {
    let [here, elsewhere, ..] = numbers(&allowed())[..] else {
        skipped("it takes two processors");
        return None;
    };
    Some((here, elsewhere))
}

/// Has a helper stay on this processor, and the calling thread.
fn stay(pool: &Running, path: &Path, cpu: usize) {
    sched_setaffinity(None, &only(cpu)).unwrap();
    eventually("it is where its caller is", || {
        // Where waking is slow, it does not stay for many more.
        (0..10).for_each(|_| drop(pool.open(path, 0).unwrap()));
        is_bound(cpu)
    });
}

fn is_bound(cpu: usize) -> bool {
    of_helpers().contains(&only(cpu))
}

/// A process that takes all of a processor, before whatever has no real-time priority.
struct Busy(Child);

impl Busy {
    fn start(cpu: usize) -> Option<Self> {
        let spin = "echo; while :; do :; done";
        let mut process = Command::new("chrt")
            .args(["--fifo", "1", "taskset", "--cpu-list", &cpu.to_string()])
            .args(["sh", "-c", spin])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .ok()?;
        let has_begun = process.stdout.take()?.read(&mut [0]).is_ok_and(|n| n == 1);
        let this = Self(process);
        has_begun.then_some(this)
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
