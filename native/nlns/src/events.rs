//! Events of helpers, for `:telemetry`: where they sleep and when they leave.

use nlns_core::{Event, EventKind, LeaveReason};
use rustler::{Encoder, Env, Term};

use crate::message::Message;
use crate::{netns, running, terms};

/// A scheduler is not kept for longer than it takes to encode so many.
const AT_ONCE: usize = 64;

/// The next events, the oldest first:
/// `{:pinned, helper, path, count}` or `{:left, helper, path, count, nanoseconds, why}`, where
/// `path` is `t:Nlns.netns/0`.
/// If there are none, `{:nlns, :events}` comes to the caller with the next one, once.
#[rustler::nif]
fn events(env: Env<'_>) -> Vec<Term<'_>> {
    let Some(pool) = running::pool() else {
        return Vec::new();
    };
    let message = Message::new(env, |env| (terms::nlns(), terms::events()).encode(env));
    // A caller that has died wants no events.
    let waker = Box::new(move || _ = message.send(|_, message| message));
    let events = pool.events(AT_ONCE, waker);
    events.iter().map(|event| term(env, event)).collect()
}

fn term<'a>(env: Env<'a>, event: &Event) -> Term<'a> {
    let path = netns::term(env, &event.netns);
    let Event { helper, count, .. } = event;
    match event.what {
        EventKind::Pinned => (terms::pinned(), helper, path, count).encode(env),
        EventKind::Left(after, why) => {
            let why = match why {
                LeaveReason::Idle => terms::idle(),
                LeaveReason::Gone => terms::gone(),
                LeaveReason::Released => terms::released(),
                LeaveReason::Moved => terms::moved(),
                LeaveReason::Relieved => terms::relieved(),
                LeaveReason::Died => terms::died(),
            };
            let after = after.as_nanos() as u64;
            (terms::left(), helper, path, count, after, why).encode(env)
        }
    }
}
