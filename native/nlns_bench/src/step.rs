//! The three system calls of an open, and the answer of a NIF that makes them.

use std::os::fd::{AsFd, IntoRawFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, RawProtocol, SocketFlags, SocketType};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use rustler::{Atom, Encoder, Env, Term};

rustler::atoms! {
    ok,
    error,
    open,
    setns,
    socket,
    send,
    receive,
    thread,
}

/// The step that failed, and its errno.
pub type Failed = (Atom, Errno);

pub fn namespace_file(path: &[u8]) -> Result<OwnedFd, Failed> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat(CWD, path, flags, Mode::empty()).map_err(|errno| (open(), errno))
}

pub fn enter(namespace: &OwnedFd) -> Result<(), Failed> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
        .map_err(|errno| (setns(), errno))
}

pub fn netlink_socket(protocol: u32) -> Result<OwnedFd, Failed> {
    // Zero, NETLINK_ROUTE, is no RawProtocol, and what None means to the kernel.
    let protocol = RawProtocol::new(protocol).map(Protocol::from_raw);
    rustix::net::socket_with(
        AddressFamily::NETLINK,
        SocketType::RAW,
        SocketFlags::CLOEXEC,
        protocol,
    )
    .map_err(|errno| (socket(), errno))
}

pub fn answer(env: Env<'_>, result: Result<OwnedFd, Failed>) -> Term<'_> {
    match result {
        Ok(fd) => (ok(), fd.into_raw_fd()).encode(env),
        Err((step, errno)) => (error(), (step, errno.raw_os_error())).encode(env),
    }
}
