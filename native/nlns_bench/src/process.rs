//! What an open costs the whole process, helper threads and dirty schedulers included.

use rustix::time::{ClockId, clock_gettime};

/// CPU time of all threads so far, user and system, in ns. The ticks of /proc/self/stat are 10 ms,
/// too coarse for a round.
#[rustler::nif]
fn cpu_time() -> i64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}
