//! Which helpers there are, and where those that sleep can be found.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::helper::Helper;
use crate::path::Path;
use crate::work::NAP;

#[derive(Default)]
pub(super) struct Roster {
    /// Threads that exist, were ordered, or have ended but not been joined.
    pub(super) hired: usize,
    pub(super) members: HashMap<u64, Arc<Helper>>,
    /// Asleep in a namespace, by the order of falling asleep, and when that was in time since the
    /// pool's start.
    pub(super) pinned: BTreeMap<u64, (Arc<Helper>, Duration)>,
    /// Asleep where they have just served, until the manager lets them settle, and since when.
    pub(super) napping: Vec<(Arc<Helper>, Duration)>,
    /// Asleep in the VM's own.
    pub(super) parked: Vec<Arc<Helper>>,
    clock: u64,
}

/// How a helper sleeps.
#[derive(Clone, Copy)]
pub(crate) enum Bed {
    /// For a moment, before it settles.
    Nap,
    /// In the namespace where it is, which is watched.
    Pinned,
    /// In the VM's own.
    Parked,
}

impl Roster {
    /// One that has just fallen asleep, else the one that sleeps where `path` leads, else one that sleeps
    /// nowhere.
    pub(super) fn sleeper_for(
        &mut self,
        path: Option<&Arc<Path>>,
        now: Duration,
    ) -> Option<Arc<Helper>> {
        if let Some((helper, _)) = self.napping.pop() {
            return Some(helper);
        }
        if let Some(last) = self.pinned.last_entry() {
            if now.saturating_sub(last.get().1) < NAP {
                return Some(last.remove().0);
            }
        }
        let home = path.map_or(0, |path| path.sleeper.swap(0, Ordering::Relaxed));
        let pinned = self.pinned.remove(&home).map(|(helper, _)| helper);
        pinned.or_else(|| self.parked.pop())
    }

    pub(super) fn longest_sleeper(&mut self) -> Option<Arc<Helper>> {
        self.pinned.pop_first().map(|(_, (helper, _))| helper)
    }

    pub(super) fn lay(&mut self, helper: &Arc<Helper>, bed: Bed, now: Duration) {
        match bed {
            Bed::Nap => self.napping.push((helper.clone(), now)),
            Bed::Parked => self.parked.push(helper.clone()),
            Bed::Pinned => {
                self.clock += 1;
                helper.bed.store(self.clock, Ordering::Relaxed);
                if let Some(path) = helper.path() {
                    path.sleeper.store(self.clock, Ordering::Relaxed);
                }
                self.pinned.insert(self.clock, (helper.clone(), now));
            }
        }
    }

    /// Takes one of several out of the VM's own, not the last.
    pub(super) fn relieve(&mut self, helper: &Arc<Helper>) -> bool {
        self.parked.len() > 1 && take_from(&mut self.parked, |other| other.id == helper.id)
    }

    pub(super) fn lift(&mut self, helper: &Arc<Helper>) -> bool {
        let pinned = helper.bed.load(Ordering::Relaxed);
        let is_this = |other: &Arc<Helper>| other.id == helper.id;
        self.pinned.remove(&pinned).is_some()
            || take_from(&mut self.napping, |(other, _)| is_this(other))
            || take_from(&mut self.parked, is_this)
    }
}

fn take_from<T>(beds: &mut Vec<T>, is_this: impl FnMut(&T) -> bool) -> bool {
    let place = beds.iter().position(is_this);
    place.map(|place| beds.swap_remove(place)).is_some()
}

#[cfg(test)]
mod tests {
    use crossbeam_utils::sync::Parker;

    use super::*;

    #[test]
    fn all_that_are_parked_are_relieved_but_the_last() {
        let mut roster = Roster::default();
        let helpers =
            [1, 2, 3].map(|id| Arc::new(Helper::new(id, Parker::new().unparker().clone())));
        for helper in &helpers {
            roster.lay(helper, Bed::Parked, Duration::ZERO);
        }
        let relieved = helpers.each_ref().map(|helper| roster.relieve(helper));
        assert_eq!(relieved, [true, true, false]);
        assert!(!roster.relieve(&helpers[0]));
        assert!(roster.lift(&helpers[2]));
    }
}
