//! One namespace path in use: its queue, and the claim to serve it.

mod held_back;

use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use crossbeam_queue::SegQueue;
use parking_lot::Mutex;

use crate::claim::Claim;
use crate::error::Error;
use crate::netns::NetnsRef;
use crate::pidfd::Process;
use crate::request::{Job, LeaveRequest, OnLeft, Request};

use held_back::HeldBack;

/// How long a path keeps the helper that serves it, as far as its last turn tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Pace {
    /// No helper has entered it yet, or the last one could not.
    Unproven,
    /// It led into a namespace at once.
    Proven,
    /// The last one could not enter it, and finding out took long.
    SlowUnproven,
    /// It led into a namespace, but looking it up, or a request, took long.
    Slow,
}

impl Pace {
    pub(crate) fn is_unproven(self) -> bool {
        matches!(self, Self::Unproven | Self::SlowUnproven)
    }

    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Slow | Self::SlowUnproven)
    }
}

/// How many jobs there were to serve at one moment.
pub(crate) struct Due {
    held_back: usize,
    queued: usize,
}

impl Due {
    pub(crate) fn count(&self) -> usize {
        self.held_back + self.queued
    }
}

pub(crate) struct Path {
    netns: NetnsRef,
    /// Unbounded as a queue, bounded by `waiting` and `releases`: a bounded queue would take memory for its
    /// whole bound, per path, before the first request.
    queue: SegQueue<Job>,
    /// Jobs that came out of the queue too early.
    held_back: HeldBack,
    /// The cookie of the namespace that the last turn was in; 0 if that is not known.
    cookie: AtomicU64,
    /// It is in the list of paths that hold jobs back.
    pub(crate) is_listed: AtomicBool,
    /// At least the number of requests in both: raised before a push, lowered after a pop.
    waiting: AtomicUsize,
    /// The same for this path and others together.
    all_waiting: Arc<AtomicUsize>,
    /// Leave requests in the queue, and those for which helpers have yet to leave.
    releases: Arc<AtomicUsize>,
    /// Held by the place that has the path: the ready queue or one helper.
    claim: Claim,
    /// The process that the last request is for, while one waits for it.
    process: Mutex<Weak<Process>>,
    pace: AtomicU8,
    /// Helpers that are in a namespace through this path.
    pub(crate) inside: AtomicUsize,
    /// The key in the idle set of the helper that fell asleep here; 0 if none did (see [`crate::idle`]).
    pub(crate) sleeper: AtomicU64,
    /// The next sweep looks at it (see [`crate::registry`]).
    pub(crate) to_be_swept: AtomicBool,
}

impl Path {
    pub(crate) fn new(netns: NetnsRef, all_waiting: Arc<AtomicUsize>) -> Self {
        Self {
            netns,
            queue: SegQueue::new(),
            held_back: HeldBack::default(),
            cookie: AtomicU64::new(0),
            is_listed: AtomicBool::new(false),
            waiting: AtomicUsize::new(0),
            all_waiting,
            releases: Arc::default(),
            claim: Claim::default(),
            process: Mutex::default(),
            pace: AtomicU8::new(Pace::Unproven as u8),
            inside: AtomicUsize::new(0),
            sleeper: AtomicU64::new(0),
            to_be_swept: AtomicBool::new(false),
        }
    }

    /// What it leads to a namespace by.
    pub(crate) fn netns(&self) -> &NetnsRef {
        &self.netns
    }

    pub(crate) fn pace(&self) -> Pace {
        match self.pace.load(Ordering::Relaxed) {
            0 => Pace::Unproven,
            1 => Pace::Proven,
            2 => Pace::SlowUnproven,
            _ => Pace::Slow,
        }
    }

    /// Notes how a turn went. Only for the holder of the claim.
    pub(crate) fn set_pace(&self, pace: Pace) {
        if self.pace() != pace {
            self.pace.store(pace as u8, Ordering::Relaxed);
        }
    }

    /// Notes which namespace a turn is in, by its cookie. Only for the holder of the claim.
    pub(crate) fn set_cookie(&self, cookie: Option<u64>) {
        if self.cookie() != cookie {
            let cookie = cookie.unwrap_or_default();
            self.cookie.store(cookie, Ordering::Relaxed);
        }
    }

    pub(crate) fn cookie(&self) -> Option<u64> {
        Some(self.cookie.load(Ordering::Relaxed)).filter(|cookie| *cookie > 0)
    }

    /// Adds a request. `Some` path is to be scheduled by the caller.
    pub(crate) fn push(
        self: &Arc<Self>,
        request: Request,
        max_queue: usize,
    ) -> Result<Option<Arc<Self>>, Error> {
        count_one(&self.waiting, max_queue)?;
        self.all_waiting.fetch_add(1, Ordering::Relaxed);
        if let Some(process) = &request.process {
            *self.process.lock() = Arc::downgrade(process);
        }
        Ok(self.send(Job::Serve(request)))
    }

    /// Returns the process that a request waits for, unless it has ended.
    pub(crate) fn process(&self) -> Option<Arc<Process>> {
        let process = self.process.lock().upgrade();
        process.filter(|process| process.is_alive().is_ok())
    }

    /// Adds a leave request, likewise. There may be as many of them as of requests, so that neither is in the
    /// other's way. `on_left` of a refused one is not called.
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
        self.queue.push(job);
        self.claim.claim().then(|| self.clone())
    }

    /// Takes the next job, whether it may be served now or not.
    pub(crate) fn pop(&self) -> Option<Job> {
        let job = self.held_back.pop().or_else(|| self.queue.pop())?;
        Some(self.popped(job))
    }

    /// Takes the next job of those that were `due`, whether there is room for it or not. Only for the holder of the
    /// claim.
    pub(crate) fn pop_any(&self, due: &mut Due) -> Option<Job> {
        let count = match due.held_back {
            0 => &mut due.queued,
            _ => &mut due.held_back,
        };
        *count = count.checked_sub(1)?;
        self.pop()
    }

    /// Takes the next job of those that were `due` and may be served now. Only for the holder of the claim.
    pub(crate) fn pop_due(&self, due: &mut Due) -> Option<Job> {
        while due.held_back > 0 {
            due.held_back -= 1;
            match self.held_back.pop_due(self.cookie()) {
                Some(job) => return Some(self.popped(job)),
                None => due.held_back = 0,
            }
        }
        while due.queued > 0 {
            due.queued -= 1;
            let job = self.queue.pop()?;
            if let Some(job) = self.held_back.admit(job, self.cookie()) {
                return Some(self.popped(job));
            }
        }
        None
    }

    fn popped(&self, job: Job) -> Job {
        if !matches!(job, Job::Release(_)) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.all_waiting.fetch_sub(1, Ordering::Relaxed);
        }
        job
    }

    /// Returns how many jobs there are to serve now, whatever is pushed meanwhile: of those that were held
    /// back, and of the others, up to `most`.
    pub(crate) fn due(&self, most: usize) -> Due {
        Due {
            held_back: self.held_back.len().min(most),
            queued: self.queue.len().min(most),
        }
    }

    /// Returns how many jobs there are to pop now, whatever is pushed meanwhile.
    pub(crate) fn queued(&self) -> usize {
        self.due(usize::MAX).count()
    }

    #[cfg(test)]
    pub(crate) fn hold_back(&self, request: Request) {
        count_one(&self.waiting, usize::MAX).unwrap();
        self.all_waiting.fetch_add(1, Ordering::Relaxed);
        self.held_back.add(Job::Serve(request));
    }

    /// Returns how many of them are held back.
    pub(crate) fn held_back(&self) -> usize {
        self.held_back.len()
    }

    /// Takes the claim, if a job that was held back may be served now.
    pub(crate) fn claim_held_back(&self) -> bool {
        self.held_back.is_due(self.cookie()) && self.claim.claim()
    }

    /// Gives up the claim, unless jobs have come: then it stays with the caller.
    pub(crate) fn unschedule(&self) -> bool {
        self.claim.give_up(|| self.queue.is_empty())
    }

    /// Returns whether nothing refers to a namespace or a request through this path.
    ///
    /// Note: a lasting answer only while nothing can be pushed.
    pub(crate) fn is_unused(&self) -> bool {
        !self.claim.is_taken()
            && self.queue.is_empty()
            && self.held_back() == 0
            && self.inside.load(Ordering::SeqCst) == 0
    }
}

/// Counts one more, unless there are `most`.
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
    use crate::netns::Spec;
    use crate::reply::Reply;
    use crate::request::Task;
    use crate::socket::Socket;

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

    pub(crate) fn path() -> Arc<Path> {
        Arc::new(Path::new(NetnsRef::Path(c"x".into()), Arc::default()))
    }

    #[test]
    fn only_push_to_idle_path_schedules() {
        let path = path();
        assert!(matches!(path.push(request(), 9), Ok(Some(_))));
        assert!(matches!(path.push(request(), 9), Ok(None)));
        assert!(matches!(path.push_release(Box::new(|_| {}), 9), Ok(None)));
        assert!(!path.unschedule());
        assert_eq!(std::iter::from_fn(|| path.pop()).count(), 3);
        assert!(path.unschedule() && path.is_unused());
        assert!(matches!(path.push(request(), 9), Ok(Some(_))));
    }

    #[test]
    fn full_queue_refuses_until_a_pop() {
        let path = path();
        assert!(path.push(request(), 2).is_ok() && path.push(request(), 2).is_ok());
        assert!(path.push(request(), 2).is_err());
        assert!(path.push_release(Box::new(|_| {}), 2).is_ok());
        assert!(path.push(request(), 2).is_err());
        assert!(path.pop().is_some());
        assert!(path.push(request(), 2).is_ok());
    }

    #[test]
    fn pending_releases_are_bounded() {
        let path = path();
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

    #[test]
    fn pace_is_what_was_noted_last() {
        let path = path();
        assert_eq!(path.pace(), Pace::Unproven);
        for pace in [Pace::Slow, Pace::SlowUnproven, Pace::Proven, Pace::Unproven] {
            path.set_pace(pace);
            assert_eq!(path.pace(), pace);
        }
    }
}
