//! The manager: the one thread that starts the others, joins them, and notices when the helpers that are
//! awake are all blocked.
//!
//! It never leaves the VM's namespace, so what it starts begins there; a thread started by a helper
//! would begin, unseen, wherever the helper is.

mod stop;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{Builder, JoinHandle};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, RecvTimeoutError};
use crossbeam_utils::sync::Parker;
use rustix::io::Errno;

use crate::closer::Closers;
use crate::control::Command;
use crate::crew::Called;
use crate::error::{Error, Stage};
use crate::events::LeaveReason;
use crate::helper::{Helper, Place};
use crate::netns::Host;
use crate::path::{Job, Path};
use crate::pool::Pool;
use crate::watcher::Watcher;
use crate::{cpus, sys, work};

/// Sending a message takes 6 KiB, a panic with a backtrace 27; at 16 KiB it would take the VM down.
pub(crate) const STACK: usize = 64 * 1024;

/// How often the manager looks while paths are ready or helpers nap, and how long a helper may take over one batch
/// before another is woken in its stead. Shorter and a machine whose cores are all busy, where a
/// thread waits whole time slices, looks like a sick namespace; longer and a sick one holds up others.
pub(crate) const TICK: Duration = Duration::from_millis(5);
const OVERDUE_AFTER: Duration = Duration::from_millis(10);

/// When a helper counts as stuck: blocked in the kernel, for all that can be seen. If all are that there
/// may be, what waits for a turn is refused. Shorter and a busy machine would refuse what it would have
/// served.
pub(crate) const STUCK_AFTER: Duration = Duration::from_secs(1);

pub(crate) fn start(pool: Arc<Pool>, commands: Receiver<Command>) -> io::Result<()> {
    let (closers, inbox) = Closers::new(&pool.manager);
    let manager = Manager {
        closers,
        pool,
        commands,
        threads: HashMap::new(),
        next_id: 0,
        next_look: Instant::now(),
    };
    let builder = Builder::new().name("nlns-manager".into()).stack_size(STACK);
    sys::with_signals_blocked(|| builder.spawn(|| manager.run()))?;
    inbox.open();
    Ok(())
}

struct Manager {
    pool: Arc<Pool>,
    commands: Receiver<Command>,
    /// Every helper there is. The crew knows them too, but by a lock, which one that is held up may hold.
    threads: HashMap<u64, (JoinHandle<()>, Arc<Helper>)>,
    closers: Closers,
    next_id: u64,
    /// When to look next, while it looks.
    next_look: Instant,
}

impl Manager {
    fn run(mut self) {
        // A scheduler that is bound to one processor may have made this thread.
        cpus::run_anywhere(None);
        // Before anything is started, so that all of it begins in the VM's namespace. If it cannot be
        // found now, the first request is answered why not.
        let _ = self.pool.host.get_or_try_init(Host::find);
        let watcher = self.start_watcher();
        self.hire_closers();
        if self.pool.crew.make_room() {
            self.hire();
        }
        loop {
            match self.next_order() {
                None => self.look(),
                Some(Command::SpawnHelper) => self.hire(),
                Some(Command::JoinHelper(id)) => self.bury(id),
                Some(Command::Watch) => {}
                Some(Command::SpawnCloser) => self.hire_closers(),
                Some(Command::JoinCloser(id)) => self.closers.bury(id),
                Some(Command::Stop(stopped)) => {
                    let stuck = self.stop();
                    if let (Some(watcher), Some(thread)) = (self.pool.watcher.get(), watcher) {
                        watcher.stop();
                        let _ = thread.join();
                    }
                    stopped(stuck);
                    break;
                }
            }
        }
    }

    /// Without it (no descriptors, no inotify instances left) helpers leave when they have lingered.
    fn start_watcher(&self) -> Option<JoinHandle<()>> {
        let watcher = Arc::new(Watcher::new().ok()?);
        let pool = self.pool.clone();
        let watching = watcher.clone();
        let body = move || {
            watching.run(|id| {
                if let Some(helper) = pool.crew.helper(id) {
                    helper.ask_to_look();
                    pool.crew.rouse(&helper);
                }
            });
        };
        let builder = Builder::new().name("nlns-watcher".into()).stack_size(STACK);
        let thread = builder.spawn(body).ok()?;
        self.pool.watcher.set(watcher).ok().map(|()| thread)
    }

    /// `None` when it is time to look, however many commands there are.
    fn next_order(&mut self) -> Option<Command> {
        if !self.pool.watched.load(Ordering::SeqCst) {
            let order = self.commands.recv().expect("the pool keeps a sender");
            self.next_look = Instant::now() + TICK;
            return Some(order);
        }
        if Instant::now() < self.next_look {
            match self.commands.recv_deadline(self.next_look) {
                Ok(order) => return Some(order),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the pool keeps a sender"),
            }
        }
        self.next_look = Instant::now() + TICK;
        None
    }

    /// Starts a helper that `crew` has made room for.
    fn hire(&mut self) {
        if let Err(error) = self.try_hire() {
            self.pool.crew.discount();
            self.pool.crew.gone(None);
            if self.pool.crew.hired() == 0 {
                self.refuse_ready(error);
            } else if !self.pool.crew.call_sleeper() {
                // Those there are will get to it; if they are stuck, it is tried again at the next look.
                self.pool.watched.store(true, Ordering::SeqCst);
            }
        }
    }

    fn try_hire(&mut self) -> Result<(), Error> {
        let at_thread = |errno| Error::new(Stage::Thread, errno);
        self.pool
            .host
            .get_or_try_init(Host::find)
            .map_err(at_thread)?;
        self.next_id += 1;
        let id = self.next_id;
        let parker = Parker::new();
        let helper = Arc::new(Helper::new(id, parker.unparker().clone()));
        self.pool.crew.enlist(&helper);
        let pool = self.pool.clone();
        let me = helper.clone();
        let body = move || {
            sys::ask_for_short_slices();
            let host = pool.host.get().expect("found before the thread was made");
            work::run(&pool, host, &me, parker);
        };
        let builder = Builder::new().name("nlns-helper".into()).stack_size(STACK);
        match builder.spawn(body) {
            Ok(thread) => {
                self.threads.insert(id, (thread, helper));
                self.pool.counters.started.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(error) => {
                self.pool.crew.forget(id);
                Err(at_thread(
                    Errno::from_io_error(&error).unwrap_or(Errno::AGAIN),
                ))
            }
        }
    }

    /// Sees to what a helper leaves behind.
    fn bury(&mut self, id: u64) {
        if let Some(place) = self.join(id) {
            self.pool.tell_left(id, &place, LeaveReason::Died);
            self.pool.registry.forget_if_unused(&place.path);
        }
        self.see_to_ready(0);
    }

    /// Joins a thread that has said it ends, and returns where it was; only now it is certain to be nowhere.
    fn join(&mut self, id: u64) -> Option<Place> {
        if let Some((thread, _)) = self.threads.remove(&id) {
            if thread.join().is_err() {
                self.pool.counters.died.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.pool.crew.gone(Some(id))?.set_place(None)
    }

    fn hire_closers(&mut self) {
        if !self.closers.hire() {
            // Tried again at the next look.
            self.pool.watched.store(true, Ordering::SeqCst);
        }
    }

    /// One look at how those who are awake get on.
    fn look(&mut self) {
        let now = self.pool.now();
        let mut nobody_is_kept = true;
        let mut overdue = 0;
        for (_, helper) in self.threads.values() {
            if helper.declare_overdue(OVERDUE_AFTER, now) {
                self.pool.crew.discount();
            }
            if helper.is_overdue() && !helper.has_served_for(STUCK_AFTER, now) {
                overdue += 1;
            }
            if helper.is_held_up(OVERDUE_AFTER, now) {
                helper.let_go();
            }
            nobody_is_kept &= !helper.is_kept_at_work();
        }
        let Some(nobody_naps) = self.pool.crew.end_naps() else {
            // To wait for the lock would be to wait for somebody whom the next look may have to let go.
            return;
        };
        let closers_are_there = self.closers.hire();
        if self.see_to_ready(overdue) && nobody_naps && nobody_is_kept && closers_are_there {
            self.pool.watched.store(false, Ordering::SeqCst);
            // Whoever added one, fell asleep, or was called where it stays, before the line above has not asked
            // for a look.
            if !self.pool.ready.1.is_empty()
                || self.pool.crew.has_nappers()
                || self.threads.values().any(|(_, h)| h.is_kept_at_work())
            {
                self.pool.watched.store(true, Ordering::SeqCst);
            }
        }
    }

    /// Sees to it that ready paths are being served; `true` if there are none.
    ///
    /// As many more are woken as are `overdue`: among the ready paths there may be more that are as sick, and if
    /// one helper at a time met them, the others would wait for each in turn. So the helpers double until one
    /// gets through. Where the machine is merely busy those overdue come back, are awake, and no more are woken.
    fn see_to_ready(&mut self, overdue: usize) -> bool {
        let ready = self.pool.ready.1.len();
        for _ in 0..ready.min(overdue + 1) {
            match self.pool.crew.call(None, overdue) {
                Called::Woken { .. } => {}
                Called::Hire => self.hire(),
                Called::Enough => break,
                Called::Nobody => {
                    self.refuse_if_all_are_stuck();
                    break;
                }
            }
        }
        ready == 0
    }

    fn refuse_if_all_are_stuck(&self) {
        let now = self.pool.now();
        let mut helpers = self.threads.values();
        // One that was hired and is not yet there is none of them.
        let all_are_here = helpers.len() == self.pool.crew.hired();
        if all_are_here && helpers.all(|(_, h)| h.has_served_for(STUCK_AFTER, now)) {
            self.refuse_ready(Error::BUSY);
        }
    }

    /// Answers what waits for a turn now with `error`, there being nobody to serve it.
    fn refuse_ready(&self, error: Error) {
        for _ in 0..self.pool.ready.1.len() {
            let Some(path) = self.pool.next_ready() else {
                return;
            };
            // Whoever asks again on being refused may meet a helper that is back.
            self.refuse(&path, path.queued(), error);
            if path.unschedule() {
                self.pool.registry.forget_if_unused(&path);
            } else {
                self.pool.make_ready(path);
            }
        }
    }

    /// Answers up to `most` requests of a path with `error`. Who is stuck inside has not left it yet.
    fn refuse(&self, path: &Arc<Path>, most: usize, error: Error) {
        for job in std::iter::from_fn(|| path.pop()).take(most) {
            match job {
                Job::Serve(request) => request.task.refuse(&self.pool.counters, error),
                Job::Release(leave_request) => self.pool.crew.send_away(path, &leave_request),
            }
        }
    }
}
