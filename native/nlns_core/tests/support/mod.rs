//! What the tests share: namespaces, a pool with callers, the kernel's failures, waits.
#![allow(dead_code, unused_imports, reason = "each test file uses its part")]

pub mod faults;
mod mark;
pub mod netlink;
pub mod netns;
mod pool;
pub mod processors;
mod seccomp;
mod threads;

use std::io::Write;
use std::time::{Duration, Instant};

use parking_lot::{Mutex, MutexGuard};

pub use pool::*;
pub use threads::*;

/// Far beyond what anything here takes on a busy machine; a test that gets here has failed. An emulated machine
/// says by what it is to be multiplied.
pub fn patience() -> Duration {
    let factor = std::env::var("NLNS_TEST_PATIENCE").map_or(1, |factor| factor.parse().unwrap());
    Duration::from_secs(60) * factor
}

/// Has tests run one at a time that count the threads or descriptors of the process.
pub fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock()
}

/// A bounded wait for something that has no event to wait for.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + patience();
    while !condition() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Says that a test shows nothing here, where it is seen: what is printed is shown for failures only.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {test}: {why}");
}

/// Whether the running kernel is older than what has `feature`; if so, says that a test shows nothing.
pub fn lacks(since: (u32, u32), feature: &str) -> bool {
    let system = rustix::system::uname();
    // "6.1.0-50-amd64"
    let release = system.release().to_string_lossy();
    let mut numbers = release.split('.').map(|n| n.parse().unwrap_or(0));
    let lacks = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < since;
    if lacks {
        skipped(&format!(
            "Linux has {feature} since {}.{}",
            since.0, since.1
        ));
    }
    lacks
}
