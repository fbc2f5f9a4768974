//! Messages from the pool's threads, prepared by the caller that gets them.

use std::hash::{DefaultHasher, Hash, Hasher};

use crossbeam_channel::{Receiver, Sender, bounded};
use nlns_core::Error;
use once_cell::sync::Lazy;
use rustler::env::SavedTerm;
use rustler::types::tuple::get_tuple;
use rustler::{Encoder, Env, LocalPid, OwnedEnv, Term};

use crate::terms;

/// How many environments wait for their next message at most, with about 1 KiB each.
const SPARE: usize = 256;

/// Environments to be used again. One that is freed by a thread of the pool goes back to the
/// scheduler that allocated it, which is woken for that; and a new one is cleared at length.
static ENVIRONMENTS: Lazy<(Sender<OwnedEnv>, Receiver<OwnedEnv>)> = Lazy::new(|| bounded(SPARE));

/// A message to the caller of a NIF, to be sent from a thread of the pool.
pub struct Message {
    caller: LocalPid,
    /// There until it is sent.
    env: Option<OwnedEnv>,
    term: SavedTerm,
}

impl Message {
    /// To the process that calls with `env`; `make` makes the term.
    pub fn new(env: Env<'_>, make: impl for<'a> FnOnce(Env<'a>) -> Term<'a>) -> Self {
        let message = ENVIRONMENTS
            .1
            .try_recv()
            .unwrap_or_else(|_| OwnedEnv::new());
        let term = message.run(|env| message.save(make(env)));
        Self {
            caller: env.pid(),
            env: Some(message),
            term,
        }
    }

    /// Whether the process that gets it lives.
    pub fn has_receiver(&self) -> bool {
        let env = self.env.as_ref();
        env.is_some_and(|env| env.run(|env| self.caller.is_alive(env)))
    }

    /// A number for the process that gets it; two processes may share one.
    pub fn caller(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.caller.hash(&mut hasher);
        hasher.finish()
    }

    /// Sends what `finish` makes of the term; `false` if there is no such process any more.
    pub fn send(mut self, finish: impl for<'a> FnOnce(Env<'a>, Term<'a>) -> Term<'a>) -> bool {
        let Some(mut message) = self.env.take() else {
            return false;
        };
        let term = &self.term;
        let sent = message.send_and_clear(&self.caller, |env| finish(env, term.load(env)));
        give_back(message);
        sent.is_ok()
    }
}

impl Drop for Message {
    fn drop(&mut self) {
        if let Some(mut message) = self.env.take() {
            message.clear();
            give_back(message);
        }
    }
}

fn give_back(env: OwnedEnv) {
    // Freed if there are enough.
    let _ = ENVIRONMENTS.0.try_send(env);
}

/// The message with an error in the place of the success.
pub fn with_failure<'a>(env: Env<'a>, message: Term<'a>, error: Error) -> Term<'a> {
    let reference = get_tuple(message).expect("a tuple of three")[1];
    (terms::nlns(), reference, terms::failure(env, error)).encode(env)
}
