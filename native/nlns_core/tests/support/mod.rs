//! Namespaces to open sockets in, and a caller without a BEAM.
#![allow(dead_code, reason = "each test file uses its part")]

mod mark;
pub mod netns;

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nlns_core::{Config, Error, Event, EventKind, NetnsKey, Pool, Reply, Socket, Spec};

/// Far beyond what anything here takes on a busy or emulated machine; a test that gets here has failed.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// A limit of time, as long as this machine needs it to be: `NLNS_TEST_PATIENCE` multiplies it (default: 1).
pub fn within(limit: Duration) -> Duration {
    let patience = std::env::var("NLNS_TEST_PATIENCE");
    limit * patience.map_or(1, |times| times.parse().unwrap())
}

pub const CONFIG: Config = Config {
    max_helpers: 8,
    idle_timeout: Some(Duration::from_millis(1_000)),
    max_queue: 10_000,
};

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
        self.ask(path, protocol)?.recv_timeout(PATIENCE).unwrap()
    }

    pub fn open_process(&self, pid: u32, protocol: u32) -> Result<Socket, Error> {
        let answer = self.ask_process(pid, protocol)?;
        answer.recv_timeout(PATIENCE).unwrap()
    }

    pub fn ask_process(
        &self,
        pid: u32,
        protocol: u32,
    ) -> Result<Receiver<Result<Socket, Error>>, Error> {
        let (reply, answer) = Answer::new();
        let spec = Spec::netlink(protocol);
        self.0.open(NetnsKey::process(pid as i32)?, spec, reply)?;
        Ok(answer)
    }

    pub fn ask(
        &self,
        path: &Path,
        protocol: u32,
    ) -> Result<Receiver<Result<Socket, Error>>, Error> {
        self.ask_for(path, Spec::netlink(protocol))
    }

    pub fn ask_for(
        &self,
        path: &Path,
        spec: Spec,
    ) -> Result<Receiver<Result<Socket, Error>>, Error> {
        let (reply, answer) = Answer::new();
        let path = path.as_os_str().as_encoded_bytes();
        self.0.open(path, spec, reply)?;
        Ok(answer)
    }

    pub fn open_packet(&self, path: &Path) -> Socket {
        let spec = Spec {
            domain: libc::AF_PACKET as u16,
            kind: libc::SOCK_RAW as u32,
            protocol: 0,
        };
        let answer = self.ask_for(path, spec).unwrap();
        answer.recv_timeout(PATIENCE).unwrap().unwrap()
    }

    /// Asks for all of them at once, and compares each answer with a fresh thread's.
    pub fn assert_each_is_served(&self, paths: &[PathBuf]) {
        let asked: Vec<_> = paths
            .iter()
            .map(|path| self.ask(path, 0).unwrap())
            .collect();
        for (path, answer) in paths.iter().zip(asked) {
            let answer = answer.recv_timeout(PATIENCE).unwrap();
            assert_eq!(answer.map(netns::cookie), netns::oracle(path, 0));
        }
    }

    /// Waits until no helper is in a namespace.
    pub fn release(&self, path: &Path) {
        let (done, released) = bounded(1);
        let path = path.as_os_str().as_encoded_bytes();
        let said = Box::new(move |left| done.send(left).unwrap());
        if self.0.release(path, said).unwrap() {
            assert_eq!(released.recv_timeout(PATIENCE), Ok(Ok(())));
        }
    }

    pub fn pinned(&self) -> usize {
        let info = self.0.info();
        info.helpers.iter().filter(|h| h.pinned.is_some()).count()
    }

    pub fn stop(&self) -> usize {
        self.1.store(false, Ordering::SeqCst);
        let (done, stopped) = bounded(1);
        self.0
            .stop(Box::new(move |stuck| done.send(stuck).unwrap()));
        stopped.recv_timeout(PATIENCE).unwrap()
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
            None => woken.recv_timeout(PATIENCE).unwrap(),
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
    while !pool.0.events(64, Box::new(|| {})).is_empty() {}
    pool.open(path, 0).unwrap();
    let key = NetnsKey::Path(path.as_os_str().as_encoded_bytes());
    loop {
        let event = next_event(pool);
        if event.what == EventKind::Pinned && event.netns.key() == key {
            break;
        }
    }
}

/// Answers that make the helper panic, or hold it until told otherwise.
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
    let path = path.as_os_str().as_encoded_bytes();
    let reply = Box::new(Rude(Box::new(f)));
    pool.open(path, Spec::netlink(0), reply).unwrap();
}

impl Running {
    pub fn ask_rudely(&self, path: &Path, f: impl FnOnce() + Send + 'static) {
        ask_rudely(&self.0, path, f);
    }

    /// Asks, once, from wherever that is called.
    pub fn asking(
        &self,
        path: &Path,
    ) -> impl FnOnce() -> Receiver<Result<Socket, Error>> + Send + use<> {
        let (pool, path) = (self.0.clone(), path.as_os_str().as_encoded_bytes().to_vec());
        let (reply, answer) = Answer::new();
        move || {
            pool.open(&*path, Spec::netlink(0), reply).unwrap();
            answer
        }
    }
}

/// A bounded wait for something that has no event to wait for.
#[track_caller]
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Says that a test shows nothing here, where it is seen: what is printed is shown for failures only.
pub fn skipped(why: &str) {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let _ = writeln!(std::io::stderr(), "\n*** SKIPPED: {test}: {why}");
}

/// Whether the running kernel is older than what has `feature`; if so, says that a test shows nothing.
pub fn lacks(since: (u32, u32), feature: &str) -> bool {
    let system = rustix::system::uname();
    // "6.1.0-50-amd64"
    let release = system.release().to_string_lossy();
    let mut numbers = release.split('.').map(|n| n.parse().unwrap_or(0));
    let lacks = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0)) < since;
    if lacks {
        skipped(&format!(
            "Linux has {feature} since {}.{}",
            since.0, since.1
        ));
    }
    lacks
}

/// Descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
}

/// Threads of this process whose name begins so, by their ids.
pub fn tasks(prefix: &str) -> Vec<i32> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .map(|task| task.unwrap())
        .filter(|task| {
            let name = std::fs::read_to_string(task.path().join("comm"));
            name.is_ok_and(|name| name.starts_with(prefix))
        })
        .map(|task| task.file_name().to_str().unwrap().parse().unwrap())
        .collect()
}

/// How many they are.
pub fn threads(prefix: &str) -> usize {
    tasks(prefix).len()
}

/// Threads of this process outside its namespace.
pub fn outside() -> usize {
    let netns = |task: &Path| std::fs::read_link(task.join("ns/net"));
    let home = netns(Path::new("/proc/self")).unwrap();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    tasks
        .filter(|task| netns(&task.as_ref().unwrap().path()).is_ok_and(|netns| netns != home))
        .count()
}

/// Those of them that sleep now.
pub fn sleeping(prefix: &str) -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let stat = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default()
    };
    // "TID (NAME) STATE ...", proc(5)
    tasks
        .map(stat)
        .filter(|stat| stat.contains(&format!("({prefix}")) && stat.contains(") S "))
        .count()
}

/// Whether any thread of this process is in the namespace that a path names.
pub fn threads_are_in(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let inode = |path: &Path| std::fs::metadata(path).map(|netns| netns.ino());
    let there = inode(path).unwrap();
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let netns = |task: std::io::Result<std::fs::DirEntry>| task.unwrap().path().join("ns/net");
    tasks
        .map(netns)
        .any(|task| inode(&task).is_ok_and(|inode| inode == there))
}

/// Returns whether two threads of one processor wake each other quickly enough for a helper to stay on it:
/// an emulated processor may not.
pub fn waking_is_quick(cpu: usize) -> bool {
    use rustix::thread::{CpuSet, sched_setaffinity};
    const ROUNDS: usize = 500;
    let mut only = CpuSet::new();
    only.set(cpu);
    let (ask, asked) = bounded(0);
    let (answer, answered) = bounded(0);
    let there = std::thread::spawn(move || {
        sched_setaffinity(None, &only).unwrap();
        asked.iter().for_each(|()| answer.send(()).unwrap());
    });
    let here = std::thread::spawn(move || {
        sched_setaffinity(None, &only).unwrap();
        let mut times: Vec<_> = (0..ROUNDS)
            .map(|_| {
                let began = Instant::now();
                ask.send(()).unwrap();
                answered.recv().unwrap();
                began.elapsed() / 2
            })
            .collect();
        times.sort();
        // Others may have the processor now and then.
        times[times.len() / 10]
    });
    let waking = here.join().unwrap();
    there.join().unwrap();
    waking < Duration::from_micros(15)
}
