//! What waits in a lane, so that one namespace leaves threads to the others.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::{Job, Sharer};

/// The jobs of a lane.
pub(super) struct Jobs {
    /// How many threads may close sockets of one namespace at the same time.
    share: usize,
    state: Mutex<State>,
    /// There is a job to be taken, or there will be no more.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Those for which there may be a thread now.
    due: VecDeque<Job>,
    taken: usize,
    /// Those that have a job.
    namespaces: HashMap<Sharer, Namespace>,
    is_closed: bool,
}

#[derive(Default)]
struct Namespace {
    /// Due or taken, up to a share.
    used: usize,
    /// The others, each of which follows one of those.
    waiting: VecDeque<Job>,
}

impl Jobs {
    pub(super) fn new(share: usize) -> Self {
        Self {
            share,
            state: Mutex::default(),
            changed: Condvar::new(),
        }
    }

    pub(super) fn push(&self, job: Job) {
        let mut state = self.state.lock();
        if let Some(sharer) = job.sharer() {
            let namespace = state.namespaces.entry(sharer).or_default();
            if namespace.used == self.share {
                namespace.waiting.push_back(job);
                return;
            }
            namespace.used += 1;
        }
        state.due.push_back(job);
        drop(state);
        self.changed.notify_one();
    }

    /// Takes the next job. Waits for one for so long, or for ever; `None` also when there will be no more.
    pub(super) fn take(&self, patience: Option<Duration>) -> Option<Taken<'_>> {
        let mut state = self.state.lock();
        let is_idle = |state: &mut State| state.due.is_empty() && !state.is_closed;
        match patience {
            None => self.changed.wait_while(&mut state, is_idle),
            Some(patience) => _ = self.changed.wait_while_for(&mut state, is_idle, patience),
        }
        let job = state.due.pop_front()?;
        state.taken += 1;
        let sharer = job.sharer();
        Some(Taken {
            jobs: self,
            sharer,
            job: Some(job),
        })
    }

    /// A job of this namespace is no more, so the next may be taken.
    fn follow(&self, state: &mut State, sharer: Option<Sharer>) {
        let Some((sharer, namespace)) =
            sharer.and_then(|sharer| Some((sharer, state.namespaces.get_mut(&sharer)?)))
        else {
            return;
        };
        if let Some(next) = namespace.waiting.pop_front() {
            state.due.push_back(next);
            self.changed.notify_one();
            return;
        }
        namespace.used -= 1;
        if namespace.used == 0 {
            state.namespaces.remove(&sharer);
        }
    }

    /// Gives all to another lane. Only where no thread takes any.
    pub(super) fn move_to(&self, other: &Self) {
        loop {
            let mut state = self.state.lock();
            let Some(job) = state.due.pop_front() else {
                return;
            };
            self.follow(&mut state, job.sharer());
            drop(state);
            other.push(job);
        }
    }

    /// From now on a thread that finds none ends. What waits follows a job that another thread has.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.changed.notify_all();
    }

    /// How many threads could close now, together.
    pub(super) fn wanted(&self) -> usize {
        let state = self.state.lock();
        state.taken + state.due.len()
    }

    /// Whether none is to be taken.
    pub(super) fn is_empty(&self) -> bool {
        self.state.lock().due.is_empty()
    }

    /// Whether a socket of this namespace is being closed, or waits for that.
    pub(super) fn has(&self, sharer: Sharer) -> bool {
        self.state.lock().namespaces.contains_key(&sharer)
    }
}

/// A job in a thread's hands. Whatever becomes of it, the next of its namespace follows.
pub(super) struct Taken<'a> {
    jobs: &'a Jobs,
    sharer: Option<Sharer>,
    job: Option<Job>,
}

impl Taken<'_> {
    pub(super) fn has_duplicate(&self) -> bool {
        self.job.as_ref().is_some_and(|job| job.duplicate.is_some())
    }

    pub(super) fn is_due(&mut self, passed: Duration) -> bool {
        self.job.as_mut().is_none_or(|job| job.is_due(passed))
    }

    pub(super) fn close(mut self) {
        drop(self.job.take());
    }

    /// Gives it to its own lane. It is closed here if the pool has been stopped.
    pub(super) fn pass_on(mut self) {
        if let Some(job) = self.job.take() {
            drop(super::close(job));
        }
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.jobs.state.lock();
        state.taken -= 1;
        self.jobs.follow(&mut state, self.sharer);
    }
}

#[cfg(test)]
mod tests {
    use super::super::Lane;
    use super::*;

    fn job(netns: Option<u64>) -> Job {
        let fd = std::fs::File::open("/dev/null").unwrap();
        let mut job = Job::new(fd.into(), Lane::Lock);
        job.netns = netns;
        job
    }

    fn of(netns: u64) -> Sharer {
        (Lane::Lock, netns)
    }

    fn take(jobs: &Jobs) -> Option<Taken<'_>> {
        jobs.take(Some(Duration::ZERO))
    }

    #[test]
    fn namespace_has_no_more_than_its_share() {
        let jobs = Jobs::new(2);
        for netns in [1, 1, 1, 1, 2] {
            jobs.push(job(Some(netns)));
        }
        assert_eq!(jobs.wanted(), 3);
        let taken: Vec<_> = std::iter::from_fn(|| take(&jobs)).collect();
        assert_eq!(
            taken.iter().map(|taken| taken.sharer).collect::<Vec<_>>(),
            [Some(of(1)), Some(of(1)), Some(of(2))]
        );
        assert!(jobs.is_empty() && jobs.has(of(1)) && jobs.has(of(2)) && !jobs.has(of(3)));
        assert!(!jobs.has((Lane::Used, 1)));
        drop(taken);
        // One follows each.
        let taken: Vec<_> = std::iter::from_fn(|| take(&jobs)).collect();
        assert_eq!(taken.len(), 2);
        assert!(!jobs.has(of(2)));
        drop(taken);
        assert!(take(&jobs).is_none());
        assert!(!jobs.has(of(1)) && jobs.wanted() == 0);
    }

    #[test]
    fn namespace_that_is_not_known_has_no_share() {
        let jobs = Jobs::new(2);
        (0..5).for_each(|_| jobs.push(job(None)));
        assert_eq!(std::iter::from_fn(|| take(&jobs)).count(), 5);
    }

    #[test]
    fn all_jobs_move_to_another_lane() {
        let (from, to) = (Jobs::new(1), Jobs::new(9));
        (0..5).for_each(|_| from.push(job(Some(1))));
        from.move_to(&to);
        assert!(from.is_empty() && !from.has(of(1)) && to.has(of(1)));
        assert_eq!(std::iter::from_fn(|| take(&to)).count(), 5);
    }

    #[test]
    fn closed_queue_gives_what_it_has() {
        let jobs = Jobs::new(1);
        (0..2).for_each(|_| jobs.push(job(Some(1))));
        jobs.close();
        jobs.take(None).unwrap().close();
        jobs.take(None).unwrap().close();
        assert!(jobs.take(None).is_none());
    }
}
