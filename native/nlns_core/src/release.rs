//! "Leave, and say so": what `release` asks of every helper that is inside.

use std::sync::Arc;

use parking_lot::Mutex;

type Announce = Box<dyn FnOnce() + Send>;

/// Shared by all the helpers that still have to leave; the last one to drop it announces that
/// nobody is left. A helper that dies drops it as well.
#[derive(Clone)]
pub(crate) struct Departure(Arc<Last>);

struct Last(Mutex<Option<Announce>>);

impl Departure {
    /// NB: `announce` runs on the thread that drops the last clone, so the submitting thread must
    /// not keep one.
    pub(crate) fn new(announce: impl FnOnce() + Send + 'static) -> Self {
        Self(Arc::new(Last(Mutex::new(Some(Box::new(announce))))))
    }

    /// Nobody will leave for it, and nothing is announced.
    pub(crate) fn withdraw(&self) {
        drop(self.0.0.lock().take());
    }
}

impl Drop for Last {
    fn drop(&mut self) {
        if let Some(announce) = self.0.get_mut().take() {
            announce();
        }
    }
}
