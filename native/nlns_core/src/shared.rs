//! The state that the pool's threads and its callers share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use once_cell::sync::OnceCell;

use crate::clock::Clock;
use crate::control::{Command, CommandSender};
use crate::error::Error;
use crate::events::{EventKind, Events, LeaveReason};
use crate::held_back::HeldBackPaths;
use crate::helper::{Helper, Place};
use crate::idle::{IdleSet, Wake};
use crate::netns::Host;
use crate::path::Path;
use crate::ready::Ready;
use crate::registry::Registry;
use crate::request::LeaveRequest;
use crate::stats::Stats;
use crate::watcher::Watcher;

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

pub(crate) struct Shared {
    config: Config,
    clock: Clock,
    /// Found by the manager before it spawns the first helper.
    host: OnceCell<Host>,
    /// The same; none if the system has no watches to give.
    watcher: OnceCell<Arc<Watcher>>,
    registry: Registry,
    ready: Ready,
    held_back: HeldBackPaths,
    idle: IdleSet,
    stats: Stats,
    events: Events,
    manager: CommandSender,
    /// The manager ticks.
    is_ticking: AtomicBool,
    is_stopping: AtomicBool,
}

impl Shared {
    pub(crate) fn new(config: Config, manager: CommandSender) -> Self {
        Self {
            config,
            clock: Clock::start(),
            host: OnceCell::new(),
            watcher: OnceCell::new(),
            registry: Registry::new(),
            ready: Ready::new(config.max_helpers),
            held_back: HeldBackPaths::default(),
            idle: IdleSet::new(config.max_helpers),
            stats: Stats::default(),
            events: Events::default(),
            manager,
            is_ticking: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Returns the time since the start.
    pub(crate) fn now(&self) -> Duration {
        self.clock.now()
    }

    /// Returns the VM's namespace. Only the manager may be the first to ask.
    pub(crate) fn host(&self) -> Result<&Host, Error> {
        let at_thread = |errno| Error::new(crate::error::Stage::Thread, errno);
        self.host.get_or_try_init(Host::find).map_err(at_thread)
    }

    pub(crate) fn watcher(&self) -> Option<&Arc<Watcher>> {
        self.watcher.get()
    }

    pub(crate) fn set_watcher(&self, watcher: Arc<Watcher>) {
        let _ = self.watcher.set(watcher);
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(crate) fn ready(&self) -> &Ready {
        &self.ready
    }

    pub(crate) fn held_back(&self) -> &HeldBackPaths {
        &self.held_back
    }

    pub(crate) fn idle(&self) -> &IdleSet {
        &self.idle
    }

    pub(crate) fn stats(&self) -> &Stats {
        &self.stats
    }

    pub(crate) fn events(&self) -> &Events {
        &self.events
    }

    pub(crate) fn command(&self, command: Command) {
        self.manager.send(command);
    }

    pub(crate) fn stop(&self) {
        self.is_stopping.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::SeqCst)
    }

    /// Makes a path ready whose claim the caller holds, and sees to it that a helper comes.
    pub(crate) fn schedule(&self, path: Arc<Path>) {
        self.ready.push(path.clone());
        self.wake_one(Some(&path));
    }

    /// Sees to it that a helper looks for ready paths.
    pub(crate) fn wake_one(&self, path: Option<&Arc<Path>>) {
        match self.idle.wake_one(path, self.now(), || self.ready.wanted()) {
            Wake::Woken { is_bound } => {
                self.stats.woken.fetch_add(1, Ordering::Relaxed);
                if is_bound {
                    // Its processor may be taken by a process that lets nobody else run.
                    self.request_ticks();
                }
            }
            Wake::Spawn => self.command(Command::SpawnHelper),
            // A helper will look, unless all that are awake get stuck before they do.
            Wake::AlreadyAwake | Wake::Exhausted => self.request_ticks(),
        }
    }

    /// Has the manager tick.
    pub(crate) fn request_ticks(&self) {
        if !self.is_ticking() && !self.is_ticking.swap(true, Ordering::SeqCst) {
            self.command(Command::Tick);
        }
    }

    /// Has a path forgotten that is unused, once the pool is at rest.
    pub(crate) fn forget_later(&self, path: &Arc<Path>) {
        if self.registry.forget_later(path) {
            self.request_ticks();
        }
    }

    pub(crate) fn is_ticking(&self) -> bool {
        self.is_ticking.load(Ordering::SeqCst)
    }

    /// Ticks go on or not. Only for the manager.
    pub(crate) fn set_ticking(&self, is_ticking: bool) {
        self.is_ticking.store(is_ticking, Ordering::SeqCst);
    }

    /// Asks every helper to leave that is where `path` led it. They share `leave_request`.
    pub(crate) fn leave_all(&self, path: &Arc<Path>, leave_request: &LeaveRequest) {
        for helper in self.idle.helpers() {
            if helper.request_leave(path, leave_request.clone()) {
                self.idle.wake_if_idle(&helper, self.now());
            }
        }
    }

    /// Tells that this helper falls asleep where it is.
    pub(crate) fn tell_pinned(&self, helper: &Helper) {
        if !self.events.are_wanted() {
            return;
        }
        if let Some(path) = helper.announce() {
            self.events.push(helper.id, path.netns(), EventKind::Pinned);
        }
    }

    /// Tells that a helper has left `place`, if it was told that it slept there.
    pub(crate) fn tell_left(&self, helper: u64, place: &Place, reason: LeaveReason) {
        if place.is_announced {
            let reason = match place.must_be_left() {
                true => LeaveReason::Released,
                false => reason,
            };
            let kind = EventKind::Left(place.since.elapsed(), reason);
            self.events.push(helper, place.path.netns(), kind);
        }
    }
}
