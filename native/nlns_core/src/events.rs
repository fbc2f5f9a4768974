//! What is kept for whoever wants to know where helpers settle and when they leave; nothing, until
//! somebody has asked.
//!
//! A helper goes through a namespace for every batch it serves, which is not worth telling. It has
//! *settled* when it falls asleep in one, and of those it has settled in it also tells the leaving.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::helper::{Helper, Place};
use crate::pool::Pool;

/// Events that wait to be fetched. More takes memory for somebody who does not come; fewer leaves
/// events out when many namespaces go at once.
const KEPT: usize = 1_024;

/// A helper has settled in a namespace, or left one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its id.
    pub helper: u64,
    /// What led it there.
    pub path: Vec<u8>,
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
    /// It had been idle for as long as the idle timeout.
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

type Waker = Box<dyn FnOnce() + Send>;

#[derive(Default)]
pub(crate) struct Observer {
    present: AtomicBool,
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

impl Observer {
    fn keep(&self, helper: u64, path: &[u8], what: EventKind) {
        let mut kept = self.kept.lock();
        let is_full = kept.events.len() >= KEPT;
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
            path: path.to_vec(),
            what,
            count,
        });
        let waker = kept.waker.take();
        drop(kept);
        if let Some(ring) = waker {
            ring();
        }
    }

    fn fetch(&self, most: usize, waker: Waker) -> Vec<Event> {
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

impl Pool {
    /// Up to `most` of the events since the first call, the oldest first. If there are none, `waker` is
    /// rung with the next one, by a thread of the pool; it takes the place of the one before.
    pub fn events(&self, most: usize, waker: Waker) -> Vec<Event> {
        self.observer.present.store(true, Ordering::Relaxed);
        self.observer.fetch(most, waker)
    }

    /// This helper is about to fall asleep where it is.
    pub(crate) fn tell_settled(&self, helper: &Helper) {
        if self.observer.present.load(Ordering::Relaxed) {
            if let Some(path) = helper.settle() {
                let path = path.name().to_bytes();
                self.observer.keep(helper.id, path, EventKind::Pinned);
            }
        }
    }

    /// A helper is in `place` no more.
    pub(crate) fn tell_left(&self, helper: u64, place: &Place, why: LeaveReason) {
        if place.settled {
            let why = if place.is_asked_for() {
                LeaveReason::Released
            } else {
                why
            };
            let path = place.path.name().to_bytes();
            let what = EventKind::Left(place.since.elapsed(), why);
            self.observer.keep(helper, path, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_counted_by_the_next_of_its_kind() {
        let observer = Observer::default();
        let left = EventKind::Left(Duration::ZERO, LeaveReason::Moved);
        for _ in 0..KEPT + 10 {
            observer.keep(1, b"a", EventKind::Pinned);
        }
        observer.keep(1, b"a", left);
        let kept = observer.fetch(usize::MAX, Box::new(|| {}));
        assert!(kept.len() == KEPT && kept.iter().all(|event| event.count == 1));
        for what in [left, EventKind::Pinned, left] {
            observer.keep(1, b"a", what);
        }
        let counts: Vec<_> = observer.fetch(2, Box::new(|| {}));
        let counts: Vec<_> = counts.iter().map(|event| event.count).collect();
        assert_eq!(counts, [2, 11]);
        assert_eq!(observer.fetch(2, Box::new(|| {}))[0].count, 1);
    }
}
