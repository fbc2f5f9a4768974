//! The resource behind `Nlns.Handle` and `Nlns.Request`, and the descriptors that left it as numbers.

use std::os::fd::AsRawFd;

use nlns_core::{Cancelled, Handover, Socket, issued, with_borrowed};
use rustix::net::netlink::SocketAddrNetlink;
use rustler::{Atom, Encoder, Env, Resource, ResourceArc, Term};

use crate::terms;

/// One request's descriptor, on its way or arrived. Closed with the last reference to it.
///
/// NB: made only in the NIF that submits a request: after a purge erts has freed the resource type,
/// and a helper that made one would take the VM down.
pub struct Descriptor(pub Handover<Socket>);

#[rustler::resource_impl]
impl Resource for Descriptor {}

/// `{:ok, fd}` once, `{:error, :closed}` to everybody else.
#[rustler::nif]
fn take(env: Env<'_>, descriptor: ResourceArc<Descriptor>) -> Term<'_> {
    match descriptor.0.take() {
        Some(socket) => (terms::ok(), issued::issue(socket)).encode(env),
        None => (terms::error(), terms::closed()).encode(env),
    }
}

/// `{:ok, fd, resource}` once: the number, to be duplicated, and its owner from now on, which only the
/// caller knows. If the caller dies, the descriptor is closed with it; as a bare number it would leak.
#[rustler::nif]
fn lend(env: Env<'_>, descriptor: ResourceArc<Descriptor>) -> Term<'_> {
    match descriptor.0.take() {
        Some(socket) => {
            let fd = socket.as_raw_fd();
            let owner = ResourceArc::new(Descriptor(Handover::holding(socket)));
            (terms::ok(), fd, owner).encode(env)
        }
        None => (terms::error(), terms::closed()).encode(env),
    }
}

#[rustler::nif]
fn close(descriptor: ResourceArc<Descriptor>) -> Atom {
    drop(descriptor.0.take());
    terms::ok()
}

/// Whether the cancel came `:before`, `:during` or `:after` the sending of the message.
#[rustler::nif]
fn cancel(descriptor: ResourceArc<Descriptor>) -> Atom {
    match descriptor.0.cancel() {
        Cancelled::Before => terms::before(),
        Cancelled::During => terms::during(),
        Cancelled::After => terms::after(),
    }
}

#[rustler::nif]
fn is_sent(descriptor: ResourceArc<Descriptor>) -> bool {
    descriptor.0.is_sent()
}

#[rustler::nif]
fn close_fd(fd: i32) -> Atom {
    drop(issued::reclaim(fd));
    terms::ok()
}

#[rustler::nif]
fn bind_netlink(env: Env<'_>, fd: i32, groups: u32) -> Term<'_> {
    let address = SocketAddrNetlink::new(0, groups);
    errno_result(env, with_borrowed(fd, |fd| rustix::net::bind(fd, &address)))
}

/// For the duplicate that `:socket.open/1` makes without it.
#[rustler::nif]
fn set_cloexec(env: Env<'_>, fd: i32) -> Term<'_> {
    let flags = rustix::io::FdFlags::CLOEXEC;
    errno_result(
        env,
        with_borrowed(fd, |fd| rustix::io::fcntl_setfd(fd, flags)),
    )
}

fn errno_result(env: Env<'_>, result: rustix::io::Result<()>) -> Term<'_> {
    match result {
        Ok(()) => terms::ok().encode(env),
        Err(errno) => (terms::error(), errno.raw_os_error()).encode(env),
    }
}
