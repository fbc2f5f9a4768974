//! Netlink exchanges of a caller without a BEAM.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crossbeam_channel::{Receiver, Sender, bounded};
use nlns_core::netlink::frame::{HEADER, Messages};
use nlns_core::netlink::{Exchange, ExchangeReply, Outcome, Refusal};
use nlns_core::{Error, Reply};

use super::{Running, key, patience};

pub const ROUTE: u32 = 0;
pub const FIB_LOOKUP: u32 = 10;
pub const NETFILTER: u32 = 12;

const REQUEST_ACK: u16 = 0x005;
pub const DUMP: u16 = 0x300;
pub const CREATE: u16 = 0x600;

pub const NEWLINK: u16 = 16;
pub const DELLINK: u16 = 17;
pub const GETLINK: u16 = 18;
pub const NEWADDR: u16 = 20;
pub const DELADDR: u16 = 21;
pub const GETADDR: u16 = 22;
pub const NEWLINKPROP: u16 = 108;

pub const MAX_REPLY: usize = 16 << 20;

/// What an exchange answers: the messages, or the kernel's no.
pub type Answered = Result<Result<Vec<Message>, Refusal>, Error>;

#[derive(Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u16,
    pub payload: Vec<u8>,
}

/// An encoded request.
pub fn request(kind: u16, flags: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = ((HEADER + payload.len()) as u32).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((flags | REQUEST_ACK).to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

pub fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// A dump of all links.
pub fn links() -> Vec<u8> {
    request(GETLINK, DUMP, &[0; 16])
}

/// `struct ifinfomsg` without an index, and a name.
fn named(name: &str) -> Vec<u8> {
    [vec![0; 16], attribute(3, format!("{name}\0").as_bytes())].concat()
}

/// Makes a pair of links in one step.
pub fn add_pair(one: &str, other: &str) -> Vec<u8> {
    let peer = attribute(1, &named(other));
    let info = [attribute(1, b"veth"), attribute(2, &peer)].concat();
    request(
        NEWLINK,
        CREATE,
        &[named(one), attribute(18, &info)].concat(),
    )
}

/// Removes a link, and its peer.
pub fn delete(name: &str) -> Vec<u8> {
    request(DELLINK, 0, &named(name))
}

pub fn get(name: &str) -> Vec<u8> {
    request(GETLINK, 0, &named(name))
}

/// Gives a link other names, which are long.
pub fn add_names(name: &str, numbers: Range<usize>) -> Vec<u8> {
    let names = numbers.map(|n| attribute(53, format!("{n:0>120}\0").as_bytes()));
    let list = attribute(52 | 0x8000, &names.flatten().collect::<Vec<_>>());
    request(NEWLINKPROP, CREATE, &[named(name), list].concat())
}

/// Adds an IPv4 address to the link of a number, or removes it.
pub fn address(kind: u16, link: u32, address: u32) -> Vec<u8> {
    // struct ifaddrmsg: family, length of the prefix, flags, scope, link
    let header = [[2, 32, 0, 0], link.to_ne_bytes()].concat();
    let flags = if kind == NEWADDR { CREATE } else { 0 };
    let local = attribute(2, &address.to_be_bytes());
    request(kind, flags, &[header, local].concat())
}

/// The names of links, in order.
pub fn names(messages: &[Message]) -> Vec<String> {
    let name = |message: &Message| {
        let mut rest = &message.payload[16..];
        loop {
            let length = u16::from_ne_bytes([rest[0], rest[1]]) as usize;
            if rest[2..4] == 3_u16.to_ne_bytes() {
                break String::from_utf8(rest[4..length - 1].to_vec()).unwrap();
            }
            rest = &rest[length.next_multiple_of(4)..];
        }
    };
    messages.iter().map(name).collect()
}

/// A reply that goes into a channel.
pub struct ExchangeAnswer {
    sender: Sender<Answered>,
    memory: Vec<u8>,
    pub wanted: Arc<AtomicBool>,
}

impl ExchangeAnswer {
    pub fn new() -> (Box<Self>, Receiver<Answered>) {
        let (sender, receiver) = bounded(1);
        let answer = Self {
            sender,
            memory: Vec::new(),
            wanted: Arc::new(AtomicBool::new(true)),
        };
        (Box::new(answer), receiver)
    }
}

impl Reply<Outcome> for ExchangeAnswer {
    fn is_wanted(&self) -> bool {
        self.wanted.load(Ordering::SeqCst)
    }

    fn answer(self: Box<Self>, result: Result<Outcome, Error>) {
        let message = |(at, header): (usize, nlns_core::netlink::frame::Header)| Message {
            kind: header.kind,
            payload: self.memory[at + HEADER..at + header.length].to_vec(),
        };
        let answered = result.map(|outcome| match outcome {
            Outcome::Answered(length) => {
                let whole = Messages::new(&self.memory[..length.min(self.memory.len())]);
                Ok(whole.map(|found| message(found.unwrap())).collect())
            }
            Outcome::Refused(refusal) => Err(refusal),
        });
        // Nobody may be waiting any more, which is the test's business.
        let _ = self.sender.send(answered);
    }
}

impl ExchangeReply for ExchangeAnswer {
    fn space(&mut self, size: usize) -> Option<&mut [u8]> {
        if self.memory.len() < size {
            self.memory.resize(size, 0);
        }
        Some(&mut self.memory)
    }
}

impl Running {
    pub fn exchange(&self, path: &Path, request: Vec<u8>) -> Answered {
        self.exchange_of(path, ROUTE, request, MAX_REPLY, None)
    }

    pub fn exchange_of(
        &self,
        path: &Path,
        protocol: u32,
        request: Vec<u8>,
        max_reply: usize,
        timeout: Option<Duration>,
    ) -> Answered {
        let deadline = timeout.map(|timeout| Instant::now() + timeout);
        let exchange = Exchange::new(protocol, request, max_reply, deadline)?;
        let (reply, answer) = ExchangeAnswer::new();
        self.0.exchange(key(path), exchange, reply)?;
        answer.recv_timeout(patience()).unwrap()
    }

    /// Asks and does not wait.
    pub fn ask_netlink(
        &self,
        path: &Path,
        protocol: u32,
        request: Vec<u8>,
    ) -> (Receiver<Answered>, Arc<AtomicBool>) {
        let exchange = Exchange::new(protocol, request, MAX_REPLY, None).unwrap();
        let (reply, answer) = ExchangeAnswer::new();
        let wanted = reply.wanted.clone();
        self.0.exchange(key(path), exchange, reply).unwrap();
        (answer, wanted)
    }

    /// The names of the links where `path` leads.
    pub fn links(&self, path: &Path) -> Vec<String> {
        names(&self.exchange(path, links()).unwrap().unwrap())
    }

    /// Asks for something that is carried out.
    pub fn change(&self, path: &Path, request: Vec<u8>) {
        assert_eq!(self.exchange(path, request), Ok(Ok(Vec::new())));
    }
}
