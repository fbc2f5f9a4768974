//! The way of one descriptor from a helper to its caller, if either dies or gives up meanwhile.
//!
//! ```text
//!               offer                drop(Sending)
//!   WAITING ------------> ANSWERED ------------------> SENT
//!      |  cancel
//!      +----------> CANCELLED
//! ```
//!
//! The value lies in a slot of its own that is emptied by one atomic exchange, so whatever phases
//! the two sides see, it has exactly one owner at every instant; what is left in the slot is
//! dropped, and so closed, with the last reference to the hand-over. Nothing here waits.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU8, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU8, Ordering};

const WAITING: u8 = 0;
const ANSWERED: u8 = 1;
const SENT: u8 = 2;
const CANCELLED: u8 = 3;

/// The meeting point of one request's helper and caller.
pub struct Handover<T> {
    phase: AtomicU8,
    /// Filled by `offer` only, at most once.
    slot: Slot<T>,
}

/// To be dropped when the message is in the caller's mailbox, or could not be delivered.
#[must_use]
pub struct Sending<'a>(&'a AtomicU8);

impl Drop for Sending<'_> {
    fn drop(&mut self) {
        self.0.store(SENT, Ordering::Release);
    }
}

/// What a cancel found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cancelled {
    /// No answer was under way and none will be sent.
    Before,
    /// The helper has answered but may not have sent the message yet; ask again with [`Handover::is_sent`].
    During,
    /// The message has been sent, or will never be.
    After,
}

impl<T> Default for Handover<T> {
    fn default() -> Self {
        Self {
            phase: AtomicU8::new(WAITING),
            slot: Slot::empty(),
        }
    }
}

impl<T> Handover<T> {
    /// Makes one that is over: the first to come takes the value.
    pub fn holding(value: T) -> Self {
        let slot = Slot::empty();
        slot.put(Some(value));
        Self {
            phase: AtomicU8::new(SENT),
            slot,
        }
    }

    /// Whether the caller has given up; a helper that sees it need not begin.
    pub fn is_cancelled(&self) -> bool {
        self.phase.load(Ordering::Acquire) == CANCELLED
    }

    /// The helper's answer: a value, or `None` when the message alone says it all. If the message is
    /// to be sent this gives what [`Sending`] says it; otherwise the caller has cancelled and the
    /// value is dropped here.
    pub fn offer(&self, value: Option<T>) -> Option<Sending<'_>> {
        // Before the phase, so that a caller that sees ANSWERED finds the value.
        self.slot.put(value);
        let answered = self
            .phase
            .compare_exchange(WAITING, ANSWERED, Ordering::AcqRel, Ordering::Acquire)
            .is_ok();
        if answered {
            Some(Sending(&self.phase))
        } else {
            drop(self.slot.take());
            None
        }
    }

    /// Whether the message has been sent (true also for one that could not be delivered).
    pub fn is_sent(&self) -> bool {
        self.phase.load(Ordering::Acquire) == SENT
    }

    /// The caller gives up: nothing is handed over after this. A value that waits is the caller's to drop.
    pub fn cancel(&self) -> (Cancelled, Option<T>) {
        let found =
            self.phase
                .compare_exchange(WAITING, CANCELLED, Ordering::AcqRel, Ordering::Acquire);
        let cancelled = match found {
            Ok(_) | Err(CANCELLED) => Cancelled::Before,
            Err(ANSWERED) => Cancelled::During,
            Err(_) => Cancelled::After,
        };
        (cancelled, self.slot.take())
    }

    /// Moves the value out; `None` for everyone but the first.
    pub fn take(&self) -> Option<T> {
        self.slot.take()
    }
}

#[cfg(not(loom))]
struct Slot<T>(crossbeam_utils::atomic::AtomicCell<Option<T>>);

#[cfg(not(loom))]
impl<T> Slot<T> {
    fn empty() -> Self {
        Self(crossbeam_utils::atomic::AtomicCell::new(None))
    }
    fn put(&self, value: Option<T>) {
        self.0.store(value);
    }
    fn take(&self) -> Option<T> {
        self.0.take()
    }
}

/// loom knows no `AtomicCell`; a lock that is held for the exchange alone has the same histories.
#[cfg(loom)]
struct Slot<T>(loom::sync::Mutex<Option<T>>);

#[cfg(loom)]
impl<T> Slot<T> {
    fn empty() -> Self {
        Self(loom::sync::Mutex::new(None))
    }
    fn put(&self, value: Option<T>) {
        *self.0.lock().unwrap() = value;
    }
    fn take(&self) -> Option<T> {
        self.0.lock().unwrap().take()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_once() {
        let handover = Handover::default();
        assert!(handover.offer(Some(7)).is_some());
        assert_eq!(handover.take(), Some(7));
        assert_eq!(handover.take(), None);
    }

    #[test]
    fn cancel_before_during_and_after_answer() {
        let handover = Handover::default();
        assert_eq!(handover.cancel(), (Cancelled::Before, None));
        assert!(handover.offer(Some(7)).is_none());
        assert_eq!(handover.take(), None);

        let handover = Handover::default();
        let sending = handover.offer(Some(7));
        assert_eq!(handover.cancel(), (Cancelled::During, Some(7)));
        assert_eq!(handover.take(), None);
        drop(sending);
        assert_eq!(handover.cancel(), (Cancelled::After, None));
    }
}
