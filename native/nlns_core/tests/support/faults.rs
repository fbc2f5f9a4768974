//! System calls of a pool's threads that fail when a test says so: a seccomp(2) filter asks a thread of
//! the test about each (`SECCOMP_RET_USER_NOTIF`, seccomp_unotify(2)). Only threads that the pool starts
//! are asked for; no limit of the machine is touched. Needs Linux 5.5.

use std::collections::HashMap;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use nlns_core::{Config, Pool, Socket};
use parking_lot::{Mutex, MutexGuard};

use super::netns::Directory;
use super::seccomp::Listener;
use super::{Running, alone, eventually, lacks};

/// A pool whose threads are under faults, these, and a namespace with its directory. The test runs alone.
pub type UnderFaults = (Running, Faults, PathBuf, Directory, MutexGuard<'static, ()>);

/// Returns what a test is to bind by reference, as with [`alone_with`](super::alone_with). `None`, said where
/// it is seen, where no faults can be made.
pub fn under_faults(config: Config) -> Option<UnderFaults> {
    let alone = alone();
    let faults = Faults::new()?;
    let names = Directory::new();
    let pool = start(&faults, config);
    Some((pool, faults, names.make("a"), names, alone))
}

/// Starts a pool all of whose threads are under these faults, and its first helper.
pub fn start(faults: &Faults, config: Config) -> Running {
    let pool = Running::of(faults.start(config).unwrap());
    eventually("a first helper", || pool.0.info().started == 1);
    pool
}

/// What may be made to fail.
const CALLS: [i64; 19] = [
    libc::SYS_close,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_newfstatat,
    libc::SYS_setns,
    libc::SYS_socket,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_connect,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_ioctl,
    libc::SYS_fsopen,
    libc::SYS_sched_getattr,
    CLONES[0],
    CLONES[1],
    libc::SYS_pidfd_open,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_add_watch,
];

/// The calls that start a thread: glibc has one for each architecture and version of its own.
const CLONES: [i64; 2] = [libc::SYS_clone3, libc::SYS_clone];

/// Which calls fail now, with which errno and how often, and which do not return.
#[derive(Clone, Default)]
pub struct Faults(Arc<Table>);

#[derive(Default)]
struct Table {
    faults: Mutex<HashMap<Call, Fault>>,
    asked: Mutex<HashMap<i64, usize>>,
    held: AtomicUsize,
}

/// A call whatever its arguments, or with one that is meant.
type Call = (i64, Option<Argument>);

/// The argument with this index, if these of its bits have this value.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Argument {
    index: usize,
    bits: u32,
    value: u32,
}

#[derive(Clone)]
enum Fault {
    Fails(i32, usize),
    /// Once, after it has been asked for so many times; then never.
    FailsAfter(i32, Option<usize>),
    /// Until the other end is dropped.
    Waits(Receiver<()>),
    /// Until this has happened.
    Follows(Arc<dyn Fn() + Send + Sync>),
}

impl Faults {
    /// `None`, said where it is seen, before Linux 5.5: a call that is asked about could not go on there.
    pub fn new() -> Option<Self> {
        (!lacks((5, 5), "SECCOMP_USER_NOTIF_FLAG_CONTINUE")).then(Self::default)
    }

    /// Lets no thread start.
    pub fn fail_threads(&self, errno: i32) {
        for call in CLONES {
            self.fail(call, errno);
        }
    }

    /// Until it is healed.
    pub fn fail(&self, call: i64, errno: i32) {
        self.fail_times(call, errno, usize::MAX);
    }

    /// So many times in a row.
    pub fn fail_times(&self, call: i64, errno: i32, times: usize) {
        self.insert((call, None), Fault::Fails(errno, times));
    }

    /// Once, after so many that do not.
    pub fn fail_after(&self, call: i64, errno: i32, times: usize) {
        self.insert((call, None), Fault::FailsAfter(errno, Some(times)));
    }

    /// Has a step of each request fail, until it is healed.
    pub fn fail_step(&self, call: i64, errno: i32) {
        // The lookup that never blocks comes first, and its failure says nothing.
        if call == libc::SYS_openat {
            self.fail(libc::SYS_openat2, libc::EAGAIN);
        }
        self.fail(call, errno);
    }

    /// Until it is healed, where the argument with this index has this value.
    pub fn fail_where(&self, call: i64, (index, value): (usize, u32), errno: i32) {
        let bits = u32::MAX;
        let only = Argument { index, bits, value };
        self.insert((call, Some(only)), Fault::Fails(errno, usize::MAX));
    }

    /// Has something happen before each such call. It must not need the pool's threads.
    pub fn before_each(&self, call: i64, happens: impl Fn() + Send + Sync + 'static) {
        self.insert((call, None), Fault::Follows(Arc::new(happens)));
    }

    /// Lets the call return when what this returns is dropped, not before.
    pub fn hold(&self, call: i64) -> Sender<()> {
        let (let_go, held) = bounded(0);
        self.insert((call, None), Fault::Waits(held));
        let_go
    }

    /// The same for lookups of namespaces. A thread that starts may open and close files of the system too,
    /// which is libc's doing (`malloc`).
    pub fn hold_lookups(&self) -> Sender<()> {
        self.fail(libc::SYS_openat2, libc::EAGAIN);
        self.hold_opens()
    }

    /// The same for those that may block.
    pub fn hold_opens(&self) -> Sender<()> {
        let (let_go, held) = bounded(0);
        let bits = libc::O_NONBLOCK as u32;
        let flags = Argument {
            index: 2,
            bits,
            value: bits,
        };
        self.insert((libc::SYS_openat, Some(flags)), Fault::Waits(held));
        let_go
    }

    /// The same for closing these.
    pub fn hold_close<'a>(&self, sockets: impl IntoIterator<Item = &'a Socket>) -> Sender<()> {
        let (let_go, held) = bounded(0);
        for socket in sockets {
            let number = Argument {
                index: 0,
                bits: u32::MAX,
                value: socket.as_raw_fd() as u32,
            };
            let call = (libc::SYS_close, Some(number));
            self.insert(call, Fault::Waits(held.clone()));
        }
        let_go
    }

    fn insert(&self, call: Call, fault: Fault) {
        assert!(CALLS.contains(&call.0));
        self.0.faults.lock().insert(call, fault);
    }

    /// How many calls have been held so far.
    pub fn held(&self) -> usize {
        self.0.held.load(Ordering::SeqCst)
    }

    /// Returns how many times the pool's threads have made this call.
    pub fn asked(&self, call: i64) -> usize {
        assert!(CALLS.contains(&call));
        self.0.asked.lock().get(&call).copied().unwrap_or_default()
    }

    /// Returns how many threads they have tried to start.
    pub fn asked_for_threads(&self) -> usize {
        CLONES.iter().map(|call| self.asked(*call)).sum()
    }

    /// The call says that it succeeded, and has done nothing.
    pub fn pretend(&self, call: i64) {
        self.fail(call, 0);
    }

    pub fn forget(&self, call: i64) {
        self.0.faults.lock().retain(|(of, _), _| *of != call);
    }

    pub fn heal(&self) {
        self.0.faults.lock().clear();
    }

    fn start(&self, config: Config) -> std::io::Result<Pool> {
        self.among_them(|| Pool::start(config))
    }

    /// Runs `f` in a thread that is asked for too.
    pub fn among_them<R: Send>(&self, f: impl FnOnce() -> R + Send) -> R {
        let faults = self.clone();
        // The thread that answers must not be asked itself, so it is there before the filter.
        let (give, given) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let listener = given.recv().expect("the other gives it");
            faults.answer(&Arc::new(listener));
        });
        // A filter is for life, and for all that a thread starts: not for one of the test's own.
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| {
                give.send(Listener::start(&CALLS))
                    .expect("it is waited for");
                f()
            });
            asked.join().expect("the thread does not panic")
        })
    }

    /// What is to become of this call; `None`: what the kernel makes of it by itself.
    fn fault(&self, asked: &libc::seccomp_data) -> Option<Fault> {
        let call = i64::from(asked.nr);
        *self.0.asked.lock().entry(call).or_default() += 1;
        let is_meant = |(of, only): &Call| {
            let has = |only: Argument| asked.args[only.index] as u32 & only.bits == only.value;
            *of == call && only.is_none_or(has)
        };
        let mut faults = self.0.faults.lock();
        let (_, fault) = faults.iter_mut().find(|(call, _)| is_meant(call))?;
        match fault {
            Fault::Fails(_, times) => *times = times.checked_sub(1)?,
            Fault::FailsAfter(errno, after) => {
                let is_now = (*after)? == 0;
                *after = after.and_then(|after| after.checked_sub(1));
                return is_now.then_some(Fault::Fails(*errno, 1));
            }
            Fault::Waits(_) | Fault::Follows(_) => {}
        }
        Some(fault.clone())
    }

    /// Answers each question, until no thread is left to ask one.
    fn answer(&self, listener: &Arc<Listener>) {
        while let Some(asked) = listener.next() {
            match self.fault(&asked.data) {
                None => listener.respond(asked.id, None),
                Some(Fault::Fails(errno, _) | Fault::FailsAfter(errno, _)) => {
                    listener.respond(asked.id, Some(errno))
                }
                Some(Fault::Follows(happens)) => {
                    happens();
                    listener.respond(asked.id, None);
                }
                Some(Fault::Waits(held)) => {
                    let listener = listener.clone();
                    std::thread::spawn(move || {
                        let _ = held.recv();
                        listener.respond(asked.id, None);
                    });
                    // Not before: a test may choose the number that the next thread gets.
                    self.0.held.fetch_add(1, Ordering::SeqCst);
                }
            }
        }
    }
}
