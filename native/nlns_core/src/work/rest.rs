//! What a helper does without work: nap where it is, settle there, wait, go home, end.

use std::sync::Arc;
use std::time::Duration;

use super::Worker;
use crate::crew::Bed;
use crate::events::LeaveReason;
use crate::manager::TICK;
use crate::netns::LocationUnknown;
use crate::path::Path;

/// How long, at least, a helper that has nothing to do waits before it settles where it is: has the place
/// watched and leaves other paths to other helpers. Shorter and a caller that goes round many namespaces
/// wakes, or starts, a thread for each; longer and a name that is deleted meanwhile is held for longer.
/// Its end is seen by the manager, with a [`TICK`] for all, because to set a timer is the dearest part of
/// falling asleep on a virtual machine.
pub(crate) const NAP: Duration = Duration::from_millis(1);

/// Who may not idle_timeout for longer than a nap can take does not nap.
const LONGEST_NAP: Duration = NAP.saturating_add(TICK).saturating_add(TICK);

/// How long a helper that is in no namespace waits for work before its thread ends. Shorter makes
/// threads anew for work that comes every second, longer keeps memory for nothing.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// How long a helper sleeps without a look in a namespace whose end nobody will tell it of. Shorter wakes it
/// for nothing, longer holds what has ended for longer.
const UNWATCHED: Duration = Duration::from_secs(1);

pub(super) enum Rest {
    Over,
    Retired,
}

impl Worker<'_> {
    /// Sleeps until there is something to do: where it is for as long as the idle timeout, then at home.
    pub(super) fn rest(&mut self) -> Result<Rest, LocationUnknown> {
        let idle_timeout = self.pool.config.idle_timeout;
        if let Some(path) = self.me.path() {
            if let Some(why) = self.may_not_settle(&path) {
                self.leave(why)?;
            }
        }
        self.pool.registry.sweep();
        loop {
            let pinned = self.me.path().is_some();
            if pinned {
                self.pool.tell_settled(self.me);
            }
            let (bed, limit) = match pinned {
                true => (Bed::Pinned, self.stay()),
                false => (Bed::Parked, Some(SPARE_TIME)),
            };
            if self.sleep(bed, limit) {
                return Ok(Rest::Over);
            }
            if pinned && limit != idle_timeout {
                if !self.looking(|worker| worker.is_astray()) {
                    continue;
                }
                self.leave(LeaveReason::Gone)?;
            }
            self.follow.go_anywhere();
            if !pinned {
                return Ok(Rest::Retired);
            }
            self.leave(LeaveReason::Idle)?;
            self.last_served = self.pool.now();
        }
    }

    /// How long to sleep where it is without a look, counted from when it last served.
    fn stay(&self) -> Option<Duration> {
        let idle_timeout = self.pool.config.idle_timeout;
        if self.me.with_place(|place| place.is_watched()) == Some(true) {
            return idle_timeout;
        }
        let next_look = self.pool.now().saturating_sub(self.last_served) + UNWATCHED;
        Some(idle_timeout.map_or(next_look, |idle_timeout| idle_timeout.min(next_look)))
    }

    /// Why it must leave the place that `path` led it to, instead of sleeping there.
    fn may_not_settle(&self, path: &Arc<Path>) -> Option<LeaveReason> {
        if self.pool.config.idle_timeout == Some(Duration::ZERO) {
            Some(LeaveReason::Idle)
        } else if self.pool.crew.has_sleeper_in(path) {
            Some(LeaveReason::Relieved)
        } else {
            let settles = self.is_settled() || self.looking(|worker| worker.settles_at(path));
            (!settles).then_some(LeaveReason::Gone)
        }
    }

    /// Whether its place is watched already, so that it can sleep here at no expense.
    fn is_settled(&self) -> bool {
        self.me.with_place(|place| place.watch.is_some()) == Some(true)
    }

    /// Has `path` watched, where that can be done; `false` if it has gone before it was.
    fn settles_at(&self, path: &Arc<Path>) -> bool {
        let watcher = self.pool.watcher.get();
        // What cannot be watched may have gone already, a process for example.
        if let Some(Ok(watch)) = watcher.map(|watcher| watcher.watch(path.name(), self.me.id)) {
            self.me.set_watch(watch);
        }
        !self.is_astray()
    }

    /// Whether it may sleep for a moment where it is, before it goes to the expense of settling there.
    pub(super) fn may_nap(&self) -> bool {
        let lingers = self
            .pool
            .config
            .idle_timeout
            .is_none_or(|idle_timeout| idle_timeout > LONGEST_NAP);
        lingers && !self.is_settled() && !self.me.has_napped()
    }

    /// `true` if it was called or has found work, `false` when it has been idle for `limit`; awake
    /// again in both cases. Of those that are parked one goes on waiting, for the next first touch of a
    /// namespace.
    pub(super) fn sleep(&mut self, bed: Bed, limit: Option<Duration>) -> bool {
        let crew = &self.pool.crew;
        if !crew.lie_down(self.me, bed, || self.is_work()) {
            return true;
        }
        if matches!(bed, Bed::Nap) {
            self.pool.watch();
        }
        let mut deadline = limit.map(|limit| self.last_served.saturating_add(limit));
        while !self.me.was_called() {
            match deadline {
                None => self.me.sleep(|| self.parker.park()),
                Some(time) => {
                    let left = time.saturating_sub(self.pool.now());
                    self.me.sleep(|| self.parker.park_timeout(left));
                    if self.pool.now() < time {
                        continue;
                    }
                    let is_parked = matches!(bed, Bed::Parked);
                    if is_parked && crew.relieve(self.me) || !is_parked && crew.get_up(self.me) {
                        return false;
                    }
                    if is_parked {
                        deadline = None;
                    }
                }
            }
        }
        let called_at = self.me.called_at();
        let idle = called_at.saturating_sub(self.last_served);
        let waking = self.pool.now().saturating_sub(called_at);
        self.pool.spin.woke(idle, waking);
        self.follow.woke(waking);
        if self.follow.stays() && idle < NAP {
            // Its processor may be taken from it in the middle of a request.
            self.pool.watch();
        }
        true
    }

    /// Looks at a path without serving it. The mount below may have died since, so that this counts as
    /// a turn: if it takes long, another helper is woken in this one's stead.
    pub(super) fn looking<R>(&self, look: impl FnOnce(&Self) -> R) -> R {
        self.me.begin(self.pool.now());
        if !self.pool.ready.1.is_empty() {
            // Whoever woke this one for it relies on it.
            self.pool.watch();
        }
        let found = look(self);
        if self.me.end() {
            self.pool.crew.count();
        }
        found
    }
}
