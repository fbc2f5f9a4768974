//! What a helper is doing, in one atomic. The helper writes it; the manager judges it.
//!
//! The manager compares it from tick to tick. It never compares times, because time also passes while the
//! whole process stands still: after SIGSTOP, in a frozen control group, on a suspended machine. No tick
//! passes then.

use std::sync::atomic::{AtomicU64, Ordering};

/// What a helper is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Phase {
    /// Asleep, or about to be, until it is woken or its time is over.
    Idle,
    /// The same without a time: the manager wakes it soon.
    Grace,
    /// Between two turns.
    Awake,
    /// Looking up where a path leads. No job was popped yet.
    LookingUp,
    /// Serving the jobs of a path.
    Serving,
}

/// Whether few may have such a turn at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TurnKind {
    Proven,
    Unproven,
    SlowUnproven,
    Slow,
}

const PHASE: u64 = 7;

/// The helper is not counted as awake, so that another may be woken in its stead.
const UNCOUNTED: u64 = 1 << 3;

/// It has been at one turn for so long that it must be blocked in the kernel.
const STUCK: u64 = 1 << 4;

/// The path was taken from it: another helper serves it.
const REVOKED: u64 = 1 << 5;

const MARKS: u64 = UNCOUNTED | STUCK | REVOKED;

/// The turn is at a path of this kind, of which few have turns at a time (see [`crate::ready`]).
const UNPROVEN: u64 = 1 << 6;
const SLOW: u64 = 1 << 7;

/// What belongs to one phase or turn.
const STATE: u64 = PHASE | MARKS | UNPROVEN | SLOW;

/// Counts phases; the number of a phase is used once in a lifetime.
const ONE: u64 = 1 << 8;

/// The turn of one helper. The helper alone changes the phase and the number, the manager adds marks.
#[derive(Default)]
pub(crate) struct Turn(AtomicU64);

/// What the manager saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen(u64);

impl Seen {
    pub(crate) fn phase(self) -> Phase {
        match self.0 & PHASE {
            0 => Phase::Idle,
            1 => Phase::Grace,
            2 => Phase::Awake,
            3 => Phase::LookingUp,
            _ => Phase::Serving,
        }
    }

    /// Returns whether it is in the middle of a turn.
    pub(crate) fn is_busy(self) -> bool {
        matches!(self.phase(), Phase::LookingUp | Phase::Serving)
    }

    /// Returns whether it sleeps.
    pub(crate) fn is_asleep(self) -> bool {
        matches!(self.phase(), Phase::Idle | Phase::Grace)
    }

    pub(crate) fn is_uncounted(self) -> bool {
        self.0 & UNCOUNTED != 0
    }

    pub(crate) fn is_stuck(self) -> bool {
        self.0 & STUCK != 0
    }

    pub(crate) fn is_revoked(self) -> bool {
        self.0 & REVOKED != 0
    }

    /// Returns whether it is at a path that no helper has entered yet.
    pub(crate) fn is_unproven(self) -> bool {
        self.0 & UNPROVEN != 0
    }

    /// Returns whether it is at a slow path.
    pub(crate) fn is_slow(self) -> bool {
        self.0 & SLOW != 0
    }

    /// Returns whether nothing has happened between the two.
    pub(crate) fn is_same(self, other: Self) -> bool {
        self.0 & !MARKS == other.0 & !MARKS
    }
}

impl Turn {
    pub(crate) fn seen(&self) -> Seen {
        Seen(self.0.load(Ordering::SeqCst))
    }

    /// Begins a phase outside of a turn.
    pub(crate) fn set(&self, phase: Phase) {
        let number = self.0.load(Ordering::Relaxed) & !STATE;
        self.0.store(number + ONE + phase as u64, Ordering::SeqCst);
    }

    /// Begins a turn at a path of this kind. At a slow one the helper does not count as awake.
    pub(crate) fn begin(&self, kind: TurnKind) {
        let number = self.0.load(Ordering::Relaxed) & !STATE;
        let kind = match kind {
            TurnKind::Proven => 0,
            TurnKind::Unproven => UNPROVEN,
            TurnKind::SlowUnproven => SLOW | UNPROVEN | UNCOUNTED,
            TurnKind::Slow => SLOW | UNCOUNTED,
        };
        let turn = number + ONE + Phase::LookingUp as u64 + kind;
        self.0.store(turn, Ordering::SeqCst);
    }

    /// Goes on from looking up to serving; `false` if the path was taken away meanwhile.
    pub(crate) fn serve(&self) -> bool {
        let serving = |turn| (turn & REVOKED == 0).then_some(turn & !PHASE | Phase::Serving as u64);
        self.0
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, serving)
            .is_ok()
    }

    /// Ends a turn, and returns what the manager had marked.
    pub(crate) fn end(&self) -> Seen {
        let number = self.0.load(Ordering::Relaxed) & !STATE;
        let awake = number + ONE + Phase::Awake as u64;
        Seen(self.0.swap(awake, Ordering::SeqCst))
    }

    /// Marks a turn, if it is still as it was `seen`; whether that is new.
    fn mark(&self, seen: Seen, mark: u64) -> bool {
        seen.0 & mark == 0
            && self
                .0
                .compare_exchange(seen.0, seen.0 | mark, Ordering::SeqCst, Ordering::SeqCst)
                .is_ok()
    }

    /// Has it count as awake no more. If so, the caller lowers the number of those awake.
    pub(crate) fn uncount(&self, seen: Seen) -> bool {
        self.mark(seen, UNCOUNTED)
    }

    pub(crate) fn mark_stuck(&self, seen: Seen) -> bool {
        self.mark(seen, STUCK)
    }

    /// Takes the path from a helper that looks it up. If so, the claim to serve it is the caller's.
    pub(crate) fn revoke(&self, seen: Seen) -> bool {
        seen.phase() == Phase::LookingUp && self.mark(seen, REVOKED)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_end_with_the_turn() {
        let turn = Turn::default();
        turn.begin(TurnKind::Proven);
        assert!(turn.uncount(turn.seen()) && !turn.uncount(turn.seen()));
        assert!(turn.mark_stuck(turn.seen()));
        assert!(turn.serve());
        assert!(turn.seen().is_stuck());
        assert!(turn.end().is_uncounted());
        assert!(!turn.seen().is_uncounted() && !turn.seen().is_stuck());
        assert_eq!(turn.seen().phase(), Phase::Awake);
    }

    #[test]
    fn mark_for_earlier_turn_is_lost() {
        let turn = Turn::default();
        turn.begin(TurnKind::Proven);
        let before = turn.seen();
        turn.end();
        turn.begin(TurnKind::Proven);
        assert!(!turn.seen().is_same(before));
        assert!(!turn.uncount(before) && !turn.revoke(before));
        assert!(!turn.end().is_uncounted());
    }

    #[test]
    fn served_path_is_not_revoked() {
        let turn = Turn::default();
        turn.begin(TurnKind::Proven);
        let seen = turn.seen();
        assert!(turn.revoke(seen));
        assert!(!turn.serve());
        assert!(turn.end().is_revoked());
        turn.begin(TurnKind::Proven);
        assert!(turn.serve());
        assert!(!turn.revoke(turn.seen()));
        assert!(!turn.end().is_revoked());
    }

    #[test]
    fn slow_turn_is_never_counted() {
        let turn = Turn::default();
        turn.begin(TurnKind::Slow);
        assert!(turn.seen().is_slow() && !turn.seen().is_unproven());
        assert!(!turn.uncount(turn.seen()));
        assert!(turn.end().is_uncounted());
        turn.begin(TurnKind::SlowUnproven);
        assert!(turn.seen().is_unproven() && turn.seen().is_slow());
        assert!(turn.end().is_uncounted());
        turn.begin(TurnKind::Unproven);
        assert!(turn.seen().is_unproven() && !turn.seen().is_slow());
        turn.end();
        assert!(!turn.seen().is_unproven());
    }
}
