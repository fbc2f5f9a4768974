//! A pool that is stopped at the end of a test, and its callers, without a BEAM.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, Sender, bounded};
use nlns_core::{Config, Error, Event, EventKind, NetnsKey, Pool, Reply, Socket, Spec, State};
use parking_lot::MutexGuard;

use super::netns::{self, Directory};
use super::{alone, eventually, patience};

pub const CONFIG: Config = Config {
    max_helpers: 8,
    idle_timeout: Some(Duration::from_millis(1_000)),
    max_queue: 10_000,
};

/// No helper leaves by itself.
pub const FOREVER: Config = Config {
    idle_timeout: None,
    ..CONFIG
};

/// The same, with so many helpers.
pub const fn helpers(max_helpers: usize) -> Config {
    Config {
        max_helpers,
        ..FOREVER
    }
}

/// A socket that is slow to close.
pub const PACKET: Spec = Spec {
    domain: libc::AF_PACKET as u16,
    kind: libc::SOCK_RAW as u32,
    protocol: 0,
};

/// A pool, and a namespace with its directory, for a test that runs alone.
pub type Alone = (Running, PathBuf, Directory, MutexGuard<'static, ()>);

/// Returns what a test is to bind by reference: `let (pool, path, ..) = &alone_with(FOREVER);`. So all of it
/// lives until the end of the test, and the pool ends first.
pub fn alone_with(config: Config) -> Alone {
    let alone = alone();
    let names = Directory::new();
    let pool = Running::start(config);
    (pool, names.make("a"), names, alone)
}

/// Returns what the pool knows a path by.
pub fn key(path: &Path) -> NetnsKey<'_> {
    NetnsKey::Path(path.as_os_str().as_encoded_bytes())
}

/// A pool that is stopped, and seen to stop, at the end of the test.
pub struct Running(pub Arc<Pool>, AtomicBool);

impl Running {
    pub fn start(config: Config) -> Self {
        Self::of(Pool::start(config).unwrap())
    }

    pub fn of(pool: Pool) -> Self {
        Self(Arc::new(pool), AtomicBool::new(true))
    }

    pub fn open(&self, path: &Path, protocol: u32) -> Result<Socket, Error> {
        self.ask(path, protocol)?.recv_timeout(patience()).unwrap()
    }

    pub fn open_process(&self, pid: u32) -> Result<Socket, Error> {
        self.open_by(NetnsKey::process(pid as i32)?)
    }

    pub fn open_by(&self, key: NetnsKey<'_>) -> Result<Socket, Error> {
        let answer = self.ask_by(key, Spec::netlink(0))?;
        answer.recv_timeout(patience()).unwrap()
    }

    /// Asks and does not wait.
    pub fn ask(
        &self,
        path: &Path,
        protocol: u32,
    ) -> Result<Receiver<Result<Socket, Error>>, Error> {
        self.ask_by(key(path), Spec::netlink(protocol))
    }

    pub fn ask_by(
        &self,
        key: NetnsKey<'_>,
        spec: Spec,
    ) -> Result<Receiver<Result<Socket, Error>>, Error> {
        let (reply, answer) = Answer::new();
        self.0.open(key, spec, reply)?;
        Ok(answer)
    }

    pub fn open_packet(&self, path: &Path) -> Socket {
        let answer = self.ask_by(key(path), PACKET).unwrap();
        answer.recv_timeout(patience()).unwrap().unwrap()
    }

    /// Asks for all of them at once, and compares each answer with a fresh thread's.
    pub fn assert_each_is_served(&self, paths: &[PathBuf]) {
        let asked: Vec<_> = paths
            .iter()
            .map(|path| self.ask(path, 0).unwrap())
            .collect();
        for (path, answer) in paths.iter().zip(asked) {
            let answer = answer.recv_timeout(patience()).unwrap();
            assert_eq!(answer.map(netns::cookie), netns::oracle(path, 0));
        }
    }

    /// Asks for a release and does not wait; `None` if no helper is in the namespace.
    pub fn ask_release(&self, path: &Path) -> Option<Receiver<Result<(), Error>>> {
        let (done, released) = bounded(1);
        let on_left = Box::new(move |left| done.send(left).unwrap());
        self.0
            .release(key(path), on_left)
            .unwrap()
            .then_some(released)
    }

    /// Waits until no helper is in a namespace.
    pub fn release(&self, path: &Path) {
        if let Some(released) = self.ask_release(path) {
            assert_eq!(released.recv_timeout(patience()), Ok(Ok(())));
        }
    }

    pub fn pinned(&self) -> usize {
        let info = self.0.info();
        info.helpers.iter().filter(|h| h.pinned.is_some()).count()
    }

    pub fn is_pinned(&self, key: NetnsKey<'_>) -> bool {
        let mut helpers = self.0.info().helpers.into_iter();
        helpers.any(|helper| helper.pinned.is_some_and(|(netns, _)| netns.key() == key))
    }

    /// Returns how many helpers are in this state.
    pub fn count(&self, state: State) -> usize {
        let helpers = self.0.info().helpers;
        helpers
            .iter()
            .filter(|helper| helper.state == state)
            .count()
    }

    /// Waits until a helper is stuck.
    #[track_caller]
    pub fn await_stuck(&self) {
        eventually("it is stuck", || self.count(State::Stuck) > 0);
    }

    pub fn stop(&self) -> usize {
        self.1.store(false, Ordering::SeqCst);
        let (done, stopped) = bounded(1);
        self.0
            .stop(Box::new(move |stuck| done.send(stuck).unwrap()));
        stopped.recv_timeout(patience()).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !std::thread::panicking() && self.1.load(Ordering::SeqCst) {
            assert_eq!(self.stop(), 0, "helpers that could not be joined");
        }
    }
}

/// A reply that goes into a channel.
pub struct Answer {
    sender: Sender<Result<Socket, Error>>,
    pub wanted: Arc<AtomicBool>,
}

impl Answer {
    pub fn new() -> (Box<Self>, Receiver<Result<Socket, Error>>) {
        let (sender, receiver) = bounded(1);
        let wanted = Arc::new(AtomicBool::new(true));
        (Box::new(Self { sender, wanted }), receiver)
    }
}

impl Reply for Answer {
    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    fn answer(self: Box<Self>, result: Result<Socket, Error>) {
        // Nobody may be waiting any more, which is the test's business.
        let _ = self.sender.send(result);
    }
}

/// Waits for the next event by its waker.
pub fn next_event(pool: &Running) -> Event {
    loop {
        let (wake, woken) = bounded(1);
        let waker = Box::new(move || wake.send(()).unwrap());
        match pool.0.events(1, waker).pop() {
            Some(event) => return event,
            None => woken.recv_timeout(patience()).unwrap(),
        }
    }
}

/// Opens, and waits until the only helper has settled there.
pub fn settle(pool: &Running, path: &Path) {
    open_and_settle(pool, path);
    assert_eq!(pool.pinned(), 1);
}

/// Opens, and waits until a helper has settled there for the first time, which is an event.
pub fn open_and_settle(pool: &Running, path: &Path) {
    await_settled(pool, key(path), || drop(pool.open(path, 0).unwrap()));
}

/// Runs `open`, and waits until a helper has settled for the first time where `key` leads.
pub fn await_settled(pool: &Running, key: NetnsKey<'_>, open: impl FnOnce()) {
    while !pool.0.events(64, Box::new(|| {})).is_empty() {}
    open();
    loop {
        let event = next_event(pool);
        if event.what == EventKind::Pinned && event.netns.key() == key {
            break;
        }
    }
}

/// Opens by each key until a helper has settled at each.
pub fn settle_at_each(pool: &Running, keys: &[NetnsKey<'_>]) {
    eventually("a helper at each", || {
        let is_missing = |key: &&NetnsKey| !pool.is_pinned(**key);
        let missing: Vec<_> = keys.iter().filter(is_missing).collect();
        for key in &missing {
            await_settled(pool, **key, || drop(pool.open_by(**key).unwrap()));
            // For a millisecond after it fell asleep it is the first to be woken, wherever it is.
            std::thread::sleep(Duration::from_millis(2));
        }
        missing.is_empty()
    });
}

/// An answer that does what a test says, on the helper that gives it.
struct Rude(Box<dyn FnOnce() + Send>);

impl Reply for Rude {
    fn is_wanted(&self) -> bool {
        true
    }
    fn answer(self: Box<Self>, _result: Result<Socket, Error>) {
        (self.0)();
    }
}

pub fn ask_rudely(pool: &Pool, path: &Path, f: impl FnOnce() + Send + 'static) {
    let reply = Box::new(Rude(Box::new(f)));
    pool.open(key(path), Spec::netlink(0), reply).unwrap();
}

impl Running {
    pub fn ask_rudely(&self, path: &Path, f: impl FnOnce() + Send + 'static) {
        ask_rudely(&self.0, path, f);
    }

    /// Keeps the helper that serves `path` next until what this returns is dropped.
    pub fn hold(&self, path: &Path) -> Sender<()> {
        let (let_go, held) = bounded(0);
        self.ask_rudely(path, move || held.recv().unwrap_or_default());
        let_go
    }

    /// The same, once it serves.
    pub fn hold_now(&self, path: &Path) -> Sender<()> {
        let (there, arrived) = bounded(1);
        let (let_go, held) = bounded(0);
        self.ask_rudely(path, move || {
            there.send(()).unwrap();
            held.recv().unwrap_or_default();
        });
        arrived.recv_timeout(patience()).unwrap();
        let_go
    }

    /// Asks, once, from wherever that is called.
    pub fn asking(
        &self,
        path: &Path,
    ) -> impl FnOnce() -> Receiver<Result<Socket, Error>> + Send + use<> {
        let (pool, path) = (self.0.clone(), path.to_owned());
        let (reply, answer) = Answer::new();
        move || {
            pool.open(key(&path), Spec::netlink(0), reply).unwrap();
            answer
        }
    }
}
