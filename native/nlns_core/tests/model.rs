//! Whatever happens to names, files and processes, the pool answers what a fresh thread answers.
//!
//! Random sequences of operations, each open compared with the [oracle](support::netns::oracle) by
//! namespace cookie or by stage and errno. `NLNS_MODEL_STEPS` (default 400) is the number of operations,
//! `NLNS_SEED` (64 hex digits, printed by every run) repeats a run. Failures are shrunk.

mod support;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use nlns_core::Config;
use proptest::prelude::*;
use proptest::test_runner::{RngAlgorithm, TestRng, TestRunner};
use rustix::fs::{CWD, Mode, mkfifoat};
use rustix::mount::mount_bind;
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

use support::netns::{Directory, Process, cookie, mount_new, oracle, remove, unshare_net};
use support::{CONFIG, Running, descriptors, eventually};

const NAMES: usize = 4;
const STEPS_PER_CASE: usize = 40;

#[derive(Clone, Debug)]
enum Step {
    /// The name is removed with all that is mounted on it, then...
    Make(usize),
    Delete(usize),
    File(usize),
    Fifo(usize),
    Directory(usize),
    OtherKind(usize),
    Link(usize, usize),
    /// A new namespace on top of what is there.
    MountOver(usize),
    Unmount(usize),
    /// Only what is no mount point can be renamed.
    Rename(usize, usize),
    Chmod(usize, u32),
    StartProcess(usize),
    KillProcess(usize),
    /// Threads stand in for processes that move: `/proc/PID/task/TID/ns/net`.
    StartThread(usize),
    MoveThread(usize),
    EndThread(usize),
    Open(Target, Protocol),
    /// With the directory of the names closed to everybody meanwhile.
    OpenClosed(usize),
    /// Long enough for a helper to fall asleep, or to reach its idle timeout.
    Pause(u8),
}

#[derive(Clone, Debug)]
enum Target {
    Name(usize),
    Process(usize),
    Thread(usize),
    Special(usize),
}

/// Paths whose meaning depends on who asks, or that lead nowhere good.
const SPECIAL: [&str; 6] = [
    "/proc/self/ns/net",
    "/proc/thread-self/ns/net",
    "/proc/thread-self/ns/uts",
    "/nonexistent/x",
    "/proc/self/exe/x",
    "",
];

#[derive(Clone, Debug)]
struct Protocol(u32);

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let name = || 0..NAMES;
    let target = prop_oneof![
        6 => name().prop_map(Target::Name),
        2 => name().prop_map(Target::Process),
        2 => name().prop_map(Target::Thread),
        2 => (0..SPECIAL.len()).prop_map(Target::Special),
    ];
    let protocol = prop_oneof![9 => Just(0), 1 => Just(99)].prop_map(Protocol);
    let step = prop_oneof![
        40 => (target, protocol).prop_map(|(target, protocol)| Step::Open(target, protocol)),
        3 => name().prop_map(Step::OpenClosed),
        8 => name().prop_map(Step::Make),
        4 => name().prop_map(Step::Delete),
        1 => name().prop_map(Step::File),
        1 => name().prop_map(Step::Fifo),
        1 => name().prop_map(Step::Directory),
        1 => name().prop_map(Step::OtherKind),
        2 => (name(), name()).prop_map(|(from, to)| Step::Link(from, to)),
        3 => name().prop_map(Step::MountOver),
        2 => name().prop_map(Step::Unmount),
        2 => (name(), name()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => (name(), prop_oneof![Just(0), Just(0o444)]).prop_map(|(n, mode)| Step::Chmod(n, mode)),
        3 => name().prop_map(Step::StartProcess),
        2 => name().prop_map(Step::KillProcess),
        3 => name().prop_map(Step::StartThread),
        2 => name().prop_map(Step::MoveThread),
        1 => name().prop_map(Step::EndThread),
        6 => (0..8_u8).prop_map(Step::Pause),
    ];
    proptest::collection::vec(step, STEPS_PER_CASE)
}

/// The world that the steps change.
struct World {
    names: Directory,
    processes: [Option<Process>; NAMES],
    threads: [Option<Thread>; NAMES],
}

struct Thread {
    tid: i32,
    go: mpsc::Sender<()>,
    gone: mpsc::Receiver<()>,
    thread: JoinHandle<()>,
}

impl World {
    fn new() -> Self {
        Self {
            names: Directory::new(),
            processes: [const { None }; NAMES],
            threads: [const { None }; NAMES],
        }
    }

    fn name(&self, n: usize) -> PathBuf {
        self.names.0.join(n.to_string())
    }

    fn path(&self, target: &Target) -> PathBuf {
        let pid = std::process::id();
        match target {
            Target::Name(n) => self.name(*n),
            Target::Special(n) => SPECIAL[*n].into(),
            Target::Process(n) => match &self.processes[*n] {
                Some(process) => process.path(),
                None => "/proc/4194304/ns/net".into(),
            },
            Target::Thread(n) => match &self.threads[*n] {
                Some(thread) => format!("/proc/{pid}/task/{}/ns/net", thread.tid).into(),
                None => format!("/proc/{pid}/task/0/ns/net").into(),
            },
        }
    }

    /// What cannot be done in the world as it is, is not done; both sides see the same world.
    fn apply(&mut self, step: &Step) {
        match *step {
            Step::Make(n) => {
                self.fresh(n, |path| fs::write(path, "").unwrap());
                mount_new(&self.name(n));
            }
            Step::Delete(n) => remove(&self.name(n)),
            Step::File(n) => self.fresh(n, |path| fs::write(path, "x").unwrap()),
            Step::Fifo(n) => {
                self.fresh(n, |path| mkfifoat(CWD, path, Mode::RUSR).unwrap());
            }
            Step::Directory(n) => self.fresh(n, |path| fs::create_dir(path).unwrap()),
            Step::OtherKind(n) => self.fresh(n, |path| {
                fs::write(path, "").unwrap();
                mount_bind("/proc/self/ns/uts", path).unwrap();
            }),
            Step::Link(from, to) => {
                let target = self.name(to);
                self.fresh(from, |path| {
                    std::os::unix::fs::symlink(target, path).unwrap()
                });
            }
            Step::MountOver(n) => {
                if self.name(n).is_file() {
                    mount_new(&self.name(n));
                }
            }
            Step::Unmount(n) => {
                let flags = rustix::mount::UnmountFlags::DETACH;
                let _ = rustix::mount::unmount(self.name(n), flags);
            }
            Step::Rename(from, to) => drop(fs::rename(self.name(from), self.name(to))),
            Step::Chmod(n, mode) => {
                let permissions = std::os::unix::fs::PermissionsExt::from_mode(mode);
                let _ = fs::set_permissions(self.name(n), permissions);
            }
            Step::StartProcess(n) => {
                self.apply(&Step::KillProcess(n));
                self.processes[n] = Some(Process::start());
            }
            Step::KillProcess(n) => drop(self.processes[n].take()),
            Step::StartThread(n) => {
                self.apply(&Step::EndThread(n));
                self.threads[n] = Some(mover());
            }
            Step::MoveThread(n) => {
                if let Some(thread) = &self.threads[n] {
                    thread.go.send(()).unwrap();
                    thread.gone.recv().unwrap();
                }
            }
            Step::EndThread(n) => {
                if let Some(thread) = self.threads[n].take() {
                    drop(thread.go);
                    thread.thread.join().unwrap();
                }
            }
            Step::Pause(ms) => std::thread::sleep(Duration::from_millis(ms.into())),
            Step::Open(..) | Step::OpenClosed(_) => {}
        }
    }

    fn fresh(&self, n: usize, make: impl FnOnce(&Path)) {
        let path = self.name(n);
        remove(&path);
        make(&path);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for n in 0..NAMES {
            self.apply(&Step::EndThread(n));
        }
    }
}

/// A thread in a namespace of its own, and in another each time it is told to go.
fn mover() -> Thread {
    let (go, going) = mpsc::channel::<()>();
    let (moved, gone) = mpsc::channel();
    let (tell, told) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        unshare_net();
        let tid = rustix::thread::gettid().as_raw_nonzero().get();
        tell.send(tid).unwrap();
        while going.recv().is_ok() {
            unshare_net();
            moved.send(()).unwrap();
        }
    });
    let tid = told.recv().unwrap();
    Thread {
        tid,
        go,
        gone,
        thread,
    }
}

fn check(steps: &[Step], config: Config) -> Result<(), TestCaseError> {
    let pool = Running::start(config);
    let mut world = World::new();
    for step in steps {
        world.apply(step);
        let (path, protocol) = match step {
            Step::Open(target, Protocol(protocol)) => (world.path(target), *protocol),
            Step::OpenClosed(n) => (world.name(*n), 0),
            _ => continue,
        };
        let closed = matches!(step, Step::OpenClosed(_)).then(|| world.names.close());
        let expected = oracle(&path, protocol);
        let found = pool.open(&path, protocol).map(cookie);
        drop(closed);
        prop_assert_eq!(found, expected, "{:?}", path);
    }
    Ok(())
}

#[test]
fn answers_equal_those_of_fresh_thread() {
    // Without these root reads what it may not, and chmod would change no answer. Threads started
    // from here, the pool's among them, are without them too.
    let mut dropped = capabilities(None).unwrap();
    dropped.effective -= CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    set_capabilities(None, dropped).unwrap();

    let steps_wanted = std::env::var("NLNS_MODEL_STEPS").map_or(400, |n| n.parse().unwrap());
    let seed = std::env::var("NLNS_SEED").map_or_else(|_| fresh_seed(), |hex| from_hex(&hex));
    println!(
        "NLNS_MODEL_STEPS={steps_wanted} NLNS_SEED={}",
        to_hex(&seed)
    );
    let config = ProptestConfig {
        cases: (steps_wanted / STEPS_PER_CASE).max(1) as u32,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &seed);
    let before = descriptors();
    let idle_timeout = prop_oneof![Just(Some(0)), Just(Some(3)), Just(Some(1_000)), Just(None)];
    let helpers = prop_oneof![Just(1_usize), Just(2), Just(8)];
    let case = (steps(), idle_timeout, helpers);
    let result =
        TestRunner::new_with_rng(config, rng).run(&case, |(steps, idle_timeout, helpers)| {
            let idle_timeout = idle_timeout.map(Duration::from_millis);
            let max_helpers = helpers;
            check(
                &steps,
                Config {
                    idle_timeout,
                    max_helpers,
                    ..CONFIG
                },
            )
        });
    if let Err(failure) = result {
        panic!("{failure}");
    }
    eventually("descriptors closed", || descriptors() == before);
}

fn fresh_seed() -> [u8; 32] {
    let mut seed = [0; 32];
    std::io::Read::read_exact(&mut fs::File::open("/dev/urandom").unwrap(), &mut seed).unwrap();
    seed
}

fn to_hex(seed: &[u8]) -> String {
    seed.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(hex: &str) -> [u8; 32] {
    let byte = |n| u8::from_str_radix(&hex[2 * n..2 * n + 2], 16).unwrap();
    std::array::from_fn(byte)
}
