//! The claim to serve a path, and how no push is overlooked when it is given up.

#[cfg(loom)]
use loom::sync::atomic::{AtomicBool, Ordering};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicBool, Ordering};

/// Set by the push that finds it clear, which must then schedule the path; cleared by the helper that
/// found the queue empty. While it is set exactly one place has the path: the ready queue or one
/// helper. That is what keeps answers in order.
#[derive(Default)]
pub struct Claim(AtomicBool);

impl Claim {
    /// Takes the claim, after a push. If so, the caller must see to it that a helper serves.
    pub fn claim(&self) -> bool {
        !self.0.swap(true, Ordering::SeqCst)
    }

    /// Gives the claim up, unless there is something to serve: then it stays with the caller.
    pub fn give_up(&self, is_empty: impl Fn() -> bool) -> bool {
        if !is_empty() {
            return false;
        }
        // Not a store, which costs the same here, and which loom does not order with a swap.
        self.0.swap(false, Ordering::SeqCst);
        // A push between the two lines has found it taken. The thread that takes it back must serve.
        is_empty() || !self.claim()
    }

    /// Returns whether it is taken.
    pub fn is_taken(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}
