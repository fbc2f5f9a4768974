//! The ready paths: those that have jobs and that no helper is serving.
//!
//! A path joins one of four lanes by its [`Pace`], so that a path that has kept helpers for long does not
//! stand before those that have not:
//!
//! | lane | paths | helpers that may serve it at a time |
//! |---|---|---|
//! | proven | a helper has entered them at once | all |
//! | unproven | new ones, and those where the last turn failed at once | all but a share that is kept for those that were entered |
//! | slow | a helper has entered them, and it took long | [`SLOW_AT_ONCE`] that are not blocked |
//! | slow and unproven | the last turn took long to fail | both bounds hold |

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_queue::SegQueue;

use crate::path::{Pace, Path};

/// One helper in `KEPT` is kept for paths that were entered by their last turn. With fewer, paths that block
/// can hold up all others; with more, there are fewer helpers for namespaces that are new.
const KEPT: usize = 4;

/// Helpers that serve slow paths at a time. With fewer, slow paths wait for each other; with more, there are
/// more threads that mostly wait.
const SLOW_AT_ONCE: usize = 16;

/// The work that may wait for each helper that is awake. With less, a second helper is woken for work that
/// the first would have done meanwhile, and takes a processor from the callers; with more, processors idle.
const BACKLOG: Duration = Duration::from_millis(1);

/// Of so many turns each lane has one in which it comes first, so that a lane that is never empty starves no
/// other. Fewer, and paths that may block come before those that do not more often.
const ROUND: usize = 16;

/// The lanes in the order in which they are served.
const ORDER: [Pace; 4] = [Pace::Proven, Pace::Unproven, Pace::Slow, Pace::SlowUnproven];

/// What a turn takes until one was measured.
const FIRST_GUESS: Duration = Duration::from_micros(10);

pub(crate) struct Ready {
    /// By pace.
    lanes: [SegQueue<Arc<Path>>; ORDER.len()],
    /// Helpers that serve an unproven path.
    on_trial: AtomicUsize,
    most_on_trial: usize,
    /// Helpers that serve a slow path.
    on_slow: AtomicUsize,
    /// Helpers that are blocked for so long that others shall not wait for them, as of the last tick.
    blocked: AtomicUsize,
    /// Turns that helpers have looked for.
    looks: AtomicUsize,
    /// How long a turn takes, in nanoseconds: the mean of about the last eight.
    turn_time: AtomicU64,
    cpus: usize,
}

/// A path to serve. To drop it is to finish its turn.
pub(crate) struct Ticket<'a> {
    pub(crate) path: Arc<Path>,
    pub(crate) pace: Pace,
    _counted: [Option<Counted<'a>>; 2],
}

/// One of a bounded number, counted until this is dropped.
struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    fn below(count: &'a AtomicUsize, most: usize) -> Option<Self> {
        let one_more = |count| (count < most).then_some(count + 1);
        count
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_more)
            .is_ok()
            .then(|| Self(count))
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ready {
    pub(crate) fn new(max_helpers: usize) -> Self {
        Self {
            lanes: Default::default(),
            on_trial: AtomicUsize::new(0),
            // Up to three helpers serve every lane: none can be spared.
            most_on_trial: max_helpers - max_helpers / KEPT,
            on_slow: AtomicUsize::new(0),
            blocked: AtomicUsize::new(0),
            looks: AtomicUsize::new(1),
            turn_time: AtomicU64::new(FIRST_GUESS.as_nanos() as u64),
            cpus: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }

    fn lane(&self, pace: Pace) -> &SegQueue<Arc<Path>> {
        &self.lanes[pace as usize]
    }

    pub(crate) fn push(&self, path: Arc<Path>) {
        self.lane(path.pace()).push(path);
    }

    /// Takes the next path that may be served now.
    pub(crate) fn take(&self) -> Option<Ticket<'_>> {
        let in_order = || ORDER.iter().find_map(|pace| self.take_from(*pace));
        let first = match self.looks.fetch_add(1, Ordering::Relaxed) % ROUND {
            0 => Pace::Unproven,
            5 => Pace::SlowUnproven,
            10 => Pace::Slow,
            _ => Pace::Proven,
        };
        self.take_from(first).or_else(in_order)
    }

    fn take_from(&self, pace: Pace) -> Option<Ticket<'_>> {
        let lane = self.lane(pace);
        if lane.is_empty() {
            return None;
        }
        let count = |is_counted, count, most| match is_counted {
            true => Counted::below(count, most).map(Some),
            false => Some(None),
        };
        let on_trial = count(pace.is_unproven(), &self.on_trial, self.most_on_trial)?;
        let on_slow = count(pace.is_slow(), &self.on_slow, self.most_on_slow())?;
        lane.pop().map(|path| Ticket {
            path,
            pace,
            _counted: [on_trial, on_slow],
        })
    }

    /// Returns whether one more helper may serve such paths.
    fn has_room(&self, pace: Pace) -> bool {
        let may_try = || self.on_trial.load(Ordering::SeqCst) < self.most_on_trial;
        let may_be_slow = || self.on_slow.load(Ordering::SeqCst) < self.most_on_slow();
        (!pace.is_unproven() || may_try()) && (!pace.is_slow() || may_be_slow())
    }

    fn most_on_slow(&self) -> usize {
        SLOW_AT_ONCE + self.blocked.load(Ordering::Relaxed)
    }

    /// Takes any path, whatever its lane's bound: to refuse its jobs. If not of `all`, of those unproven.
    pub(crate) fn take_to_refuse(&self, all: bool) -> Option<Arc<Path>> {
        let unproven = [Pace::Unproven, Pace::SlowUnproven];
        let entered = [Pace::Slow, Pace::Proven].into_iter().filter(|_| all);
        let mut paces = unproven.into_iter().chain(entered);
        paces.find_map(|pace| self.lane(pace).pop())
    }

    /// Returns whether a helper that looks now finds a path.
    pub(crate) fn has_work(&self) -> bool {
        let is_work = |pace: &Pace| !self.lane(*pace).is_empty() && self.has_room(*pace);
        ORDER.iter().any(is_work)
    }

    /// Returns how many paths wait.
    pub(crate) fn len(&self) -> usize {
        self.lanes.iter().map(SegQueue::len).sum()
    }

    /// Returns the most helpers that may serve unproven paths.
    pub(crate) fn most_on_trial(&self) -> usize {
        self.most_on_trial
    }

    /// Returns how many helpers what waits is worth: one, and one more for each further [`BACKLOG`] of work,
    /// up to the number of processors. Paths are served one turn at a time, so a deep queue of one path is
    /// worth one. Helpers of slow paths wait for the kernel and are not counted as awake.
    pub(crate) fn wanted(&self) -> usize {
        let waiting = self.lane(Pace::Proven).len() + self.lane(Pace::Unproven).len();
        let work = waiting as u64 * self.turn_time.load(Ordering::Relaxed);
        let more = work / BACKLOG.as_nanos() as u64;
        (1 + more as usize).min(self.cpus)
    }

    pub(crate) fn note_turn_time(&self, time: Duration) {
        let before = self.turn_time.load(Ordering::Relaxed);
        // One that blocks says nothing of the others.
        let time = time.min(BACKLOG).as_nanos() as u64;
        self.turn_time
            .store((7 * before + time) / 8, Ordering::Relaxed);
    }

    pub(crate) fn note_blocked(&self, blocked: usize) {
        self.blocked.store(blocked, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::tests::path;

    fn of_pace(pace: Pace) -> Arc<Path> {
        let path = path();
        path.set_pace(pace);
        path
    }

    fn push(ready: &Ready, pace: Pace, count: usize) {
        (0..count).for_each(|_| ready.push(of_pace(pace)));
    }

    #[test]
    fn lanes_are_served_by_pace() {
        let ready = Ready::new(8);
        for pace in ORDER.iter().rev() {
            push(&ready, *pace, 1);
        }
        let paces: Vec<_> = std::iter::from_fn(|| ready.take())
            .map(|ticket| ticket.pace)
            .collect();
        assert_eq!(paces, ORDER);
        assert!(!ready.has_work());
    }

    #[test]
    fn full_lane_starves_no_other() {
        let ready = Ready::new(8);
        let [proven, unproven, slow, both] = ORDER;
        for pace in [unproven, slow, both] {
            push(&ready, pace, 2);
        }
        let mut others = Vec::new();
        for _ in 0..2 * ROUND {
            push(&ready, proven, 1);
            others.extend(ready.take().map(|ticket| ticket.pace));
        }
        others.retain(|pace| *pace != proven);
        assert_eq!(others, [both, slow, unproven, both, slow, unproven]);
    }

    #[test]
    fn helpers_are_kept_for_entered_paths() {
        let ready = Ready::new(8);
        push(&ready, Pace::Unproven, 8);
        let mut tickets: Vec<_> = std::iter::from_fn(|| ready.take()).collect();
        assert_eq!(tickets.len(), 6);
        assert!(!ready.has_work());
        for pace in [Pace::Proven, Pace::Slow] {
            push(&ready, pace, 1);
            assert!(ready.has_work() && ready.take().is_some());
            assert!(!ready.has_work());
        }
        tickets.pop();
        assert!(ready.has_work() && ready.take().is_some());
    }

    #[test]
    fn lone_helper_serves_every_lane() {
        for pace in ORDER {
            let ready = Ready::new(1);
            push(&ready, pace, 1);
            assert!(ready.has_work() && ready.take().is_some());
        }
    }

    #[test]
    fn slow_paths_at_once_are_bounded() {
        let ready = Ready::new(100);
        push(&ready, Pace::Slow, 50);
        let mut tickets: Vec<_> = std::iter::from_fn(|| ready.take()).collect();
        assert_eq!(tickets.len(), SLOW_AT_ONCE);
        assert!(!ready.has_work());
        ready.note_blocked(3);
        tickets.extend(std::iter::from_fn(|| ready.take()));
        assert_eq!(tickets.len(), SLOW_AT_ONCE + 3);
        push(&ready, Pace::SlowUnproven, 1);
        assert!(!ready.has_work());
        // Nobody else notices.
        push(&ready, Pace::Unproven, 1);
        assert!(ready.take().is_some());
    }

    #[test]
    fn wanted_helpers_grow_with_waiting_work() {
        let mut ready = Ready::new(100);
        ready.cpus = 4;
        assert_eq!(ready.wanted(), 1);
        (0..99).for_each(|_| ready.note_turn_time(Duration::from_micros(5)));
        push(&ready, Pace::Proven, 64);
        assert_eq!(ready.wanted(), 1);
        (0..99).for_each(|_| ready.note_turn_time(Duration::from_micros(35)));
        assert_eq!(ready.wanted(), 3);
        (0..99).for_each(|_| ready.note_turn_time(Duration::from_secs(1)));
        assert_eq!(ready.wanted(), 4);
        (0..64).for_each(|_| drop(ready.take()));
        push(&ready, Pace::Slow, 64);
        assert_eq!(ready.wanted(), 1);
    }
}
