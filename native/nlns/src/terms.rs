//! Atoms, and how the core's errors look in Elixir.

use nlns_core::{Error, Stage};
use rustler::{Atom, Encoder, Env, Term};

rustler::atoms! {
    ok,
    error,
    nlns,
    // stages
    open,
    setns,
    socket,
    thread,
    send,
    receive,
    netlink,
    // a netlink message, and why one was refused
    struct_key = "__struct__",
    message_struct = "Elixir.Nlns.Netlink.Message",
    kind = "type",
    flags,
    seq,
    pid,
    payload,
    message,
    offset,
    index,
    // answers of NIFs
    closed,
    pending,
    released,
    stopped,
    before,
    during,
    after,
    // when a close is short
    always,
    unused,
    never,
    // info
    infinity,
    parked,
    pinned,
    serving,
    stuck,
    // events
    events,
    left,
    idle,
    gone,
    moved,
    relieved,
    died,
}

/// The keys of `%Nlns.Netlink.Message{}`.
pub fn message_keys(env: Env<'_>) -> [Term<'_>; 6] {
    [struct_key(), kind(), flags(), seq(), pid(), payload()].map(|key| key.to_term(env))
}

/// `{stage, errno}`
pub fn reason(error: Error) -> (Atom, i32) {
    let stage = match error.stage {
        Stage::Open => open(),
        Stage::Setns => setns(),
        Stage::Socket => socket(),
        Stage::Thread => thread(),
        Stage::Send => send(),
        Stage::Receive => receive(),
    };
    (stage, error.errno)
}

/// `{:error, {stage, errno}}`
pub fn failure(env: Env<'_>, error: Error) -> Term<'_> {
    (self::error(), reason(error)).encode(env)
}

#[rustler::nif]
fn strerror(errno: i32) -> String {
    let text = std::io::Error::from_raw_os_error(errno).to_string();
    // std adds the number, which the caller has.
    text.split(" (os error")
        .next()
        .unwrap_or_default()
        .to_owned()
}
