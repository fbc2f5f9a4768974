//! Events of helpers, for a reader that fetches them: where they fall asleep and when they leave. Nothing is
//! kept until the first fetch. The events are told, and ask nobody.
//!
//! A helper goes through a namespace for every turn, which is not worth telling. It is *pinned*, for these
//! events, when it sleeps there past the grace period; [`State::Pinned`](crate::State::Pinned) also means one
//! that has just come. Only those that were pinned tell when they leave.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::netns::NetnsRef;

/// Events that wait to be fetched. More takes memory for somebody who does not come; fewer leaves
/// events out when many namespaces go at once.
const MAX_KEPT: usize = 1_024;

/// A helper sleeps in a namespace, or has left one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub helper: u64,
    /// What led it there.
    pub netns: NetnsRef,
    /// Which of the two.
    pub what: EventKind,
    /// 1, and those of the kind that were left out since the one before.
    pub count: u64,
}

/// What a helper has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// Fallen asleep in a namespace.
    Pinned,
    /// Left it: how long after entering it, and why.
    Left(Duration, LeaveReason),
}

/// Why a helper has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaveReason {
    /// Its idle timeout ended.
    Idle,
    /// The path leads there no more: the name was deleted, or the process has ended.
    Gone,
    /// It was asked to.
    Released,
    /// It went on to where it was needed.
    Moved,
    /// Another one sleeps there.
    Relieved,
    /// Its thread has ended.
    Died,
}

pub(crate) type Waker = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Events {
    are_wanted: AtomicBool,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    events: VecDeque<Event>,
    left_out: LeftOut,
    waker: Option<Waker>,
}

#[derive(Default)]
struct LeftOut {
    pinned: u64,
    left: u64,
}

impl Events {
    pub(crate) fn push(&self, helper: u64, netns: &NetnsRef, what: EventKind) {
        let mut kept = self.kept.lock();
        let is_full = kept.events.len() >= MAX_KEPT;
        let left_out = match what {
            EventKind::Pinned => &mut kept.left_out.pinned,
            EventKind::Left(..) => &mut kept.left_out.left,
        };
        if is_full {
            *left_out += 1;
            return;
        }
        let count = 1 + std::mem::take(left_out);
        kept.events.push_back(Event {
            helper,
            netns: netns.clone(),
            what,
            count,
        });
        let waker = kept.waker.take();
        drop(kept);
        if let Some(wake) = waker {
            wake();
        }
    }

    /// Returns whether somebody has asked for events.
    pub(crate) fn are_wanted(&self) -> bool {
        self.are_wanted.load(Ordering::Relaxed)
    }

    /// Takes up to `most` of the events since the first call, the oldest first. If there are none, `waker` is
    /// called with the next one; it replaces the one before.
    pub(crate) fn fetch(&self, most: usize, waker: Waker) -> Vec<Event> {
        self.are_wanted.store(true, Ordering::Relaxed);
        let mut kept = self.kept.lock();
        let due = kept.events.len().min(most);
        let events: Vec<_> = kept.events.drain(..due).collect();
        let unused = match due {
            0 => kept.waker.replace(waker),
            _ => Some(waker),
        };
        drop(kept);
        drop(unused);
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lost_events_are_counted_by_kind() {
        let events = Events::default();
        let netns = NetnsRef::Path(c"a".into());
        let left = EventKind::Left(Duration::ZERO, LeaveReason::Moved);
        for _ in 0..MAX_KEPT + 10 {
            events.push(1, &netns, EventKind::Pinned);
        }
        events.push(1, &netns, left);
        let kept = events.fetch(usize::MAX, Box::new(|| {}));
        assert!(kept.len() == MAX_KEPT && kept.iter().all(|event| event.count == 1));
        for what in [left, EventKind::Pinned, left] {
            events.push(1, &netns, what);
        }
        let counts: Vec<_> = events.fetch(2, Box::new(|| {}));
        let counts: Vec<_> = counts.iter().map(|event| event.count).collect();
        assert_eq!(counts, [2, 11]);
        assert_eq!(events.fetch(2, Box::new(|| {}))[0].count, 1);
    }
}
