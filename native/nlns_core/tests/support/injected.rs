//! System calls of a pool's threads that fail when a test says so: a seccomp(2) filter asks a thread of
//! the test about each (`SECCOMP_RET_USER_NOTIF`, seccomp_unotify(2)). Only threads that the pool starts
//! are asked for; no limit of the machine is touched. Needs Linux 5.5.
#![allow(unsafe_code, reason = "no crate here wraps seccomp's notifications")]
#![allow(dead_code, reason = "each test binary uses its part of it")]

use std::collections::HashMap;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_channel::{Receiver, Sender, bounded};
use nlns_core::{Config, Pool};
use parking_lot::Mutex;

use crate::support::{CONFIG, Running, eventually, lacks};

/// Nobody leaves by itself.
pub const FOREVER: Config = Config {
    idle_timeout: None,
    ..CONFIG
};

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

const RECV: libc::c_ulong = 0xc050_2100; // SECCOMP_IOCTL_NOTIF_RECV
const SEND: libc::c_ulong = 0xc018_2101; // SECCOMP_IOCTL_NOTIF_SEND
const CONTINUE: u32 = 1; // SECCOMP_USER_NOTIF_FLAG_CONTINUE

/// Which calls fail now, with which errno and how often, and which do not return.
#[derive(Clone)]
pub struct Faults(Arc<Mutex<HashMap<Call, Fault>>>, Arc<AtomicUsize>);

/// A call whatever its arguments, or with one that has this value.
type Call = (i64, Option<(usize, u32)>);

#[derive(Clone)]
enum Fault {
    Fails(i32, usize),
    /// Until the other end is dropped.
    Waits(Receiver<()>),
}

impl Faults {
    /// `None`, said where it is seen, before Linux 5.5: a call that is asked about could not go on there.
    pub fn new() -> Option<Self> {
        (!lacks((5, 5), "SECCOMP_USER_NOTIF_FLAG_CONTINUE"))
            .then(|| Self(Arc::default(), Arc::default()))
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
        assert!(CALLS.contains(&call));
        self.0
            .lock()
            .insert((call, None), Fault::Fails(errno, times));
    }

    /// Until it is healed, where the argument with this index has this value.
    pub fn fail_where(&self, call: i64, (index, value): (usize, u32), errno: i32) {
        assert!(CALLS.contains(&call));
        let call = (call, Some((index, value)));
        self.0.lock().insert(call, Fault::Fails(errno, usize::MAX));
    }

    /// Lets the call return when what this returns is dropped, not before.
    pub fn hold(&self, call: i64) -> Sender<()> {
        assert!(CALLS.contains(&call));
        let (let_go, held) = bounded(0);
        self.0.lock().insert((call, None), Fault::Waits(held));
        let_go
    }

    /// How many calls have been held so far.
    pub fn held(&self) -> usize {
        self.1.load(Ordering::SeqCst)
    }

    /// The call says that it succeeded, and has done nothing.
    pub fn pretend(&self, call: i64) {
        self.fail(call, 0);
    }

    pub fn forget(&self, call: i64) {
        self.0.lock().remove(&(call, None));
    }

    pub fn heal(&self) {
        self.0.lock().clear();
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
                give.send(filter()).expect("it is waited for");
                f()
            });
            asked.join().expect("the thread does not panic")
        })
    }

    /// What is to become of this call; `None`: what the kernel makes of it by itself.
    fn fault(&self, asked: &libc::seccomp_data) -> Option<Fault> {
        let call = i64::from(asked.nr);
        let is_meant = |(of, only): &Call| {
            let has = |(index, value): (usize, u32)| asked.args[index] as u32 == value;
            *of == call && only.is_none_or(has)
        };
        let mut faults = self.0.lock();
        let (_, fault) = faults.iter_mut().find(|(call, _)| is_meant(call))?;
        if let Fault::Fails(_, times) = fault {
            *times = times.checked_sub(1)?;
        }
        Some(fault.clone())
    }

    fn answer(&self, listener: &Arc<OwnedFd>) {
        loop {
            let mut poll = libc::pollfd {
                fd: listener.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one pollfd.
            unsafe { libc::poll(&raw mut poll, 1, -1) };
            if poll.revents & libc::POLLIN == 0 {
                // Nobody is left who could ask.
                return;
            }
            // SAFETY: plain numbers, for which zeros are what the kernel wants.
            let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the kernel writes one seccomp_notif.
            if unsafe { libc::ioctl(listener.as_raw_fd(), RECV as _, &raw mut asked) } != 0 {
                continue;
            }
            match self.fault(&asked.data) {
                None => respond(listener, asked.id, None),
                Some(Fault::Fails(errno, _)) => respond(listener, asked.id, Some(errno)),
                Some(Fault::Waits(held)) => {
                    self.1.fetch_add(1, Ordering::SeqCst);
                    let listener = listener.clone();
                    std::thread::spawn(move || {
                        let _ = held.recv();
                        respond(&listener, asked.id, None);
                    });
                }
            }
        }
    }
}

/// Lets a call go on, or fail.
fn respond(listener: &OwnedFd, id: u64, errno: Option<i32>) {
    let answer = libc::seccomp_notif_resp {
        id,
        val: 0,
        error: -errno.unwrap_or(0),
        flags: if errno.is_some() { 0 } else { CONTINUE },
    };
    // SAFETY: the kernel reads one seccomp_notif_resp. A thread that is gone needs none.
    unsafe { libc::ioctl(listener.as_raw_fd(), SEND as _, &raw const answer) };
}

/// Puts the calling thread under a filter that asks about [`CALLS`].
fn filter() -> OwnedFd {
    let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
        code: code as u16,
        jt,
        jf,
        k,
    };
    const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
    const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
    const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
    // The number of the call is the first field of seccomp_data.
    let mut program = vec![op(LOAD, 0, 0, 0)];
    for (n, call) in CALLS.iter().enumerate() {
        program.push(op(IS, *call as u32, (CALLS.len() - n) as u8, 0));
    }
    program.push(op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
    program.push(op(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0));
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.leak().as_mut_ptr(),
    };
    // SAFETY: only numbers; for this thread and those it starts.
    assert_eq!(
        // SAFETY: takes no pointer.
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
        0
    );
    // SAFETY: the kernel copies the program.
    let listener = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
            &raw const program,
        )
    };
    assert!(
        listener >= 0,
        "seccomp: {}",
        std::io::Error::last_os_error()
    );
    // SAFETY: the kernel has just made it for us.
    unsafe { OwnedFd::from_raw_fd(listener as i32) }
}
