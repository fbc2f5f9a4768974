//! What an explanation of an error asks, long after the open.

/// Whether a process has this number and has not ended; `nil` where the kernel gives no pidfd.
#[rustler::nif]
fn is_running(pid: i32) -> Option<bool> {
    nlns_core::is_running(pid)
}
