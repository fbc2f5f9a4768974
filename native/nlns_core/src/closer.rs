//! Closers: threads on which the last close of a socket may take its time.
//!
//! The manager starts as many as there are descriptors to be closed at the same time, up to [`MOST`], so
//! that one that takes long keeps the others from being closed only if [`MOST`] of them do. One is always
//! there, the others end when they have been idle for a while.

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};
use parking_lot::Mutex;

use crate::control::{Command, CommandSender};
use crate::threads::STACK;

/// Fewer and a few sockets that linger stop the closing of all others; more is more threads for a caller
/// that closes many at once, who wait for the same thing together.
const MOST: usize = 16;

/// How long all but one wait for more.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// Called on a closer, never on the thread that gave the descriptor away.
pub(crate) type Closed = Box<dyn FnOnce() + Send>;

/// A descriptor, closed when this is dropped.
struct Job {
    fd: Option<OwnedFd>,
    closed: Option<Closed>,
}

impl Drop for Job {
    fn drop(&mut self) {
        drop(self.fd.take());
        CLOSING.fetch_sub(1, Ordering::SeqCst);
        if let Some(closed) = self.closed.take() {
            closed();
        }
    }
}

/// Descriptors that were given away and are not closed yet.
static CLOSING: AtomicUsize = AtomicUsize::new(0);

/// Where they go, while there is a pool. Held for a push.
static INBOX: Mutex<Option<Inbox>> = Mutex::new(None);

pub(crate) struct Inbox {
    jobs: Sender<Job>,
    hired: Arc<AtomicUsize>,
    commands: CommandSender,
}

impl Inbox {
    /// NB: only once the manager's thread is there, which reads it.
    pub(crate) fn open(self) {
        *INBOX.lock() = Some(self);
    }
}

/// Gives a descriptor to the closers; back if there are none.
pub(crate) fn close(fd: OwnedFd, closed: Option<Closed>) -> Result<(), OwnedFd> {
    let inbox = INBOX.lock();
    let Some(inbox) = &*inbox else {
        return Err(fd);
    };
    let closing = CLOSING.fetch_add(1, Ordering::SeqCst) + 1;
    let fd = Some(fd);
    // The manager reads as long as there is a sender.
    let _ = inbox.jobs.send(Job { fd, closed });
    if inbox.hired.load(Ordering::SeqCst) < closing.min(MOST) {
        inbox.commands.send(Command::SpawnCloser);
    }
    Ok(())
}

pub(crate) fn closing() -> usize {
    CLOSING.load(Ordering::Relaxed)
}

/// The closers of a pool, as its manager sees them.
pub(crate) struct Closers {
    jobs: Receiver<Job>,
    hired: Arc<AtomicUsize>,
    commands: CommandSender,
    threads: HashMap<u64, JoinHandle<()>>,
    /// The one that is always there.
    lasting: Option<u64>,
    next_id: u64,
}

impl Closers {
    pub(crate) fn new(commands: &CommandSender) -> (Self, Inbox) {
        let (sender, jobs) = unbounded();
        let hired = Arc::<AtomicUsize>::default();
        let inbox = Inbox {
            jobs: sender,
            hired: hired.clone(),
            commands: commands.clone(),
        };
        let closers = Self {
            jobs,
            hired,
            commands: commands.clone(),
            threads: HashMap::new(),
            lasting: None,
            next_id: 0,
        };
        (closers, inbox)
    }

    /// Starts what is missing; `false` if the system allows no more threads.
    pub(crate) fn hire(&mut self) -> bool {
        while self.hired.load(Ordering::SeqCst) < self.wanted() {
            if self.try_hire().is_err() {
                return false;
            }
        }
        true
    }

    fn wanted(&self) -> usize {
        match self.jobs.is_empty() {
            false => closing().clamp(1, MOST),
            // From the start, because later there may be no more threads to be had.
            true => usize::from(self.lasting.is_none()),
        }
    }

    fn try_hire(&mut self) -> io::Result<()> {
        let id = self.next_id;
        let jobs = self.jobs.clone();
        let hired = self.hired.clone();
        let commands = self.commands.clone();
        let patience = self.lasting.map(|_| SPARE_TIME);
        let body = move || {
            let leaving = Leaving {
                id,
                jobs,
                hired,
                commands,
            };
            close_all(&leaving.jobs, patience);
        };
        let builder = Builder::new().name("nlns-closer".into()).stack_size(STACK);
        self.hired.fetch_add(1, Ordering::SeqCst);
        match builder.spawn(body) {
            Ok(thread) => {
                self.threads.insert(id, thread);
                self.lasting.get_or_insert(id);
                self.next_id += 1;
                Ok(())
            }
            Err(error) => {
                self.hired.fetch_sub(1, Ordering::SeqCst);
                Err(error)
            }
        }
    }

    /// Joins one that has said it ends.
    pub(crate) fn bury(&mut self, id: u64) {
        if let Some(thread) = self.threads.remove(&id) {
            // What it called when something was closed may have panicked; that is no matter of its own.
            let _ = thread.join();
        }
        self.lasting = self.lasting.filter(|lasting| *lasting != id);
    }

    /// Takes no more. Each ends when everything that was given away is closed.
    pub(crate) fn stop(&self) {
        let mut inbox = INBOX.lock();
        if let Some(found) = &*inbox {
            if Arc::ptr_eq(&found.hired, &self.hired) {
                *inbox = None;
            }
        }
    }

    /// Those that have not been joined.
    pub(crate) fn count(&self) -> usize {
        self.threads.len()
    }
}

/// The body of a closer.
fn close_all(jobs: &Receiver<Job>, patience: Option<Duration>) {
    loop {
        let job = match patience {
            None => jobs.recv().map_err(RecvTimeoutError::from),
            Some(patience) => jobs.recv_timeout(patience),
        };
        match job {
            Ok(job) => drop(job),
            Err(_) => break,
        }
    }
}

/// However the thread ends, the manager knows of it.
struct Leaving {
    id: u64,
    jobs: Receiver<Job>,
    hired: Arc<AtomicUsize>,
    commands: CommandSender,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.hired.fetch_sub(1, Ordering::SeqCst);
        // Whoever gave something away meanwhile has counted on this one.
        if !self.jobs.is_empty() {
            self.commands.send(Command::SpawnCloser);
        }
        self.commands.send(Command::JoinCloser(self.id));
    }
}
