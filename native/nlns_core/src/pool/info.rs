//! What the pool looks like at this moment.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Pool;
use crate::closer;
use crate::helper::Helper;
use crate::netns::NetnsRef;
use crate::shared::Config;
use crate::turn::Phase;

/// What a helper is doing at this moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// Asleep or looking for work, in no namespace.
    Parked,
    /// Asleep or looking for work, in a namespace. The event of this name
    /// ([`EventKind`](crate::EventKind)) tells only of those that stay asleep.
    Pinned,
    /// Serving a batch of requests.
    Serving,
    /// Serving one for over a second, so it must be blocked in the kernel.
    Stuck,
}

/// One helper.
#[derive(Clone, Debug)]
pub struct HelperInfo {
    /// Never used again in the same pool.
    pub id: u64,
    /// What it is doing.
    pub state: State,
    /// What led it where it is, and for how long it has been there, whatever its state.
    pub pinned: Option<(NetnsRef, Duration)>,
    /// Sockets it has opened, and exchanges it has carried out.
    pub served: u64,
}

/// The pool.
#[derive(Clone, Debug)]
pub struct Info {
    /// As it was started.
    pub config: Config,
    /// The helpers there are.
    pub helpers: Vec<HelperInfo>,
    /// Paths that have requests or a helper, or had until lately.
    pub paths: usize,
    /// Requests that wait, over all paths.
    pub waiting: usize,
    /// Sockets opened.
    pub opened: u64,
    /// Netlink exchanges answered.
    pub exchanged: u64,
    /// Requests answered with the errno of a step, or that their helper has died.
    pub failed: u64,
    /// Requests that no helper was to serve: a full queue, no helper to be had, a stop.
    pub refused: u64,
    /// Requests whose caller gave up before they were served.
    pub cancelled: u64,
    /// Descriptors that wait to be closed, where closing takes time.
    pub closing: usize,
    /// Requests held back, of those that wait: so many sockets of their kind are being closed.
    pub held_back: usize,
    /// Times that a helper entered a namespace.
    pub entered: u64,
    /// Helper threads started.
    pub started: u64,
    /// Times that a request woke a sleeping helper.
    pub woken: u64,
    /// Helper threads that ended in a panic.
    pub died: u64,
}

impl Pool {
    /// Looks at every helper, one after the other; takes no lock for longer than one of them.
    pub fn info(&self) -> Info {
        let helpers = self.shared.idle().helpers();
        let mut helpers: Vec<_> = helpers.iter().map(|helper| helper_info(helper)).collect();
        helpers.sort_unstable_by_key(|helper| helper.id);
        let (paths, waiting) = self.shared.registry().count();
        let stats = self.shared.stats();
        Info {
            config: *self.shared.config(),
            helpers,
            paths,
            waiting,
            opened: stats.opened.load(Ordering::Relaxed),
            exchanged: stats.exchanged.load(Ordering::Relaxed),
            failed: stats.failed.load(Ordering::Relaxed),
            refused: stats.refused.load(Ordering::Relaxed),
            cancelled: stats.cancelled.load(Ordering::Relaxed),
            closing: closer::closing(),
            held_back: self.shared.held_back().jobs(),
            entered: stats.entered.load(Ordering::Relaxed),
            started: stats.started.load(Ordering::Relaxed),
            woken: stats.woken.load(Ordering::Relaxed),
            died: stats.died.load(Ordering::Relaxed),
        }
    }
}

fn helper_info(helper: &Helper) -> HelperInfo {
    let pinned = helper.with_place(|place| (place.path.netns().clone(), place.since.elapsed()));
    let seen = helper.turn.seen();
    let state = match (seen.phase(), &pinned) {
        _ if seen.is_stuck() => State::Stuck,
        (Phase::LookingUp | Phase::Serving, _) => State::Serving,
        (_, Some(_)) => State::Pinned,
        (_, None) => State::Parked,
    };
    HelperInfo {
        id: helper.id,
        state,
        pinned,
        served: helper.served.load(Ordering::Relaxed),
    }
}
