//! A thread per open, joined on a dirty I/O scheduler: what nlns replaces, done as well as it can be.
//! The stack is small and comes from glibc's cache after the first, the path is borrowed, not copied,
//! and the thread dies with the namespace it is in, so there is no way back that could fail.

use std::os::fd::OwnedFd;
use std::thread::{self, Builder};

use rustix::io::Errno;
use rustler::{Binary, Env, Term};

use crate::step::{self, Failed};

const STACK: usize = 64 * 1024;

#[rustler::nif(schedule = "DirtyIo")]
fn throwaway<'a>(env: Env<'a>, path: Binary<'a>, protocol: u32) -> Term<'a> {
    step::answer(env, on_a_thread(&path, protocol))
}

fn on_a_thread(path: &[u8], protocol: u32) -> Result<OwnedFd, Failed> {
    thread::scope(|scope| {
        Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, || {
                step::enter(&step::namespace_file(path)?)?;
                step::netlink_socket(protocol)
            })
            .map_err(|_| (step::thread(), Errno::AGAIN))?
            .join()
            .map_err(|_| (step::thread(), Errno::IO))?
    })
}
