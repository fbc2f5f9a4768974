//! Who is awake, who sleeps where, and whom to wake.
//!
//! A request makes its path *ready*; an awake helper takes ready paths one after the other, wherever
//! they lead. Waking a sleeping thread costs several times what entering a namespace costs, so a
//! helper is woken only when fewer than [`Crew::wanted`] are awake: the one that sleeps in the
//! path's namespace, else one that sleeps in none, else a new one, and when there may be no more,
//! the one that has slept longest. Before all of them, whoever fell asleep less than a [`NAP`] ago, wherever
//! it is: that is the cheapest to wake.

mod roster;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::helper::Helper;
use crate::path::Path;
use crate::release::LeaveRequest;
use crate::work::NAP;

pub(crate) use roster::Bed;
use roster::Roster;

/// The most that one helper thread in `CPUS_PER_AWAKE` processors is kept awake by requests alone.
/// Fewer leaves paths waiting for each other on large machines; more takes the schedulers' cores.
const CPUS_PER_AWAKE: usize = 2;

pub(crate) struct Crew {
    /// Helpers that will look at the ready queue before they sleep, those being woken or started
    /// included; stuck ones are not among them.
    awake: AtomicUsize,
    wanted: usize,
    max_helpers: usize,
    /// What times are counted from.
    epoch: Instant,
    roster: Mutex<Roster>,
}

/// What a call for help came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Called {
    /// As many as wanted are awake already.
    Enough,
    /// A sleeper was woken, which stays on another processor or not.
    Woken { elsewhere: bool },
    /// The manager must start one.
    Hire,
    /// All there may be are at work.
    Nobody,
}

impl Crew {
    pub(crate) fn new(max_helpers: usize, epoch: Instant) -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            awake: AtomicUsize::new(0),
            wanted: (cpus / CPUS_PER_AWAKE).max(1),
            max_helpers,
            epoch,
            roster: Mutex::default(),
        }
    }

    /// Sees to it that somebody will look at the ready queue, to which the caller has just added, with
    /// `more` helpers awake than are wanted otherwise.
    pub(crate) fn call(&self, path: Option<&Arc<Path>>, more: usize) -> Called {
        // Pairs with the fence in `lie_down`: either this sees the sleeper, or it sees the path.
        fence(Ordering::SeqCst);
        let claim = |awake| (awake < self.wanted + more).then_some(awake + 1);
        let claimed = self
            .awake
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, claim);
        if claimed.is_err() {
            return Called::Enough;
        }
        let now = self.epoch.elapsed();
        let mut roster = self.roster.lock();
        if let Some(helper) = roster.sleeper_for(path, now) {
            drop(roster);
            return Self::wake(&helper, now);
        }
        if roster.hired < self.max_helpers {
            roster.hired += 1;
            return Called::Hire;
        }
        match roster.longest_sleeper() {
            Some(helper) => {
                drop(roster);
                Self::wake(&helper, now)
            }
            None => {
                self.awake.fetch_sub(1, Ordering::SeqCst);
                Called::Nobody
            }
        }
    }

    fn wake(helper: &Helper, now: Duration) -> Called {
        let elsewhere = helper.is_kept_elsewhere();
        helper.wake(now);
        Called::Woken { elsewhere }
    }

    /// Wakes a helper that sleeps, wherever it does, there being no new one to be had.
    pub(crate) fn call_sleeper(&self) -> bool {
        let now = self.epoch.elapsed();
        let mut roster = self.roster.lock();
        let helper = roster
            .sleeper_for(None, now)
            .or_else(|| roster.longest_sleeper());
        drop(roster);
        if let Some(helper) = &helper {
            self.awake.fetch_add(1, Ordering::SeqCst);
            helper.wake(now);
        }
        helper.is_some()
    }

    /// Room for one more helper, which counts as awake from now on.
    pub(crate) fn make_room(&self) -> bool {
        let mut roster = self.roster.lock();
        let room = roster.hired < self.max_helpers;
        if room {
            roster.hired += 1;
            self.awake.fetch_add(1, Ordering::SeqCst);
        }
        room
    }

    /// Wakes this one, whatever the number of those awake, if it sleeps.
    pub(crate) fn rouse(&self, helper: &Arc<Helper>) {
        if self.get_up(helper) {
            helper.wake(self.epoch.elapsed());
        }
    }

    /// Asks every helper to leave that is where `path` led it; they share `leave_request`.
    pub(crate) fn send_away(&self, path: &Arc<Path>, leave_request: &LeaveRequest) {
        for helper in self.helpers() {
            if helper.ask_to_leave(path, leave_request.clone()) {
                self.rouse(&helper);
            }
        }
    }

    pub(crate) fn enlist(&self, helper: &Arc<Helper>) {
        self.roster.lock().members.insert(helper.id, helper.clone());
    }

    /// A helper whose thread could not be made.
    pub(crate) fn forget(&self, id: u64) {
        self.roster.lock().members.remove(&id);
    }

    /// A thread that was hired is no more, or could not be made.
    pub(crate) fn gone(&self, id: Option<u64>) -> Option<Arc<Helper>> {
        let mut roster = self.roster.lock();
        roster.hired -= 1;
        id.and_then(|id| roster.members.remove(&id))
    }

    /// Puts a helper to bed. `false` if work has come meanwhile.
    pub(crate) fn lie_down(
        &self,
        helper: &Arc<Helper>,
        bed: Bed,
        is_work: impl FnOnce() -> bool,
    ) -> bool {
        let now = self.epoch.elapsed();
        self.roster.lock().lay(helper, bed, now);
        self.awake.fetch_sub(1, Ordering::SeqCst);
        fence(Ordering::SeqCst);
        // Whoever is not found in bed has been called, and the call will arrive.
        !(is_work() && self.get_up(helper))
    }

    /// Takes a helper out of bed, awake from now on; `false` if somebody else did.
    pub(crate) fn get_up(&self, helper: &Arc<Helper>) -> bool {
        let was_asleep = self.roster.lock().lift(helper);
        if was_asleep {
            self.awake.fetch_add(1, Ordering::SeqCst);
        }
        was_asleep
    }

    /// The same for one of several that are parked; `false` if it is the last of them. In one step, or two
    /// would each take the other for the last.
    pub(crate) fn relieve(&self, helper: &Arc<Helper>) -> bool {
        let is_relieved = self.roster.lock().relieve(helper);
        if is_relieved {
            self.awake.fetch_add(1, Ordering::SeqCst);
        }
        is_relieved
    }

    /// Wakes those that have napped long enough, to settle where they are. `true` if none naps any more,
    /// `None` if somebody has the lock.
    pub(crate) fn end_naps(&self) -> Option<bool> {
        let now = self.epoch.elapsed();
        let mut roster = self.roster.try_lock()?;
        let naps_on = |(_, since): &(_, Duration)| now.saturating_sub(*since) < NAP;
        let (napping, done): (Vec<_>, Vec<_>) = roster.napping.drain(..).partition(naps_on);
        roster.napping = napping;
        let is_over = roster.napping.is_empty();
        drop(roster);
        for (helper, _) in done {
            self.awake.fetch_add(1, Ordering::SeqCst);
            helper.end_nap();
            helper.wake(now);
        }
        Some(is_over)
    }

    pub(crate) fn has_nappers(&self) -> bool {
        !self.roster.lock().napping.is_empty()
    }

    /// Whether a helper sleeps in the VM's namespace, ready for whatever path comes.
    #[cfg(test)]
    pub(crate) fn has_spare(&self) -> bool {
        !self.roster.lock().parked.is_empty()
    }

    /// Whether a helper sleeps where `path` leads.
    pub(crate) fn has_sleeper_in(&self, path: &Path) -> bool {
        let bed = path.sleeper.load(Ordering::Relaxed);
        self.roster.lock().pinned.contains_key(&bed)
    }

    /// A helper no longer counts as awake: it is stuck, or ends.
    pub(crate) fn discount(&self) {
        self.awake.fetch_sub(1, Ordering::SeqCst);
    }

    /// A helper that was stuck counts again.
    pub(crate) fn count(&self) {
        self.awake.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn hired(&self) -> usize {
        self.roster.lock().hired
    }

    pub(crate) fn helper(&self, id: u64) -> Option<Arc<Helper>> {
        self.roster.lock().members.get(&id).cloned()
    }

    pub(crate) fn helpers(&self) -> Vec<Arc<Helper>> {
        self.roster.lock().members.values().cloned().collect()
    }

    /// As long as some thread does not get on in the middle of any of this.
    #[cfg(test)]
    pub(crate) fn while_locked<R>(&self, f: impl FnOnce() -> R) -> R {
        let _roster = self.roster.lock();
        f()
    }
}
