//! Every interleaving of a request's two sides: `RUSTFLAGS="--cfg loom" cargo test -p nlns_core --test loom`.
//!
//! loom explores the hand-over's state machine (waiting, answered, sent, cancelled; slot full, empty) and
//! the right to serve a path exhaustively. It cannot see the crossbeam queue, which is not built on loom's types.
#![cfg(loom)]

use std::sync::Arc as StdArc;
use std::sync::atomic::{AtomicUsize, Ordering};

use loom::sync::Arc;
use loom::thread;
use nlns_core::{Cancelled, Claim, Handover};

/// How many descriptors were opened and closed.
#[derive(Clone, Default)]
struct Counts(StdArc<[AtomicUsize; 2]>);

impl Counts {
    fn opened(&self) -> usize {
        self.0[0].load(Ordering::SeqCst)
    }

    fn closed(&self) -> usize {
        self.0[1].load(Ordering::SeqCst)
    }
}

/// Stands for a descriptor.
struct Counted(Counts);

impl Counted {
    fn open(counts: &Counts) -> Self {
        counts.0[0].fetch_add(1, Ordering::SeqCst);
        Self(counts.clone())
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.0[1].fetch_add(1, Ordering::SeqCst);
    }
}

/// A request that a helper answers in a thread of its own, which returns whether it sent the message.
fn answered() -> (Counts, Arc<Handover<Counted>>, thread::JoinHandle<bool>) {
    let counts = Counts::default();
    let handover = Arc::new(Handover::default());
    let (theirs, count) = (handover.clone(), counts.clone());
    let helper = thread::spawn(move || {
        let is_wanted = !theirs.is_cancelled();
        is_wanted && theirs.offer(Some(Counted::open(&count))).is_some()
    });
    (counts, handover, helper)
}

#[test]
fn cancel_racing_answer_leaks_nothing() {
    loom::model(|| {
        let (counts, handover, helper) = answered();
        let (cancelled, socket) = handover.cancel();
        drop(socket);
        let sent = helper.join().unwrap();
        // A message is sent exactly if the cancel says that one was or will be.
        assert_eq!(sent, cancelled != Cancelled::Before);
        assert_eq!(handover.is_sent(), sent);
        assert!(handover.take().is_none());
        drop(handover);
        assert_eq!(counts.closed(), counts.opened());
    });
}

#[test]
fn take_racing_cancel_leaks_nothing() {
    loom::model(|| {
        let (counts, handover, helper) = answered();
        let other = handover.clone();
        let taking = thread::spawn(move || other.take());
        let (cancelled, socket) = handover.cancel();
        drop(socket);
        let taken = taking.join().unwrap();
        let sent = helper.join().unwrap();
        assert!(taken.is_none() || counts.closed() == 0);
        drop(taken);
        drop(handover);
        assert_eq!(counts.closed(), counts.opened());
        assert!(!sent || cancelled != Cancelled::Before);
    });
}

#[test]
fn two_takers_get_one_descriptor() {
    loom::model(|| {
        let (counts, handover, helper) = answered();
        let other = handover.clone();
        let taking = thread::spawn(move || other.is_sent().then(|| other.take()).flatten());
        let first = handover.take();
        let second = taking.join().unwrap();
        assert!(helper.join().unwrap());
        let third = handover.take();
        let found = [&first, &second, &third]
            .iter()
            .filter(|t| t.is_some())
            .count();
        assert_eq!(found, 1);
        assert_eq!((counts.opened(), counts.closed()), (1, 0));
    });
}

/// Has the right, serves until it can give it up.
fn serve(right: &Claim, queue: &loom::sync::atomic::AtomicUsize, serving: &AtomicUsize) {
    assert_eq!(
        serving.fetch_add(1, Ordering::SeqCst),
        0,
        "two serve at once"
    );
    loop {
        queue.store(0, Ordering::SeqCst);
        // Note: the thread that gives it up serves no more, so this comes before.
        serving.fetch_sub(1, Ordering::SeqCst);
        if right.give_up(|| queue.load(Ordering::SeqCst) == 0) {
            return;
        }
        assert_eq!(
            serving.fetch_add(1, Ordering::SeqCst),
            0,
            "two serve at once"
        );
    }
}

#[test]
fn two_pushes_are_never_served_together() {
    loom::model(|| {
        let right = Arc::new(Claim::default());
        let queue = Arc::new(loom::sync::atomic::AtomicUsize::new(0));
        let serving = StdArc::new(AtomicUsize::new(0));
        let pushers = [(); 2].map(|()| {
            let (right, queue, serving) = (right.clone(), queue.clone(), serving.clone());
            thread::spawn(move || {
                queue.fetch_add(1, Ordering::SeqCst);
                if right.claim() {
                    serve(&right, &queue, &serving);
                }
            })
        });
        for pusher in pushers {
            pusher.join().unwrap();
        }
        assert_eq!(queue.load(Ordering::SeqCst), 0, "one is overlooked");
        assert!(right.claim(), "it is given up in the end");
    });
}
