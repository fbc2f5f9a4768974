//! What a helper does without work: sleep where it is, settle there, go home, end.
//!
//! It first sleeps for a grace period, in which it is the cheapest to wake. Then it settles: it has the end
//! of its namespace watched, and sleeps until its idle timeout ends. The manager's ticks end the grace period,
//! because to set a timer is the dearest part of falling asleep on a virtual machine.

use std::time::Duration;

use super::Worker;
use crate::events::LeaveReason;
use crate::helper::Place;
use crate::netns::LocationUnknown;
use crate::path::Path;
use crate::turn::Phase;

/// How long a helper that is in no namespace waits for work before its thread ends. Shorter spawns threads
/// anew for work that comes every second; longer keeps memory for nothing.
const PARKED: Duration = Duration::from_secs(1);

/// How long a helper sleeps in a namespace whose end is not told. Shorter wakes it for nothing; longer holds
/// for longer what has ended.
const UNWATCHED: Duration = Duration::from_secs(1);

/// A helper whose idle timeout ends sooner has no grace period: three ticks of the manager.
const LONGEST_GRACE: Duration = Duration::from_millis(15);

pub(super) enum Rest {
    Over,
    Retired,
}

/// What a sleep is for, and so what comes after it.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sleep {
    Grace,
    UntilCheck,
    UntilIdle,
    /// In no namespace. The last of those that are parked goes on waiting, for the next new namespace.
    Parked,
}

impl Worker<'_> {
    /// Sleeps until there is something to do: where it is until the idle timeout ends, then at home.
    pub(super) fn rest(&mut self) -> Result<Rest, LocationUnknown> {
        if self.me.path().is_some() && self.shared.config().idle_timeout == Some(Duration::ZERO) {
            self.leave(LeaveReason::Idle)?;
        }
        let mut is_settled = self.me.with_place(Place::has_watch) == Some(true);
        if is_settled && self.is_other_asleep_here() {
            self.leave(LeaveReason::Relieved)?;
        }
        loop {
            let (sleep, limit) = self.next_sleep(is_settled);
            let was_woken = self.sleep(sleep, limit);
            if was_woken && (sleep != Sleep::Grace || self.is_work()) {
                return Ok(Rest::Over);
            }
            match sleep {
                Sleep::Grace => {
                    is_settled = true;
                    match self.settle() {
                        Some(reason) => self.leave(reason)?,
                        None => self.shared.tell_pinned(self.me),
                    }
                }
                Sleep::UntilCheck => {
                    if self.leads_elsewhere() {
                        self.leave(LeaveReason::Gone)?;
                    }
                }
                Sleep::UntilIdle => {
                    self.binding.unbind();
                    self.leave(LeaveReason::Idle)?;
                }
                Sleep::Parked => return Ok(Rest::Retired),
            }
        }
    }

    fn is_other_asleep_here(&self) -> bool {
        let path = self.me.path();
        path.is_some_and(|path| self.shared.idle().has_sleeper_in(&path))
    }

    /// Returns what to sleep for, and until when, counted from when it last served.
    fn next_sleep(&self, is_settled: bool) -> (Sleep, Option<Duration>) {
        let idle_timeout = self.shared.config().idle_timeout;
        let Some(is_watched) = self.me.with_place(Place::is_watched) else {
            return (Sleep::Parked, Some(PARKED));
        };
        let is_within = |limit| idle_timeout.is_some_and(|idle_timeout| idle_timeout <= limit);
        if !is_settled && !is_within(LONGEST_GRACE) {
            return (Sleep::Grace, None);
        }
        let next_check = self.shared.now().saturating_sub(self.last_served) + UNWATCHED;
        match is_watched || is_within(next_check) {
            true => (Sleep::UntilIdle, idle_timeout),
            false => (Sleep::UntilCheck, Some(next_check)),
        }
    }

    /// Has the place watched where it is. Returns why it must leave instead, if it must.
    fn settle(&self) -> Option<LeaveReason> {
        if self.is_other_asleep_here() {
            return Some(LeaveReason::Relieved);
        }
        let is_gone = self.check(|worker, path| {
            worker.watch(path);
            !worker.host.is_named_by(&worker.here, path.netns())
        });
        is_gone.then_some(LeaveReason::Gone)
    }

    /// Has `path` watched, where that can be done.
    fn watch(&self, path: &Path) {
        let watcher = self.shared.watcher();
        // What cannot be watched may have gone already, a process for example.
        if let Some(Ok(watch)) = watcher.map(|watcher| watcher.watch(path.netns(), self.me.id)) {
            self.me.set_watch(watch);
        }
    }

    /// Sleeps; `true` if it was woken or has found work, `false` when it has been idle for `limit`. It is awake
    /// again in both cases.
    fn sleep(&mut self, sleep: Sleep, limit: Option<Duration>) -> bool {
        let idle = self.shared.idle();
        let is_grace = sleep == Sleep::Grace;
        if !idle.insert(self.me, is_grace, self.shared.now(), || self.is_work()) {
            return true;
        }
        // Not before: a helper that is bound and loses its processor on the way must be seen to be awake.
        self.me.turn.set(match is_grace {
            true => Phase::Grace,
            false => Phase::Idle,
        });
        if is_grace {
            self.shared.request_ticks();
        }
        let mut deadline = limit.map(|limit| self.last_served.saturating_add(limit));
        while !self.me.is_woken() {
            let Some(time) = deadline else {
                self.parker.park();
                continue;
            };
            self.parker
                .park_timeout(time.saturating_sub(self.shared.now()));
            if self.shared.now() < time {
                continue;
            }
            let is_over = match sleep {
                Sleep::Parked => idle.retire_unless_last(self.me),
                _ => idle.remove(self.me),
            };
            if is_over {
                self.me.turn.set(Phase::Awake);
                return false;
            }
            if sleep == Sleep::Parked {
                deadline = None;
            }
        }
        self.me.turn.set(Phase::Awake);
        let woken_at = self.me.note_woken();
        self.binding
            .note_wake_up(self.shared.now().saturating_sub(woken_at));
        true
    }
}
