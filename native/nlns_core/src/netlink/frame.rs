//! The framing of netlink(7): the header of each message, and what the kernel says of a request. Everything
//! else in a message is payload here. No system calls.
//!
//! Numbers are in the machine's byte order. Nothing here trusts a length.

/// `NLMSG_HDRLEN`
pub const HEADER: usize = 16;

/// `NLMSG_MIN_TYPE`: the types below are netlink's own.
pub const FIRST_TYPE: u16 = 16;
pub(crate) const ERROR: u16 = 2;
pub(crate) const DONE: u16 = 3;
pub(crate) const OVERRUN: u16 = 4;

pub(crate) const REQUEST: u16 = 0x001;
#[cfg(test)]
pub(crate) const MULTI: u16 = 0x002;
pub(crate) const ACK: u16 = 0x004;
pub(crate) const DUMP_INTR: u16 = 0x010;
pub(crate) const DUMP: u16 = 0x300;
/// Of an error: the request behind its header is left out.
const CAPPED: u16 = 0x100;
/// Of an error or of a dump's end: attributes follow.
const ACK_TLVS: u16 = 0x200;

/// `NLMSGERR_ATTR_MSG` and `NLMSGERR_ATTR_OFFS` (Linux 4.12).
const TEXT: u16 = 1;
const OFFSET: u16 = 2;

/// `struct nlmsghdr`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// With the header, without padding.
    pub length: usize,
    /// `nlmsg_type`
    pub kind: u16,
    /// `NLM_F_*`
    pub flags: u16,
    /// Which request it is, or answers.
    pub seq: u32,
    /// The port of the socket that asked.
    pub pid: u32,
}

impl Header {
    /// Reads the header at the start of `bytes`; `None` unless the whole message is there.
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let length = u32_at(bytes, 0)? as usize;
        let header = Self {
            length,
            kind: u16_at(bytes, 4)?,
            flags: u16_at(bytes, 6)?,
            seq: u32_at(bytes, 8)?,
            pid: u32_at(bytes, 12)?,
        };
        (HEADER..=bytes.len()).contains(&length).then_some(header)
    }

    pub(crate) fn has(&self, flags: u16) -> bool {
        self.flags & flags == flags
    }
}

/// Marks a message as a request with this number, of a socket that the kernel knows.
pub(crate) fn address(message: &mut [u8], flags: u16, seq: u32) {
    message[6..8].copy_from_slice(&flags.to_ne_bytes());
    message[8..12].copy_from_slice(&seq.to_ne_bytes());
    message[12..16].fill(0);
}

/// Iterates over messages that follow each other; `None` for what is no whole message, and then ends.
pub struct Messages<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Messages<'a> {
    /// Those in `bytes`.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { bytes, at: 0 }
    }
}

impl Iterator for Messages<'_> {
    /// Where it begins, and its header.
    type Item = Option<(usize, Header)>;

    fn next(&mut self) -> Option<Self::Item> {
        let (at, rest) = (self.at, self.bytes.get(self.at..)?);
        if rest.is_empty() {
            return None;
        }
        let header = Header::read(rest);
        self.at = match header {
            Some(header) => at + aligned(header.length),
            None => usize::MAX,
        };
        Some(header.map(|header| (at, header)))
    }
}

/// `NLMSG_ALIGN` and `NLA_ALIGN`.
pub(crate) fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// What the kernel says of a request, in a message of the type `ERROR` or `DONE`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Verdict {
    /// 0 for an acknowledgement.
    pub(crate) errno: i32,
    pub(crate) text: Option<Vec<u8>>,
    pub(crate) offset: Option<u32>,
}

impl Verdict {
    /// `None` if the message is too short to say anything.
    pub(crate) fn read(header: &Header, payload: &[u8]) -> Option<Self> {
        let Some(code) = u32_at(payload, 0) else {
            // Some families of old kernels end a dump with nothing.
            return (header.kind == DONE).then(Self::default);
        };
        let mut verdict = Self {
            errno: (code as i32).saturating_abs(),
            ..Self::default()
        };
        if header.has(ACK_TLVS) {
            let behind = match header.kind {
                ERROR => 4 + echoed(header, payload),
                _ => 4,
            };
            verdict.read_attributes(payload.get(behind..).unwrap_or_default());
        }
        Some(verdict)
    }

    fn read_attributes(&mut self, mut bytes: &[u8]) {
        while let Some((kind, value, rest)) = attribute(bytes) {
            match kind {
                TEXT => self.text = value.split(|byte| *byte == 0).next().map(<[u8]>::to_vec),
                OFFSET => self.offset = u32_at(value, 0),
                _ => {}
            }
            bytes = rest;
        }
    }
}

/// How much of the request stands in an error: its header, and what follows unless that was capped.
fn echoed(header: &Header, payload: &[u8]) -> usize {
    match u32_at(payload, 4) {
        Some(length) if !header.has(CAPPED) => aligned(HEADER.max(length as usize)),
        _ => HEADER,
    }
}

/// The first attribute (`struct nlattr`): its type, its value, and what follows.
fn attribute(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    const NLA_TYPE_MASK: u16 = 0x3fff;
    let length = usize::from(u16_at(bytes, 0)?);
    let kind = u16_at(bytes, 2)? & NLA_TYPE_MASK;
    let value = bytes.get(4..length)?;
    Some((
        kind,
        value,
        bytes.get(aligned(length)..).unwrap_or_default(),
    ))
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u16::from_ne_bytes(*bytes))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_ne_bytes(*bytes))
}
