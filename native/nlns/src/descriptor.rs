//! The resource behind `Nlns.Handle` and `Nlns.Request`, and the descriptors that left it as numbers.

use std::os::fd::AsRawFd;

use nlns_core::{Cancelled, Handover, Socket, issued, with_borrowed};
use rustix::net::netlink::SocketAddrNetlink;
use rustler::{Atom, Decoder, Encoder, Env, NifResult, Reference, Resource, ResourceArc, Term};

use crate::message::Message;
use crate::{owner, terms};

/// One request's descriptor, on its way or arrived. Closed with the last reference to it.
///
/// Note: made only in NIFs, never by a thread of the pool: after a purge erts has freed the resource type,
/// and making one would take the VM down.
pub struct Descriptor(pub Handover<Socket>);

#[rustler::resource_impl]
impl Resource for Descriptor {}

/// A resource as it comes back from Elixir. One that was made before the module was purged is none any
/// more: erts knows its type no longer, keeps only its destructor, and so closes it with its last term.
struct Known(Option<ResourceArc<Descriptor>>);

impl<'a> Decoder<'a> for Known {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        match term.decode() {
            Ok(descriptor) => Ok(Self(Some(descriptor))),
            Err(_) if term.is_ref() => Ok(Self(None)),
            Err(error) => Err(error),
        }
    }
}

impl Known {
    fn take(&self) -> Option<Socket> {
        self.0.as_ref().and_then(|descriptor| descriptor.0.take())
    }
}

/// `{:ok, fd}` once, `{:error, :closed}` to everybody else.
#[rustler::nif]
fn take(env: Env<'_>, descriptor: Known) -> Term<'_> {
    match descriptor.take() {
        Some(socket) => (terms::ok(), issued::issue(socket)).encode(env),
        None => (terms::error(), terms::closed()).encode(env),
    }
}

/// `{:ok, fd, resource, short}` once: the number, to be duplicated, its owner from now on, which only the
/// caller knows, and when its close is short: `:always`, while it is `:unused`, or `:never`. If the caller dies,
/// the descriptor is closed with it; as a bare number it would leak.
#[rustler::nif]
fn borrow(env: Env<'_>, descriptor: Known) -> Term<'_> {
    match descriptor.take() {
        Some(socket) => {
            let fd = socket.as_raw_fd();
            let short = match (socket.closes_at_once(), socket.may_become_slow()) {
                (true, false) => terms::always(),
                (true, true) => terms::unused(),
                (false, _) => terms::never(),
            };
            if short == terms::unused() {
                owner::watch(env);
            }
            let owner = ResourceArc::new(Descriptor(Handover::holding(socket)));
            (terms::ok(), fd, owner, short).encode(env)
        }
        None => (terms::error(), terms::closed()).encode(env),
    }
}

/// `:ok` once the descriptor is closed; or `:pending`, and `{:nlns, ref, :closed}` when it is.
#[rustler::nif]
fn close<'a>(env: Env<'a>, descriptor: Known, reference: Reference<'a>) -> Atom {
    close_socket(env, descriptor.take(), reference)
}

/// Closes the descriptor soon, after its duplicate, which `:socket` is about to close.
#[rustler::nif]
fn close_after(descriptor: Known, duplicate: i32) -> Atom {
    if let Some(socket) = descriptor.take() {
        socket.close_after(duplicate);
    }
    terms::ok()
}

/// Whether the cancel came `:before`, `:during` or `:after` the sending of the message; or `{:pending, when}`
/// and then `{:nlns, ref, :closed}` when the descriptor that was on its way is closed.
#[rustler::nif]
fn cancel<'a>(env: Env<'a>, descriptor: Known, reference: Reference<'a>) -> Term<'a> {
    let (cancelled, socket) = match descriptor.0 {
        Some(descriptor) => descriptor.0.cancel(),
        None => (Cancelled::After, None),
    };
    let when = match cancelled {
        Cancelled::Before => terms::before(),
        Cancelled::During => terms::during(),
        Cancelled::After => terms::after(),
    };
    let closed = close_socket(env, socket, reference);
    if closed == terms::pending() {
        (closed, when).encode(env)
    } else {
        when.encode(env)
    }
}

#[rustler::nif]
fn is_sent(descriptor: Known) -> bool {
    descriptor.0.is_none_or(|descriptor| descriptor.0.is_sent())
}

/// The same for a number that was given away.
#[rustler::nif]
fn close_fd<'a>(env: Env<'a>, fd: i32, reference: Reference<'a>) -> Atom {
    close_socket(env, issued::reclaim(fd), reference)
}

fn close_socket<'a>(env: Env<'a>, socket: Option<Socket>, reference: Reference<'a>) -> Atom {
    let Some(socket) = socket.filter(|socket| !socket.closes_at_once()) else {
        return terms::ok();
    };
    let message = Message::new(env, |env| {
        (terms::nlns(), (*reference).in_env(env), terms::closed()).encode(env)
    });
    // A caller that has died waits for nothing.
    match socket.close(Box::new(move || _ = message.send(|_, closed| closed))) {
        true => terms::pending(),
        false => terms::ok(),
    }
}

#[rustler::nif]
fn bind_netlink(env: Env<'_>, fd: i32, groups: u32) -> Term<'_> {
    let address = SocketAddrNetlink::new(0, groups);
    errno_result(env, with_borrowed(fd, |fd| rustix::net::bind(fd, &address)))
}

/// For the duplicate that `:socket.open/2` made: sets close-on-exec, and remembers it for the end of the caller,
/// if it has to be looked at then.
#[rustler::nif]
fn adopted(env: Env<'_>, fd: i32, is_remembered: bool) -> Term<'_> {
    let flags = rustix::io::FdFlags::CLOEXEC;
    let set = with_borrowed(fd, |fd| rustix::io::fcntl_setfd(fd, flags));
    if is_remembered {
        owner::add(env.pid(), fd);
    }
    errno_result(env, set)
}

fn errno_result(env: Env<'_>, result: rustix::io::Result<()>) -> Term<'_> {
    match result {
        Ok(()) => terms::ok().encode(env),
        Err(errno) => (terms::error(), errno.raw_os_error()).encode(env),
    }
}
