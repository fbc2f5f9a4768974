//! Which helpers are awake, which sleep where, and which to wake.
//!
//! Waking a sleeping thread costs several times what entering a namespace costs, so a helper is woken only
//! when fewer are awake than what waits is worth (see [`crate::ready`]). These are the candidates, in order:
//!
//! 1. one in its grace period, or that fell asleep less than [`RECENT`] ago, wherever it is: the cheapest to
//!    wake,
//! 2. one that sleeps in the path's namespace,
//! 3. one that sleeps in the VM's own, parked,
//! 4. a new one,
//! 5. when there may be no more, the one that has slept in a namespace for longest.
//!
//! Going idle and posting work meet here. A helper is inserted first and looks for work then; a caller makes
//! the path ready first and looks for sleepers then. Either the helper finds the path, or the caller finds
//! the helper.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};
use std::time::Duration;

use parking_lot::Mutex;

use crate::helper::Helper;
use crate::path::Path;

/// How long a settled helper that fell asleep is the first to be woken, wherever it is. Shorter, and a caller
/// that goes round many namespaces wakes a thread for each; longer, and a helper is taken from a namespace
/// where it may be needed again.
const RECENT: Duration = Duration::from_millis(1);

pub(crate) struct IdleSet {
    /// Helpers that will look for ready paths before they sleep, those being woken or spawned included. The
    /// overdue ones and those that serve slow paths are not among them.
    awake: AtomicUsize,
    max_helpers: usize,
    helpers: Mutex<Helpers>,
}

#[derive(Default)]
struct Helpers {
    /// Threads that exist, were asked for, or have ended but not been joined.
    spawned: usize,
    registered: HashMap<u64, Arc<Helper>>,
    /// Asleep in a namespace, in the order of falling asleep.
    pinned: BTreeMap<u64, Sleeper>,
    /// Asleep in the VM's own.
    parked: Vec<Arc<Helper>>,
    last_key: u64,
}

struct Sleeper {
    helper: Arc<Helper>,
    since: Duration,
    /// It is in its grace period.
    is_grace: bool,
}

/// What became of waking a helper.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// As many are awake as are wanted.
    AlreadyAwake,
    /// A sleeper was woken, which is bound to one processor or not.
    Woken { is_bound: bool },
    /// The manager must spawn one.
    Spawn,
    /// All there may be are at work.
    Exhausted,
}

impl IdleSet {
    pub(crate) fn new(max_helpers: usize) -> Self {
        Self {
            awake: AtomicUsize::new(0),
            max_helpers,
            helpers: Mutex::default(),
        }
    }

    /// Sees to it that a helper will look for ready paths, of which the caller has just added one. `wanted`
    /// returns how many are to be awake; one always is.
    pub(crate) fn wake_one(
        &self,
        path: Option<&Arc<Path>>,
        now: Duration,
        wanted: impl FnOnce() -> usize,
    ) -> Wake {
        // Pairs with the fence in `insert`: either this sees the sleeper, or it sees the path.
        fence(Ordering::SeqCst);
        if !self.count_below(1) && !self.count_below(wanted()) {
            return Wake::AlreadyAwake;
        }
        let mut helpers = self.helpers.lock();
        if let Some(helper) = helpers.sleeper_for(path, now) {
            drop(helpers);
            return Self::wake(&helper, now);
        }
        if helpers.spawned < self.max_helpers {
            helpers.spawned += 1;
            return Wake::Spawn;
        }
        match helpers.longest_sleeper() {
            Some(helper) => {
                drop(helpers);
                Self::wake(&helper, now)
            }
            None => {
                self.uncount();
                Wake::Exhausted
            }
        }
    }

    fn count_below(&self, wanted: usize) -> bool {
        let one_more = |awake| (awake < wanted).then_some(awake + 1);
        self.awake
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .is_ok()
    }

    fn wake(helper: &Helper, now: Duration) -> Wake {
        let is_bound = helper.is_bound();
        helper.wake(now);
        Wake::Woken { is_bound }
    }

    /// Wakes a sleeper, wherever it is: no new helper can be had.
    pub(crate) fn wake_sleeper(&self, now: Duration) -> bool {
        let mut helpers = self.helpers.lock();
        let helper = helpers
            .sleeper_for(None, now)
            .or_else(|| helpers.longest_sleeper());
        drop(helpers);
        if let Some(helper) = &helper {
            self.count();
            helper.wake(now);
        }
        helper.is_some()
    }

    /// Wakes this one, whatever the number of those awake, if it sleeps.
    pub(crate) fn wake_if_idle(&self, helper: &Arc<Helper>, now: Duration) {
        if self.remove(helper) {
            helper.wake(now);
        }
    }

    /// Makes room for one more helper, which counts as awake from now on.
    pub(crate) fn make_room(&self) -> bool {
        let mut helpers = self.helpers.lock();
        let is_room = helpers.spawned < self.max_helpers;
        if is_room {
            helpers.spawned += 1;
            self.count();
        }
        is_room
    }

    pub(crate) fn register(&self, helper: &Arc<Helper>) {
        let mut helpers = self.helpers.lock();
        helpers.registered.insert(helper.id, helper.clone());
    }

    /// Takes back a helper for which room was made, and that was registered if there is an id: its thread is
    /// gone, or could not be made.
    pub(crate) fn unregister(&self, id: Option<u64>) -> Option<Arc<Helper>> {
        let mut helpers = self.helpers.lock();
        helpers.spawned -= 1;
        id.and_then(|id| helpers.registered.remove(&id))
    }

    /// Inserts a helper that is about to sleep, in its grace period or not. `false` if work has come
    /// meanwhile: then it is not idle.
    pub(crate) fn insert(
        &self,
        helper: &Arc<Helper>,
        is_grace: bool,
        now: Duration,
        is_work: impl FnOnce() -> bool,
    ) -> bool {
        self.helpers.lock().insert(helper, is_grace, now);
        self.uncount();
        fence(Ordering::SeqCst);
        // One that is not found any more was woken, and will notice.
        !(is_work() && self.remove(helper))
    }

    /// Takes a helper out, awake from now on; `false` if it is not there.
    pub(crate) fn remove(&self, helper: &Arc<Helper>) -> bool {
        let was_idle = self.helpers.lock().remove(helper);
        if was_idle {
            self.count();
        }
        was_idle
    }

    /// Does the same for a parked one, unless it is the last. In one step, or two would each take the other
    /// for the last.
    pub(crate) fn retire_unless_last(&self, helper: &Arc<Helper>) -> bool {
        let is_retired = self.helpers.lock().retire_unless_last(helper);
        if is_retired {
            self.count();
        }
        is_retired
    }

    /// Returns whether a helper sleeps where `path` leads.
    pub(crate) fn has_sleeper_in(&self, path: &Path) -> bool {
        let key = path.sleeper.load(Ordering::Relaxed);
        self.helpers.lock().pinned.contains_key(&key)
    }

    /// Counts a helper as awake again.
    pub(crate) fn count(&self) {
        self.awake.fetch_add(1, Ordering::SeqCst);
    }

    /// Counts a helper as awake no more.
    pub(crate) fn uncount(&self) {
        self.awake.fetch_sub(1, Ordering::SeqCst);
    }

    pub(crate) fn spawned(&self) -> usize {
        self.helpers.lock().spawned
    }

    pub(crate) fn helper(&self, id: u64) -> Option<Arc<Helper>> {
        self.helpers.lock().registered.get(&id).cloned()
    }

    pub(crate) fn helpers(&self) -> Vec<Arc<Helper>> {
        let helpers = self.helpers.lock();
        helpers.registered.values().cloned().collect()
    }
}

impl Helpers {
    fn sleeper_for(&mut self, path: Option<&Arc<Path>>, now: Duration) -> Option<Arc<Helper>> {
        if let Some(last) = self.pinned.last_entry() {
            let Sleeper {
                since, is_grace, ..
            } = *last.get();
            if is_grace || now.saturating_sub(since) < RECENT {
                return Some(last.remove().helper);
            }
        }
        let key = path.map_or(0, |path| path.sleeper.load(Ordering::Relaxed));
        let pinned = self.pinned.remove(&key).map(|sleeper| sleeper.helper);
        pinned.or_else(|| self.parked.pop())
    }

    fn longest_sleeper(&mut self) -> Option<Arc<Helper>> {
        self.pinned.pop_first().map(|(_, sleeper)| sleeper.helper)
    }

    fn insert(&mut self, helper: &Arc<Helper>, is_grace: bool, since: Duration) {
        let Some(path) = helper.path() else {
            self.parked.push(helper.clone());
            return;
        };
        self.last_key += 1;
        helper.key.store(self.last_key, Ordering::Relaxed);
        // Another that sleeps there already can be found by the path.
        if !self
            .pinned
            .contains_key(&path.sleeper.load(Ordering::Relaxed))
        {
            path.sleeper.store(self.last_key, Ordering::Relaxed);
        }
        let sleeper = Sleeper {
            helper: helper.clone(),
            since,
            is_grace,
        };
        self.pinned.insert(self.last_key, sleeper);
    }

    fn remove(&mut self, helper: &Arc<Helper>) -> bool {
        let key = helper.key.load(Ordering::Relaxed);
        let is_pinned = |sleeper: &Sleeper| sleeper.helper.id == helper.id;
        if self.pinned.get(&key).is_some_and(is_pinned) {
            self.pinned.remove(&key);
            return true;
        }
        let place = self.parked.iter().position(|other| other.id == helper.id);
        place.map(|place| self.parked.swap_remove(place)).is_some()
    }

    fn retire_unless_last(&mut self, helper: &Arc<Helper>) -> bool {
        self.parked.len() > 1 && self.remove(helper)
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_utils::sync::Parker;

    use super::*;
    use crate::helper::Place;
    use crate::path::tests::path;

    fn helper(id: u64) -> Arc<Helper> {
        Arc::new(Helper::new(id, Parker::new().unparker().clone()))
    }

    fn pinned(id: u64, path: &Arc<Path>) -> Arc<Helper> {
        let helper = helper(id);
        helper.set_place(Some(Place::new(path.clone())));
        helper
    }

    const LATER: Duration = RECENT;

    #[test]
    fn last_parked_helper_stays() {
        let mut helpers = Helpers::default();
        let parked = [1, 2, 3].map(helper);
        for helper in &parked {
            helpers.insert(helper, false, Duration::ZERO);
        }
        let retired = parked.each_ref().map(|h| helpers.retire_unless_last(h));
        assert_eq!(retired, [true, true, false]);
        assert!(!helpers.retire_unless_last(&parked[0]));
        assert!(helpers.remove(&parked[2]));
    }

    #[test]
    fn candidates_are_woken_in_order() {
        let (a, b, c) = (path(), path(), path());
        let mut helpers = Helpers::default();
        for sleeper in [pinned(1, &a), pinned(2, &b), helper(3), pinned(4, &c)] {
            helpers.insert(&sleeper, false, Duration::ZERO);
        }
        let mut woken = |now| helpers.sleeper_for(Some(&a), now).map(|helper| helper.id);
        assert_eq!(woken(RECENT / 2), Some(4));
        assert_eq!(woken(LATER), Some(1));
        assert_eq!(woken(LATER), Some(3));
        assert_eq!(woken(LATER), None);
        assert_eq!(helpers.longest_sleeper().map(|helper| helper.id), Some(2));
    }

    #[test]
    fn later_sleeper_hides_no_earlier_one() {
        let path = path();
        let mut helpers = Helpers::default();
        let (first, second) = (pinned(1, &path), pinned(2, &path));
        helpers.insert(&first, false, Duration::ZERO);
        helpers.insert(&second, false, Duration::ZERO);
        let found = helpers.sleeper_for(Some(&path), LATER).unwrap();
        assert_eq!(found.id, 1);
        assert!(!helpers.remove(&first) && helpers.remove(&second));
    }

    #[test]
    fn grace_lasts_until_the_helper_settles() {
        let (a, b) = (path(), path());
        let mut helpers = Helpers::default();
        helpers.insert(&pinned(1, &a), false, Duration::ZERO);
        helpers.insert(&pinned(2, &b), true, Duration::ZERO);
        let woken = helpers.sleeper_for(Some(&a), 100 * RECENT);
        assert_eq!(woken.map(|helper| helper.id), Some(2));
    }

    #[test]
    fn wakes_are_bounded_by_room() {
        let idle = IdleSet::new(2);
        let wake = |wanted| idle.wake_one(None, LATER, || wanted);
        assert_eq!(wake(1), Wake::Spawn);
        assert_eq!(wake(1), Wake::AlreadyAwake);
        assert_eq!(wake(2), Wake::Spawn);
        assert_eq!(wake(3), Wake::Exhausted);
        // What was counted for nothing is taken back.
        assert_eq!(wake(2), Wake::AlreadyAwake);
        idle.uncount();
        assert_eq!(wake(2), Wake::Exhausted);
        assert!(!idle.make_room());
        idle.unregister(None);
        assert!(idle.make_room());
    }
}
