//! A helper whose processor is taken from it.

#[path = "support/injected.rs"]
mod injected;
mod support;

use std::io::Read;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nlns_core::{Config, Error, Reply, Socket, Spec};
use rustix::process::{Pid, getpid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use injected::{FOREVER, Faults};
use support::netns::Directory;
use support::{PATIENCE, Running, eventually, skipped, tasks, waking_is_quick};

/// Tests look for the process's helpers and take a processor, so they run one at a time.
static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

const ONE: Config = Config {
    max_helpers: 1,
    ..FOREVER
};

#[test]
fn a_helper_that_gets_no_turn_where_it_stays_goes_elsewhere() {
    let _alone = ALONE.lock();
    let Some((here, elsewhere)) = two_processors() else {
        return skipped("it takes two processors");
    };
    if !waking_is_quick(here) {
        return skipped("waking takes too long on this processor for a helper to stay");
    }
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(ONE);
    for _ in 0..3 {
        stay(&pool, &path, here);
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

/// An answer that waits until it may go on, and then says so.
struct Held(Receiver<()>, Sender<()>);

impl Reply for Held {
    fn is_wanted(&self) -> bool {
        true
    }
    fn answer(self: Box<Self>, _result: Result<Socket, Error>) {
        let _ = self.0.recv();
        let _ = self.1.send(());
    }
}

#[test]
fn a_helper_whose_turn_is_taken_in_the_middle_of_a_request_goes_elsewhere() {
    let _alone = ALONE.lock();
    let Some((here, elsewhere)) = two_processors() else {
        return skipped("it takes two processors");
    };
    if !waking_is_quick(here) {
        return skipped("waking takes too long on this processor for a helper to stay");
    }
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(ONE);
    for _ in 0..3 {
        stay(&pool, &path, here);
        // It settles, so that nobody has to end its naps any more.
        std::thread::sleep(Duration::from_millis(20));
        let (go_on, is_done) = loop {
            drop(pool.open(&path, 0).unwrap());
            let served = Instant::now();
            // It falls asleep, or the next request would not have to call it.
            std::thread::sleep(Duration::from_micros(100));
            let (go_on, held) = bounded(0);
            let (done, is_done) = bounded(1);
            let bytes = path.as_os_str().as_encoded_bytes();
            pool.0
                .open(bytes, Spec::netlink(0), Box::new(Held(held, done)))
                .unwrap();
            // Only of callers that come back soon it is known that they will miss it.
            if served.elapsed() < Duration::from_micros(500) {
                break (go_on, is_done);
            }
        };
        // As the kernel would have the caller go on elsewhere, nothing else being wanted of the pool.
        sched_setaffinity(None, &only(elsewhere)).unwrap();
        let Some(_busy) = Busy::start(here) else {
            return skipped("it takes the right to a real-time priority");
        };
        drop(go_on);
        is_done.recv_timeout(Duration::from_millis(400)).unwrap();
    }
}

#[test]
fn a_path_whose_helper_has_to_look_at_another_first_does_not_wait_for_that_for_ever() {
    let _alone = ALONE.lock();
    let Some((here, elsewhere)) = two_processors() else {
        return skipped("it takes two processors");
    };
    if !waking_is_quick(here) {
        return skipped("waking takes too long on this processor for a helper to stay");
    }
    let names = Directory::new();
    let (there, other) = (names.make("a"), names.make("b"));
    let Some(faults) = Faults::new() else { return };
    let pool = injected::start(&faults, ONE);
    sched_setaffinity(None, &only(elsewhere)).unwrap();
    sched_setaffinity(helpers().next(), &only(here)).unwrap();
    let had_to_look = (0..20).any(|n| {
        let path = names.0.join(n.to_string());
        symlink(&there, &path).unwrap();
        pool.open(&path, 0).unwrap();
        // It settles, and the manager looks no more.
        std::thread::sleep(Duration::from_millis(20));
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
        let answer = answer.recv_timeout(PATIENCE).unwrap();
        faults.heal();
        drop(let_go);
        // Now and then the kernel gives it a turn before.
        answer.is_err_and(|error| error == Error::BUSY)
    });
    assert!(had_to_look);
}

fn two_processors() -> Option<(usize, usize)> {
    let all = sched_getaffinity(Some(getpid())).unwrap();
    let mut cpus = (0..CpuSet::MAX_CPU).filter(|cpu| all.is_set(*cpu));
    Some((cpus.next()?, cpus.next()?))
}

fn helpers() -> impl Iterator<Item = Pid> {
    tasks("nlns-helper").into_iter().filter_map(Pid::from_raw)
}

/// Has a helper stay on this processor, and the calling thread.
fn stay(pool: &Running, path: &Path, cpu: usize) {
    sched_setaffinity(None, &only(cpu)).unwrap();
    eventually("it is where its caller is", || {
        (0..500).for_each(|_| drop(pool.open(path, 0).unwrap()));
        helpers().any(|helper| sched_getaffinity(Some(helper)).unwrap() == only(cpu))
    });
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
