//! What waits in a path's queue: a request and the reply to it, or a request to leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::closer::Lane;
use crate::error::Error;
use crate::netlink::{Exchange, ExchangeReply};
use crate::netns::Spec;
use crate::pidfd::Process;
use crate::reply::Reply;

/// What a helper is to do in a namespace, and for whom.
pub(crate) enum Task {
    Open(Spec, Box<dyn Reply>),
    Exchange(Box<Exchange>, Box<dyn ExchangeReply>),
}

impl Task {
    fn caller(&self) -> u64 {
        match self {
            Self::Open(_, reply) => reply.caller(),
            Self::Exchange(_, reply) => reply.caller(),
        }
    }

    fn lane(&self) -> Option<Lane> {
        let spec = match self {
            Self::Open(spec, reply) if reply.is_wanted() => *spec,
            Self::Exchange(exchange, reply) if reply.is_wanted() => {
                Spec::netlink(exchange.protocol)
            }
            // What was cancelled opens nothing.
            Self::Open(..) | Self::Exchange(..) => return None,
        };
        spec.close_cost().lane(false)
    }
}

/// One task, and what it depends on.
pub(crate) struct Request {
    pub(crate) task: Task,
    /// The process that must still be behind the path when it is served, if there is one to be proven. Requests
    /// that wait for the same one share its pidfd.
    pub(crate) process: Option<Arc<Process>>,
    /// The processor that the caller was on.
    pub(crate) cpu: usize,
}

pub(crate) enum Job {
    Serve(Request),
    Release(LeaveRequest),
}

impl Job {
    /// Returns whose it is. A release is nobody's, and after everybody's.
    pub(crate) fn caller(&self) -> Option<u64> {
        match self {
            Self::Serve(request) => Some(request.task.caller()),
            Self::Release(_) => None,
        }
    }

    /// Returns where a socket that it opens is closed, if that is slow even for an unused one.
    fn lane(&self) -> Option<Lane> {
        match self {
            Self::Serve(request) => request.task.lane(),
            Self::Release(_) => None,
        }
    }

    pub(crate) fn needs_room(&self) -> bool {
        self.lane().is_some()
    }

    /// Returns whether it may be served now, in the namespace of this cookie.
    pub(crate) fn has_room(&self, netns: Option<u64>) -> bool {
        self.lane().is_none_or(|lane| lane.has_room(netns))
    }
}

/// Told when no helper is left, or that nobody waits for that any more.
pub(crate) type OnLeft = Box<dyn FnOnce(Result<(), Error>) + Send>;

/// "Leave, and say so": what a release asks of every helper that is inside.
///
/// Shared by all the helpers that still have to leave. The last one to drop it calls `on_left`. A helper
/// that dies drops it as well.
#[derive(Clone)]
pub(crate) struct LeaveRequest(Arc<Pending>);

struct Pending {
    on_left: Mutex<Option<OnLeft>>,
    /// The number of pending leave requests of its path, this one included.
    count: Arc<AtomicUsize>,
}

impl LeaveRequest {
    /// Makes one that the caller has counted; it stays counted until it is over.
    ///
    /// Note: `on_left` runs on the thread that drops the last clone, so the submitting thread must not keep
    /// one.
    pub(crate) fn new(on_left: OnLeft, count: Arc<AtomicUsize>) -> Self {
        let on_left = Mutex::new(Some(on_left));
        Self(Arc::new(Pending { on_left, count }))
    }

    /// Fails it: the pool stops and does not wait for helpers that have yet to leave.
    pub(crate) fn fail(&self) {
        if let Some(on_left) = self.0.on_left.lock().take() {
            on_left(Err(Error::STOPPED));
        }
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        // First, because the caller may release again as soon as it is told.
        self.count.fetch_sub(1, Ordering::Relaxed);
        if let Some(on_left) = self.on_left.get_mut().take() {
            on_left(Ok(()));
        }
    }
}
