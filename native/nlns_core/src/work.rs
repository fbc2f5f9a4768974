//! What a helper thread does: take a ready path, get there, serve what waits, sleep.

mod exchange;
mod follow;
mod rest;
mod serve;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_utils::sync::Parker;
use rustix::thread::sched_getcpu;

use crate::control::Command;
use crate::crew::Bed;
use crate::events::LeaveReason;
use crate::helper::{Helper, Place};
use crate::netlink::Connection;
use crate::netns::{self, EnterError, Host, LocationUnknown, Netns};
use crate::path::Path;
use crate::pool::Pool;

use follow::Follow;
pub(crate) use rest::NAP;
use rest::Rest;

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
    follow: Follow<'a>,
    /// A netlink socket of the namespace where this thread is. NB: it holds the namespace, so it is closed
    /// before this thread leaves.
    kept: Option<Connection>,
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
        follow: Follow::nobody(&me.kept),
        kept: None,
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
        self.pool.manager.send(Command::JoinHelper(self.me.id));
    }
}

impl Worker<'_> {
    fn work(&mut self) -> Result<(), LocationUnknown> {
        while !self.pool.is_stopping() {
            if self.me.is_asked()
                && (self.me.must_leave() || self.looking(|worker| worker.is_astray()))
            {
                self.leave(LeaveReason::Gone)?;
            }
            match self.pool.next_ready() {
                Some(path) => self.serve(path)?,
                None if self.may_spin() && self.pool.spin.wait(|| self.is_work()) => {}
                None if self.may_nap() => {
                    self.sleep(Bed::Nap, None);
                }
                None => match self.rest()? {
                    Rest::Over => {}
                    Rest::Retired => break,
                },
            }
        }
        Ok(())
    }

    /// Gets this thread into the namespace that `path` names now.
    fn reach(&mut self, path: &Arc<Path>) -> Result<(), EnterError> {
        let is_here = self.me.with_place(|place| Arc::ptr_eq(&place.path, path)) == Some(true);
        if is_here && self.here.is_named_by(path.name()) {
            return Ok(());
        }
        let why = if is_here {
            LeaveReason::Gone
        } else {
            LeaveReason::Moved
        };
        let mut cached_lookup = None;
        if !self.host.is_home(&self.here) {
            cached_lookup = netns::cached_lookup(path.name());
            if cached_lookup.is_none() {
                // Looking it up may take for ever, which must not hold the namespace of others. Where
                // there is no way back, it does.
                let _ = self.leave(why);
            }
        }
        let before = self.here;
        self.kept = None;
        let entered = self.host.enter(path.name(), cached_lookup, &mut self.here);
        match &entered {
            Ok(()) => {
                self.pool.counters.entered.fetch_add(1, Ordering::Relaxed);
                self.move_to(Some(Place::new(path.clone())), why);
            }
            // It went home for a second look and got no further.
            Err(_) if !self.here.is(&before) => self.move_to(None, LeaveReason::Moved),
            // The path does not lead here, or not any more. Requests that fail keep no namespace alive:
            // neither the one that was theirs, nor one that happens to be where they find a helper.
            Err(EnterError::Error(_)) => self
                .leave(why)
                .map_err(|LocationUnknown| EnterError::LocationUnknown)?,
            Err(_) => {}
        }
        entered
    }

    fn leave(&mut self, why: LeaveReason) -> Result<(), LocationUnknown> {
        self.kept = None;
        if let Some(path) = self.me.path() {
            self.here = self.host.return_to()?;
            self.move_to(None, why);
            self.pool.registry.forget_if_unused(&path);
        }
        Ok(())
    }

    /// NB: after the thread has moved, never before.
    fn move_to(&self, place: Option<Place>, why: LeaveReason) {
        if let Some(left) = self.me.set_place(place) {
            self.pool.tell_left(self.me.id, &left, why);
            self.pool.registry.forget_later(&left.path);
        }
    }

    /// A helper on its caller's processor would only keep it from using the answer.
    fn may_spin(&self) -> bool {
        self.follow.cpu() != sched_getcpu()
    }

    fn is_work(&self) -> bool {
        !self.pool.ready.1.is_empty() || self.me.is_asked() || self.pool.is_stopping()
    }

    /// Whether its path leads elsewhere, or nowhere, by now.
    fn is_astray(&self) -> bool {
        let path = self.me.path();
        path.is_some_and(|path| !self.here.is_named_by(path.name()))
    }
}
