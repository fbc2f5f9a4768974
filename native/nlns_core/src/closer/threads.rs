//! The threads of the closers, as the manager sees them.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::control::{Command, CommandSender};
use crate::threads::{self, Thread};

use super::jobs::{Jobs, Taken};
use super::{INBOX, Job, Lane};

/// How long all but the lasting one wait for more.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// The lane that keeps one thread from the start, because later there may be no more to be had. Without
/// one of their own the others use it.
const LASTING: Lane = Lane::Used;

/// The shortest and the longest time from one look at all duplicates to the next. An owner that has died closes its
/// own within microseconds; those that stay open longer have a new owner.
const FIRST_LOOK: Duration = Duration::from_micros(100);
const LAST_LOOK: Duration = Duration::from_millis(10);

/// The sending side of every lane.
pub(crate) struct Inbox {
    queues: [Queue; Lane::ALL.len()],
    commands: CommandSender,
}

impl Inbox {
    /// Note: only once the manager's thread is there, which reads it.
    pub(crate) fn open(self) {
        *INBOX.lock() = Some(self);
    }

    pub(super) fn push(&self, job: Job) {
        let queue = &self.queues[job.queue() as usize];
        queue.jobs.push(job);
        let wanted = queue.jobs.wanted().min(queue.lane.max_threads());
        if queue.spawned.load(Ordering::SeqCst) < wanted {
            self.commands.send(Command::SpawnCloser);
        }
    }

    pub(super) fn waiting_for_duplicates(&self) -> usize {
        self.queues[Lane::Duplicate as usize].jobs.wanted()
    }

    /// Whether a socket of this namespace is being closed in this lane, or on its way there, or by the lasting
    /// thread in its stead.
    pub(super) fn closes(&self, lane: Lane, netns: u64) -> bool {
        let queues = [lane, Lane::Duplicate, LASTING];
        queues
            .iter()
            .any(|queue| self.queues[*queue as usize].jobs.has((lane, netns)))
    }
}

/// What a lane has.
#[derive(Clone)]
struct Queue {
    lane: Lane,
    jobs: Arc<Jobs>,
    /// Threads.
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
        let queues = Lane::ALL.map(|lane| Queue {
            lane,
            jobs: Arc::new(Jobs::new(lane.share())),
            spawned: Arc::default(),
        });
        let inbox = Inbox {
            queues: queues.clone(),
            commands: commands.clone(),
        };
        let closers = Self {
            queues,
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
            false => queue.jobs.wanted().clamp(1, queue.lane.max_threads()),
            true => usize::from(queue.lane == LASTING && self.lasting.is_none()),
        }
    }

    fn give_to_lasting(&self, queue: &Queue) {
        if self.lasting.is_some() && queue.lane != LASTING {
            queue.jobs.move_to(&self.queues[LASTING as usize].jobs);
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
        let is_ours = |found: &Inbox| Arc::ptr_eq(&found.queues[0].jobs, &self.queues[0].jobs);
        if inbox.as_ref().is_some_and(is_ours) {
            *inbox = None;
        }
        drop(inbox);
        self.queues.iter().for_each(|queue| queue.jobs.close());
    }

    /// Those that have not been joined.
    pub(crate) fn count(&self) -> usize {
        self.threads.len()
    }
}

/// The body of a closer.
fn close_all(jobs: &Jobs, patience: Option<Duration>) {
    let mut waiting = Waiting::default();
    loop {
        match jobs.take(waiting.rest().or(patience)) {
            Some(taken) if taken.has_duplicate() => waiting.add(taken),
            Some(taken) => taken.close(),
            None => match waiting.rest() {
                // Time is left only where no more will come.
                Some(rest) => std::thread::sleep(rest),
                None => break,
            },
        }
        waiting.look();
    }
}

/// Those that wait for their duplicates.
#[derive(Default)]
struct Waiting<'a> {
    jobs: Vec<Taken<'a>>,
    /// The time before the next look, and when that is.
    next_look: Option<(Duration, Instant)>,
    /// When the last one began.
    last_look: Option<Instant>,
    /// The shortest time between two. With many to look at, no more than a fifth of a processor is for that.
    least_pause: Duration,
}

impl<'a> Waiting<'a> {
    /// How long there is nothing to do; `None` if nothing waits.
    fn rest(&self) -> Option<Duration> {
        let (_, at) = self.next_look?;
        Some(at.saturating_duration_since(Instant::now()))
    }

    fn add(&mut self, job: Taken<'a>) {
        self.jobs.push(job);
        let pause = FIRST_LOOK.max(self.least_pause);
        let first = Instant::now() + pause;
        let at = self.next_look.map_or(first, |(_, at)| at.min(first));
        self.next_look = Some((pause, at));
    }

    /// Gives those that are due to their lanes, if it is time for a look.
    fn look(&mut self) {
        let begun = Instant::now();
        let Some((pause, _)) = self.next_look.filter(|(_, at)| *at <= begun) else {
            return;
        };
        // No more than there is between two looks: the process may have stood still.
        let last = self.last_look.replace(begun).unwrap_or(begun);
        let passed = (begun - last).min(LAST_LOOK);
        let mut index = 0;
        while let Some(job) = self.jobs.get_mut(index) {
            if job.is_due(passed) {
                self.jobs.swap_remove(index).pass_on();
            } else {
                index += 1;
            }
        }
        let end = Instant::now();
        self.least_pause = 4 * (end - begun);
        let pause = (2 * pause).min(LAST_LOOK).max(self.least_pause);
        self.next_look = (!self.jobs.is_empty()).then_some((pause, end + pause));
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

#[cfg(test)]
mod tests {
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn time_in_which_the_process_stood_still_does_not_count() {
        let duplicate = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        let mut job = Job::new(duplicate.try_clone().unwrap().into(), Lane::Used);
        job.set_duplicate(duplicate.as_raw_fd());
        let jobs = Jobs::new(1);
        jobs.push(job);
        let mut waiting = Waiting {
            last_look: Instant::now().checked_sub(Duration::from_secs(10)),
            ..Waiting::default()
        };
        waiting.add(jobs.take(None).unwrap());
        std::thread::sleep(waiting.rest().unwrap());
        waiting.look();
        assert_eq!(waiting.jobs.len(), 1);
        drop(duplicate);
        std::thread::sleep(waiting.rest().unwrap());
        waiting.look();
        assert!(waiting.rest().is_none());
    }
}
