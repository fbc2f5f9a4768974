//! "Leave, and say so": what `release` asks of every helper that is inside.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::Error;

/// Told when nobody is left, or that it will not be.
pub(crate) type OnLeft = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// Shared by all the helpers that still have to leave; the last one to drop it announces that
/// nobody is left. A helper that dies drops it as well.
#[derive(Clone)]
pub(crate) struct LeaveRequest(Arc<Last>);

struct Last {
    on_left: Mutex<Option<OnLeft>>,
    /// It is one of so many.
    count: Arc<AtomicUsize>,
}

impl LeaveRequest {
    /// The caller has counted it, and it is counted until it is over.
    /// NB: `on_left` runs on the thread that drops the last clone, so the submitting thread must
    /// not keep one.
    pub(crate) fn new(on_left: OnLeft, count: Arc<AtomicUsize>) -> Self {
        let on_left = Mutex::new(Some(on_left));
        Self(Arc::new(Last { on_left, count }))
    }

    /// The pool is stopped, and whoever has yet to leave is not waited for.
    pub(crate) fn give_up(&self) {
        if let Some(on_left) = self.0.on_left.lock().take() {
            on_left(Err(Error::STOPPED));
        }
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        // First: who is told may release again at once.
        self.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(on_left) = self.on_left.get_mut().take() {
            on_left(Ok(()));
        }
    }
}
