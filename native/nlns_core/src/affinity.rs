//! Which processors the calling thread may run on.

use rustix::io::Errno;
use rustix::process::{Pid, getpid};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Those that the process was given, which the main thread has: a scheduler may be bound to one of them.
fn of_process() -> Result<CpuSet, Errno> {
    sched_getaffinity(Some(getpid()))
}

/// Lets a thread, the calling one if `None`, run wherever the process may. Where that cannot be had, it stays as it is.
///
/// What a thread has asked for outlasts a change of its cpuset (since Linux 6.2), which may be given more
/// processors later. So it asks for all of them, and for fewer only where the process does not have all
/// that its cpuset grants.
pub(crate) fn run_anywhere(thread: Option<Pid>) {
    let _ = sched_setaffinity(thread, &all()).and_then(|()| {
        let granted = sched_getaffinity(thread)?;
        let cpus = of_process()?;
        match cpus == granted {
            true => Ok(()),
            false => sched_setaffinity(thread, &cpus),
        }
    });
}

fn all() -> CpuSet {
    let mut all = CpuSet::new();
    (0..CpuSet::MAX_CPU).for_each(|cpu| all.set(cpu));
    all
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
