//! A netlink exchange's way out of a scheduler, and its answer's way back: messages whose payloads are parts
//! of one binary, which the kernel has written.

use std::time::{Duration, Instant};

use nlns_core::netlink::frame::{FIRST_TYPE, HEADER, Messages};
use nlns_core::netlink::{Exchange, ExchangeReply, Outcome, Refusal};
use nlns_core::{Error, Handover, Reply};
use rustler::{Binary, Encoder, Env, NewBinary, OwnedBinary, Reference, ResourceArc, Term};

use crate::descriptor::Descriptor;
use crate::message::Message;
use crate::netns::Netns;
use crate::{running, terms};

/// `{:ok, resource}`, and then `{:nlns, ref, {:ok, [%Nlns.Netlink.Message{}]}}` or
/// `{:nlns, ref, {:error, reason}}` to the caller; or `{:error, {stage, errno}}` at once.
///
/// `request` is encoded messages; `timeout` is in ms, or `nil` for none.
#[rustler::nif]
fn exchange<'a>(
    env: Env<'a>,
    netns: Netns<'a>,
    protocol: u32,
    request: Binary<'a>,
    max_reply: usize,
    timeout: Option<u64>,
    reference: Reference<'a>,
) -> Term<'a> {
    let descriptor = ResourceArc::new(Descriptor(Handover::default()));
    let answer = Box::new(Answer {
        descriptor: descriptor.clone(),
        message: Message::new(env, |env| (*reference).in_env(env)),
        memory: None,
    });
    let deadline = timeout.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
    let exchange = Exchange::new(protocol, request.to_vec(), max_reply, deadline);
    let submitted = exchange.and_then(|exchange| {
        let pool = running::pool_or_stopped()?;
        pool.exchange(netns.key()?, exchange, answer)
    });
    match submitted {
        Ok(()) => (terms::ok(), descriptor).encode(env),
        Err(error) => terms::failure(env, error),
    }
}

struct Answer {
    /// Holds no descriptor; the caller cancels by it.
    descriptor: ResourceArc<Descriptor>,
    message: Message,
    /// Where the kernel writes, and later the one binary of the answer.
    memory: Option<OwnedBinary>,
}

impl Reply<Outcome> for Answer {
    fn is_wanted(&self) -> bool {
        !self.descriptor.0.is_cancelled() && self.message.has_receiver()
    }

    fn caller(&self) -> u64 {
        self.message.caller()
    }

    fn answer(self: Box<Self>, result: Result<Outcome, Error>) {
        let Self {
            descriptor,
            message,
            memory,
        } = *self;
        let Some(_sending) = descriptor.0.offer(None) else {
            return;
        };
        // A caller that has died waits for nothing, and what was to be sent is freed.
        message.send(|env, reference| {
            let result = match result {
                Ok(Outcome::Answered(length)) => {
                    (terms::ok(), messages(env, memory, length)).encode(env)
                }
                Ok(Outcome::Refused(refusal)) => {
                    (terms::error(), refusal_term(env, &refusal)).encode(env)
                }
                Err(error) => terms::failure(env, error),
            };
            (terms::nlns(), reference, result).encode(env)
        });
    }
}

impl ExchangeReply for Answer {
    fn space(&mut self, size: usize) -> Option<&mut [u8]> {
        match &mut self.memory {
            Some(memory) if memory.len() >= size => {}
            Some(memory) => memory.realloc(size).then_some(())?,
            None => self.memory = Some(OwnedBinary::new(size)),
        }
        self.memory.as_deref_mut()
    }
}

/// `[%Nlns.Netlink.Message{}]`
fn messages<'a>(env: Env<'a>, memory: Option<OwnedBinary>, length: usize) -> Term<'a> {
    let Some(mut memory) = memory.filter(|_| length > 0) else {
        return Term::list_new_empty(env);
    };
    // What was not used goes back; if it cannot, the rest is not looked at.
    let _ = memory.realloc(length);
    let binary = memory.release(env);
    let keys = terms::message_keys(env);
    // The padding of the last message may lie behind the end.
    let answer = &binary.as_slice()[..length.min(binary.len())];
    let headers = Messages::new(answer).flatten();
    let messages: Vec<_> = headers
        .filter(|(_, header)| header.kind >= FIRST_TYPE)
        .map(|(at, header)| {
            let payload = binary.make_subbinary(at + HEADER, header.length - HEADER);
            let payload = payload.expect("a message is within the binary");
            let values = [
                terms::message_struct().to_term(env),
                header.kind.encode(env),
                header.flags.encode(env),
                header.seq.encode(env),
                header.pid.encode(env),
                payload.to_term(env),
            ];
            Term::map_from_term_arrays(env, &keys, &values).expect("six keys that differ")
        })
        .collect();
    messages.encode(env)
}

/// `{:netlink, errno, %{message: text | nil, offset: offset | nil, index: index}}`
fn refusal_term<'a>(env: Env<'a>, refusal: &Refusal) -> Term<'a> {
    let text = refusal.text.as_ref().map(|text| {
        let mut binary = NewBinary::new(env, text.len());
        binary.copy_from_slice(text);
        Binary::from(binary)
    });
    let keys = [terms::message(), terms::offset(), terms::index()].map(|key| key.to_term(env));
    let values = [
        text.encode(env),
        refusal.offset.encode(env),
        refusal.index.encode(env),
    ];
    let details = Term::map_from_term_arrays(env, &keys, &values).expect("three keys that differ");
    (terms::netlink(), refusal.errno, details).encode(env)
}
