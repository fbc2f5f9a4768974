//! Netlink exchanges: requests that are sent and whose whole answer is read, on a socket that a helper made.
//!
//! | module | its one responsibility |
//! |---|---|
//! | [`frame`] | headers of messages, and what the kernel says of a request |
//! | `reply` | what belongs to the answer, and when it is whole |
//! | `connection` | one socket: sending, receiving, waiting |
//! | `exchange` | requests one after the other, again where that helps, into the caller's memory |

mod connection;
mod exchange;
pub mod frame;
mod reply;
#[cfg(test)]
mod tests;

use std::time::Instant;

use rustix::io::Errno;

use crate::error::{Error, Stage};
use crate::reply::Reply;

pub(crate) use connection::{Connection, Patience};
pub(crate) use exchange::{Failed, run};
pub use reply::Refusal;

/// What is asked, and within which bounds.
pub struct Exchange {
    /// One of the `NETLINK_*` numbers.
    pub(crate) protocol: u32,
    /// Whole messages, each padded.
    request: Vec<u8>,
    /// The most bytes of messages that an answer may have.
    pub(crate) max_reply: usize,
    /// When nobody waits for an answer any more.
    pub(crate) deadline: Option<Instant>,
}

impl Exchange {
    /// Takes the encoded messages of `request`. Their numbers and ports are nlns's own; a message with
    /// `NLM_F_ACK` is waited for, one without is sent.
    pub fn new(
        protocol: u32,
        request: Vec<u8>,
        max_reply: usize,
        deadline: Option<Instant>,
    ) -> Result<Self, Error> {
        let is_framed = request.len() % 4 == 0
            && !request.is_empty()
            && frame::Messages::new(&request).all(|message| message.is_some());
        if !is_framed {
            return Err(Error::new(Stage::Send, Errno::INVAL));
        }
        Ok(Self {
            protocol,
            request,
            max_reply,
            deadline,
        })
    }
}

/// The end of an exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// So many bytes of the reply's memory are the answer: whole messages, each padded.
    Answered(usize),
    /// The kernel's own no.
    Refused(Refusal),
}

/// How an exchange's answer leaves the pool, and the memory that it is written to.
pub trait ExchangeReply: Reply<Outcome> {
    /// At least `size` bytes, the first of which are as they were; `None` if there is no memory.
    fn space(&mut self, size: usize) -> Option<&mut [u8]>;
}
