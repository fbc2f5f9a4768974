//! What of the kernel's datagrams is the answer to which request, and when it is whole. No system calls.

use rustix::io::Errno;

use super::frame::{self, Header, Verdict, aligned};

/// The kernel's own no to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Why, an `errno(3)`.
    pub errno: i32,
    /// Which request of the list, from 0.
    pub index: usize,
    /// The same in the kernel's words (Linux 4.12, where it has any).
    pub text: Option<Vec<u8>>,
    /// Where in that request the attribute is that it does not like.
    pub offset: Option<u32>,
}

/// What a datagram came to.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// There is more to come.
    Partial,
    /// That was all.
    Whole,
    /// The same, but changes have made it inconsistent (`NLM_F_DUMP_INTR`).
    Interrupted,
    Refused(Refusal),
}

/// The answers to the requests of one datagram, as far as they have come.
pub(crate) struct Answers {
    /// The number of the first request; the others follow.
    first: u32,
    /// Whether a verdict on each is still to come.
    due: Vec<bool>,
    outstanding: usize,
    may_fail_unasked: bool,
    is_interrupted: bool,
}

impl Answers {
    /// To requests of which each says whether it is acknowledged.
    pub(crate) fn new(first: u32, acknowledged: impl Iterator<Item = bool>) -> Self {
        let due: Vec<_> = acknowledged.collect();
        let outstanding = due.iter().filter(|is_due| **is_due).count();
        Self {
            first,
            outstanding,
            may_fail_unasked: outstanding < due.len(),
            is_interrupted: false,
            due,
        }
    }

    /// Whether every request has had its answer.
    pub(crate) fn is_whole(&self) -> bool {
        self.outstanding == 0
    }

    /// How many requests have an answer to come.
    pub(crate) fn outstanding(&self) -> usize {
        self.outstanding
    }

    /// Whether there are requests that nothing but an error answers.
    pub(crate) fn may_fail_unasked(&self) -> bool {
        self.may_fail_unasked
    }

    /// Takes the datagram in `buffer[start..end]`. What belongs to the answer is moved to `start`, and
    /// `start` behind it. Messages that answer another request are left out.
    pub(crate) fn take(
        &mut self,
        buffer: &mut [u8],
        start: &mut usize,
        end: usize,
    ) -> Result<Progress, Errno> {
        let mut at = *start;
        while at < end {
            let header = Header::read(&buffer[at..end]).ok_or(Errno::BADMSG)?;
            let (begin, behind) = (at, at + header.length);
            at += aligned(header.length);
            let index = header.seq.wrapping_sub(self.first) as usize;
            if index >= self.due.len() {
                continue;
            }
            // It is read to its end all the same, so that its socket can be used again.
            self.is_interrupted |= header.has(frame::DUMP_INTR);
            match header.kind {
                frame::ERROR | frame::DONE => {
                    let payload = &buffer[begin + frame::HEADER..behind];
                    let verdict = Verdict::read(&header, payload).ok_or(Errno::BADMSG)?;
                    if let Some(refusal) = self.end(index, verdict) {
                        return Ok(Progress::Refused(refusal));
                    }
                }
                frame::OVERRUN => return Err(Errno::NOBUFS),
                kind if kind < frame::FIRST_TYPE => {}
                _ => keep(buffer, start, begin..behind),
            }
        }
        Ok(match self.is_whole() {
            true if self.is_interrupted => Progress::Interrupted,
            true => Progress::Whole,
            false => Progress::Partial,
        })
    }

    /// Takes the verdict on a request, which ends its answer: the kernel acknowledges no dump that has begun, and
    /// sends the `DONE` of anything else before it acknowledges that. `NLM_F_MULTI` promises no `DONE`: a single
    /// entry of conntrack has it too.
    fn end(&mut self, index: usize, verdict: Verdict) -> Option<Refusal> {
        if std::mem::take(&mut self.due[index]) {
            self.outstanding -= 1;
        }
        (verdict.errno != 0).then_some(Refusal {
            errno: verdict.errno,
            index,
            text: verdict.text,
            offset: verdict.offset,
        })
    }
}

/// Moves a message to `start`, which in a dump is where it is, and pads it.
fn keep(buffer: &mut [u8], start: &mut usize, message: std::ops::Range<usize>) {
    let length = message.len();
    if message.start != *start {
        buffer.copy_within(message, *start);
    }
    let (behind, next) = (*start + length, *start + aligned(length));
    // The last one may come without its padding, and end with the buffer; the next needs its alignment.
    if let Some(padding) = buffer.get_mut(behind..next) {
        padding.fill(0);
    }
    *start = next;
}
