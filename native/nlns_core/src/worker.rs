//! What a helper thread does: take a ready path, get there, serve what waits, sleep.

mod binding;
mod exchange;
mod rest;
mod serve;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crossbeam_utils::sync::Parker;
use parking_lot::Mutex;
use rustix::io::Errno;

use crate::error::{Error, Stage};
use crate::events::LeaveReason;
use crate::helper::{Helper, Place};
use crate::netlink::Connection;
use crate::netns::{EnterError, Host, LocationUnknown, Netns};
use crate::path::{Pace, Path};
use crate::request::LeaveRequest;
use crate::shared::Shared;
use crate::turn::{Phase, TurnKind};

use binding::Binding;
use rest::Rest;

/// A turn whose path was given to another helper. Nobody is answered so, because no job was taken yet.
const REVOKED: Error = Error::new(Stage::Thread, Errno::CANCELED);

/// One helper thread.
pub(crate) struct Worker<'a> {
    shared: &'a Shared,
    host: &'a Host,
    me: &'a Arc<Helper>,
    parker: Parker,
    /// Where this thread is, whatever path led there.
    here: Netns,
    /// When it last served; the idle timeout counts from then, whatever woke it since.
    last_served: Duration,
    binding: Binding<'a>,
    /// A netlink socket of the namespace where this thread is, which it holds. Dropped when this thread leaves.
    connection: Option<Connection>,
    /// Shared by such sockets until they are closed, if there were any where this thread is.
    stay: Option<Stay>,
}

/// Those who wait for a helper to leave, and for the sockets that it had there. They are told by its last drop.
type Stay = Arc<Mutex<Vec<LeaveRequest>>>;

/// Runs a helper thread, which was counted as awake when it was asked for.
pub(crate) fn run(shared: &Shared, host: &Host, me: &Arc<Helper>, parker: Parker) {
    me.turn.set(Phase::Awake);
    let _exit = ExitGuard { shared, me };
    let mut worker = Worker {
        shared,
        host,
        me,
        parker,
        here: host.netns(),
        last_served: shared.now(),
        binding: Binding::unbound(&me.bound),
        connection: None,
        stay: None,
    };
    // Its location is unknown, or it retires: in both cases the thread ends, and with it its hold on
    // whatever namespace it may be in.
    let _ = worker.work();
}

/// Counts the thread as awake no more when it ends, however it ends.
struct ExitGuard<'a> {
    shared: &'a Shared,
    me: &'a Arc<Helper>,
}

impl Drop for ExitGuard<'_> {
    fn drop(&mut self) {
        if !self.me.turn.end().is_uncounted() {
            self.shared.idle().uncount();
        }
    }
}

impl Worker<'_> {
    fn work(&mut self) -> Result<(), LocationUnknown> {
        while !self.shared.is_stopping() {
            if self.me.is_check_requested() && (self.me.must_leave() || self.leads_elsewhere()) {
                self.leave(LeaveReason::Gone)?;
            }
            match self.shared.ready().take() {
                Some(ticket) => self.serve(ticket)?,
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
        if is_here && self.look(path, || self.host.is_named_by(&self.here, path.netns())) {
            return Ok(());
        }
        let reason = match is_here {
            true => LeaveReason::Gone,
            false => LeaveReason::Moved,
        };
        let was_entered = path.pace() == Pace::Proven;
        let look_up = || self.host.look_up_cached(path.netns(), was_entered);
        let found = match self.look(path, look_up) {
            Some(found) => Ok(found),
            None => {
                // Looking it up may take for ever, which must not hold the namespace of others. Where there
                // is no way back, it does.
                let _ = self.leave(reason);
                self.look(path, || self.host.look_up_from_home(path.netns()))
            }
        };
        // From here on the path stays with this helper. If it was given to another, it must not be entered:
        // the other may have left it by now, and have told so.
        if !self.me.turn.serve() {
            return Err(EnterError::Error(REVOKED));
        }
        let before = self.here;
        let enter = |found| self.host.enter(path.netns(), found, &mut self.here);
        let entered = found.and_then(enter);
        match &entered {
            Ok(()) => {
                let entered = &self.shared.stats().entered;
                entered.fetch_add(1, Ordering::Relaxed);
                self.move_to(Some(Place::new(path.clone())), reason);
            }
            // It went home for a second look and got no further.
            Err(_) if !self.here.is(&before) => self.move_to(None, LeaveReason::Moved),
            // The path does not lead here, or not any more. Requests that fail keep no namespace alive:
            // neither the one that was theirs, nor one that happens to be where they find a helper.
            Err(EnterError::Error(_)) => self
                .leave(reason)
                .map_err(|LocationUnknown| EnterError::LocationUnknown)?,
            Err(_) => {}
        }
        entered
    }

    /// Looks at what `path` leads to, which may block: then the path may be given to another helper.
    fn look<R>(&self, path: &Arc<Path>, look: impl FnOnce() -> R) -> R {
        self.me.set_lookup(Some(path.clone()));
        self.shared.request_ticks();
        let seen = look();
        self.me.set_lookup(None);
        seen
    }

    fn leave(&mut self, reason: LeaveReason) -> Result<(), LocationUnknown> {
        if let Some(path) = self.me.path() {
            self.here = self.host.return_to()?;
            // It is parked from now on.
            self.last_served = self.shared.now();
            self.move_to(None, reason);
            // Otherwise it was just used, and how it went is to be known the next time.
            if reason != LeaveReason::Moved {
                self.shared.registry().forget_if_unused(&path);
            }
        }
        Ok(())
    }

    /// Notes that this thread has moved. Note: after it has, never before.
    fn move_to(&mut self, place: Option<Place>, reason: LeaveReason) {
        self.connection = None;
        let stay = self.stay.take();
        if let Some(left) = self.me.set_place(place) {
            self.shared.tell_left(self.me.id, &left, reason);
            self.shared.forget_later(&left.path);
            if let Some(stay) = stay {
                *stay.lock() = left.leave_requests;
            }
        }
    }

    fn is_work(&self) -> bool {
        self.shared.ready().has_work() || self.me.is_check_requested() || self.shared.is_stopping()
    }

    /// Returns whether its path leads elsewhere, or nowhere, by now.
    ///
    /// The mount below may have died, so a look counts as a turn: if it takes long, another helper is woken
    /// in this one's stead.
    fn leads_elsewhere(&self) -> bool {
        self.check(|worker, path| !worker.host.is_named_by(&worker.here, path.netns()))
    }

    /// Makes a check of the path that led here; `false` if it is in no namespace.
    fn check(&self, check: impl FnOnce(&Self, &Path) -> bool) -> bool {
        let Some(path) = self.me.path() else {
            return false;
        };
        self.me.turn.begin(TurnKind::Proven);
        self.shared.request_ticks();
        let found = check(self, &path);
        self.end_turn();
        found
    }

    /// Ends a turn; `true` if its path was revoked meanwhile.
    fn end_turn(&self) -> bool {
        let ended = self.me.turn.end();
        if ended.is_uncounted() {
            self.shared.idle().count();
        }
        ended.is_revoked()
    }
}
