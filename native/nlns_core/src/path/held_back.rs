//! Jobs of a path that wait until sockets of their kind are closed; see [`crate::closer`].

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

use crate::request::Job;

/// First in, first out. It is changed only by the thread that has the path, or that drains it.
#[derive(Default)]
pub(super) struct HeldBack {
    jobs: Mutex<VecDeque<Job>>,
    /// For threads that look in passing, which is nearly all of them.
    len: AtomicUsize,
}

impl HeldBack {
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::SeqCst)
    }

    /// Returns whether the first of them may be served now.
    pub(super) fn is_due(&self, netns: Option<u64>) -> bool {
        let jobs = self.jobs.lock();
        jobs.front().is_some_and(|job| job.has_room(netns))
    }

    /// Takes the first, if it may be served now.
    pub(super) fn pop_due(&self, netns: Option<u64>) -> Option<Job> {
        self.pop_if(|job| job.has_room(netns))
    }

    /// Takes the first.
    pub(super) fn pop(&self) -> Option<Job> {
        self.pop_if(|_| true)
    }

    fn pop_if(&self, is_due: impl FnOnce(&Job) -> bool) -> Option<Job> {
        if self.len() == 0 {
            return None;
        }
        let mut jobs = self.jobs.lock();
        let job = jobs.pop_front()?;
        if !is_due(&job) {
            jobs.push_front(job);
            return None;
        }
        self.len.store(jobs.len(), Ordering::SeqCst);
        Some(job)
    }

    /// Gives a job back that may be served now, and keeps others: those that find no room, and those whose
    /// turn is after such a one. Of the jobs that need no room these are the same caller's.
    pub(super) fn admit(&self, job: Job, netns: Option<u64>) -> Option<Job> {
        if self.len() == 0 && job.has_room(netns) {
            return Some(job);
        }
        let mut jobs = self.jobs.lock();
        let is_after_one = match job.caller() {
            Some(caller) if !job.needs_room() => {
                jobs.iter().any(|held| held.caller() == Some(caller))
            }
            _ => !jobs.is_empty(),
        };
        if !is_after_one && job.has_room(netns) {
            return Some(job);
        }
        jobs.push_back(job);
        self.len.store(jobs.len(), Ordering::SeqCst);
        None
    }

    #[cfg(test)]
    pub(super) fn add(&self, job: Job) {
        let mut jobs = self.jobs.lock();
        jobs.push_back(job);
        self.len.store(jobs.len(), Ordering::SeqCst);
    }
}
