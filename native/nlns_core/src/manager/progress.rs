//! One tick: sees how helpers get on, has ready paths served, schedules held-back jobs, and forgets unused paths.
//!
//! A helper that is at the same turn for [`OVERDUE_TICKS`] counts as awake no more, so that another is woken
//! in its stead; for [`STUCK_TICKS`], and it must be blocked in the kernel. Ticks are counted, not time,
//! because time passes also while the process stands still.

use std::sync::Arc;

use super::{Manager, Watched};
use crate::closer::MAX_CLOSING;
use crate::error::Error;
use crate::idle::Wake;
use crate::path::Path;
use crate::request::Job;
use crate::shared::Shared;
use crate::turn::Phase;

/// 10 ms, if the manager gets its turns. More holds up other paths for longer; less takes a helper that lost
/// its processor for one that is blocked.
const OVERDUE_TICKS: u32 = 2;

/// 100 ms. From then on it does not count among the few that serve slow paths at a time. More, and a path that
/// blocks holds up slow ones; less, and a file system that gets slower by being asked is asked by more helpers.
const BLOCKED_TICKS: u32 = 20;

/// 1 s. A path is refused when as many helpers are stuck as may ever serve it. Fewer, and a busy machine
/// refuses what it would have served.
const STUCK_TICKS: u32 = 200;

/// How often the path of a stuck helper is tried: each 100 ms.
const PROBE_TICKS: u32 = 20;

/// How the helpers get on.
#[derive(Default)]
struct Progress {
    overdue: usize,
    blocked: usize,
    stuck: usize,
    /// Of these, those at paths that no helper has entered yet.
    stuck_on_trial: usize,
    is_busy: bool,
    /// One that is not stuck is busy.
    is_working: bool,
}

impl Manager {
    pub(super) fn tick(&mut self) {
        let mut progress = Progress::default();
        // Before anything that takes a lock, which one of them may hold.
        for watched in self.helpers.values_mut() {
            watched.look();
        }
        if self.helpers.values().any(|watched| watched.is_settling) {
            self.start_watcher();
        }
        for watched in self.helpers.values() {
            watched.judge(&self.shared, &mut progress);
        }
        self.shared.ready().note_blocked(progress.blocked);
        let closers_are_there = self.closers.spawn_missing();
        if progress.stuck > 0 {
            self.refuse_what_is_stuck(&progress);
        }
        // Each may fill the room that there is.
        for path in self.shared.held_back().take_due(MAX_CLOSING) {
            self.shared.schedule(path);
        }
        let is_served = self.ensure_progress(progress.overdue);
        if is_served && !progress.is_busy && closers_are_there && self.shared.held_back().is_empty()
        {
            self.shared.set_ticking(false);
            // A path that was made ready, or a helper that was woken, before the line above has not asked
            // for ticks.
            let is_busy = |watched: &Watched| watched.is_busy();
            if self.shared.ready().len() > 0
                || !self.shared.held_back().is_empty()
                || self.helpers.values().any(is_busy)
            {
                self.shared.set_ticking(true);
            }
        }
        if !progress.is_working {
            // Not sooner: a caller that goes round many namespaces comes again. And after the ticks may have
            // ended: a path that is left to be forgotten later asks for them.
            self.shared.registry().sweep();
        }
    }

    /// Sees to it that ready paths are being served; `true` if there are none.
    ///
    /// As many more helpers are woken as are `overdue`: among the ready paths there may be more that are as
    /// sick, and if one helper at a time met them, the others would wait for each in turn. So the helpers double
    /// until one gets through. Where the machine is merely busy, those that are overdue come back, are awake,
    /// and no more are woken.
    pub(super) fn ensure_progress(&mut self, overdue: usize) -> bool {
        let ready = self.shared.ready().len();
        for _ in 0..ready {
            if !self.shared.ready().has_work() {
                break;
            }
            let (idle, now) = (self.shared.idle(), self.shared.now());
            match idle.wake_one(None, now, || self.shared.ready().wanted() + overdue) {
                Wake::Woken { .. } => {}
                Wake::Spawn => self.spawn_helper(),
                Wake::AlreadyAwake | Wake::Exhausted => break,
            }
        }
        ready == 0
    }

    /// Refuses the ready paths for which as many helpers are stuck as may ever serve them. Where the system
    /// allows fewer threads than that, callers wait for the next thread that can be spawned.
    fn refuse_what_is_stuck(&self, progress: &Progress) {
        if progress.stuck >= self.shared.config().max_helpers {
            self.refuse_ready(Error::BUSY, true);
        } else if progress.stuck_on_trial >= self.shared.ready().most_on_trial() {
            self.refuse_ready(Error::BUSY, false);
        }
    }

    /// Answers what waits for a turn now with `error`: no helper can serve it.
    pub(super) fn refuse_ready(&self, error: Error, all: bool) {
        for _ in 0..self.shared.ready().len() {
            let Some(path) = self.shared.ready().take_to_refuse(all) else {
                return;
            };
            // A caller that asks again on being refused may meet a helper that is back.
            self.refuse(&path, path.queued(), error);
            if path.unschedule() {
                self.shared.registry().forget_if_unused(&path);
            } else {
                self.shared.ready().push(path);
            }
        }
    }

    /// Answers up to `most` requests of a path with `error`. A helper that is stuck inside has not left it
    /// yet.
    pub(super) fn refuse(&self, path: &Arc<Path>, most: usize, error: Error) {
        for job in std::iter::from_fn(|| path.pop()).take(most) {
            match job {
                Job::Serve(request) => self.shared.stats().refuse_task(request.task, error),
                Job::Release(leave_request) => self.shared.leave_all(path, &leave_request),
            }
        }
    }
}

impl Watched {
    /// Looks how the helper gets on.
    fn look(&mut self) {
        let seen = self.helper.turn.seen();
        let is_awake = !seen.is_asleep() || self.helper.is_woken();
        self.ticks = match is_awake && seen.is_same(self.seen) {
            true => self.ticks + 1,
            false => 0,
        };
        self.is_settling = !is_awake && seen.is_same(self.seen) && seen.phase() == Phase::Grace;
        self.seen = seen;
        if self.ticks >= OVERDUE_TICKS {
            // It may have got no turn on the processor that it is bound to.
            self.helper.unbind();
        }
    }

    /// Judges what was seen, and sees to others in the place of a helper that is blocked.
    fn judge(&self, shared: &Shared, progress: &mut Progress) {
        let is_busy = self.is_busy();
        progress.is_busy |= is_busy;
        progress.is_working |= is_busy && !self.seen.is_stuck();
        if self.is_settling {
            shared.idle().wake_if_idle(&self.helper, shared.now());
        }
        if self.ticks < OVERDUE_TICKS {
            return;
        }
        if !self.seen.is_busy() {
            // Between two turns, as it leaves. It still counts as awake. One that has not begun to run waits for
            // a processor, and so would others.
            progress.overdue += usize::from(self.seen.phase() == Phase::Awake);
            return;
        }
        if self.helper.turn.uncount(self.seen) {
            shared.idle().uncount();
        }
        progress.blocked += usize::from(self.ticks >= BLOCKED_TICKS && self.seen.is_slow());
        if self.ticks < STUCK_TICKS {
            progress.overdue += 1;
            return;
        }
        progress.stuck += 1;
        progress.stuck_on_trial += usize::from(self.seen.is_unproven());
        let seen = self.helper.turn.seen();
        if seen.is_same(self.seen) {
            self.helper.turn.mark_stuck(seen);
        }
        if self.ticks % PROBE_TICKS == 0 {
            self.probe(shared);
        }
    }

    /// Gives the path that a stuck helper looks up to another, if what is there now can be looked up at once:
    /// it was replaced, or answers again.
    fn probe(&self, shared: &Shared) {
        let seen = self.helper.turn.seen();
        let Some(path) = self.helper.lookup() else {
            return;
        };
        if seen.is_same(self.seen)
            && seen.phase() == Phase::LookingUp
            && path.queued() > 0
            && shared
                .host()
                .is_ok_and(|host| host.look_up_cached(path.netns(), false).is_some())
            && self.helper.turn.revoke(seen)
        {
            shared.schedule(path);
        }
    }

    /// Returns whether it is awake, or about to be, or has to be woken.
    fn is_busy(&self) -> bool {
        self.helper.is_woken() || self.helper.turn.seen().phase() != Phase::Idle
    }
}
