//! Binding a helper to the processor of an only caller.
//!
//! A caller that opens one socket after the other and its helper wait for each other in turn. On one
//! processor, waking the helper takes little longer than a system call. The kernel rather wakes it on another
//! that is idle, which on a virtual machine takes ten times as long. So a helper that has served the same
//! processor for a while, and nobody else, binds itself to it (sched_setaffinity(2)), until another calls or
//! its idle timeout ends. Where the kernel moves the caller, the helper follows.
//!
//! Where the processor is busy, or the kernel lets the caller go on (before Linux 6.12), waking takes long
//! there. Then the helper unbinds itself, and waits the longer with its next attempt the less the last one has
//! gained. Where a real-time process has the processor, the helper gets no turn at all; then the manager
//! unbinds it, which is why each call of a bound helper asks for ticks.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::thread::gettid;

use crate::affinity;

/// Turns of one request from the same processor before the helper binds itself to it. Fewer binds it
/// to callers that only pass by, and to move a thread takes as long as several opens; more is slow for longer.
const SINGLE_TURNS: u32 = 16;

/// The most, after several bindings in a row that were not worth it: four times as many after each.
const MOST_SINGLE_TURNS: u32 = 4_096;

/// Quick wakings after which a binding was worth it, whatever ended it.
const WORTH_IT: u32 = 256;

/// Waking up there takes 2 to 5 µs, on an idle processor 20 to 60.
const SLOW_WAKING: Duration = Duration::from_micros(15);

/// One slow waking weighs as much as so many quick ones, and so many more slow ones than that unbind the
/// helper: one in nine may be slow.
const SLOW_WEIGHT: u32 = 8;
const SLOW_WAKINGS: u32 = 8;

/// Whether this helper is bound to its caller's processor, and whether it should be.
pub(super) struct Binding<'a> {
    /// The processor that the last caller was on.
    cpu: usize,
    /// Turns of one request that have come from there, in a row.
    single_turns: u32,
    /// How many of them it takes before this helper is bound.
    wanted: u32,
    is_bound: bool,
    /// The same as the manager sees and changes it: this thread's number, or 0.
    bound: &'a AtomicI32,
    /// Wake-ups that were slow there, by their weight.
    slow: u32,
    /// Those that were quick, since it last backed off.
    quick: u32,
}

impl<'a> Binding<'a> {
    pub(super) fn unbound(bound: &'a AtomicI32) -> Self {
        Self {
            cpu: usize::MAX,
            single_turns: 0,
            wanted: SINGLE_TURNS,
            is_bound: false,
            bound,
            slow: 0,
            quick: 0,
        }
    }

    /// Returns the processor that the last caller was on.
    pub(super) fn cpu(&self) -> usize {
        self.cpu
    }

    /// Notes a turn for a caller on `cpu`, which was all there was to do, or not.
    pub(super) fn note_turn(&mut self, cpu: usize, was_all: bool) {
        if self.is_bound && self.bound.load(Ordering::Relaxed) == 0 {
            self.is_bound = false;
            self.back_off();
        }
        let is_there = self.is_bound && cpu == self.cpu;
        if !self.is_to_be_bound(cpu, was_all) {
            self.unbind();
        } else if !is_there && affinity::run_on(cpu) {
            self.is_bound = true;
            self.bound
                .store(gettid().as_raw_nonzero().get(), Ordering::SeqCst);
            self.slow = 0;
        }
    }

    fn is_to_be_bound(&mut self, cpu: usize, was_all: bool) -> bool {
        self.single_turns = if !was_all {
            0
        } else if cpu == self.cpu {
            self.single_turns.saturating_add(1)
        } else if self.single_turns >= self.wanted + SINGLE_TURNS {
            // The kernel has moved the caller, as it does every hundred calls or so.
            self.wanted
        } else {
            0
        };
        self.cpu = cpu;
        self.single_turns >= self.wanted
    }

    /// Notes how long the helper took to wake up.
    pub(super) fn note_wake_up(&mut self, waking: Duration) {
        if self.is_bound && self.is_too_slow(waking) {
            self.unbind();
        }
    }

    fn is_too_slow(&mut self, waking: Duration) -> bool {
        if waking > SLOW_WAKING {
            self.slow += SLOW_WEIGHT;
        } else {
            self.slow = self.slow.saturating_sub(1);
            self.quick = self.quick.saturating_add(1);
        }
        let is_too_slow = self.slow >= SLOW_WAKINGS * SLOW_WEIGHT;
        if is_too_slow {
            self.back_off();
        }
        is_too_slow
    }

    fn back_off(&mut self) {
        self.single_turns = 0;
        self.wanted = match std::mem::take(&mut self.quick) >= WORTH_IT {
            true => SINGLE_TURNS,
            false => (self.wanted * 4).min(MOST_SINGLE_TURNS),
        };
    }

    /// Lets this helper run on any processor again.
    pub(super) fn unbind(&mut self) {
        if std::mem::take(&mut self.is_bound) && self.bound.swap(0, Ordering::SeqCst) != 0 {
            affinity::run_anywhere(None);
        }
    }
}

/// The thread ends, and another may get its number.
impl Drop for Binding<'_> {
    fn drop(&mut self) {
        self.bound.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(binding: &mut Binding<'_>, cpu: usize) -> u32 {
        (1..).find(|_| binding.is_to_be_bound(cpu, true)).unwrap()
    }

    #[test]
    fn helper_is_bound_to_only_caller() {
        let bound = Default::default();
        let mut binding = Binding::unbound(&bound);
        assert_eq!(after(&mut binding, 3), SINGLE_TURNS + 1);
        assert!(binding.is_to_be_bound(3, true));
        assert!(!binding.is_to_be_bound(3, false));
        assert_eq!(after(&mut binding, 3), SINGLE_TURNS);
        assert!(!binding.is_to_be_bound(4, true));
    }

    #[test]
    fn helper_follows_one_caller_not_two() {
        let bound = Default::default();
        let mut binding = Binding::unbound(&bound);
        after(&mut binding, 3);
        assert!((0..SINGLE_TURNS).all(|_| binding.is_to_be_bound(3, true)));
        assert!(binding.is_to_be_bound(4, true));
        assert!(!binding.is_to_be_bound(3, true));
    }

    #[test]
    fn ended_thread_number_is_cleared() {
        let bound = AtomicI32::new(1);
        drop(Binding::unbound(&bound));
        assert_eq!(bound.into_inner(), 0);
    }

    #[test]
    fn slow_wakings_unbind_ever_longer() {
        let bound = Default::default();
        let mut binding = Binding::unbound(&bound);
        let (quick, slow) = (SLOW_WAKING, SLOW_WAKING * 2);
        let woke = |binding: &mut Binding<'_>, times, waking| {
            (0..times).any(|_| binding.is_too_slow(waking))
        };
        // Now and then is chance.
        assert!(
            (0..100)
                .all(|_| !woke(&mut binding, 1, slow) && !woke(&mut binding, SLOW_WEIGHT, quick))
        );
        // It was worth it, so there is no reason to wait.
        assert!(woke(&mut binding, SLOW_WAKINGS, slow));
        assert_eq!(after(&mut binding, 3), SINGLE_TURNS + 1);
        for wanted in [64, 256, 1_024, MOST_SINGLE_TURNS, MOST_SINGLE_TURNS] {
            binding.slow = 0;
            assert!(!woke(&mut binding, WORTH_IT - 1, quick));
            assert!(woke(&mut binding, SLOW_WAKINGS, slow));
            assert_eq!(after(&mut binding, 3), wanted);
        }
    }
}
