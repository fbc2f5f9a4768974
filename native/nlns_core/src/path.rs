//! One namespace path in use: its queue, and who may serve it.

use std::ffi::CStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::claim::Claim;
use crate::counters::Counters;
use crate::error::Error;
use crate::netlink::{Exchange, ExchangeReply};
use crate::netns::Spec;
use crate::process::Process;
use crate::release::{LeaveRequest, OnLeft};
use crate::socket::Socket;

/// How an answer leaves the pool. Called on a thread of the pool, never on the submitter's.
pub trait Reply<T = Socket>: Send {
    /// Whether anybody still waits; if not, the request is dropped without an answer.
    fn is_wanted(&self) -> bool;
    /// The one answer.
    fn answer(self: Box<Self>, result: Result<T, Error>);
}

/// What a helper is to do in a namespace, and for whom.
pub(crate) enum Task {
    Open(Spec, Box<dyn Reply>),
    Exchange(Box<Exchange>, Box<dyn ExchangeReply>),
}

impl Task {
    /// Answers what is not to be done.
    pub(crate) fn refuse(self, counters: &Counters, error: Error) {
        match self {
            Self::Open(_, reply) => counters.answer(reply, error),
            Self::Exchange(_, reply) => counters.answer(reply, error),
        }
    }
}

/// One task, and what it depends on.
pub(crate) struct Request {
    pub(crate) task: Task,
    /// The process that must still be behind the path when it is served, if there is one to be proven.
    pub(crate) process: Option<Process>,
    /// The processor that the caller was on.
    pub(crate) cpu: usize,
}

/// What waits in a queue.
pub(crate) enum Job {
    Serve(Request),
    Release(LeaveRequest),
}

pub(crate) struct Path {
    name: Arc<CStr>,
    /// Unbounded as a channel, bounded by `waiting` and `releases`: a bounded channel would take memory
    /// for its whole bound, per path, before the first request.
    queue: (Sender<Job>, Receiver<Job>),
    /// At least the number of requests in the queue: raised before a push, lowered after a pop.
    waiting: AtomicUsize,
    /// The same for this path and others together.
    all_waiting: Arc<AtomicUsize>,
    /// Releases in the queue, and those for which helpers have yet to leave.
    releases: Arc<AtomicUsize>,
    /// Whoever has it, the ready queue or one helper, has the path.
    scheduled: Claim,
    /// Helpers that are in a namespace through this path.
    pub(crate) inside: AtomicUsize,
    /// The bed of the helper that fell asleep here last (see [`crate::crew`]); 0 if none did.
    pub(crate) sleeper: AtomicU64,
    /// It is among those that the next sweep looks at (see [`crate::registry`]).
    pub(crate) to_be_swept: AtomicBool,
}

impl Path {
    pub(crate) fn new(name: Arc<CStr>, all_waiting: Arc<AtomicUsize>) -> Self {
        Self {
            name,
            queue: unbounded(),
            waiting: AtomicUsize::new(0),
            all_waiting,
            releases: Arc::default(),
            scheduled: Claim::default(),
            inside: AtomicUsize::new(0),
            sleeper: AtomicU64::new(0),
            to_be_swept: AtomicBool::new(false),
        }
    }

    pub(crate) fn name(&self) -> &CStr {
        &self.name
    }

    /// Adds a request. `Some` path is to be scheduled by the caller.
    pub(crate) fn push(
        self: &Arc<Self>,
        request: Request,
        max_queue: usize,
    ) -> Result<Option<Arc<Self>>, Error> {
        count_one(&self.waiting, max_queue)?;
        self.all_waiting.fetch_add(1, Ordering::Relaxed);
        Ok(self.send(Job::Serve(request)))
    }

    /// Adds a release, likewise; there may be as many as requests, so that neither is in the other's way.
    /// One that is refused is not announced.
    pub(crate) fn push_release(
        self: &Arc<Self>,
        on_left: OnLeft,
        max_queue: usize,
    ) -> Result<Option<Arc<Self>>, Error> {
        count_one(&self.releases, max_queue)?;
        let leave_request = LeaveRequest::new(on_left, self.releases.clone());
        Ok(self.send(Job::Release(leave_request)))
    }

    fn send(self: &Arc<Self>, job: Job) -> Option<Arc<Self>> {
        // Both ends live in `self`, so the channel is never disconnected.
        let _ = self.queue.0.send(job);
        self.scheduled.claim().then(|| self.clone())
    }

    pub(crate) fn pop(&self) -> Option<Job> {
        let job = self.queue.1.try_recv().ok()?;
        if let Job::Serve(_) = job {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.all_waiting.fetch_sub(1, Ordering::Relaxed);
        }
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

/// One more, unless there are `most`.
fn count_one(count: &AtomicUsize, most: usize) -> Result<(), Error> {
    if count.fetch_add(1, Ordering::Relaxed) >= most {
        count.fetch_sub(1, Ordering::Relaxed);
        return Err(Error::BUSY);
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    struct Nobody;

    impl Reply for Nobody {
        fn is_wanted(&self) -> bool {
            false
        }
        fn answer(self: Box<Self>, _result: Result<Socket, Error>) {}
    }

    pub(crate) fn request() -> Request {
        Request {
            task: Task::Open(Spec::netlink(0), Box::new(Nobody)),
            process: None,
            cpu: 0,
        }
    }

    #[test]
    fn only_the_push_that_finds_it_idle_schedules() {
        let path = Arc::new(Path::new(c"x".into(), Arc::default()));
        assert!(matches!(path.push(request(), 9), Ok(Some(_))));
        assert!(matches!(path.push(request(), 9), Ok(None)));
        assert!(matches!(path.push_release(Box::new(|_| {}), 9), Ok(None)));
        assert!(!path.unschedule());
        assert_eq!(std::iter::from_fn(|| path.pop()).count(), 3);
        assert!(path.unschedule() && path.is_unused());
        assert!(matches!(path.push(request(), 9), Ok(Some(_))));
    }

    #[test]
    fn a_full_queue_refuses_requests_until_one_was_taken() {
        let path = Arc::new(Path::new(c"x".into(), Arc::default()));
        assert!(path.push(request(), 2).is_ok() && path.push(request(), 2).is_ok());
        assert!(path.push(request(), 2).is_err());
        assert!(path.push_release(Box::new(|_| {}), 2).is_ok());
        assert!(path.push(request(), 2).is_err());
        assert!(path.pop().is_some());
        assert!(path.push(request(), 2).is_ok());
    }

    #[test]
    fn as_many_releases_and_no_more_may_not_be_over() {
        let path = Arc::new(Path::new(c"x".into(), Arc::default()));
        let said = Arc::new(AtomicUsize::new(0));
        let release = || {
            let said = said.clone();
            path.push_release(
                Box::new(move |_| _ = said.fetch_add(1, Ordering::SeqCst)),
                2,
            )
        };
        assert!(release().is_ok() && release().is_ok());
        assert_eq!(release().err(), Some(Error::BUSY));
        assert!(path.push(request(), 1).is_ok());
        // Taken from the queue it is not over: helpers have yet to leave.
        let leaving = path.pop();
        assert_eq!(release().err(), Some(Error::BUSY));
        assert_eq!(said.load(Ordering::SeqCst), 0);
        drop(leaving);
        assert_eq!(said.load(Ordering::SeqCst), 1);
        assert!(release().is_ok());
    }
}
