//! What an open costs in counts, which are the same on every machine, so that a change that makes it
//! dearer is seen without a clock.
#![allow(
    unsafe_code,
    reason = "a global allocator that counts is an unsafe trait"
)]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nlns_core::{Config, Error, Reply, Socket, Spec};

use support::netns::Directory;
use support::{CONFIG, Running, key, patience};

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: hands everything to the system's allocator as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
        // SAFETY: as above.
        unsafe { System.alloc(layout) }
    }
    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Answers into a channel; the first of a round only when all of it has been asked for.
struct Sent {
    answers: Sender<()>,
    after: Option<Receiver<()>>,
    patience: Duration,
}

impl Reply for Sent {
    fn is_wanted(&self) -> bool {
        true
    }
    fn answer(self: Box<Self>, result: Result<Socket, Error>) {
        drop(result.unwrap());
        if let Some(all_asked) = &self.after {
            all_asked.recv_timeout(self.patience).unwrap();
        }
        self.answers.send(()).unwrap();
    }
}

const ROUNDS: u64 = 200;
const DEPTH: u64 = 64;

#[test]
fn opens_allocate_and_wake_little() {
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(Config {
        idle_timeout: Some(Duration::from_secs(60)),
        ..CONFIG
    });
    // To ask how patient to be allocates.
    let patience = patience();
    let (sender, answers) = bounded(DEPTH as usize);
    let (all_asked, asked) = bounded(1);
    let ask = |after| {
        let answers = sender.clone();
        let reply = Box::new(Sent {
            answers,
            after,
            patience,
        });
        pool.0.open(key(&path), Spec::netlink(0), reply).unwrap();
    };
    let rounds = || {
        for _ in 0..ROUNDS {
            ask(Some(asked.clone()));
            (1..DEPTH).for_each(|_| ask(None));
            all_asked.send(()).unwrap();
            (0..DEPTH).for_each(|_| answers.recv_timeout(patience).unwrap());
        }
    };
    rounds();

    let woken = || {
        let info = pool.0.info();
        info.woken + info.started
    };
    let measured = || {
        let before = (ALLOCATIONS.load(Ordering::Relaxed), woken());
        rounds();
        let allocations = ALLOCATIONS.load(Ordering::Relaxed) - before.0;
        (woken() - before.1, allocations)
    };
    // Where this thread is not given a processor for so long that the helper that waits for it looks stuck,
    // another is woken in its stead. On a busy machine that may be often, not each time.
    let (woken, allocations) = (0..5).map(|_| measured()).min().unwrap();
    let requests = ROUNDS * DEPTH;
    println!("{allocations} allocations, {woken} wake-ups for {requests} requests");

    // The reply's box, and a block of 31 slots for the requests. A path that becomes ready takes a slot
    // of another block, at worst once per request.
    let per_request = allocations as f64 / requests as f64;
    assert!(per_request <= 1.0 + 2.0 / 31.0 + 0.01, "{per_request}");
    // One a round, and one round in ten as above.
    assert!(woken <= ROUNDS + ROUNDS / 10, "{woken}");
}
