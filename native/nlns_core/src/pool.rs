//! The pool as its users see it: start, open, release, look, stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, unbounded};
use once_cell::sync::OnceCell;
use rustix::thread::sched_getcpu;

use crate::control::{Command, CommandSender};
use crate::counters::Counters;
use crate::crew::{Called, Crew};
use crate::error::Error;
use crate::events::Observer;
use crate::manager;
use crate::netlink::{Exchange, ExchangeReply};
use crate::netns::{Host, Spec};
use crate::path::{Path, Reply, Request, Task};
use crate::process::Process;
use crate::registry::Registry;
use crate::release::OnLeft;
use crate::spin::Spin;
use crate::watcher::Watcher;

/// Where something is asked for.
#[derive(Clone, Copy, Debug)]
pub enum Place<'a> {
    /// In the namespace that this path names.
    Path(&'a [u8]),
    /// In that of the process that has this number now.
    Process(i32),
}

/// The pool's bounds.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// The most helper threads there may ever be, at least 1.
    pub max_helpers: usize,
    /// How long a helper stays in a namespace that is not used; `None`: until it is told to leave.
    pub idle_timeout: Option<Duration>,
    /// The most requests that may wait for one path, and the most releases.
    pub max_queue: usize,
}

/// Helper threads, the paths they serve, and the manager that starts and buries them.
pub struct Pool {
    pub(crate) config: Config,
    /// Found by the manager before it starts the first helper.
    pub(crate) host: OnceCell<Host>,
    /// The same; none if the system has no watches to give.
    pub(crate) watcher: OnceCell<Arc<Watcher>>,
    pub(crate) registry: Registry,
    /// Paths with requests that no helper is serving; each is in it at most once.
    pub(crate) ready: (Sender<Arc<Path>>, Receiver<Arc<Path>>),
    pub(crate) crew: Crew,
    pub(crate) spin: Spin,
    pub(crate) manager: CommandSender,
    /// While set, the manager looks every few milliseconds: whether ready paths are served, whether helpers
    /// kept on one processor get their turn, and which naps are over.
    pub(crate) watched: AtomicBool,
    pub(crate) counters: Counters,
    pub(crate) observer: Observer,
    stopping: AtomicBool,
    epoch: Instant,
}

impl Pool {
    /// Starts a pool: its manager at once, by the calling thread, everything else by the manager.
    pub fn start(config: Config) -> std::io::Result<Arc<Self>> {
        let (manager, commands) = CommandSender::channel();
        let epoch = Instant::now();
        let pool = Arc::new(Self {
            config,
            host: OnceCell::new(),
            watcher: OnceCell::new(),
            registry: Registry::new(),
            ready: unbounded(),
            crew: Crew::new(config.max_helpers, epoch),
            spin: Spin::new(),
            manager,
            watched: AtomicBool::new(false),
            counters: Counters::default(),
            observer: Observer::default(),
            stopping: AtomicBool::new(false),
            epoch,
        });
        manager::start(pool.clone(), commands)?;
        Ok(pool)
    }

    /// Asks for a socket in the namespace that `path` names. The reply answers on a thread of the
    /// pool; if this returns an error it is dropped and the error is the answer.
    pub fn open(&self, path: &[u8], spec: Spec, reply: Box<dyn Reply>) -> Result<(), Error> {
        self.submit(Place::Path(path), Task::Open(spec, reply))
    }

    /// The same for the namespace of the process that has the number `pid` now; one that gets the
    /// number later is not taken for it (Linux 5.3).
    pub fn open_process(&self, pid: i32, spec: Spec, reply: Box<dyn Reply>) -> Result<(), Error> {
        self.submit(Place::Process(pid), Task::Open(spec, reply))
    }

    /// Sends netlink requests in that namespace and answers with all that the kernel says; otherwise like
    /// [`open`](Self::open) and [`open_process`](Self::open_process).
    pub fn exchange(
        &self,
        place: Place<'_>,
        exchange: Exchange,
        reply: Box<dyn ExchangeReply>,
    ) -> Result<(), Error> {
        self.submit(place, Task::Exchange(Box::new(exchange), reply))
    }

    fn submit(&self, place: Place<'_>, task: Task) -> Result<(), Error> {
        let request = |process| Request {
            task,
            process,
            cpu: sched_getcpu(),
        };
        match place {
            Place::Path(path) => self.push(path, Ok(request(None))),
            Place::Process(pid) => {
                let path = format!("/proc/{pid}/ns/net");
                self.push(path.as_bytes(), Process::find(pid).map(request))
            }
        }
    }

    fn push(&self, path: &[u8], request: Result<Request, Error>) -> Result<(), Error> {
        let push = |request| self.registry.push(path, request, self.config.max_queue);
        match request.and_then(push) {
            Ok(path) => {
                self.schedule(path);
                Ok(())
            }
            Err(error) => {
                self.counters.count(error);
                Err(error)
            }
        }
    }

    /// Makes every helper leave the namespace where `path` led it, after what already waits for the
    /// path was served. `released` is called on a thread of the pool when they have, or when the pool is
    /// stopped and does not wait for them. `false` if there is nothing to leave; then, and for an error,
    /// `released` is dropped.
    pub fn release(&self, path: &[u8], released: OnLeft) -> Result<bool, Error> {
        let max_queue = self.config.max_queue;
        let Some(path) = self.registry.push_release(path, released, max_queue)? else {
            return Ok(false);
        };
        self.schedule(path);
        Ok(true)
    }

    /// Ends every thread of the pool, the manager last, which calls `stopped` with the number of
    /// threads that could not be joined because they are stuck in the kernel.
    /// What still waits is answered [`Error::STOPPED`]. To be called once.
    pub fn stop(&self, stopped: Box<dyn FnOnce(usize) + Send>) {
        self.stopping.store(true, Ordering::SeqCst);
        self.manager.send(Command::Stop(stopped));
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::SeqCst)
    }

    /// Time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.epoch.elapsed()
    }

    pub(crate) fn make_ready(&self, path: Arc<Path>) {
        // Both ends live in `self`, so the channel is never disconnected.
        let _ = self.ready.0.send(path);
    }

    pub(crate) fn next_ready(&self) -> Option<Arc<Path>> {
        self.ready.1.try_recv().ok()
    }

    fn schedule(&self, path: Option<Arc<Path>>) {
        let Some(path) = path else {
            return;
        };
        self.make_ready(path.clone());
        match self.crew.call(Some(&path), 0) {
            Called::Woken { elsewhere } => {
                self.counters.woken.fetch_add(1, Ordering::Relaxed);
                if elsewhere {
                    // That may have something better to do.
                    self.watch();
                }
            }
            Called::Hire => self.manager.send(Command::SpawnHelper),
            // Somebody will look, unless all who are awake get stuck before they do.
            Called::Enough | Called::Nobody => self.watch(),
        }
    }

    /// Has the manager look every few milliseconds.
    pub(crate) fn watch(&self) {
        if !self.watched.load(Ordering::SeqCst) && !self.watched.swap(true, Ordering::SeqCst) {
            self.manager.send(Command::Watch);
        }
    }
}
