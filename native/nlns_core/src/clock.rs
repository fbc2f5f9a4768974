//! The pool's one clock.

use std::time::{Duration, Instant};

/// Counts from the pool's start, so that a time fits an atomic integer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Duration {
        self.0.elapsed()
    }
}
