//! Opens of sockets that are slow to close, while too many of their kind are being closed.

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crossbeam_channel::{Receiver, Sender, TryRecvError, unbounded};
use nlns_core::{Config, Error, MAX_CLOSING, Reply, Socket, Spec, Stage};

use support::faults::{Faults, start, under_faults};
use support::netns::Directory;
use support::{
    FOREVER, PACKET, Running, alone, descriptors, eventually, key, lacks, patience, skipped,
    threads,
};

const NETLINK: Spec = Spec::netlink(0);
const NETFILTER: u32 = 12;
const NS_GET_ID: u32 = 0x8008_b70d;

type Answers = Receiver<(&'static str, Result<Socket, Error>)>;

/// A caller, to whom all its answers go, with the names of the requests.
struct Caller {
    id: u64,
    sender: Sender<(&'static str, Result<Socket, Error>)>,
    answers: Answers,
}

impl Caller {
    fn new(id: u64) -> Self {
        let (sender, answers) = unbounded();
        Self {
            id,
            sender,
            answers,
        }
    }

    /// Asks for a socket; what this returns says whether the answer is wanted.
    fn ask(&self, pool: &Running, path: &Path, spec: Spec, name: &'static str) -> Arc<AtomicBool> {
        let is_wanted = Arc::new(AtomicBool::new(true));
        let reply = From {
            caller: self.id,
            name,
            sender: self.sender.clone(),
            is_wanted: is_wanted.clone(),
        };
        pool.0.open(key(path), spec, Box::new(reply)).unwrap();
        is_wanted
    }

    /// The next answer's name; it must be a socket.
    fn next(&self) -> &'static str {
        let (name, answer) = self.answers.recv_timeout(patience()).unwrap();
        answer.unwrap();
        name
    }
}

struct From {
    caller: u64,
    name: &'static str,
    sender: Sender<(&'static str, Result<Socket, Error>)>,
    is_wanted: Arc<AtomicBool>,
}

impl Reply for From {
    fn is_wanted(&self) -> bool {
        self.is_wanted.load(Ordering::SeqCst)
    }
    fn caller(&self) -> u64 {
        self.caller
    }
    fn answer(self: Box<Self>, result: Result<Socket, Error>) {
        let _ = self.sender.send((self.name, result));
    }
}

/// Has as many packet sockets being closed as may be, until what this returns is dropped.
fn jam(pool: &Running, faults: &Faults, path: &Path) -> Sender<()> {
    let mut sockets: Vec<_> = (0..MAX_CLOSING).map(|_| pool.open_packet(path)).collect();
    // So that only closers close.
    eventually("nothing is closed otherwise", || pool.0.info().closing == 0);
    let slow = sockets.split_off(MAX_CLOSING / 2);
    let let_go = faults.hold_close(&slow);
    drop(slow);
    eventually("every closer is held", || faults.held() == MAX_CLOSING / 2);
    // A closer that is held stays held; the others wait for a closer.
    faults.heal();
    drop(sockets);
    assert_eq!(pool.0.info().closing, MAX_CLOSING);
    let_go
}

fn await_held_back(pool: &Running, count: usize) {
    eventually("held back", || pool.0.info().held_back == count);
}

#[test]
fn only_slow_kinds_wait_for_room() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let let_go = jam(pool, faults, path);
    let (slow, other) = (Caller::new(1), Caller::new(2));
    let before = descriptors();
    for _ in 0..100 {
        slow.ask(pool, path, PACKET, "packet");
    }
    await_held_back(pool, 100);
    for _ in 0..100 {
        other.ask(pool, path, NETLINK, "netlink");
        assert_eq!(other.next(), "netlink");
    }
    assert_eq!(slow.answers.try_recv().err(), Some(TryRecvError::Empty));
    assert_eq!(pool.0.info().waiting, 100);
    eventually("no socket waits", || descriptors() <= before);
    drop(let_go);
    for _ in 0..100 {
        assert_eq!(slow.next(), "packet");
    }
    faults.heal();
    eventually("all are closed", || pool.0.info().closing == 0);
    assert_eq!(pool.0.info().held_back, 0);
}

#[test]
fn other_namespaces_wait_for_their_own_closes() {
    if lacks((5, 14), "cookies of namespaces") {
        return;
    }
    let _alone = alone();
    let Some(faults) = Faults::new() else { return };
    assert_each_waits_for_its_own(&start(&faults, FOREVER), &faults);
    // Before Linux 6.18 only sockets tell which namespace they are in.
    let faults = Faults::new().expect("as before");
    faults.fail_where(libc::SYS_ioctl, (1, NS_GET_ID), libc::ENOTTY);
    assert_each_waits_for_its_own(&start(&faults, FOREVER), &faults);
}

fn assert_each_waits_for_its_own(pool: &Running, faults: &Faults) {
    let names = Directory::new();
    let path = &names.make("a");
    let let_go = jam(pool, faults, path);
    let caller = Caller::new(1);
    let elsewhere = names.make("b");
    caller.ask(pool, &elsewhere, PACKET, "first");
    let (_, first) = caller.answers.recv_timeout(patience()).unwrap();
    drop(first.unwrap());
    assert_eq!(pool.0.info().closing, MAX_CLOSING + 1);
    // No closer is left for that one.
    caller.ask(pool, &elsewhere, PACKET, "second");
    await_held_back(pool, 1);
    drop(let_go);
    assert_eq!(caller.next(), "second");
}

#[test]
fn open_that_fails_waits_for_no_close() {
    let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    let let_go = jam(pool, faults, path);
    let answer = pool.ask_by(key(&names.0.join("missing")), PACKET).unwrap();
    let refused = Error {
        stage: Stage::Open,
        errno: libc::ENOENT,
    };
    let answer = answer.recv_timeout(patience()).unwrap();
    assert_eq!(answer.err(), Some(refused));
    assert_eq!(pool.0.info().closing, MAX_CLOSING);
    drop(let_go);
}

#[test]
fn bound_holds_where_no_thread_can_be_had() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    eventually("one is there from the start", || {
        threads("nlns-closer") == 1
    });
    faults.fail_threads(libc::EAGAIN);
    let first = pool.open_packet(path);
    let let_go = faults.hold_close([&first]);
    drop(first);
    eventually("it is held", || faults.held() == 1);
    for _ in 1..MAX_CLOSING {
        drop(pool.open_packet(path));
    }
    let caller = Caller::new(1);
    caller.ask(pool, path, PACKET, "packet");
    await_held_back(pool, 1);
    assert_eq!(pool.0.info().closing, MAX_CLOSING);
    faults.heal();
    drop(let_go);
    assert_eq!(caller.next(), "packet");
}

#[test]
fn lock_of_one_namespace_leaves_closers_to_others() {
    // Half of the threads of a lane.
    const SHARE: usize = MAX_CLOSING / 4;
    if lacks((5, 14), "cookies of namespaces") {
        return;
    }
    let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    if pool.open(path, NETFILTER).is_err() {
        skipped("this kernel has no CONFIG_NETFILTER_NETLINK");
        return;
    }
    eventually("nothing is closed otherwise", || pool.0.info().closing == 0);
    let mut sockets = Vec::from_iter((0..=SHARE).map(|_| pool.open(path, NETFILTER).unwrap()));
    let last = sockets.pop();
    let let_go = faults.hold_close(&sockets);
    drop(sockets);
    eventually("each closer is held", || faults.held() == SHARE);
    faults.heal();
    drop(last);
    let elsewhere = names.make("b");
    for _ in 0..100 {
        drop(pool.open(&elsewhere, NETFILTER).unwrap());
    }
    eventually("the others are closed", || {
        pool.0.info().closing == SHARE + 1
    });
    drop(let_go);
    eventually("all are closed", || pool.0.info().closing == 0);
}

#[test]
fn held_back_answers_keep_their_order() {
    let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    let let_go = jam(pool, faults, path);
    let caller = Caller::new(1);
    let order = ["a", "b", "c", "d", "e"];
    for (name, spec) in order
        .into_iter()
        .zip([NETLINK, PACKET, NETLINK, PACKET, NETLINK])
    {
        caller.ask(pool, path, spec, name);
    }
    assert_eq!(caller.next(), "a");
    await_held_back(pool, 4);
    // On another path there is no order to keep.
    let elsewhere = names.make("b");
    caller.ask(pool, &elsewhere, NETLINK, "elsewhere");
    assert_eq!(caller.next(), "elsewhere");
    drop(let_go);
    assert_eq!(order[1..], [(); 4].map(|()| caller.next()));
}

#[test]
fn cancelled_request_holds_nothing_up() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let let_go = jam(pool, faults, path);
    let caller = Caller::new(1);
    let is_wanted = caller.ask(pool, path, PACKET, "packet");
    caller.ask(pool, path, NETLINK, "netlink");
    await_held_back(pool, 2);
    is_wanted.store(false, Ordering::SeqCst);
    assert_eq!(caller.next(), "netlink");
    assert_eq!(pool.0.info().closing, MAX_CLOSING);
    assert_eq!(pool.0.info().held_back, 0);
    drop(let_go);
}

#[test]
fn release_follows_held_back_requests() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let let_go = jam(pool, faults, path);
    let caller = Caller::new(1);
    caller.ask(pool, path, PACKET, "packet");
    await_held_back(pool, 1);
    let answers = caller.answers.clone();
    let (done, released) = unbounded();
    let on_left = Box::new(move |left| done.send((left, answers.len())).unwrap());
    assert_eq!(pool.0.release(key(path), on_left), Ok(true));
    await_held_back(pool, 2);
    drop(let_go);
    assert_eq!(released.recv_timeout(patience()), Ok((Ok(()), 1)));
    assert_eq!(pool.pinned(), 0);
}

#[test]
fn full_queue_counts_held_back_requests() {
    let config = Config {
        max_queue: 40,
        ..FOREVER
    };
    let Some((pool, faults, path, ..)) = &under_faults(config) else {
        return;
    };
    let let_go = jam(pool, faults, path);
    let caller = Caller::new(1);
    for _ in 0..40 {
        caller.ask(pool, path, PACKET, "packet");
    }
    await_held_back(pool, 40);
    assert_eq!(pool.ask(path, 0).err(), Some(Error::BUSY));
    drop(let_go);
    for _ in 0..40 {
        assert_eq!(caller.next(), "packet");
    }
    assert!(pool.open(path, 0).is_ok());
}

#[test]
fn stop_answers_held_back_requests() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let let_go = jam(pool, faults, path);
    let caller = Caller::new(1);
    caller.ask(pool, path, PACKET, "packet");
    await_held_back(pool, 1);
    assert_eq!(pool.stop(), MAX_CLOSING / 2, "closers that are held");
    let (_, answer) = caller.answers.recv_timeout(patience()).unwrap();
    assert_eq!(answer.err(), Some(Error::STOPPED));
    drop(let_go);
    eventually("all are closed", || pool.0.info().closing == 0);
}
