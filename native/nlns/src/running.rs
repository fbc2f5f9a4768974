//! The pool of this VM, from the application's start to its stop.

use std::sync::Arc;
use std::time::Duration;

use nlns_core::{Config, Error, Handover, Pool};
use parking_lot::RwLock;
use rustler::{Atom, Encoder, Env, Reference, ResourceArc, Term};

use crate::descriptor::Descriptor;
use crate::message::{Message, with_failure};
use crate::netns::Netns;
use crate::terms;

/// Outlives a purge of the module, after which `load` runs again on it as it is.
static POOL: RwLock<Option<Arc<Pool>>> = RwLock::new(None);

/// The pool, if the application is started.
pub fn pool() -> Option<Arc<Pool>> {
    POOL.read().clone()
}

/// The pool, or the answer of one that is stopped.
pub fn pool_or_stopped() -> Result<Arc<Pool>, Error> {
    pool().ok_or(Error::STOPPED)
}

/// `idle_timeout` in ms, or `nil` for ever. Starts the manager thread: the one thread that a NIF makes, once
/// per start of the application, when nothing can be waiting for this call.
#[rustler::nif]
fn start(
    env: Env<'_>,
    max_helpers: usize,
    idle_timeout: Option<u64>,
    max_queue: usize,
) -> Term<'_> {
    let config = Config {
        max_helpers,
        idle_timeout: idle_timeout.map(Duration::from_millis),
        max_queue,
    };
    match Pool::start(config) {
        Ok(pool) => {
            // One that was not stopped belongs to an application that was killed.
            if let Some(stale) = POOL.write().replace(Arc::new(pool)) {
                stale.stop(Box::new(|_| {}));
            }
            terms::ok().encode(env)
        }
        Err(error) => (terms::error(), error.raw_os_error()).encode(env),
    }
}

/// `:pending`, and then `{:nlns, ref, {:stopped, stuck, manager}}`: how many threads are stuck in the
/// kernel, and the id of the thread that sent this and ends now. `:ok` if there is no pool.
#[rustler::nif]
fn stop<'a>(env: Env<'a>, reference: Reference<'a>) -> Atom {
    let Some(pool) = POOL.write().take() else {
        return terms::ok();
    };
    let message = Message::new(env, |env| (*reference).in_env(env));
    pool.stop(Box::new(move |stuck| {
        let manager = rustix::thread::gettid().as_raw_nonzero().get();
        // A caller that has died needs no answer.
        message.send(|env, reference| {
            let stopped = (terms::stopped(), stuck, manager);
            (terms::nlns(), reference, stopped).encode(env)
        });
    }));
    terms::pending()
}

/// Whether a thread of the VM is still in its namespaces.
#[rustler::nif]
fn thread_exists(thread: i32) -> bool {
    rustix::process::Pid::from_raw(thread).is_some_and(nlns_core::thread_exists)
}

/// `{:pending, resource}`, and then `{:nlns, ref, :released}`, or `{:nlns, ref, {:error, {stage, errno}}}`
/// when it will not be, unless it is cancelled; `:ok` if nothing is there to be released; or
/// `{:error, {stage, errno}}` at once.
#[rustler::nif]
fn release<'a>(env: Env<'a>, netns: Netns<'a>, reference: Reference<'a>) -> Term<'a> {
    let message = Message::new(env, |env| {
        (terms::nlns(), (*reference).in_env(env), terms::released()).encode(env)
    });
    let descriptor = ResourceArc::new(Descriptor(Handover::default()));
    let answered = descriptor.clone();
    let released = Box::new(move |left: Result<(), Error>| {
        if let Some(_sending) = answered.0.offer(None) {
            message.send(|env, released| match left {
                Ok(()) => released,
                Err(error) => with_failure(env, released, error),
            });
        }
    });
    match pool().map_or(Ok(false), |pool| pool.release(netns.key()?, released)) {
        Ok(true) => (terms::pending(), descriptor).encode(env),
        Ok(false) => terms::ok().encode(env),
        Err(error) => terms::failure(env, error),
    }
}
