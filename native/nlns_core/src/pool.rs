//! The pool as its users see it, and its owner: start, open, exchange, release, info, events, stop.

mod info;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::thread::sched_getcpu;

use crate::control::{Command, CommandSender};
use crate::error::Error;
use crate::events::{Event, Waker};
use crate::manager;
use crate::netlink::{Exchange, ExchangeReply};
use crate::netns::{NetnsKey, Spec};
use crate::reply::Reply;
use crate::request::{OnLeft, Request, Task};
use crate::shared::{Config, Shared};

pub use info::{HelperInfo, Info, State};

/// Owns helper threads, the paths they serve, and the manager that spawns and joins them. Dropping it stops
/// them.
pub struct Pool {
    shared: Arc<Shared>,
    is_stopped: AtomicBool,
}

impl Pool {
    /// Starts a pool: the calling thread spawns the manager, which spawns everything else.
    pub fn start(config: Config) -> std::io::Result<Self> {
        let (sender, commands) = CommandSender::channel();
        let shared = Arc::new(Shared::new(config, sender.clone()));
        manager::start(shared.clone(), sender, commands)?;
        Ok(Self {
            shared,
            is_stopped: AtomicBool::new(false),
        })
    }

    /// Asks for a socket in the namespace that a path names, or of the process that has a number now in this
    /// process's own pid namespace, whatever is mounted at `/proc`. One that gets the number later is not taken
    /// for it (Linux 5.3). The reply answers on a thread of the pool; if this returns an error it is dropped
    /// and the error is the answer.
    pub fn open<'a>(
        &self,
        netns: impl Into<NetnsKey<'a>>,
        spec: Spec,
        reply: Box<dyn Reply>,
    ) -> Result<(), Error> {
        self.submit(netns.into(), Task::Open(spec, reply))
    }

    /// Sends netlink requests in that namespace and answers with all that the kernel says; otherwise like
    /// [`open`](Self::open).
    pub fn exchange<'a>(
        &self,
        netns: impl Into<NetnsKey<'a>>,
        exchange: Exchange,
        reply: Box<dyn ExchangeReply>,
    ) -> Result<(), Error> {
        self.submit(netns.into(), Task::Exchange(Box::new(exchange), reply))
    }

    fn submit(&self, netns: NetnsKey<'_>, task: Task) -> Result<(), Error> {
        let shared = &self.shared;
        let process = match netns {
            NetnsKey::Path(_) => Ok(None),
            NetnsKey::Process(pid) => shared.registry().process(pid).map(Some),
        };
        let push = |process| {
            let cpu = sched_getcpu();
            let request = Request { task, process, cpu };
            let max_queue = shared.config().max_queue;
            shared.registry().push(netns, request, max_queue)
        };
        match process.and_then(push) {
            Ok(path) => {
                match path {
                    Some(path) => shared.schedule(path),
                    // A helper has it, or will. If that is blocked, nobody else may tell.
                    None => shared.request_ticks(),
                }
                Ok(())
            }
            Err(error) => {
                shared.stats().count(error);
                Err(error)
            }
        }
    }

    /// Makes every helper leave the namespace where `netns` led it, after the jobs that already wait for it.
    /// `on_left` is called on a thread of the pool when they have, or when the pool is stopped and does
    /// not wait for them. `false` if there is nothing to leave; then, and for an error, `on_left` is dropped.
    pub fn release<'a>(
        &self,
        netns: impl Into<NetnsKey<'a>>,
        on_left: OnLeft,
    ) -> Result<bool, Error> {
        let shared = &self.shared;
        let max_queue = shared.config().max_queue;
        let registry = shared.registry();
        let Some(path) = registry.push_release(netns.into(), on_left, max_queue)? else {
            return Ok(false);
        };
        if let Some(path) = path {
            shared.schedule(path);
        }
        Ok(true)
    }

    /// Takes up to `most` of the events since the first call, the oldest first. If there are none, `waker` is
    /// called with the next one, by a thread of the pool; it replaces the one before.
    pub fn events(&self, most: usize, waker: Waker) -> Vec<Event> {
        self.shared.events().fetch(most, waker)
    }

    /// Ends every thread of the pool, the manager last, which calls `stopped` with the number of threads that
    /// could not be joined because they are stuck in the kernel. What still waits is answered
    /// [`Error::STOPPED`]. Only the first call does anything.
    pub fn stop(&self, stopped: Box<dyn FnOnce(usize) + Send>) {
        if !self.is_stopped.swap(true, Ordering::SeqCst) {
            self.shared.stop();
            self.shared.command(Command::Stop(stopped));
        }
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.stop(Box::new(|_| {}));
    }
}
