//! A helper as the others see it. What it does is in [`crate::work`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU8, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crossbeam_utils::sync::Unparker;
use parking_lot::Mutex;
use rustix::process::Pid;
use rustix::thread::sched_getcpu;

use crate::cpus;
use crate::path::Path;
use crate::release::LeaveRequest;
use crate::watcher::Watch;

const RESTING: u8 = 0;
const SERVING: u8 = 1;
const OVERDUE: u8 = 2;

pub(crate) struct Helper {
    pub(crate) id: u64,
    /// Its place among those asleep in a namespace, when it last was; guarded by the roster's lock.
    pub(crate) bed: AtomicU64,
    /// Written by the helper itself only (and by the manager once its thread is gone), after it has moved.
    place: Mutex<Option<Place>>,
    /// Somebody has lifted it from its bed and counts it as awake.
    called: AtomicBool,
    called_at: AtomicU64,
    /// Its thread waits to be called, or for a time.
    sleeps: AtomicBool,
    /// It has napped long enough.
    napped: AtomicBool,
    /// Before anything else it must leave, or see whether the path still leads where it is.
    asked: AtomicBool,
    /// Its thread's number while that stays on one processor, else 0; and which one.
    pub(crate) kept: (AtomicI32, AtomicUsize),
    unparker: Unparker,
    activity: AtomicU8,
    /// When it began to serve, in nanoseconds since the pool's start.
    serving_since: AtomicU64,
    pub(crate) served: AtomicU64,
}

/// The namespace a helper is in, by the path that led there.
pub(crate) struct Place {
    pub(crate) path: Arc<Path>,
    pub(crate) since: Instant,
    /// Who waits for it to leave; dropping them with the place tells them.
    leave_requests: Vec<LeaveRequest>,
    /// From before it sleeps here for the first time, where that can be had.
    pub(crate) watch: Option<Watch>,
    /// It has slept here, and somebody was told.
    pub(crate) settled: bool,
}

impl Place {
    pub(crate) fn new(path: Arc<Path>) -> Self {
        Self {
            path,
            since: Instant::now(),
            leave_requests: Vec::new(),
            watch: None,
            settled: false,
        }
    }

    /// Whether its end will be told.
    pub(crate) fn is_watched(&self) -> bool {
        self.watch.as_ref().is_some_and(|watch| watch.is_whole)
    }

    /// Whether somebody waits for it to be left.
    pub(crate) fn is_asked_for(&self) -> bool {
        !self.leave_requests.is_empty()
    }
}

impl Helper {
    pub(crate) fn new(id: u64, unparker: Unparker) -> Self {
        Self {
            id,
            bed: AtomicU64::new(0),
            place: Mutex::default(),
            called: AtomicBool::new(false),
            called_at: AtomicU64::new(0),
            sleeps: AtomicBool::new(false),
            napped: AtomicBool::new(false),
            asked: AtomicBool::new(false),
            kept: Default::default(),
            unparker,
            activity: AtomicU8::new(RESTING),
            serving_since: AtomicU64::new(0),
            served: AtomicU64::new(0),
        }
    }

    /// NB: only for whoever has lifted it from its bed.
    pub(crate) fn wake(&self, now: Duration) {
        self.called_at
            .store(now.as_nanos() as u64, Ordering::Relaxed);
        self.called.store(true, Ordering::Release);
        self.unparker.unpark();
    }

    /// What it is woken for is not to serve, but to settle.
    pub(crate) fn end_nap(&self) {
        self.napped.store(true, Ordering::Relaxed);
    }

    /// Whether it has napped long enough since it was last asked.
    pub(crate) fn has_napped(&self) -> bool {
        self.napped.swap(false, Ordering::Relaxed)
    }

    /// When it was called last, in time since the pool's start.
    pub(crate) fn called_at(&self) -> Duration {
        Duration::from_nanos(self.called_at.load(Ordering::Relaxed))
    }

    /// Waits by `park`, which only the helper itself does, and only without a lock that others need.
    pub(crate) fn sleep(&self, park: impl FnOnce()) {
        self.sleeps.store(true, Ordering::SeqCst);
        park();
        self.sleeps.store(false, Ordering::SeqCst);
    }

    /// NB: not while it sleeps, or for a moment it would be neither called nor awake.
    pub(crate) fn was_called(&self) -> bool {
        self.called.swap(false, Ordering::AcqRel)
    }

    /// Asks it to leave `path`; `false` if it is not there. `leave_request` is dropped when it has left.
    pub(crate) fn ask_to_leave(&self, path: &Arc<Path>, leave_request: LeaveRequest) -> bool {
        let mut place = self.place.lock();
        match place.as_mut() {
            Some(place) if Arc::ptr_eq(&place.path, path) => {
                place.leave_requests.push(leave_request);
                self.asked.store(true, Ordering::SeqCst);
                true
            }
            _ => false,
        }
    }

    /// Whoever waits for it to leave is told to wait no longer.
    pub(crate) fn fail_leave_requests(&self) {
        if let Some(place) = self.place.lock().as_mut() {
            place.leave_requests.drain(..).for_each(|d| d.give_up());
        }
    }

    /// Asks it to see whether its path still leads where it is.
    pub(crate) fn ask_to_look(&self) {
        self.asked.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::SeqCst)
    }

    /// Takes note of what it was asked; whether that was to leave the place where it is now.
    pub(crate) fn must_leave(&self) -> bool {
        // Under the lock, as it is set to ask it to leave: none comes between.
        let place = self.place.lock();
        self.asked.store(false, Ordering::SeqCst);
        place.as_ref().is_some_and(Place::is_asked_for)
    }

    pub(crate) fn path(&self) -> Option<Arc<Path>> {
        self.with_place(|place| place.path.clone())
    }

    /// Notes the watch on the place where it is now.
    pub(crate) fn set_watch(&self, watch: Watch) {
        if let Some(place) = self.place.lock().as_mut() {
            place.watch = Some(watch);
        }
    }

    /// Notes that it has settled where it is; the path if that is new.
    pub(crate) fn settle(&self) -> Option<Arc<Path>> {
        let mut place = self.place.lock();
        let place = place.as_mut().filter(|place| !place.settled)?;
        place.settled = true;
        Some(place.path.clone())
    }

    pub(crate) fn with_place<R>(&self, f: impl FnOnce(&Place) -> R) -> Option<R> {
        self.place.lock().as_ref().map(f)
    }

    /// Says where it is now, and returns where it was.
    pub(crate) fn set_place(&self, place: Option<Place>) -> Option<Place> {
        if let Some(place) = &place {
            place.path.inside.fetch_add(1, Ordering::SeqCst);
        }
        let before = std::mem::replace(&mut *self.place.lock(), place);
        if let Some(before) = &before {
            before.path.inside.fetch_sub(1, Ordering::SeqCst);
        }
        before
    }

    pub(crate) fn begin(&self, now: Duration) {
        self.serving_since
            .store(now.as_nanos() as u64, Ordering::SeqCst);
        self.activity.store(SERVING, Ordering::SeqCst);
    }

    /// `true` if it had been declared overdue meanwhile, and must be counted as awake again.
    pub(crate) fn end(&self) -> bool {
        self.activity.swap(RESTING, Ordering::SeqCst) == OVERDUE
    }

    /// Whether it has served one batch for longer than `limit`.
    pub(crate) fn has_served_for(&self, limit: Duration, now: Duration) -> bool {
        // In this order, or the end of one batch and the beginning of the next look like one.
        let is_serving = self.is_serving();
        is_serving && now.saturating_sub(self.serving_since()) > limit
    }

    /// When it began to serve last.
    fn serving_since(&self) -> Duration {
        Duration::from_nanos(self.serving_since.load(Ordering::SeqCst))
    }

    /// Declares it overdue if it has served one batch for longer than `limit`; `true` if that is new.
    pub(crate) fn declare_overdue(&self, limit: Duration, now: Duration) -> bool {
        self.has_served_for(limit, now)
            && self
                .activity
                .compare_exchange(SERVING, OVERDUE, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    pub(crate) fn is_overdue(&self) -> bool {
        self.activity.load(Ordering::SeqCst) == OVERDUE
    }

    fn is_kept(&self) -> bool {
        self.kept.0.load(Ordering::SeqCst) != 0
    }

    /// Whether that is another than the caller's.
    pub(crate) fn is_kept_elsewhere(&self) -> bool {
        self.is_kept() && self.kept.1.load(Ordering::Relaxed) != sched_getcpu()
    }

    /// Whether it stays on one processor and has something to do there: from its call until it sleeps again,
    /// whatever it does meanwhile.
    pub(crate) fn is_kept_at_work(&self) -> bool {
        // In this order: it is awake before it takes note of its call.
        self.is_kept()
            && (self.called.load(Ordering::SeqCst) || !self.sleeps.load(Ordering::SeqCst))
    }

    /// Whether it has been at that for longer than `limit`, or has not even got its turn.
    pub(crate) fn is_held_up(&self, limit: Duration, now: Duration) -> bool {
        self.is_kept_at_work()
            && now.saturating_sub(self.called_at().max(self.serving_since())) > limit
    }

    /// Lets it run anywhere, though it would stay on one processor.
    pub(crate) fn let_go(&self) {
        if let Some(thread) = Pid::from_raw(self.kept.0.swap(0, Ordering::SeqCst)) {
            cpus::run_anywhere(Some(thread));
        }
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.activity.load(Ordering::SeqCst) != RESTING
    }
}

#[cfg(test)]
mod tests {
    use crossbeam_utils::sync::Parker;

    use super::*;

    #[test]
    fn one_that_stays_is_seen_from_its_call_until_it_sleeps_again() {
        const LIMIT: Duration = Duration::from_millis(10);
        let helper = Helper::new(1, Parker::new().unparker().clone());
        helper.kept.0.store(1, Ordering::SeqCst);
        let is_seen = |since: Duration| {
            assert!(!helper.is_held_up(LIMIT, since + LIMIT));
            helper.is_kept_at_work() && helper.is_held_up(LIMIT, since + 2 * LIMIT)
        };
        let (called, begun) = (Duration::from_secs(1), Duration::from_secs(2));
        helper.sleep(|| {
            assert!(!is_seen(called));
            helper.wake(called);
            assert!(is_seen(called));
        });
        assert!(is_seen(called));
        assert!(helper.was_called() && is_seen(called));
        helper.begin(begun);
        assert!(is_seen(begun));
        assert!(!helper.end() && is_seen(begun));
        helper.sleep(|| assert!(!is_seen(begun)));
    }
}
