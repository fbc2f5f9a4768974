//! A helper whose processor is taken from it.

mod support;

use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nlns_core::Config;
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use support::netns::Directory;
use support::{CONFIG, Running, eventually, skipped, tasks};

#[test]
fn a_helper_that_gets_no_turn_where_it_stays_goes_elsewhere() {
    let mut cpus = (0..CpuSet::MAX_CPU).filter({
        let all = sched_getaffinity(None).unwrap();
        move |cpu| all.is_set(*cpu)
    });
    let (Some(here), Some(elsewhere)) = (cpus.next(), cpus.next()) else {
        return skipped("it takes two processors");
    };
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(Config {
        max_helpers: 1,
        linger: None,
        ..CONFIG
    });
    for _ in 0..3 {
        sched_setaffinity(None, &only(here)).unwrap();
        eventually("it is where its caller is", || {
            (0..500).for_each(|_| drop(pool.open(&path, 0).unwrap()));
            let mut helpers = tasks("nlns-helper").into_iter().filter_map(Pid::from_raw);
            helpers.any(|helper| sched_getaffinity(Some(helper)).unwrap() == only(here))
        });
        sched_setaffinity(None, &only(elsewhere)).unwrap();
        let Some(_busy) = Busy::start(here) else {
            return skipped("it takes the right to a real-time priority");
        };
        // The kernel leaves others a twentieth of each second.
        let asked = Instant::now();
        drop(pool.open(&path, 0).unwrap());
        assert!(asked.elapsed() < Duration::from_millis(400));
    }
}

fn only(cpu: usize) -> CpuSet {
    let mut only = CpuSet::new();
    only.set(cpu);
    only
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
