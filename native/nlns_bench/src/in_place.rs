//! There and back on the scheduler itself. Not to be shipped: a blocking path blocks the scheduler,
//! and a failed return strands it. Here it is the bound for one open without a hand-off.

use std::os::fd::OwnedFd;
use std::sync::OnceLock;

use rustler::{Binary, Env, Term};

use crate::step::{self, Failed};

/// The VM's own namespace. Opened once: looking it up for each open would be needless work.
static HOME: OnceLock<OwnedFd> = OnceLock::new();

#[rustler::nif]
fn in_place<'a>(env: Env<'a>, path: Binary<'a>, protocol: u32) -> Term<'a> {
    let socket = there_and_back(&path, || step::netlink_socket(protocol));
    step::answer(env, socket)
}

pub fn there_and_back<R>(
    path: &[u8],
    there: impl FnOnce() -> Result<R, Failed>,
) -> Result<R, Failed> {
    let home = home()?;
    step::enter(&step::namespace_file(path)?)?;
    let result = there();
    if step::enter(home).is_err() {
        // A scheduler in a foreign namespace runs everybody's processes there.
        std::process::abort();
    }
    result
}

fn home() -> Result<&'static OwnedFd, Failed> {
    if let Some(home) = HOME.get() {
        return Ok(home);
    }
    let opened = step::namespace_file(b"/proc/thread-self/ns/net")?;
    Ok(HOME.get_or_init(|| opened))
}
