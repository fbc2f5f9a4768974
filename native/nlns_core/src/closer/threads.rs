//! The threads of the closers, as the manager sees them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, unbounded};

use crate::control::{Command, CommandSender};
use crate::threads::{self, Thread};

use super::{INBOX, Job, Lane, MAX_THREADS};

/// How long all but the lasting one wait for more.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// The lane that keeps one thread from the start, because later there may be no more to be had. Without
/// one of their own the others use it.
const LASTING: Lane = Lane::Used;

/// The sending side of every lane.
pub(crate) struct Inbox {
    lanes: [(Sender<Job>, Arc<AtomicUsize>); Lane::ALL.len()],
    commands: CommandSender,
}

impl Inbox {
    /// Note: only once the manager's thread is there, which reads it.
    pub(crate) fn open(self) {
        *INBOX.lock() = Some(self);
    }

    pub(super) fn push(&self, job: Job) {
        let (jobs, spawned) = &self.lanes[job.lane as usize];
        let wanted = job.lane.closing().load(Ordering::SeqCst).min(MAX_THREADS);
        // The manager reads as long as there is a sender.
        let _ = jobs.send(job);
        if spawned.load(Ordering::SeqCst) < wanted {
            self.commands.send(Command::SpawnCloser);
        }
    }
}

/// The receiving side of one lane.
#[derive(Clone)]
struct Queue {
    lane: Lane,
    jobs: Receiver<Job>,
    spawned: Arc<AtomicUsize>,
}

/// The closers of a pool.
pub(crate) struct Closers {
    queues: [Queue; Lane::ALL.len()],
    commands: CommandSender,
    threads: HashMap<u64, Thread>,
    /// The one that is always there.
    lasting: Option<u64>,
    next_id: u64,
}

impl Closers {
    pub(crate) fn new(commands: &CommandSender) -> (Self, Inbox) {
        let lanes = Lane::ALL.map(|lane| (lane, unbounded(), Arc::<AtomicUsize>::default()));
        let inbox = Inbox {
            lanes: lanes
                .each_ref()
                .map(|(_, jobs, spawned)| (jobs.0.clone(), spawned.clone())),
            commands: commands.clone(),
        };
        let closers = Self {
            queues: lanes.map(|(lane, (_, jobs), spawned)| Queue {
                lane,
                jobs,
                spawned,
            }),
            commands: commands.clone(),
            threads: HashMap::new(),
            lasting: None,
            next_id: 0,
        };
        (closers, inbox)
    }

    /// Spawns what is missing; returns `false` if the system allows no more threads.
    pub(crate) fn spawn_missing(&mut self) -> bool {
        let queues = self.queues.clone();
        // Not until one fails: each has something to be closed.
        let spawn = |all, queue| self.spawn_for(queue) && all;
        queues.iter().fold(true, spawn)
    }

    fn spawn_for(&mut self, queue: &Queue) -> bool {
        while queue.spawned.load(Ordering::SeqCst) < self.wanted(queue) {
            if self.try_spawn(queue).is_err() {
                if queue.spawned.load(Ordering::SeqCst) == 0 {
                    self.give_to_lasting(queue);
                }
                return false;
            }
        }
        true
    }

    fn wanted(&self, queue: &Queue) -> usize {
        match queue.jobs.is_empty() {
            false => queue
                .lane
                .closing()
                .load(Ordering::SeqCst)
                .clamp(1, MAX_THREADS),
            true => usize::from(queue.lane == LASTING && self.lasting.is_none()),
        }
    }

    fn give_to_lasting(&self, queue: &Queue) {
        let inbox = INBOX.lock();
        let Some(inbox) = inbox.as_ref().filter(|_| self.lasting.is_some()) else {
            return;
        };
        for job in queue.jobs.try_iter() {
            let _ = inbox.lanes[LASTING as usize].0.send(job);
        }
    }

    fn try_spawn(&mut self, queue: &Queue) -> io::Result<()> {
        let id = self.next_id;
        let is_lasting = queue.lane == LASTING && self.lasting.is_none();
        let patience = (!is_lasting).then_some(SPARE_TIME);
        let (of_thread, commands) = (queue.clone(), self.commands.clone());
        let body = move || {
            let guard = ExitGuard {
                queue: of_thread,
                commands,
            };
            close_all(&guard.queue.jobs, patience);
        };
        queue.spawned.fetch_add(1, Ordering::SeqCst);
        let last = Command::JoinCloser(id);
        let thread = threads::spawn("nlns-closer", &self.commands, last, body);
        let thread = thread.inspect_err(|_| _ = queue.spawned.fetch_sub(1, Ordering::SeqCst))?;
        self.threads.insert(id, thread);
        if is_lasting {
            self.lasting = Some(id);
        }
        self.next_id += 1;
        Ok(())
    }

    /// Joins one that has said it ends.
    pub(crate) fn join(&mut self, id: u64) {
        if let Some(thread) = self.threads.remove(&id) {
            // What it called when a socket was closed may have panicked, which is not its own matter.
            let _ = thread.join();
        }
        self.lasting = self.lasting.filter(|lasting| *lasting != id);
    }

    /// Takes no more. Each ends when everything that was given away is closed.
    pub(crate) fn stop(&self) {
        let mut inbox = INBOX.lock();
        let ours = &self.queues[0].spawned;
        if inbox
            .as_ref()
            .is_some_and(|found| Arc::ptr_eq(&found.lanes[0].1, ours))
        {
            *inbox = None;
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
            Ok(job) => {
                job.await_duplicate();
                drop(job);
            }
            Err(_) => break,
        }
    }
}

/// Uncounts a thread that ends, however it ends.
struct ExitGuard {
    queue: Queue,
    commands: CommandSender,
}

impl Drop for ExitGuard {
    fn drop(&mut self) {
        self.queue.spawned.fetch_sub(1, Ordering::SeqCst);
        // A caller that gave something away meanwhile has counted on this one.
        if !self.queue.jobs.is_empty() {
            self.commands.send(Command::SpawnCloser);
        }
    }
}
