//! What can go wrong, and at which step.

use rustix::io::Errno;

/// The step of an open that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// `open(2)` of the namespace file.
    Open,
    /// `setns(2)` into it.
    Setns,
    /// `socket(2)` inside it.
    Socket,
    /// Everything about threads and queues: limits, timeouts, a stopped pool.
    Thread,
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
