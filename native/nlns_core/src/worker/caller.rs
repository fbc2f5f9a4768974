//! Staying on the processor of an only caller.
//!
//! A caller that opens one socket after the other and its helper wait for each other in turn. On one
//! processor, waking the helper takes little longer than a system call. The kernel rather wakes it on another
//! that is idle, which on a virtual machine takes ten times as long. So a helper that has served the same
//! processor for a while, and nobody else, binds itself to it (sched_setaffinity(2)), until another calls or
//! its idle timeout ends. Where the kernel moves the caller, the helper follows.
//!
//! Where the processor is busy, or the kernel lets the caller go on (before Linux 6.12), waking takes long
//! there; then the helper does not stay, and waits the longer with its next attempt the less the last one has
//! paid. Where a real-time process has the processor, the helper gets no
//! turn at all; then the manager unbinds it, which is why each call of a bound helper asks for ticks.

use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use rustix::thread::gettid;

use crate::affinity;

/// Turns of one request from the same processor before the helper binds itself to it. Fewer follows callers
/// that only pass by, and to move a thread takes as long as several opens; more is slow for longer.
const SINGLE_TURNS: u32 = 16;

/// The most, after it did not pay several times. Each time it is four times as long.
const MOST_SINGLE_TURNS: u32 = 4_096;

/// Quick wakings by which staying has paid, whatever comes then.
const PAID: u32 = 256;

/// Waking up there takes 2 to 5 µs, on an idle processor 20 to 60.
const SLOW_WAKING: Duration = Duration::from_micros(15);

/// One slow waking weighs as much as so many quick ones, and so many more slow ones than that unbind the
/// helper: one in nine may be slow.
const SLOW_WEIGHT: u32 = 8;
const SLOW_WAKINGS: u32 = 8;

/// The caller that the helper follows.
pub(super) struct Caller<'a> {
    /// The processor that the last caller was on.
    cpu: usize,
    /// Turns of one request that have come from there, in a row.
    single_turns: u32,
    /// How many of them it takes before this helper follows it.
    wanted: u32,
    is_bound: bool,
    /// The same as the manager sees and changes it: this thread's number, or 0.
    bound: &'a AtomicI32,
    /// Wakings that were slow there, by their weight.
    slow: u32,
    /// Those that were quick, since staying did not pay last.
    quick: u32,
}

impl<'a> Caller<'a> {
    pub(super) fn nobody(bound: &'a AtomicI32) -> Self {
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
    pub(super) fn served(&mut self, cpu: usize, was_all: bool) {
        if self.is_bound && self.bound.load(Ordering::Relaxed) == 0 {
            self.is_bound = false;
            self.did_not_pay();
        }
        let is_there = self.is_bound && cpu == self.cpu;
        if !self.is_followed(cpu, was_all) {
            self.forget();
        } else if !is_there && affinity::run_on(cpu) {
            self.is_bound = true;
            self.bound
                .store(gettid().as_raw_nonzero().get(), Ordering::SeqCst);
            self.slow = 0;
        }
    }

    fn is_followed(&mut self, cpu: usize, was_all: bool) -> bool {
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
    pub(super) fn woke_after(&mut self, waking: Duration) {
        if self.is_bound && self.is_too_slow(waking) {
            self.forget();
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
            self.did_not_pay();
        }
        is_too_slow
    }

    fn did_not_pay(&mut self) {
        self.single_turns = 0;
        self.wanted = match std::mem::take(&mut self.quick) >= PAID {
            true => SINGLE_TURNS,
            false => (self.wanted * 4).min(MOST_SINGLE_TURNS),
        };
    }

    /// Follows nobody from now on.
    pub(super) fn forget(&mut self) {
        if std::mem::take(&mut self.is_bound) && self.bound.swap(0, Ordering::SeqCst) != 0 {
            affinity::run_anywhere(None);
        }
    }
}

/// The thread ends, and another may get its number.
impl Drop for Caller<'_> {
    fn drop(&mut self) {
        self.bound.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(caller: &mut Caller<'_>, cpu: usize) -> u32 {
        (1..).find(|_| caller.is_followed(cpu, true)).unwrap()
    }

    #[test]
    fn only_caller_is_followed_after_a_while() {
        let bound = Default::default();
        let mut caller = Caller::nobody(&bound);
        assert_eq!(after(&mut caller, 3), SINGLE_TURNS + 1);
        assert!(caller.is_followed(3, true));
        assert!(!caller.is_followed(3, false));
        assert_eq!(after(&mut caller, 3), SINGLE_TURNS);
        assert!(!caller.is_followed(4, true));
    }

    #[test]
    fn caller_that_is_moved_is_followed_at_once_but_not_two_in_turn() {
        let bound = Default::default();
        let mut caller = Caller::nobody(&bound);
        after(&mut caller, 3);
        assert!((0..SINGLE_TURNS).all(|_| caller.is_followed(3, true)));
        assert!(caller.is_followed(4, true));
        assert!(!caller.is_followed(3, true));
    }

    #[test]
    fn number_of_ended_thread_is_not_kept() {
        let bound = AtomicI32::new(1);
        drop(Caller::nobody(&bound));
        assert_eq!(bound.into_inner(), 0);
    }

    #[test]
    fn slow_wakings_unbind_for_longer_each_time() {
        let bound = Default::default();
        let mut caller = Caller::nobody(&bound);
        let (quick, slow) = (SLOW_WAKING, SLOW_WAKING * 2);
        let woke =
            |caller: &mut Caller<'_>, times, waking| (0..times).any(|_| caller.is_too_slow(waking));
        // Now and then is chance.
        assert!(
            (0..100).all(|_| !woke(&mut caller, 1, slow) && !woke(&mut caller, SLOW_WEIGHT, quick))
        );
        // It has paid for long, so that is no reason to wait.
        assert!(woke(&mut caller, SLOW_WAKINGS, slow));
        assert_eq!(after(&mut caller, 3), SINGLE_TURNS + 1);
        for wanted in [64, 256, 1_024, MOST_SINGLE_TURNS, MOST_SINGLE_TURNS] {
            caller.slow = 0;
            assert!(!woke(&mut caller, PAID - 1, quick));
            assert!(woke(&mut caller, SLOW_WAKINGS, slow));
            assert_eq!(after(&mut caller, 3), wanted);
        }
    }
}
