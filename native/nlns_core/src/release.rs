//! "Leave, and say so": what `release` asks of every helper that is inside.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::error::Error;

/// Told when nobody is left, or that it will not be.
pub(crate) type Announce = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// Shared by all the helpers that still have to leave; the last one to drop it announces that
/// nobody is left. A helper that dies drops it as well.
#[derive(Clone)]
pub(crate) struct Departure(Arc<Last>);

struct Last {
    announce: Mutex<Option<Announce>>,
    /// It is one of so many.
    count: Arc<AtomicUsize>,
}

impl Departure {
    /// The caller has counted it, and it is counted until it is over.
    /// NB: `announce` runs on the thread that drops the last clone, so the submitting thread must
    /// not keep one.
    pub(crate) fn new(announce: Announce, count: Arc<AtomicUsize>) -> Self {
        let announce = Mutex::new(Some(announce));
        Self(Arc::new(Last { announce, count }))
    }

    /// The pool is stopped, and whoever has yet to leave is not waited for.
    pub(crate) fn give_up(&self) {
        if let Some(announce) = self.0.announce.lock().take() {
            announce(Err(Error::STOPPED));
        }
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        // First: who is told may release again at once.
        self.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(announce) = self.announce.get_mut().take() {
            announce(Ok(()));
        }
    }
}
