//! What a pool does where it can have no more threads, or no memory for them.

#[path = "support/injected.rs"]
mod injected;
mod support;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crossbeam_channel::bounded;
use nlns_core::{Error, Reply, Socket, Spec, State};
use rustix::param::page_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

use injected::{FOREVER, Faults, start};
use support::netns::{Directory, cookie, oracle};
use support::{PATIENCE, Running, eventually, sleeping};

/// Tests count the process's descriptors, so they run one at a time.
static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());

/// An answer that holds its helper until told otherwise.
struct Holding(crossbeam_channel::Receiver<()>);

impl Reply for Holding {
    fn is_wanted(&self) -> bool {
        true
    }
    fn answer(self: Box<Self>, _result: Result<Socket, Error>) {
        let _ = self.0.recv();
    }
}

/// Sticks a helper in `path` until what this returns is dropped.
fn stick(pool: &Running, path: &Path) -> crossbeam_channel::Sender<()> {
    let (let_go, held) = bounded::<()>(0);
    let bytes = path.as_os_str().as_encoded_bytes();
    pool.0
        .open(bytes, Spec::netlink(0), Box::new(Holding(held)))
        .unwrap();
    eventually("it serves", || {
        let helpers = pool.0.info().helpers;
        helpers
            .iter()
            .any(|h| matches!(h.state, State::Serving | State::Stuck))
    });
    let_go
}

#[test]
fn without_new_threads_the_helpers_there_are_serve_every_path() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let paths: Vec<_> = (0..6).map(|n| names.make(&n.to_string())).collect();
    let Some(faults) = Faults::new() else { return };
    let pool = start(&faults, FOREVER);
    faults.fail_threads(libc::EAGAIN);
    for _ in 0..20 {
        pool.assert_each_is_served(&paths);
    }
    assert_eq!(pool.0.info().started, 1);
}

#[test]
fn without_new_threads_a_stuck_helper_holds_up_others_only_until_there_are_threads_again() {
    let _alone = ALONE.lock();
    let names = Directory::new();
    let (sick, well) = (names.make("a"), names.make("b"));
    let Some(faults) = Faults::new() else { return };
    let pool = start(&faults, FOREVER);
    let let_go = stick(&pool, &sick);
    faults.fail_threads(libc::EAGAIN);
    let waits = pool.ask(&well, 0).unwrap();
    let refused = waits.recv_timeout(Duration::from_millis(300));
    faults.heal();
    match refused {
        Ok(answer) => assert_eq!(answer.err(), Some(Error::BUSY)),
        Err(_) => assert!(waits.recv_timeout(PATIENCE).unwrap().is_ok()),
    }
    assert!(pool.open(&well, 0).is_ok());
    drop(let_go);
}

/// Opens in each, and gives the helper time to settle there, so that there is none for the next.
fn settle(pool: &Running, paths: &[(PathBuf, u64)]) {
    for (path, there) in paths {
        assert_eq!(pool.open(path, 0).map(cookie), Ok(*there));
        std::thread::sleep(Duration::from_millis(15));
    }
}

/// The calling thread, and what it starts.
fn stay_on_one_processor() -> std::io::Result<()> {
    let all = sched_getaffinity(None)?;
    let mut one = CpuSet::new();
    one.set((0..CpuSet::MAX_CPU).find(|cpu| all.is_set(*cpu)).unwrap());
    Ok(sched_setaffinity(None, &one)?)
}

#[test]
fn without_memory_for_another_stack_the_helpers_there_are_serve_every_path() {
    const CHILD: &str = "NLNS_TEST_WITHOUT_MEMORY";
    if std::env::var_os(CHILD).is_none() {
        let _alone = ALONE.lock();
        // The limit is the process's, and whoever else allocates in it would fail.
        let test = "without_memory_for_another_stack_the_helpers_there_are_serve_every_path";
        let mut child = Command::new(std::env::current_exe().unwrap());
        let child = child.args(["--exact", test, "--nocapture"]).env(CHILD, "1");
        // Room for all that is not a stack (mallopt(3)): at the first small allocation that fails a
        // process ends, whatever it is.
        let child = child.env("MALLOC_ARENA_MAX", "1");
        let child = child.env("MALLOC_TOP_PAD_", "16777216");
        let output = std::thread::scope(|scope| {
            // For one processor one helper is enough; a second would find the stack of a thread that has ended.
            let first = scope.spawn(|| stay_on_one_processor().and_then(|()| child.output()));
            first.join().unwrap().unwrap()
        });
        assert!(output.status.success(), "{output:?}");
        return;
    }
    let names = Directory::new();
    let paths = (0..4).map(|n| names.make(&n.to_string()));
    let paths: Vec<_> = paths
        .map(|path| (path.clone(), oracle(&path, 0).unwrap()))
        .collect();
    let pool = Running::start(FOREVER);
    // Once they sleep they have all the memory that std gives a thread.
    eventually("manager, watcher, closer, helper", || sleeping("nlns") == 4);
    let limit = getrlimit(Resource::As);
    let pages = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: u64 = pages.split(' ').next().unwrap().parse().unwrap();
    let current = Some(pages * page_size() as u64);
    setrlimit(Resource::As, Rlimit { current, ..limit }).unwrap();
    for _ in 0..5 {
        settle(&pool, &paths);
    }
    assert_eq!(pool.0.info().started, 1);
    setrlimit(Resource::As, limit).unwrap();
    eventually("a second helper", || {
        settle(&pool, &paths);
        pool.0.info().started > 1
    });
}
