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

use crossbeam_channel::{Sender, unbounded};
use nlns_core::{Config, Error, Reply, Socket, Spec};

use support::netns::Directory;
use support::{CONFIG, PATIENCE, Running};

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

struct Sent(Sender<()>);

impl Reply for Sent {
    fn is_wanted(&self) -> bool {
        true
    }
    fn answer(self: Box<Self>, result: Result<Socket, Error>) {
        drop(result.unwrap());
        self.0.send(()).unwrap();
    }
}

const REQUESTS: u64 = 10_000;
const DEPTH: u64 = 64;

#[test]
fn an_open_allocates_little_and_at_depth_64_wakes_hardly_anybody() {
    let names = Directory::new();
    let path = names.make("a");
    let pool = Running::start(Config {
        linger: Some(Duration::from_secs(60)),
        ..CONFIG
    });
    let (sender, answers) = unbounded();
    let ask = || {
        let reply = Box::new(Sent(sender.clone()));
        let path = path.as_os_str().as_encoded_bytes();
        pool.0.open(path, Spec::netlink(0), reply).unwrap();
    };
    let one_round = || {
        (0..DEPTH).for_each(|_| ask());
        for _ in DEPTH..REQUESTS {
            answers.recv_timeout(PATIENCE).unwrap();
            ask();
        }
        (0..DEPTH).for_each(|_| answers.recv_timeout(PATIENCE).unwrap());
    };
    one_round();

    let (allocations, woken) = (ALLOCATIONS.load(Ordering::Relaxed), pool.0.info().woken);
    one_round();
    let allocations = ALLOCATIONS.load(Ordering::Relaxed) - allocations;
    let woken = pool.0.info().woken - woken;
    println!("{allocations} allocations, {woken} wake-ups for {REQUESTS} requests");

    // The reply's box, and a block of 31 slots each for the requests and for the test's own answers.
    // A path that becomes ready takes a slot too, at worst once per request.
    let per_request = allocations as f64 / REQUESTS as f64;
    assert!(per_request <= 1.0 + 3.0 / 31.0 + 0.01, "{per_request}");
    // A helper that sleeps has served all that was asked for. How often that happens is a race between
    // it and this thread, which loses it now and then to the rest of the machine.
    assert!(woken <= REQUESTS / 4, "{woken}");
}
