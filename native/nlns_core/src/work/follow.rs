//! Staying on the processor of an only caller.
//!
//! Of a caller that opens one socket after the other and its helper, one always waits for the other. On
//! one processor, waking the helper takes little longer than a system call. The kernel rather wakes it on
//! another that is idle, which on a virtual machine takes ten times as long. So a helper that has served
//! the same processor for a while, and nobody else, asks to stay there (sched_setaffinity(2)), until
//! another calls or it has lingered. Where it does not get its turn there at once, because the processor
//! is busy or the kernel lets its caller go on (before Linux 6.12), waking takes long; then it does not stay.
//! And where it gets no turn at all, a real-time process having the processor, the manager lets it go elsewhere;
//! unless that process comes in the few µs in which the caller has called it there, after more than a nap, and
//! nobody else calls: to have the manager look after each such call would take longer than the open.

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};
use std::time::Duration;

use rustix::thread::gettid;

use crate::cpus;

/// Batches of one request from the same processor before it stays there. Fewer follows callers that only
/// pass by, and to move a thread takes as long as several opens; more is slow for longer.
const SINGLE: u32 = 16;

/// The same after it did not pay.
const SINGLE_AGAIN: u32 = 4_096;

/// Waking up there takes 2 to 5 µs, on an idle processor 20 to 60.
const TOO_LONG: Duration = Duration::from_micros(15);

/// What taking too long counts, for which so many times that it does not make up; and how much of it is
/// too much. So it may be one time in nine.
const WEIGHT: u32 = 8;
const TOO_MUCH: u32 = 8 * WEIGHT;

/// Whom the helper follows.
pub(super) struct Follow<'a> {
    /// The processor that the last caller was on.
    cpu: usize,
    /// Batches of one request that have come from there, in a row.
    single: u32,
    /// How many of them it takes.
    wanted: u32,
    /// It stays there, unless the manager has let it go.
    stays: bool,
    /// The same for the others: this thread's number, or 0; and the processor.
    kept: &'a (AtomicI32, AtomicUsize),
    /// How much waking up has taken too long there.
    slow: u32,
}

impl<'a> Follow<'a> {
    pub(super) fn nobody(kept: &'a (AtomicI32, AtomicUsize)) -> Self {
        Self {
            cpu: usize::MAX,
            single: 0,
            wanted: SINGLE,
            stays: false,
            kept,
            slow: 0,
        }
    }

    pub(super) fn stays(&self) -> bool {
        self.stays
    }

    /// The processor that the last caller was on.
    pub(super) fn cpu(&self) -> usize {
        self.cpu
    }

    /// A batch was served for a caller on `cpu`, which was all there was to do, or not.
    pub(super) fn served(&mut self, cpu: usize, all: bool) {
        if self.stays && self.kept.0.load(Ordering::Relaxed) == 0 {
            self.stays = false;
            self.did_not_pay();
        }
        if !self.is_to_stay(cpu, all) {
            self.go_anywhere();
        } else if !self.stays && cpus::run_on(cpu) {
            self.stays = true;
            self.kept.1.store(cpu, Ordering::Relaxed);
            self.kept
                .0
                .store(gettid().as_raw_nonzero().get(), Ordering::SeqCst);
            self.slow = 0;
        }
    }

    fn is_to_stay(&mut self, cpu: usize, all: bool) -> bool {
        if !all || cpu != self.cpu {
            self.single = 0;
        } else {
            self.single = self.single.saturating_add(1);
        }
        self.cpu = cpu;
        self.single >= self.wanted
    }

    /// It was called, and awake so much later.
    pub(super) fn woke(&mut self, waking: Duration) {
        if self.stays && self.is_too_slow(waking) {
            self.go_anywhere();
        }
    }

    fn is_too_slow(&mut self, waking: Duration) -> bool {
        self.slow = match waking > TOO_LONG {
            true => self.slow + WEIGHT,
            false => self.slow.saturating_sub(1),
        };
        let is_too_slow = self.slow >= TOO_MUCH;
        if is_too_slow {
            self.did_not_pay();
        }
        is_too_slow
    }

    fn did_not_pay(&mut self) {
        self.single = 0;
        self.wanted = SINGLE_AGAIN;
    }

    /// There is nobody to follow.
    pub(super) fn go_anywhere(&mut self) {
        if std::mem::take(&mut self.stays) && self.kept.0.swap(0, Ordering::SeqCst) != 0 {
            cpus::run_anywhere(None);
        }
    }
}

/// The thread ends, and another may get its number.
impl Drop for Follow<'_> {
    fn drop(&mut self) {
        self.kept.0.store(0, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_with_who_is_alone_for_a_while() {
        let kept = Default::default();
        let mut follow = Follow::nobody(&kept);
        let after = |follow: &mut Follow| (1..).find(|_| follow.is_to_stay(3, true));
        assert_eq!(after(&mut follow), Some(SINGLE + 1));
        assert!(follow.is_to_stay(3, true));
        assert!(!follow.is_to_stay(3, false));
        assert_eq!(after(&mut follow), Some(SINGLE));
        assert!(!follow.is_to_stay(4, true));
    }

    #[test]
    fn the_number_of_a_thread_that_has_ended_is_not_kept() {
        let kept = (AtomicI32::new(1), AtomicUsize::new(0));
        drop(Follow::nobody(&kept));
        assert_eq!(kept.0.into_inner(), 0);
    }

    #[test]
    fn it_does_not_stay_where_it_is_not_woken_at_once() {
        let kept = Default::default();
        let mut follow = Follow::nobody(&kept);
        let mut woke = |times, waking| (0..times).any(|_| follow.is_too_slow(waking));
        // Now and then is chance.
        assert!((0..100).all(|_| !woke(1, TOO_LONG * 2) && !woke(WEIGHT, TOO_LONG)));
        assert!(woke(TOO_MUCH / WEIGHT, TOO_LONG * 2));
        follow.is_to_stay(3, true);
        assert!((1..SINGLE_AGAIN).all(|_| !follow.is_to_stay(3, true)));
        assert!(follow.is_to_stay(3, true));
    }
}
