//! What can go wrong, and at which step.

use rustix::io::Errno;

/// How often in a row a call is made again whose failure may pass. With fewer, a storm of signals may become the
/// answer; with more, a file system that answers `EINTR` for ever holds a helper for long.
const ATTEMPTS: usize = 100;

/// Makes a call that a signal may interrupt (`EINTR`, signal(7)) until it was not. The pool's threads block
/// all signals but glibc's own, by which setuid(2) and its like reach every thread of a process.
pub(crate) fn uninterrupted<R>(call: impl FnMut() -> Result<R, Errno>) -> Result<R, Errno> {
    until_settled(call, |errno| errno == Errno::INTR)
}

/// The same for a call that something else in the system may disturb as well (`EAGAIN`): a lookup with
/// `RESOLVE_CACHED` fails so while anybody mounts or renames (openat2(2)).
pub(crate) fn undisturbed<R>(call: impl FnMut() -> Result<R, Errno>) -> Result<R, Errno> {
    until_settled(call, |errno| matches!(errno, Errno::INTR | Errno::AGAIN))
}

fn until_settled<R>(
    mut call: impl FnMut() -> Result<R, Errno>,
    may_pass: impl Fn(Errno) -> bool,
) -> Result<R, Errno> {
    for _ in 1..ATTEMPTS {
        match call() {
            Err(errno) if may_pass(errno) => {}
            result => return result,
        }
    }
    call()
}

/// The step that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// `open(2)` of the namespace file.
    Open,
    /// `setns(2)` into it.
    Setns,
    /// `socket(2)` inside it.
    Socket,
    /// `send(2)` of a netlink request.
    Send,
    /// `recv(2)` of its answer.
    Receive,
    /// Everything about threads and queues: limits, timeouts, a stopped pool.
    Thread,
}

/// Whether a call failed for want of what may be there the next time, descriptors or memory: that says nothing of
/// what the kernel can do.
pub(crate) fn is_shortage(errno: Errno) -> bool {
    matches!(errno, Errno::MFILE | Errno::NFILE | Errno::NOMEM)
}

/// A failed open: the step and the errno that the kernel (or the pool, in the kernel's words) gave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("{stage:?}: {}", std::io::Error::from_raw_os_error(*errno))]
pub struct Error {
    /// The step that failed.
    pub stage: Stage,
    /// Its `errno(3)`.
    pub errno: i32,
}

impl Error {
    /// `EAGAIN`: a full queue, or no helper to be had.
    pub const BUSY: Self = Self::new(Stage::Thread, Errno::AGAIN);
    /// `EIO`: the helper died with this request in its hand.
    pub const DIED: Self = Self::new(Stage::Thread, Errno::IO);
    /// `ETIMEDOUT`: there was no answer in time.
    pub const TIMED_OUT: Self = Self::new(Stage::Thread, Errno::TIMEDOUT);
    /// `ESHUTDOWN`: the pool is stopping, or was never started.
    pub const STOPPED: Self = Self::new(Stage::Thread, Errno::SHUTDOWN);

    /// An error of `stage` with the errno of `errno`.
    pub const fn new(stage: Stage, errno: Errno) -> Self {
        Self {
            stage,
            errno: errno.raw_os_error(),
        }
    }
}
