//! What has happened since the start.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Stage};
use crate::path::Reply;

#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) opened: AtomicU64,
    pub(crate) exchanged: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) cancelled: AtomicU64,
    pub(crate) entered: AtomicU64,
    pub(crate) started: AtomicU64,
    pub(crate) died: AtomicU64,
    pub(crate) woken: AtomicU64,
}

impl Counters {
    /// Counts an error by what it is: a refusal is an answer of the stage `Thread`, whoever gives it, but for
    /// a helper's own end.
    /// NB: before it is answered, so that whoever has the answer finds it counted.
    pub(crate) fn count(&self, error: Error) {
        let counter = match error {
            Error::DIED => &self.failed,
            _ if error.stage == Stage::Thread => &self.refused,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers a request that is not served, if anybody wants it, and counts it.
    pub(crate) fn answer<T>(&self, reply: Box<impl Reply<T> + ?Sized>, error: Error) {
        if reply.is_wanted() {
            self.count(error);
            reply.answer(Err(error));
        } else {
            self.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }
}
