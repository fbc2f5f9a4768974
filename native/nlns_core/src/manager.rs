//! The manager: the one thread that spawns the others, joins them, and watches over helpers.
//!
//! It never leaves the VM's namespace, so every thread it spawns begins there. A thread spawned by a helper
//! would begin, unseen, in the helper's namespace; a scheduler must not wait for a thread to be made.

mod progress;
mod stop;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::Builder;
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use crossbeam_utils::sync::Parker;
use rustix::io::Errno;

use crate::closer::Closers;
use crate::control::{Command, CommandSender};
use crate::error::{Error, Stage};
use crate::events::LeaveReason;
use crate::helper::{Helper, Place};
use crate::shared::Shared;
use crate::threads::{self, STACK, Thread};
use crate::turn::Seen;
use crate::watcher::Watcher;
use crate::{affinity, sys, worker};

/// How often the manager ticks while there is something to watch over. Shorter, and a machine whose cores are
/// all busy, where a thread waits whole time slices, looks like a sick namespace; longer, and a sick one holds
/// up others.
const TICK: Duration = Duration::from_millis(5);

/// Spawns the manager of a pool.
pub(crate) fn start(
    shared: Arc<Shared>,
    sender: CommandSender,
    commands: Receiver<Command>,
) -> io::Result<()> {
    let (closers, inbox) = Closers::new(&sender);
    let manager = Manager {
        shared,
        sender,
        commands,
        helpers: HashMap::new(),
        closers,
        watcher: None,
        next_id: 0,
        next_tick: Instant::now(),
    };
    let builder = Builder::new().name("nlns-manager".into()).stack_size(STACK);
    sys::with_signals_blocked(|| builder.spawn(|| manager.run()))?;
    inbox.open();
    Ok(())
}

struct Manager {
    shared: Arc<Shared>,
    sender: CommandSender,
    commands: Receiver<Command>,
    /// Every helper there is. The idle set knows them too, but by a lock, which one that gets no turn may
    /// hold.
    helpers: HashMap<u64, Watched>,
    closers: Closers,
    watcher: Option<Thread>,
    next_id: u64,
    /// When to tick next, while it ticks.
    next_tick: Instant,
}

/// A helper that the manager watches over.
struct Watched {
    thread: Thread,
    helper: Arc<Helper>,
    /// What it was seen to do at the last tick, and how many ticks it has been at that.
    seen: Seen,
    ticks: u32,
    /// Its grace period is over.
    is_settling: bool,
}

impl Manager {
    fn run(mut self) {
        // A scheduler that is bound to one processor may have made this thread.
        affinity::run_anywhere(None);
        // Before anything is spawned, so that all of it begins in the VM's namespace. If that cannot be found
        // now, the first request is answered why not.
        let _ = self.shared.host();
        self.start_watcher();
        self.spawn_closers();
        if self.shared.idle().make_room() {
            self.spawn_helper();
        }
        loop {
            match self.next_command() {
                None => self.tick(),
                Some(Command::SpawnHelper) => self.spawn_helper(),
                Some(Command::JoinHelper(id)) => self.reap(id),
                Some(Command::Tick) => {}
                Some(Command::SpawnCloser) => self.spawn_closers(),
                Some(Command::JoinCloser(id)) => self.closers.join(id),
                Some(Command::Stop(stopped)) => {
                    let stuck = self.stop();
                    if let (Some(watcher), Some(thread)) = (self.shared.watcher(), self.watcher) {
                        watcher.stop();
                        let _ = thread.join();
                    }
                    stopped(stuck);
                    break;
                }
            }
        }
    }

    /// Starts what tells of ends, if it is missing. Without it (no descriptors, no inotify instances left) helpers
    /// check, and it is tried again when one settles.
    fn start_watcher(&mut self) {
        if self.watcher.is_none() {
            self.watcher = self.try_start_watcher();
        }
    }

    fn try_start_watcher(&self) -> Option<Thread> {
        let procfs = self.shared.host().ok()?.procfs();
        let watcher = Arc::new(Watcher::new(procfs).ok()?);
        let (shared, watching) = (self.shared.clone(), watcher.clone());
        let body = move || {
            watching.run(|id| {
                if let Some(helper) = shared.idle().helper(id) {
                    helper.request_check();
                    shared.idle().wake_if_idle(&helper, shared.now());
                }
            });
        };
        // Its end is nobody's business.
        let thread = threads::spawn("nlns-watcher", &self.sender, Command::Tick, body).ok()?;
        self.shared.set_watcher(watcher);
        Some(thread)
    }

    /// Returns `None` when it is time to tick, however many commands there are.
    fn next_command(&mut self) -> Option<Command> {
        if !self.shared.is_ticking() {
            let command = self.commands.recv().expect("this keeps a sender");
            self.next_tick = Instant::now() + TICK;
            return Some(command);
        }
        if Instant::now() < self.next_tick {
            match self.commands.recv_deadline(self.next_tick) {
                Ok(command) => return Some(command),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("this keeps a sender"),
            }
        }
        self.next_tick = Instant::now() + TICK;
        None
    }

    /// Spawns a helper for which room was made.
    fn spawn_helper(&mut self) {
        self.next_id += 1;
        if let Err(error) = self.try_spawn_helper(self.next_id) {
            let idle = self.shared.idle();
            idle.uncount();
            idle.unregister(Some(self.next_id));
            if idle.spawned() == 0 {
                self.refuse_ready(error, true);
            } else if !idle.wake_sleeper(self.shared.now()) {
                // Those there are will get to it. If they are stuck, it is tried again at the next tick.
                self.shared.set_ticking(true);
            }
        }
    }

    fn try_spawn_helper(&mut self, id: u64) -> Result<(), Error> {
        self.shared.host()?;
        let parker = Parker::new();
        let helper = Arc::new(Helper::new(id, parker.unparker().clone()));
        let (shared, me) = (self.shared.clone(), helper.clone());
        let body = move || {
            sys::ask_for_short_slices();
            let host = shared.host().expect("found before the thread was made");
            worker::run(&shared, host, &me, parker);
        };
        // Before it runs, so that it can be woken from the beginning.
        self.shared.idle().register(&helper);
        let last = Command::JoinHelper(id);
        let thread = threads::spawn("nlns-helper", &self.sender, last, body).map_err(|error| {
            let errno = Errno::from_io_error(&error).unwrap_or(Errno::AGAIN);
            Error::new(Stage::Thread, errno)
        })?;
        let watched = Watched {
            thread,
            helper,
            seen: Seen::default(),
            ticks: 0,
            is_settling: false,
        };
        self.helpers.insert(id, watched);
        let started = &self.shared.stats().started;
        started.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Sees to what a helper leaves behind.
    fn reap(&mut self, id: u64) {
        if let Some(place) = self.join(id) {
            self.shared.tell_left(id, &place, LeaveReason::Died);
            self.shared.registry().forget_if_unused(&place.path);
        }
        self.ensure_progress(0);
    }

    /// Joins a thread that has said it ends, and returns where it was. Only now it is certain to be nowhere.
    fn join(&mut self, id: u64) -> Option<Place> {
        let joined = self
            .helpers
            .remove(&id)
            .map(|watched| watched.thread.join());
        if matches!(joined, Some(Err(_))) {
            self.shared.stats().died.fetch_add(1, Ordering::Relaxed);
        }
        self.shared.idle().unregister(Some(id))?.set_place(None)
    }

    fn spawn_closers(&mut self) {
        if !self.closers.spawn_missing() {
            // Tried again at the next tick.
            self.shared.set_ticking(true);
        }
    }
}
