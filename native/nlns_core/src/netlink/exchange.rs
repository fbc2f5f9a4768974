//! A whole exchange: requests one after the other, again where that helps, into the caller's memory.

use std::ops::Range;

use rustix::io::Errno;

use super::connection::{Connection, Patience, numbers};
use super::frame::{self, Messages};
use super::reply::{Answers, Progress};
use super::{Exchange, ExchangeReply, Outcome, Refusal};
use crate::error::{Error, Stage};

/// The room that each datagram finds at least. The kernel packs dumps into as much as was offered before, up
/// to 32 KiB (netlink(7)); less takes more calls, more is not used.
const CHUNK: usize = 32 * 1_024;

/// How often a dump is asked for that changes meanwhile, or of which the kernel drops something. Fewer gives
/// up where the next would do, more keeps a helper busy in a namespace that never rests.
const ATTEMPTS: usize = 5;

/// Datagrams that are not the kernel's, between two looks at whether anybody still waits.
const FOREIGN: usize = 64;

/// Why an exchange came to no end.
#[derive(Debug)]
pub(crate) enum Failed {
    Error(Error),
    /// The helper does not know where it is.
    LocationUnknown,
}

impl From<Error> for Failed {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

impl Failed {
    fn at_send(errno: Errno) -> Self {
        Self::Error(Error::new(Stage::Send, errno))
    }

    pub(super) fn at_receive(errno: Errno) -> Self {
        Self::Error(Error::new(Stage::Receive, errno))
    }
}

/// Carries an exchange out on `connection`, which `connect` makes where there is none. It is there in the end
/// only if each answer was read to its end.
pub(crate) fn run(
    exchange: &mut Exchange,
    reply: &mut dyn ExchangeReply,
    patience: &Patience<'_>,
    connection: &mut Option<Connection>,
    mut connect: impl FnMut() -> Result<Connection, Failed>,
) -> Result<Outcome, Failed> {
    let mut answer = Answer {
        length: 0,
        space: 0,
        chunk: CHUNK,
        most: exchange.max_reply,
    };
    let mut index = 0;
    for leg in legs(&exchange.request) {
        let request = &mut exchange.request[leg.bytes];
        let length = answer.length;
        let mut attempts = 1..=ATTEMPTS;
        loop {
            let is_last = attempts.next() == Some(ATTEMPTS);
            let used = match connection.take() {
                Some(kept) => kept,
                None => connect()?,
            };
            let end = ask(&used, request, leg.is_dump, reply, &mut answer, patience)?;
            let may_try_again = leg.is_dump && !is_last;
            match end {
                End::Whole => {
                    *connection = Some(used);
                    break;
                }
                End::Refused(mut refusal, is_whole) => {
                    if is_whole {
                        *connection = Some(used);
                    }
                    refusal.index += index;
                    return Ok(Outcome::Refused(refusal));
                }
                End::Interrupted => {
                    *connection = Some(used);
                    if !may_try_again {
                        return Err(Failed::at_receive(Errno::INTR));
                    }
                }
                End::Dropped if may_try_again => {}
                End::Dropped => return Err(Failed::at_receive(Errno::NOBUFS)),
                End::TooLarge(size) if may_try_again => answer.chunk = size,
                End::TooLarge(_) => return Err(Failed::at_receive(Errno::MSGSIZE)),
            }
            answer.length = length;
        }
        index += leg.count;
    }
    Ok(Outcome::Answered(answer.length))
}

/// Requests that are sent in one datagram: a dump alone, because a socket has one at a time; others together.
struct Leg {
    bytes: Range<usize>,
    count: usize,
    is_dump: bool,
}

fn legs(request: &[u8]) -> Vec<Leg> {
    let mut legs: Vec<Leg> = Vec::with_capacity(1);
    for (at, header) in Messages::new(request).flatten() {
        let bytes = at..at + frame::aligned(header.length);
        let is_dump = header.has(frame::DUMP);
        match legs.last_mut() {
            Some(leg) if !is_dump && !leg.is_dump => {
                leg.bytes.end = bytes.end;
                leg.count += 1;
            }
            _ => legs.push(Leg {
                bytes,
                count: 1,
                is_dump,
            }),
        }
    }
    legs
}

/// What has been received, in the reply's memory.
struct Answer {
    length: usize,
    space: usize,
    /// The room for a dump's next datagram.
    chunk: usize,
    most: usize,
}

impl Answer {
    /// The memory, with `room` for another datagram.
    fn buffer<'r>(
        &mut self,
        reply: &'r mut dyn ExchangeReply,
        room: usize,
    ) -> Result<&'r mut [u8], Failed> {
        let least = self.length + room;
        if self.space < least {
            // A quarter more, so that the second datagram of a small dump finds its room, and a large one
            // is moved a few times only. What is not used goes back before the answer does.
            self.space = least + least / 4;
        }
        let space = reply.space(self.space);
        space.ok_or(Failed::at_receive(Errno::NOMEM))
    }

    /// Receives one datagram behind what there is.
    fn receive<'r>(
        &mut self,
        connection: &Connection,
        is_dump: bool,
        reply: &'r mut dyn ExchangeReply,
    ) -> Result<Received<'r>, Failed> {
        // A dump can be asked for again with more room; what a change answers comes once.
        let room = match is_dump {
            true => Ok(self.chunk),
            false => connection.next_length(),
        };
        let received = match room {
            Ok(room) if room > self.most.saturating_add(CHUNK) => Err(Errno::FBIG),
            Ok(room) => {
                let buffer = self.buffer(reply, room)?;
                let received = connection.receive(&mut buffer[self.length..]);
                received.map(|length| length.map(|length| (buffer, self.length + length)))
            }
            Err(errno) => Err(errno),
        };
        match received {
            Ok(Some((buffer, end))) if end > buffer.len() => {
                Ok(Received::TooLarge(end - self.length))
            }
            Ok(Some((buffer, end))) => Ok(Received::Messages(buffer, end)),
            Ok(None) => Ok(Received::Foreign),
            Err(Errno::AGAIN) => Ok(Received::Nothing),
            Err(Errno::NOBUFS) => Ok(Received::Dropped),
            Err(errno) => Err(Failed::at_receive(errno)),
        }
    }
}

/// What was there to receive.
enum Received<'r> {
    /// A datagram of the kernel's, in the memory from the answer's end to here.
    Messages(&'r mut [u8], usize),
    /// One of this length, of which a part is lost.
    TooLarge(usize),
    /// One that is not the kernel's.
    Foreign,
    Nothing,
    /// The kernel had no room for one.
    Dropped,
}

/// How asking for a leg ended.
enum End {
    Whole,
    /// And whether everything that answers was received.
    Refused(Refusal, bool),
    /// Everything was received, and its parts do not fit together.
    Interrupted,
    /// Parts are missing.
    Dropped,
    /// A datagram was larger than its room.
    TooLarge(usize),
}

fn ask(
    connection: &Connection,
    request: &mut [u8],
    is_dump: bool,
    reply: &mut dyn ExchangeReply,
    answer: &mut Answer,
    patience: &Patience<'_>,
) -> Result<End, Failed> {
    let mut answers = number(request);
    let sent = connection.send(request, answers.outstanding());
    sent.map_err(Failed::at_send)?;
    let mut foreign = 0;
    loop {
        let is_whole = answers.is_whole();
        if is_whole && !answers.may_fail_unasked() {
            return Ok(End::Whole);
        }
        match answer.receive(connection, is_dump, reply)? {
            Received::Messages(buffer, end) => {
                let progress = answers.take(buffer, &mut answer.length, end);
                match progress.map_err(Failed::at_receive)? {
                    Progress::Partial | Progress::Whole => {}
                    Progress::Interrupted => return Ok(End::Interrupted),
                    Progress::Refused(refusal) => {
                        return Ok(End::Refused(refusal, answers.is_whole()));
                    }
                }
                if answer.length > answer.most {
                    return Err(Failed::at_receive(Errno::FBIG));
                }
                if !answers.is_whole() {
                    patience.check(reply.is_wanted())?;
                }
            }
            Received::TooLarge(length) => return Ok(End::TooLarge(length)),
            Received::Foreign => {
                foreign += 1;
                if foreign % FOREIGN == 0 {
                    patience.check(reply.is_wanted())?;
                }
            }
            // What there is to say of requests that are not acknowledged was said while they were sent.
            Received::Nothing if is_whole => return Ok(End::Whole),
            Received::Nothing => {
                patience.check(reply.is_wanted())?;
                connection.wait(patience).map_err(Failed::at_receive)?;
            }
            Received::Dropped => return Ok(End::Dropped),
        }
    }
}

/// Numbers the requests of a leg, and expects their answers.
fn number(request: &mut [u8]) -> Answers {
    let messages: Vec<_> = Messages::new(request).flatten().collect();
    let first = numbers(messages.len());
    for ((at, header), seq) in messages.iter().zip(0..) {
        let flags = header.flags | frame::REQUEST;
        frame::address(&mut request[*at..], flags, first.wrapping_add(seq));
    }
    Answers::new(
        first,
        messages.iter().map(|(_, header)| header.has(frame::ACK)),
    )
}
