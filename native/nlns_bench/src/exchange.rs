//! A netlink exchange in place: there, socket, request, the whole answer, and back on the scheduler itself.
//! Not to be shipped, for the same reasons as [`crate::in_place`]; the bound for one exchange without a
//! hand-off.

use std::os::fd::OwnedFd;

use rustix::net::{RecvFlags, SendFlags, recv, send};
use rustler::{Binary, Encoder, Env, NewBinary, Term};

use crate::in_place::there_and_back;
use crate::step::{self, Failed};

/// What the kernel packs into one datagram at most.
const CHUNK: usize = 32 * 1024;
const HEADER: usize = 16;
const ERROR: u16 = 2;
const DONE: u16 = 3;

/// The messages of a dump, one behind the other.
#[rustler::nif]
fn exchange<'a>(env: Env<'a>, path: Binary<'a>, protocol: u32, request: Binary<'a>) -> Term<'a> {
    match there_and_back(&path, || dump(protocol, &request)) {
        Ok(answer) => {
            let mut binary = NewBinary::new(env, answer.len());
            binary.copy_from_slice(&answer);
            (step::ok(), Binary::from(binary)).encode(env)
        }
        Err((step, errno)) => (step::error(), (step, errno.raw_os_error())).encode(env),
    }
}

fn dump(protocol: u32, request: &[u8]) -> Result<Vec<u8>, Failed> {
    let socket: OwnedFd = step::netlink_socket(protocol)?;
    send(&socket, request, SendFlags::empty()).map_err(|errno| (step::send(), errno))?;
    let mut buffer = [0; CHUNK];
    let mut answer = Vec::with_capacity(CHUNK);
    loop {
        let received = recv(&socket, &mut buffer, RecvFlags::empty());
        let (length, _) = received.map_err(|errno| (step::receive(), errno))?;
        if take(&buffer[..length], &mut answer) {
            return Ok(answer);
        }
    }
}

/// Whether the answer ends here.
fn take(mut datagram: &[u8], answer: &mut Vec<u8>) -> bool {
    while let Some(header) = datagram.first_chunk::<HEADER>() {
        let length = u32::from_ne_bytes([header[0], header[1], header[2], header[3]]) as usize;
        let kind = u16::from_ne_bytes([header[4], header[5]]);
        if kind == DONE || kind == ERROR {
            return true;
        }
        let (message, rest) = datagram.split_at(length.next_multiple_of(4).min(datagram.len()));
        answer.extend_from_slice(message);
        datagram = rest;
    }
    false
}
