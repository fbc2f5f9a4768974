//! Which processors the calling thread may run on.

use rustix::io::Errno;
use rustix::process::getpid;
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Those that the process was given, which the main thread has: a scheduler may be bound to one of them.
fn of_process() -> Result<CpuSet, Errno> {
    sched_getaffinity(Some(getpid()))
}

/// Lets the calling thread run wherever the process may. Where that cannot be had, it stays as it is.
pub(crate) fn run_anywhere() {
    let _ = of_process().and_then(|cpus| sched_setaffinity(None, &cpus));
}

/// Keeps the calling thread on one processor; `false` if that is not for this process.
pub(crate) fn run_on(cpu: usize) -> bool {
    if cpu >= CpuSet::MAX_CPU || !of_process().is_ok_and(|cpus| cpus.is_set(cpu)) {
        return false;
    }
    let mut only = CpuSet::new();
    only.set(cpu);
    sched_setaffinity(None, &only).is_ok()
}
