//! Counters since the start. They are told, and ask nobody.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Stage};
use crate::reply::Reply;
use crate::request::Task;

#[derive(Default)]
pub(crate) struct Stats {
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

impl Stats {
    /// Counts an error by what it is: an answer of the stage `Thread` is a refusal, except a
    /// helper's own end, and a timeout, which is the caller's.
    ///
    /// Note: before it is answered, so that a caller that has the answer finds it counted.
    pub(crate) fn count(&self, error: Error) {
        let counter = match error {
            Error::DIED => &self.failed,
            Error::TIMED_OUT => &self.cancelled,
            _ if error.stage == Stage::Thread => &self.refused,
            _ => &self.failed,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Answers a request that is not served, if anybody wants it, and counts it.
    pub(crate) fn refuse<T>(&self, reply: Box<impl Reply<T> + ?Sized>, error: Error) {
        if reply.is_wanted() {
            self.count(error);
            reply.answer(Err(error));
        } else {
            self.cancelled.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Does so for a task.
    pub(crate) fn refuse_task(&self, task: Task, error: Error) {
        match task {
            Task::Open(_, reply) => self.refuse(reply, error),
            Task::Exchange(_, reply) => self.refuse(reply, error),
        }
    }
}
