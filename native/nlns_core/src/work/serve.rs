//! Serving a path: one look at it, then what waits for it, up to a bound, each request answered once.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Worker;
use crate::counters::Counters;
use crate::error::Error;
use crate::netns::{EnterError, LocationUnknown, Spec};
use crate::path::{Job, Path, Reply, Request, Task};

/// Requests served between two looks at the path. More makes other paths wait longer for their turn
/// (some 5 µs a request), fewer pays for the look more often (2 µs).
const BATCH: usize = 64;

impl Worker<'_> {
    pub(super) fn serve(&mut self, path: Arc<Path>) -> Result<(), LocationUnknown> {
        self.me.begin(self.pool.now());
        let turn = Turn {
            worker: self,
            path: &path,
        };
        turn.take()
    }

    /// Serves what waits for `path`, having proved once that the path leads to where it is served.
    fn serve_batch(&mut self, path: &Arc<Path>) -> Result<(), LocationUnknown> {
        // Counted before the look, so that each request served was made before it.
        let due = path.queued().min(BATCH);
        // Before an answer brings its caller's next request.
        let is_all = due == 1 && !self.is_work();
        let was_home = self.host.is_home(&self.here);
        let reached = match self.reach(path) {
            Ok(()) => Ok(()),
            Err(EnterError::Error(error)) => Err(error),
            // A helper that came from elsewhere leaves the requests to one that comes from home. If
            // that is where this one came from, the next could do no better, and they are answered
            // before it ends.
            Err(EnterError::LocationUnknown) if was_home => Err(Error::DIED),
            Err(EnterError::LocationUnknown) => return Err(LocationUnknown),
        };
        let mut cpu = self.follow.cpu();
        for _ in 0..due {
            match path.pop() {
                Some(Job::Serve(request)) => {
                    cpu = request.cpu;
                    self.serve_request(request, reached)?;
                }
                Some(Job::Release(leave_request)) => {
                    self.pool.crew.send_away(path, &leave_request);
                    // This one's own turn to leave comes before its next batch.
                    break;
                }
                None => break,
            }
        }
        self.follow.served(cpu, is_all);
        match reached {
            Err(Error::DIED) => Err(LocationUnknown),
            _ => Ok(()),
        }
    }

    fn serve_request(
        &mut self,
        request: Request,
        reached: Result<(), Error>,
    ) -> Result<(), LocationUnknown> {
        let Request {
            task,
            process,
            cpu: _,
        } = request;
        // NB: after the path was looked at.
        let is_alive = || process.map_or(Ok(()), |process| process.is_alive());
        match task {
            Task::Open(spec, reply) => self.open(spec, reply, reached, is_alive),
            Task::Exchange(exchange, reply) => self.exchange(*exchange, reply, reached, is_alive),
        }
    }

    fn open(
        &mut self,
        spec: Spec,
        reply: Box<dyn Reply>,
        reached: Result<(), Error>,
        is_alive: impl FnOnce() -> Result<(), Error>,
    ) -> Result<(), LocationUnknown> {
        let counters = &self.pool.counters;
        let reply = PendingReply::new(reply, counters);
        if !reply.is_wanted() {
            return Ok(());
        }
        let reached = reached.and_then(|()| is_alive());
        let opened = match reached.map(|()| self.here.socket(spec)) {
            Ok(Ok(fd)) => Ok(fd),
            Ok(Err(EnterError::Error(error))) | Err(error) => Err(error),
            // Dropping the reply answers it.
            Ok(Err(EnterError::LocationUnknown)) => return Err(LocationUnknown),
        };
        match &opened {
            Ok(_) => {
                self.me.served.fetch_add(1, Ordering::Relaxed);
                counters.opened.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => counters.count(*error),
        }
        reply.answer(opened);
        Ok(())
    }
}

/// A helper's right to serve a path, given on when it ends, however it ends.
struct Turn<'w, 'a, 'p> {
    worker: &'w mut Worker<'a>,
    path: &'p Arc<Path>,
}

impl Turn<'_, '_, '_> {
    fn take(self) -> Result<(), LocationUnknown> {
        self.worker.serve_batch(self.path)
    }
}

impl Drop for Turn<'_, '_, '_> {
    fn drop(&mut self) {
        let worker = &self.worker;
        if worker.me.end() {
            worker.pool.crew.count();
        }
        self.worker.last_served = self.worker.pool.now();
        let worker = &self.worker;
        if self.path.unschedule() {
            worker.pool.registry.forget_later(self.path);
        } else {
            // At the end of the line; this helper looks at it again before it sleeps, and if it
            // does not live to, the manager sees to it.
            worker.pool.make_ready(self.path.clone());
        }
    }
}

/// A request that is being served: if the helper panics, or finds itself in doubt, this is its answer.
pub(super) struct PendingReply<'a, T, R: Reply<T> + ?Sized = dyn Reply<T>> {
    reply: Option<Box<R>>,
    counters: &'a Counters,
    answers: PhantomData<fn(T)>,
}

impl<'a, T, R: Reply<T> + ?Sized> PendingReply<'a, T, R> {
    pub(super) fn new(reply: Box<R>, counters: &'a Counters) -> Self {
        Self {
            reply: Some(reply),
            counters,
            answers: PhantomData,
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| reply.is_wanted())
    }

    /// There until it is answered.
    pub(super) fn reply(&mut self) -> Option<&mut R> {
        self.reply.as_deref_mut()
    }

    pub(super) fn answer(mut self, result: Result<T, Error>) {
        if let Some(reply) = self.reply.take() {
            reply.answer(result);
        }
    }
}

impl<T, R: Reply<T> + ?Sized> Drop for PendingReply<'_, T, R> {
    fn drop(&mut self) {
        if let Some(reply) = self.reply.take() {
            self.counters.answer(reply, Error::DIED);
        }
    }
}
