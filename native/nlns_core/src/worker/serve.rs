//! Serving a path: one look at it, then what waits for it, up to a bound. Each request is answered once.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Worker;
use crate::error::{Error, Stage};
use crate::events::LeaveReason;
use crate::features::{self, Feature};
use crate::netns::{EnterError, LocationUnknown, Spec};
use crate::path::{Due, Pace, Path};
use crate::ready::Ticket;
use crate::reply::Reply;
use crate::request::{Job, Request, Task};
use crate::stats::Stats;
use crate::turn::TurnKind;

/// Requests served between two looks at the path, and as many that were held back. More makes other paths wait
/// longer for their turn (some 5 µs a request), fewer pays for the look more often (2 µs).
const BATCH: usize = 64;

/// A look or a request that takes longer makes its path a slow one. Less, and more turns that lost their
/// processor look slow; more, and a few paths that are slower hold up all that are not.
const SLOW: Duration = Duration::from_millis(1);

impl Worker<'_> {
    pub(super) fn serve(&mut self, ticket: Ticket<'_>) -> Result<(), LocationUnknown> {
        self.me.turn.begin(match ticket.pace {
            Pace::Proven => TurnKind::Proven,
            Pace::Unproven => TurnKind::Unproven,
            Pace::SlowUnproven => TurnKind::SlowUnproven,
            Pace::Slow => TurnKind::Slow,
        });
        if ticket.pace.is_slow() {
            // It waits for the kernel rather than works, so another helper takes what comes meanwhile.
            self.shared.idle().uncount();
            if self.shared.ready().has_work() {
                self.shared.wake_one(None);
            }
        }
        let mut turn = ServingGuard {
            began: self.shared.now(),
            worker: self,
            ticket,
            pace: Pace::Unproven,
        };
        turn.serve()
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
        // Note: after the path was looked at.
        let ended = |errno| Error::new(Stage::Open, errno);
        let is_alive = || process.map_or(Ok(()), |process| process.is_alive().map_err(ended));
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
        let stats = self.shared.stats();
        let reply = PendingReply::new(reply, stats);
        if !reply.is_wanted() {
            return Ok(());
        }
        let reached = reached.and_then(|()| is_alive());
        let opened = match reached.map(|()| self.host.socket(&mut self.here, spec)) {
            Ok(Ok(fd)) => Ok(fd),
            Ok(Err(EnterError::Error(error))) | Err(error) => Err(error),
            // Dropping the reply answers it.
            Ok(Err(EnterError::LocationUnknown)) => return Err(LocationUnknown),
        };
        match &opened {
            Ok(_) => {
                self.me.served.fetch_add(1, Ordering::Relaxed);
                stats.opened.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => stats.count(*error),
        }
        reply.answer(opened);
        Ok(())
    }
}

/// A turn of a helper. However it ends, the claim to serve the path is passed on.
struct ServingGuard<'w, 'a, 't> {
    worker: &'w mut Worker<'a>,
    ticket: Ticket<'t>,
    began: Duration,
    /// What the turn has shown of the path.
    pace: Pace,
}

impl ServingGuard<'_, '_, '_> {
    /// Serves what waits for the path, having proved once that the path leads to where it is served.
    fn serve(&mut self) -> Result<(), LocationUnknown> {
        let path = &self.ticket.path.clone();
        let worker = &mut *self.worker;
        // Counted before the look, so that each request served was made before it.
        let mut due = path.due(BATCH);
        let count = due.count();
        // Before an answer brings its caller's next request.
        let is_all = count == 1 && !worker.is_work();
        let was_home = worker.host.is_home(&worker.here);
        let reached = match worker.reach(path) {
            Ok(()) => Ok(()),
            Err(EnterError::Error(error)) => Err(error),
            // A helper that came from elsewhere leaves the requests to one that comes from home. If
            // that is where this one came from, the next could do no better, and they are answered
            // before it ends.
            Err(EnterError::LocationUnknown) if was_home => Err(Error::DIED),
            Err(EnterError::LocationUnknown) => return Err(LocationUnknown),
        };
        if !worker.me.turn.serve() {
            // Another helper serves the path since, and the registry may know the path no more: nobody would
            // find this one by it.
            worker.leave(LeaveReason::Relieved)?;
        } else {
            let looked = worker.shared.now().saturating_sub(self.began);
            path.set_cookie(reached.ok().and_then(|()| worker.here.cookie()));
            let cpu = worker.serve_jobs(path, &mut due, reached)?;
            if reached.is_ok() && path.held_back() > 0 {
                path.set_cookie(worker.learn_cookie()?);
            }
            worker.binding.note_turn(cpu, is_all);
            let served = worker.shared.now().saturating_sub(self.began + looked);
            let is_slow = looked >= SLOW || served >= SLOW * count.max(1) as u32;
            self.pace = match (reached, is_slow) {
                (Ok(()), false) => Pace::Proven,
                (Ok(()), true) => Pace::Slow,
                (Err(_), false) => Pace::Unproven,
                (Err(_), true) => Pace::SlowUnproven,
            };
        }
        match reached {
            Err(Error::DIED) => Err(LocationUnknown),
            _ => Ok(()),
        }
    }
}

impl Worker<'_> {
    /// Serves the jobs that are due, and returns the processor that the last caller was on.
    fn serve_jobs(
        &mut self,
        path: &Arc<Path>,
        due: &mut Due,
        reached: Result<(), Error>,
    ) -> Result<usize, LocationUnknown> {
        let mut cpu = self.binding.cpu();
        // What fails opens nothing, so there is room for it.
        let pop = |due: &mut Due| match reached {
            Ok(()) => path.pop_due(due),
            Err(_) => path.pop_any(due),
        };
        while let Some(job) = pop(due) {
            match job {
                Job::Serve(request) => {
                    cpu = request.cpu;
                    self.serve_request(request, reached)?;
                }
                Job::Release(leave_request) => {
                    self.shared.leave_all(path, &leave_request);
                    // This one's own turn to leave comes before its next batch.
                    break;
                }
            }
        }
        Ok(cpu)
    }

    /// Returns the cookie of the namespace where this thread is, where sockets have one. Before Linux 6.18 it takes
    /// a socket to learn it.
    fn learn_cookie(&mut self) -> Result<Option<u64>, LocationUnknown> {
        if self.here.cookie().is_none() && features::get().has(Feature::NetnsCookie) {
            let socket = self.host.socket(&mut self.here, Spec::netlink(0));
            if matches!(socket, Err(EnterError::LocationUnknown)) {
                return Err(LocationUnknown);
            }
        }
        Ok(self.here.cookie())
    }
}

impl Drop for ServingGuard<'_, '_, '_> {
    fn drop(&mut self) {
        let worker = &mut *self.worker;
        worker.last_served = worker.shared.now();
        let path = &self.ticket.path;
        if !self.ticket.pace.is_slow() {
            let time = worker.last_served.saturating_sub(self.began);
            worker.shared.ready().note_turn_time(time);
        }
        if worker.end_turn() {
            return;
        }
        path.set_pace(self.pace);
        if worker.shared.held_back().add(path) {
            worker.shared.request_ticks();
        }
        if path.unschedule() {
            worker.shared.forget_later(path);
        } else {
            // At the end of its lane. This helper looks at it again before it sleeps, and if it does not
            // live to, the manager sees to it.
            worker.shared.ready().push(path.clone());
        }
    }
}

/// A request that is being served: if the helper panics, or does not know where it is, this answers it. A panic
/// of the reply itself, as it delivers the answer, loses it.
pub(super) struct PendingReply<'a, T, R: Reply<T> + ?Sized = dyn Reply<T>> {
    reply: Option<Box<R>>,
    stats: &'a Stats,
    answers: PhantomData<fn(T)>,
}

impl<'a, T, R: Reply<T> + ?Sized> PendingReply<'a, T, R> {
    pub(super) fn new(reply: Box<R>, stats: &'a Stats) -> Self {
        Self {
            reply: Some(reply),
            stats,
            answers: PhantomData,
        }
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.reply.as_ref().is_some_and(|reply| reply.is_wanted())
    }

    /// Returns the reply, which is there until it is answered.
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
            self.stats.refuse(reply, Error::DIED);
        }
    }
}
