//! One namespace path in use: its queue, and who may serve it.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::error::Error;
use crate::netns::Spec;
use crate::process::Process;
use crate::release::Departure;
use crate::right::Right;
use crate::socket::Socket;

/// How an answer leaves the pool. Called on a thread of the pool, never on the submitter's.
pub trait Reply: Send {
    /// Whether anybody still waits; if not, the request is dropped without an answer.
    fn is_wanted(&self) -> bool;
    /// The one answer.
    fn answer(self: Box<Self>, result: Result<Socket, Error>);
}

/// One socket to be opened.
pub(crate) struct Request {
    pub(crate) spec: Spec,
    /// The process that must still be behind the path when it is served.
    pub(crate) process: Option<Process>,
    pub(crate) reply: Box<dyn Reply>,
    /// The processor that the caller was on.
    pub(crate) cpu: usize,
}

/// What waits in a queue.
pub(crate) enum Job {
    Open(Request),
    Release(Departure),
}

pub(crate) struct Path {
    name: Arc<CStr>,
    /// Unbounded as a channel, bounded by `waiting`: a bounded channel would take memory for its
    /// whole bound, per path, before the first request.
    queue: (Sender<Job>, Receiver<Job>),
    /// At least the number of jobs in the queue: raised before a push, lowered after a pop.
    waiting: AtomicUsize,
    /// Whoever has it, the ready queue or one helper, has the path.
    scheduled: Right,
    /// Helpers that are in a namespace through this path.
    pub(crate) inside: AtomicUsize,
    /// The bed of the helper that fell asleep here last (see [`crate::crew`]); 0 if none did.
    pub(crate) sleeper: AtomicU64,
}

impl Path {
    pub(crate) fn new(name: Arc<CStr>) -> Self {
        Self {
            name,
            queue: unbounded(),
            waiting: AtomicUsize::new(0),
            scheduled: Right::default(),
            inside: AtomicUsize::new(0),
            sleeper: AtomicU64::new(0),
        }
    }

    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Adds a job. `Ok(true)` obliges the caller to schedule the path.
    pub(crate) fn push(&self, job: Job, max_queue: usize) -> Result<bool, Job> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= max_queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(job);
        }
        // Both ends live in `self`, so the channel is never disconnected.
        let _ = self.queue.0.send(job);
        Ok(self.scheduled.claim())
    }

    pub(crate) fn pop(&self) -> Option<Job> {
        let job = self.queue.1.try_recv().ok()?;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        Some(job)
    }

    /// How many jobs there are to pop now, whatever is pushed meanwhile.
    pub(crate) fn queued(&self) -> usize {
        self.queue.1.len()
    }

    /// Gives up the right to serve, unless jobs have come: then it stays with the caller.
    pub(crate) fn unschedule(&self) -> bool {
        self.scheduled.give_up(|| self.queue.1.is_empty())
    }

    /// Whether nothing refers to a namespace or a request through this path.
    /// NB: a lasting answer only while nothing can be pushed.
    pub(crate) fn is_unused(&self) -> bool {
        !self.scheduled.is_taken()
            && self.queue.1.is_empty()
            && self.inside.load(Ordering::SeqCst) == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job() -> Job {
        Job::Release(Departure::new(|| {}))
    }

    #[test]
    fn only_the_push_that_finds_it_idle_schedules() {
        let path = Path::new(c"x".into());
        assert!(matches!(path.push(job(), 9), Ok(true)));
        assert!(matches!(path.push(job(), 9), Ok(false)));
        assert!(!path.unschedule());
        assert!(path.pop().is_some() && path.pop().is_some() && path.pop().is_none());
        assert!(path.unschedule() && path.is_unused());
        assert!(matches!(path.push(job(), 9), Ok(true)));
    }

    #[test]
    fn a_full_queue_gives_the_job_back() {
        let path = Path::new(c"x".into());
        assert!(path.push(job(), 2).is_ok() && path.push(job(), 2).is_ok());
        assert!(path.push(job(), 2).is_err());
        assert!(path.pop().is_some());
        assert!(path.push(job(), 2).is_ok());
    }
}
