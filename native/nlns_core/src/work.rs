//! What a helper thread does: take a ready path, get there, prove it, serve, sleep.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_utils::sync::Parker;
use rustix::thread::sched_getcpu;

use crate::crew::Bed;
use crate::error::Error;
use crate::helper::{Helper, Place};
use crate::keeper::Order;
use crate::netns::{Host, InDoubt, Netns, Refusal};
use crate::path::{Job, Path, Reply, Request};
use crate::pool::Pool;
use crate::socket::Socket;

/// Requests served between two looks at the path. More makes other paths wait longer for their turn
/// (some 5 µs a request), fewer pays for the look more often (2 µs).
const BATCH: usize = 64;

/// How long a helper that has nothing to do waits before it settles where it is: has the place watched and
/// leaves other paths to other helpers. Shorter and a caller that goes round many namespaces wakes, or
/// starts, a thread for each; longer and a name that is deleted meanwhile is held for longer.
const NAP: Duration = Duration::from_millis(1);

/// How long a helper that is in no namespace waits for work before its thread ends. Shorter makes
/// threads anew for work that comes every second, longer keeps memory for nothing.
const SPARE_TIME: Duration = Duration::from_secs(1);

/// One helper thread.
pub(crate) struct Worker<'a> {
    pool: &'a Pool,
    host: &'a Host,
    me: &'a Arc<Helper>,
    parker: Parker,
    /// Where this thread is, whatever path led there.
    here: Netns,
    /// When it last served, in time since the pool's start; lingering is counted from then, whatever
    /// woke it since.
    last_served: Duration,
    /// The processor that the last caller was on.
    caller_cpu: usize,
}

/// The body of a helper thread, which was counted as awake when it was ordered.
pub(crate) fn run(pool: &Pool, host: &Host, me: &Arc<Helper>, parker: Parker) {
    let _leaving = Leaving { pool, me };
    let mut worker = Worker {
        pool,
        host,
        me,
        parker,
        here: host.netns(),
        last_served: pool.now(),
        caller_cpu: usize::MAX,
    };
    // In doubt about where it is, or done: in both cases the thread ends, and with it its hold on
    // whatever namespace it may be in.
    let _ = worker.work();
}

/// Whatever ends the thread, a panic too, the crew knows of it.
struct Leaving<'a> {
    pool: &'a Pool,
    me: &'a Arc<Helper>,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        if !self.me.end() {
            self.pool.crew.discount();
        }
        self.pool.keeper.order(Order::Bury(self.me.id));
    }
}

enum Rest {
    Over,
    Retired,
}

impl Worker<'_> {
    fn work(&mut self) -> Result<(), InDoubt> {
        while !self.pool.is_stopping() {
            if self.me.is_asked() && (self.me.must_leave() || self.is_astray()) {
                self.leave()?;
            }
            match self.pool.next_ready() {
                Some(path) => self.serve(path)?,
                None if self.may_spin() && self.pool.spin.wait(|| self.is_work()) => {}
                None if self.naps() => {}
                None => match self.rest()? {
                    Rest::Over => {}
                    Rest::Retired => break,
                },
            }
        }
        Ok(())
    }

    fn serve(&mut self, path: Arc<Path>) -> Result<(), InDoubt> {
        self.me.begin(self.pool.now());
        let turn = Turn {
            worker: self,
            path: &path,
        };
        turn.take()
    }

    /// Serves what waits for `path`, having proved once that the path leads to where it is served.
    fn serve_batch(&mut self, path: &Arc<Path>) -> Result<(), InDoubt> {
        // Counted before the look, so that each request served was made before it.
        let due = path.queued().min(BATCH);
        let was_home = self.host.is_home(&self.here);
        let reached = match self.reach(path) {
            Ok(()) => Ok(()),
            Err(Refusal::Error(error)) => Err(error),
            // A helper that came from elsewhere leaves the requests to one that comes from home. If
            // that is where this one came from, the next could do no better.
            Err(Refusal::InDoubt) if was_home => Err(Error::DIED),
            Err(Refusal::InDoubt) => return Err(InDoubt),
        };
        for _ in 0..due {
            match path.pop() {
                Some(Job::Open(request)) => self.open(request, reached)?,
                Some(Job::Release(departure)) => {
                    for helper in self.pool.crew.helpers() {
                        if helper.ask_to_leave(path, departure.clone()) {
                            self.pool.crew.rouse(&helper);
                        }
                    }
                    // This one's own turn to leave comes before its next batch.
                    break;
                }
                None => break,
            }
        }
        // They are answered; wherever this thread is now, it ends.
        if reached == Err(Error::DIED) {
            return Err(InDoubt);
        }
        Ok(())
    }

    fn open(&mut self, request: Request, reached: Result<(), Error>) -> Result<(), InDoubt> {
        let Request {
            spec,
            process,
            reply,
            cpu,
        } = request;
        self.caller_cpu = cpu;
        let reply = InHand::new(reply);
        let counters = &self.pool.counters;
        if !reply.is_wanted() {
            counters.cancelled.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        // NB: after the path was looked at.
        let reached = reached.and_then(|()| process.map_or(Ok(()), |process| process.is_alive()));
        let opened = match reached.map(|()| self.here.socket(spec)) {
            Ok(Ok(fd)) => Ok(fd),
            Ok(Err(Refusal::Error(error))) | Err(error) => Err(error),
            // Dropping the reply answers it.
            Ok(Err(Refusal::InDoubt)) => return Err(InDoubt),
        };
        let counter = if opened.is_ok() {
            self.me.served.fetch_add(1, Ordering::Relaxed);
            &counters.opened
        } else {
            &counters.failed
        };
        counter.fetch_add(1, Ordering::Relaxed);
        reply.answer(opened);
        Ok(())
    }

    /// Gets this thread into the namespace that `path` names now.
    fn reach(&mut self, path: &Arc<Path>) -> Result<(), Refusal> {
        let is_here = self.me.with_place(|place| Arc::ptr_eq(&place.path, path)) == Some(true);
        if is_here && self.here.is_named_by(path.name()) {
            return Ok(());
        }
        let before = self.here;
        let entered = self.host.enter(path.name(), &mut self.here);
        match &entered {
            Ok(()) => {
                self.pool.counters.entered.fetch_add(1, Ordering::Relaxed);
                self.move_to(Some(Place::new(path.clone())));
            }
            // It went home for a second look and got no further.
            Err(_) if !self.here.is(&before) => self.move_to(None),
            // The path does not lead here any more, and nothing else may keep this namespace alive.
            Err(Refusal::Error(_)) if is_here => {
                self.leave().map_err(|InDoubt| Refusal::InDoubt)?;
            }
            Err(_) => {}
        }
        entered
    }

    fn leave(&mut self) -> Result<(), InDoubt> {
        if let Some(path) = self.me.path() {
            self.here = self.host.return_to()?;
            self.move_to(None);
            self.pool.registry.forget_if_unused(&path);
        }
        Ok(())
    }

    /// NB: after the thread has moved, never before.
    fn move_to(&self, place: Option<Place>) {
        if let Some(left) = self.me.set_place(place) {
            self.pool.registry.forget_later(&left.path);
        }
    }

    /// A helper on its caller's processor would only keep it from using the answer.
    fn may_spin(&self) -> bool {
        self.caller_cpu != sched_getcpu()
    }

    fn is_work(&self) -> bool {
        !self.pool.ready.1.is_empty() || self.me.is_asked() || self.pool.is_stopping()
    }

    /// Whether its path leads elsewhere, or nowhere, by now.
    fn is_astray(&self) -> bool {
        let path = self.me.path();
        path.is_some_and(|path| !self.here.is_named_by(path.name()))
    }

    /// Sleeps until there is something to do: where it is for as long as it may linger, then at home.
    fn rest(&mut self) -> Result<Rest, InDoubt> {
        let linger = self.pool.config.linger;
        if let Some(path) = self.me.path()
            && (linger == Some(Duration::ZERO)
                || self.pool.crew.has_sleeper_in(&path)
                || !self.is_watched(&path))
        {
            self.leave()?;
        }
        self.pool.registry.sweep();
        let mut is_last = false;
        loop {
            let pinned = self.me.path().is_some();
            let (bed, limit) = match pinned {
                true => (Bed::Pinned, linger),
                // One always waits, for the next first touch of a namespace.
                false if is_last => (Bed::Parked, None),
                false => (Bed::Parked, Some(SPARE_TIME)),
            };
            if self.sleep(bed, limit) {
                return Ok(Rest::Over);
            }
            if pinned {
                self.leave()?;
                self.last_served = self.pool.now();
            } else if self.pool.crew.has_spare() {
                return Ok(Rest::Retired);
            } else {
                is_last = true;
            }
        }
    }

    /// Has `path` watched, where that can be done; `false` if it has gone before it was.
    fn is_watched(&self, path: &Arc<Path>) -> bool {
        if self.me.with_place(|place| place.watch.is_some()) == Some(true) {
            return true;
        }
        let watcher = self.pool.watcher.get();
        // What cannot be watched may have gone already, a process for example.
        if let Some(Ok(watch)) = watcher.map(|watcher| watcher.watch(path.name(), self.me)) {
            self.me.set_watch(watch);
        }
        !self.is_astray()
    }

    /// Sleeps for a moment where it is, before it goes to the expense of settling there.
    fn naps(&self) -> bool {
        let limit = self.pool.config.linger.unwrap_or(NAP).min(NAP);
        let called = self.sleep(Bed::Nap, Some(limit));
        if called {
            let idle = self.me.called_at().saturating_sub(self.last_served);
            self.pool.spin.called_after(idle);
        }
        called
    }

    /// `true` if it was called or has found work, `false` when it has been idle for `limit`; awake
    /// again in both cases.
    fn sleep(&self, bed: Bed, limit: Option<Duration>) -> bool {
        let crew = &self.pool.crew;
        if !crew.lie_down(self.me, bed, || self.is_work()) {
            return true;
        }
        let deadline = limit.map(|limit| self.last_served.saturating_add(limit));
        while !self.me.was_called() {
            match deadline {
                None => self.parker.park(),
                Some(deadline) => {
                    self.parker
                        .park_timeout(deadline.saturating_sub(self.pool.now()));
                    if self.pool.now() >= deadline && crew.get_up(self.me) {
                        return false;
                    }
                }
            }
        }
        true
    }
}

/// A helper's right to serve a path, given on when it ends, however it ends.
struct Turn<'w, 'a, 'p> {
    worker: &'w mut Worker<'a>,
    path: &'p Arc<Path>,
}

impl Turn<'_, '_, '_> {
    fn take(self) -> Result<(), InDoubt> {
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
            // does not live to, the keeper sees to it.
            worker.pool.make_ready(self.path.clone());
        }
    }
}

/// A request that is being served: if the helper panics, or finds itself in doubt, this is its answer.
struct InHand(Option<Box<dyn Reply>>);

impl InHand {
    fn new(reply: Box<dyn Reply>) -> Self {
        Self(Some(reply))
    }

    fn is_wanted(&self) -> bool {
        self.0.as_ref().is_some_and(|reply| reply.is_wanted())
    }

    fn answer(mut self, result: Result<Socket, Error>) {
        if let Some(reply) = self.0.take() {
            reply.answer(result);
        }
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        if let Some(reply) = self.0.take().filter(|reply| reply.is_wanted()) {
            reply.answer(Err(Error::DIED));
        }
    }
}
