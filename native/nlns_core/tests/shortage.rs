//! What a pool does where it can have no more threads, or no memory for them.

mod support;

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::param::page_size;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{sched_getaffinity, sched_setaffinity};

use support::faults::under_faults;
use support::netns::{Directory, cookie, oracle};
use support::processors::{numbers, only};
use support::{FOREVER, Running, alone, eventually, open_and_settle, patience, sleeping};

#[test]
fn existing_helpers_serve_all_without_threads() {
    let Some((pool, faults, _, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    let paths: Vec<_> = (0..6).map(|n| names.make(&n.to_string())).collect();
    faults.fail_threads(libc::EAGAIN);
    for _ in 0..20 {
        pool.assert_each_is_served(&paths);
    }
    assert_eq!(pool.0.info().started, 1);
}

#[test]
fn stuck_helper_replaced_once_threads_start() {
    let Some((pool, faults, sick, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    let well = names.make("b");
    let let_go = pool.hold_now(sick);
    faults.fail_threads(libc::EAGAIN);
    let tried = faults.asked_for_threads();
    let waits = pool.ask(&well, 0).unwrap();
    eventually("a helper was wanted", || faults.asked_for_threads() > tried);
    assert!(waits.try_recv().is_err());
    faults.heal();
    assert!(waits.recv_timeout(patience()).unwrap().is_ok());
    assert!(pool.open(&well, 0).is_ok());
    drop(let_go);
}

/// Opens in each while there is one helper, which settles in each, so that there is none for the next.
fn move_on(pool: &Running, paths: &[(PathBuf, u64)]) {
    for (path, there) in paths {
        if pool.0.info().started == 1 {
            open_and_settle(pool, path);
        }
        assert_eq!(pool.open(path, 0).map(cookie), Ok(*there));
        // For a millisecond after it fell asleep it is the first to be woken, wherever it is.
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// The calling thread, and what it starts.
fn stay_on_one_processor() -> std::io::Result<()> {
    Ok(sched_setaffinity(
        None,
        &only(numbers(&sched_getaffinity(None)?)[0]),
    )?)
}

#[test]
fn existing_helpers_serve_all_without_memory() {
    const CHILD: &str = "NLNS_TEST_WITHOUT_MEMORY";
    if std::env::var_os(CHILD).is_none() {
        let _alone = alone();
        // The limit is the process's, so other threads that allocate would fail.
        let test = "existing_helpers_serve_all_without_memory";
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
        move_on(&pool, &paths);
    }
    assert_eq!(pool.0.info().started, 1);
    setrlimit(Resource::As, limit).unwrap();
    eventually("a second helper", || {
        move_on(&pool, &paths);
        pool.0.info().started > 1
    });
}
