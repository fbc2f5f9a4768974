//! The framing and the end of answers, with bytes of every kind.

use proptest::collection::vec;
use proptest::prelude::*;

use super::frame::{self, ACK, DONE, DUMP_INTR, ERROR, HEADER, Header, MULTI, Messages, Verdict};
use super::reply::{Answers, Progress, Refusal};
use super::{Exchange, Stage};

const FIRST: u32 = u32::MAX - 1;

fn message(kind: u16, flags: u16, seq: u32, payload: &[u8]) -> Vec<u8> {
    let length = (HEADER + payload.len()) as u32;
    let mut bytes = length.to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(flags.to_ne_bytes());
    bytes.extend(seq.to_ne_bytes());
    bytes.extend(7_u32.to_ne_bytes());
    bytes.extend(payload);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn verdict(errno: i32) -> Vec<u8> {
    (-errno).to_ne_bytes().to_vec()
}

fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
    let mut bytes = ((4 + value.len()) as u16).to_ne_bytes().to_vec();
    bytes.extend(kind.to_ne_bytes());
    bytes.extend(value);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// Everything that `answers` makes of these datagrams: what it keeps, and how it ends.
fn take(mut answers: Answers, datagrams: &[Vec<u8>]) -> (Vec<u8>, Progress) {
    let (mut buffer, mut start) = (Vec::new(), 0);
    let mut progress = Progress::Partial;
    for datagram in datagrams {
        buffer.truncate(start);
        buffer.extend(datagram);
        let end = buffer.len();
        progress = answers.take(&mut buffer, &mut start, end).unwrap();
        if progress != Progress::Partial {
            break;
        }
    }
    buffer.truncate(start);
    (buffer, progress)
}

fn one() -> Answers {
    Answers::new(FIRST, std::iter::once(true))
}

#[test]
fn acknowledgement_or_done_ends_answer() {
    let ack = message(ERROR, 0, FIRST, &verdict(0));
    let done = message(DONE, MULTI, FIRST, &verdict(0));
    assert_eq!(
        take(one(), std::slice::from_ref(&ack)),
        (Vec::new(), Progress::Whole)
    );
    let part = message(16, MULTI, FIRST, b"part");
    for end in [vec![ack.clone()], vec![done.clone()], vec![done, ack]] {
        let datagrams = [vec![part.clone(), part.clone()], end].concat();
        let whole = ([part.clone(), part.clone()].concat(), Progress::Whole);
        assert_eq!(take(one(), &datagrams), whole);
    }
}

#[test]
fn interrupted_dump_is_told_at_its_end() {
    let part = |flags| message(16, MULTI | flags, FIRST, b"part");
    let done = |flags| message(DONE, MULTI | flags, FIRST, &verdict(0));
    let of = |datagrams: &[Vec<u8>]| take(one(), datagrams).1;
    assert_eq!(of(&[part(DUMP_INTR), part(0)]), Progress::Partial);
    assert_eq!(of(&[part(DUMP_INTR), done(0)]), Progress::Interrupted);
    assert_eq!(of(&[part(0), done(DUMP_INTR)]), Progress::Interrupted);
}

#[test]
fn refusal_has_index_and_kernel_text() {
    let request = message(16, ACK, FIRST.wrapping_add(2), b"something");
    let attributes = [
        attribute(1, b"no such thing\0"),
        attribute(2, &20_u32.to_ne_bytes()),
    ];
    let capped = [&verdict(95)[..], &request[..HEADER], &attributes.concat()].concat();
    let echoed = [&verdict(95)[..], &request, &attributes.concat()].concat();
    for (flags, payload) in [(0x300, capped), (0x200, echoed)] {
        let answers = Answers::new(FIRST, [true, true, true].into_iter());
        let error = message(ERROR, flags, FIRST.wrapping_add(2), &payload);
        let refusal = Refusal {
            errno: 95,
            index: 2,
            text: Some(b"no such thing".to_vec()),
            offset: Some(20),
        };
        assert_eq!(take(answers, &[error]).1, Progress::Refused(refusal));
    }
}

#[test]
fn unacknowledged_request_may_fail() {
    let answers = || Answers::new(FIRST, [false, true, false].into_iter());
    assert!(answers().may_fail_unasked() && answers().outstanding() == 1);
    let ack = message(ERROR, 0, FIRST.wrapping_add(1), &verdict(0));
    assert_eq!(take(answers(), &[ack]).1, Progress::Whole);
    let error = message(ERROR, 0, FIRST, &verdict(1));
    assert!(matches!(take(answers(), &[error]).1, Progress::Refused(_)));
    assert!(!one().may_fail_unasked());
}

#[test]
fn broken_and_overrun_datagrams_are_errors() {
    let overrun = message(frame::OVERRUN, 0, FIRST, b"");
    for (mut datagram, errno) in [
        (overrun, rustix::io::Errno::NOBUFS),
        (vec![0; 16], rustix::io::Errno::BADMSG),
        (vec![1; 3], rustix::io::Errno::BADMSG),
        (message(ERROR, 0, FIRST, b""), rustix::io::Errno::BADMSG),
    ] {
        let end = datagram.len();
        assert_eq!(one().take(&mut datagram, &mut 0, end), Err(errno));
    }
}

#[test]
fn requests_are_whole_messages() {
    let error = |request| {
        Exchange::new(0, request, 1, None)
            .err()
            .map(|error| error.stage)
    };
    assert_eq!(error(Vec::new()), Some(Stage::Send));
    assert_eq!(error(vec![0; 16]), Some(Stage::Send));
    assert_eq!(
        error(message(1, 0, 0, b"a")[..17].to_vec()),
        Some(Stage::Send)
    );
    assert_eq!(error(message(1, 0, 0, b"a")), None);
}

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    // Lengths that fit are rare among random ones.
    let framed = (
        any::<u16>(),
        any::<u16>(),
        0..3_u32,
        vec(any::<u8>(), 0..60),
    )
        .prop_map(|(kind, flags, seq, payload)| {
            message(kind % 20, flags, FIRST.wrapping_add(seq), &payload)
        });
    prop_oneof![
        vec(any::<u8>(), 0..80),
        vec(framed, 0..6).prop_map(|all| all.concat())
    ]
}

proptest! {
    #[test]
    fn any_bytes_are_walked_within_bounds(bytes in bytes()) {
        let mut next = 0;
        for (at, header) in Messages::new(&bytes).flatten() {
            prop_assert_eq!(at, next);
            prop_assert!(header.length >= HEADER && at + header.length <= bytes.len());
            prop_assert_eq!(Header::read(&bytes[at..]), Some(header));
            let _ = Verdict::read(&header, &bytes[at + HEADER..at + header.length]);
            next = at + frame::aligned(header.length);
        }
    }

    #[test]
    fn any_datagram_keeps_its_bounds(
        before in vec(any::<u8>(), 0..8),
        bytes in bytes(),
        acknowledged in vec(any::<bool>(), 1..4),
    ) {
        let mut start = before.len() * 4;
        let mut buffer = [vec![9; start], bytes].concat();
        let (end, kept) = (buffer.len(), start);
        let mut answers = Answers::new(FIRST, acknowledged.into_iter());
        let _ = answers.take(&mut buffer, &mut start, end);
        prop_assert!((kept..=frame::aligned(end)).contains(&start) && start % 4 == 0);
        prop_assert!(buffer.iter().take(kept).all(|byte| *byte == 9));
    }

    /// The specification of an answer, said another way: the messages of the kernel that carry the numbers of
    /// the requests, in order, up to the last end, whatever else comes and however it is packed.
    #[test]
    fn answer_is_what_carries_its_numbers(
        parts in vec((0..3_u32, 0..4_u32, vec(any::<u8>(), 0..30)), 0..20),
        cuts in vec(any::<bool>(), 24),
    ) {
        let mut stream: Vec<_> = parts
            .iter()
            .map(|(seq, foreign, payload)| {
                let seq = FIRST.wrapping_add(*seq).wrapping_add(foreign / 3 * 1_000);
                message(16, MULTI, seq, payload)
            })
            .collect();
        let expected: Vec<_> = stream
            .iter()
            .filter(|bytes| Header::read(bytes).unwrap().seq.wrapping_sub(FIRST) < 3)
            .flatten()
            .copied()
            .collect();
        stream.extend((0..3).map(|seq| message(DONE, MULTI, FIRST.wrapping_add(seq), &verdict(0))));
        let mut datagrams: Vec<Vec<u8>> = vec![Vec::new()];
        for (bytes, cut) in stream.iter().zip(cuts) {
            if cut {
                datagrams.push(Vec::new());
            }
            datagrams.last_mut().unwrap().extend(bytes);
        }
        let answers = Answers::new(FIRST, [true; 3].into_iter());
        prop_assert_eq!(take(answers, &datagrams), (expected, Progress::Whole));
    }
}
