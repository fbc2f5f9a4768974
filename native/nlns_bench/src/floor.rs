//! What nothing can beat: socket(2) and close(2) in the VM's own namespace.

use std::os::fd::{FromRawFd, OwnedFd};

use rustler::{Atom, Env, NifResult, Term};

use crate::step;

#[rustler::nif]
fn floor(env: Env<'_>, protocol: u32) -> Term<'_> {
    step::answer(env, step::netlink_socket(protocol))
}

/// Closes a descriptor that a NIF of this library answered.
#[rustler::nif]
#[allow(unsafe_code)]
fn close(fd: i32) -> NifResult<Atom> {
    if fd < 0 {
        return Err(rustler::Error::BadArg);
    }
    // SAFETY: the benchmark owns every descriptor that it passes, and passes each once.
    drop(unsafe { OwnedFd::from_raw_fd(fd) });
    Ok(step::ok())
}
