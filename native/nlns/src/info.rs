//! The pool's state as Elixir maps.

use nlns_core::{HelperInfo, Info, MAX_CLOSING, State};
use rustler::{Atom, Encoder, Env, NifMap, Term};

use crate::{netns, running, terms};

#[derive(NifMap)]
struct PoolMap<'a> {
    max_helpers: usize,
    idle_timeout: Term<'a>,
    max_queue: usize,
    helpers: Vec<HelperMap<'a>>,
    paths: usize,
    waiting: usize,
    stuck: usize,
    opened: u64,
    exchanged: u64,
    failed: u64,
    refused: u64,
    cancelled: u64,
    closing: usize,
    max_closing: usize,
    held_back: usize,
    entered: u64,
    started: u64,
    woken: u64,
    died: u64,
}

#[derive(NifMap)]
struct HelperMap<'a> {
    id: u64,
    state: Atom,
    path: Option<Term<'a>>,
    pinned_ms: Option<u64>,
    served: u64,
}

/// `nil` if there is no pool.
#[rustler::nif]
fn info(env: Env<'_>) -> Option<PoolMap<'_>> {
    running::pool().map(|pool| pool_map(env, pool.info()))
}

fn pool_map(env: Env<'_>, info: Info) -> PoolMap<'_> {
    let is_stuck = |helper: &&HelperInfo| helper.state == State::Stuck;
    PoolMap {
        max_helpers: info.config.max_helpers,
        idle_timeout: match info.config.idle_timeout {
            Some(idle_timeout) => (idle_timeout.as_millis() as u64).encode(env),
            None => terms::infinity().encode(env),
        },
        max_queue: info.config.max_queue,
        stuck: info.helpers.iter().filter(is_stuck).count(),
        helpers: info.helpers.iter().map(|h| helper_map(env, h)).collect(),
        paths: info.paths,
        waiting: info.waiting,
        opened: info.opened,
        exchanged: info.exchanged,
        failed: info.failed,
        refused: info.refused,
        cancelled: info.cancelled,
        closing: info.closing,
        max_closing: MAX_CLOSING,
        held_back: info.held_back,
        entered: info.entered,
        started: info.started,
        woken: info.woken,
        died: info.died,
    }
}

fn helper_map<'a>(env: Env<'a>, helper: &HelperInfo) -> HelperMap<'a> {
    HelperMap {
        id: helper.id,
        state: match helper.state {
            State::Parked => terms::parked(),
            State::Pinned => terms::pinned(),
            State::Serving => terms::serving(),
            State::Stuck => terms::stuck(),
        },
        path: helper
            .pinned
            .as_ref()
            .map(|(path, _)| netns::term(env, path)),
        pinned_ms: helper
            .pinned
            .as_ref()
            .map(|(_, time)| time.as_millis() as u64),
        served: helper.served,
    }
}
