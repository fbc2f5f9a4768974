//! How long a helper without work looks for more before it sleeps.
//!
//! Where waking a thread takes several times as long as an open (the processor it wakes on was idle, and on
//! a virtual machine had to be asked for), a caller that opens one socket after the other is served in a
//! third of the time by a helper that is still awake. Where the kernel wakes it on its caller's processor,
//! which takes hardly longer than a system call, looking for work gains nothing. And a core that looks for
//! work is not there for the schedulers. So: one helper at a time; for twice as long as waking up has taken
//! lately, and [`LIMIT`] at most, after each batch; for less, down to not at all, when looking has been
//! in vain. And not at all on the caller's own processor (see [`crate::work`]), where looking is what the
//! caller waits for.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a caller takes for its next request if its scheduler was asleep when the answer came: 40 to 60 µs
/// for waking up, 10 for itself. After it has met a helper that is awake it takes 10 and the next look
/// is as short; with less than this they never meet. More would be in vain more often than not.
const LIMIT: Duration = Duration::from_micros(80);

/// Looking for less than this finds nothing that was not there already, and gains nothing over waking up.
const FLOOR: Duration = Duration::from_micros(10);

/// One look in so many is left out, to see what waking up takes now: a helper that never sleeps stays on
/// its processor, and never learns that the kernel would have put it on a better one.
const LOOKS: u32 = 512;

pub(crate) struct Spin {
    /// Some helper is looking.
    taken: AtomicBool,
    /// For how long the next one may, in ns: halved by a look in vain, restored by one that found
    /// work, or would have.
    budget: AtomicU64,
    /// What waking up takes, in ns: the mean of about the last four times.
    waking: AtomicU64,
    /// Looks so far, to leave some out.
    looks: AtomicU32,
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            budget: AtomicU64::new(LIMIT.as_nanos() as u64),
            waking: AtomicU64::new(LIMIT.as_nanos() as u64),
            looks: AtomicU32::new(0),
        }
    }

    /// Waits for `is_work` without sleeping; `false` if that did not happen in time.
    pub(crate) fn wait(&self, is_work: impl Fn() -> bool) -> bool {
        let budget = Duration::from_nanos(self.budget.load(Ordering::Relaxed)).min(self.limit());
        if budget < FLOOR
            || self.looks.fetch_add(1, Ordering::Relaxed) % LOOKS == LOOKS - 1
            || self.taken.swap(true, Ordering::Acquire)
        {
            return is_work();
        }
        let start = Instant::now();
        let mut found = is_work();
        while !found && start.elapsed() < budget {
            for _ in 0..8 {
                spin_loop();
            }
            found = is_work();
        }
        self.taken.store(false, Ordering::Release);
        if found {
            self.restore();
        } else {
            let halved = budget.as_nanos() as u64 / 2;
            self.budget.store(halved, Ordering::Relaxed);
        }
        found
    }

    /// A helper that had been idle for `idle` when it was called was awake `waking` later: what would a
    /// look have found, and what would it have gained?
    pub(crate) fn woke(&self, idle: Duration, waking: Duration) {
        let before = self.waking.load(Ordering::Relaxed);
        // Whatever takes longer than a look may be worth as much as one.
        let waking = waking.min(LIMIT).as_nanos() as u64;
        self.waking
            .store((3 * before + waking) / 4, Ordering::Relaxed);
        if idle < self.limit() {
            self.restore();
        }
    }

    fn limit(&self) -> Duration {
        LIMIT.min(2 * Duration::from_nanos(self.waking.load(Ordering::Relaxed)))
    }

    fn restore(&self) {
        let limit = LIMIT.as_nanos() as u64;
        if self.budget.load(Ordering::Relaxed) != limit {
            self.budget.store(limit, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_in_vain_get_shorter_until_there_are_none() {
        let spin = Spin::new();
        let looks = std::cell::Cell::new(0);
        for _ in 0..10 {
            looks.set(0);
            assert!(!spin.wait(|| {
                looks.set(looks.get() + 1);
                false
            }));
        }
        assert_eq!(looks.get(), 1);
        spin.woke(LIMIT, LIMIT);
        assert!(spin.budget.load(Ordering::Relaxed) < FLOOR.as_nanos() as u64);
        spin.woke(LIMIT / 2, LIMIT);
        assert_eq!(spin.budget.load(Ordering::Relaxed), LIMIT.as_nanos() as u64);
    }

    #[test]
    fn nobody_looks_where_waking_up_is_cheap() {
        let spin = Spin::new();
        let idle = Duration::from_micros(1);
        (0..20).for_each(|_| spin.woke(idle, FLOOR / 4));
        let looks = std::cell::Cell::new(0);
        let look = || {
            looks.set(looks.get() + 1);
            looks.get() > 1
        };
        assert!(!spin.wait(look));
        assert_eq!(looks.get(), 1);
        (0..20).for_each(|_| spin.woke(idle, LIMIT));
        assert!(spin.wait(look));
    }

    #[test]
    fn a_look_is_left_out_now_and_then() {
        let spin = Spin::new();
        let looks = std::cell::Cell::new(0);
        // Each finds work with its second glance, and so only if it is a look.
        let found = (0..2 * LOOKS).filter(|_| {
            looks.set(0);
            spin.wait(|| {
                looks.set(looks.get() + 1);
                looks.get() > 1
            })
        });
        assert_eq!(found.count() as u32, 2 * LOOKS - 2);
    }

    #[test]
    fn only_one_looks_at_a_time() {
        let spin = Spin::new();
        let inner = std::cell::Cell::new(0);
        assert!(spin.wait(|| {
            let second = spin.wait(|| {
                inner.set(inner.get() + 1);
                false
            });
            assert!(!second);
            true
        }));
        assert_eq!(inner.get(), 1);
    }
}
