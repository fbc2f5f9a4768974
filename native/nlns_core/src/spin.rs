//! How long a helper without work looks for more before it sleeps.
//!
//! Waking a sleeping thread takes several times as long as an open, so a caller that opens one socket
//! after the other is served in a third of the time by a helper that is still awake. But a core that
//! looks for work is not there for the schedulers. So: one helper at a time, for [`LIMIT`] at most after
//! each batch, and for less, down to not at all, when looking has been in vain lately. And not at all on
//! the caller's own processor (see [`crate::work`]), where looking is what the caller waits for.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What a caller takes for its next request if its scheduler was asleep when the answer came: 40 to 60 µs
/// for waking up, 10 for itself. After it has met a helper that is awake it takes 10 and the next look
/// is as short; with less than this they never meet. More would be in vain more often than not.
const LIMIT: Duration = Duration::from_micros(80);

/// Looking for less than this finds nothing that was not there already.
const FLOOR: Duration = Duration::from_micros(3);

pub(crate) struct Spin {
    /// Some helper is looking.
    taken: AtomicBool,
    /// For how long the next one may, in ns: halved by a look in vain, restored by one that found
    /// work, or would have.
    budget: AtomicU64,
}

impl Spin {
    pub(crate) fn new() -> Self {
        Self {
            taken: AtomicBool::new(false),
            budget: AtomicU64::new(LIMIT.as_nanos() as u64),
        }
    }

    /// Waits for `is_work` without sleeping; `false` if that did not happen in time.
    pub(crate) fn wait(&self, is_work: impl Fn() -> bool) -> bool {
        let budget = Duration::from_nanos(self.budget.load(Ordering::Relaxed));
        if budget < FLOOR || self.taken.swap(true, Ordering::Acquire) {
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

    /// A sleeping helper was called after so much idle time: would a look have found that work?
    pub(crate) fn called_after(&self, idle: Duration) {
        if idle < LIMIT {
            self.restore();
        }
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
        spin.called_after(LIMIT);
        assert!(spin.budget.load(Ordering::Relaxed) < FLOOR.as_nanos() as u64);
        spin.called_after(LIMIT / 2);
        assert_eq!(spin.budget.load(Ordering::Relaxed), LIMIT.as_nanos() as u64);
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
