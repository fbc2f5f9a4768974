//! A request's way out of a scheduler and its answer's way back into a mailbox.

use nlns_core::{Error, Handover, Reply, Socket, Spec};
use rustler::{Encoder, Env, NifStruct, Reference, ResourceArc, Term};

use crate::descriptor::Descriptor;
use crate::message::{Message, with_failure};
use crate::netns::Netns;
use crate::{running, terms};

#[derive(NifStruct)]
#[module = "Nlns.Handle"]
struct Handle {
    resource: ResourceArc<Descriptor>,
}

/// `{:ok, resource}`, and then `{:nlns, ref, :ok}` or `{:nlns, ref, {:error, {stage, errno}}}` to the
/// caller, who has the descriptor in the resource; or `{:error, {stage, errno}}` at once.
#[rustler::nif]
fn open<'a>(
    env: Env<'a>,
    netns: Netns<'a>,
    domain: u16,
    kind: u32,
    protocol: u32,
    reference: Reference<'a>,
) -> Term<'a> {
    submit(env, netns, (domain, kind, protocol), |env, _| {
        (terms::nlns(), reference.in_env(env), terms::ok()).encode(env)
    })
}

/// The same with `{:nlns, ref, {:ok, %Nlns.Handle{}}}` for a success.
#[rustler::nif]
fn open_handle<'a>(
    env: Env<'a>,
    netns: Netns<'a>,
    domain: u16,
    kind: u32,
    protocol: u32,
    reference: Reference<'a>,
) -> Term<'a> {
    submit(env, netns, (domain, kind, protocol), |env, descriptor| {
        let handle = Handle {
            resource: descriptor.clone(),
        };
        (terms::nlns(), reference.in_env(env), (terms::ok(), handle)).encode(env)
    })
}

fn submit<'a>(
    env: Env<'a>,
    netns: Netns<'a>,
    (domain, kind, protocol): (u16, u32, u32),
    success: impl for<'m> FnOnce(Env<'m>, &ResourceArc<Descriptor>) -> Term<'m>,
) -> Term<'a> {
    let descriptor = ResourceArc::new(Descriptor(Handover::default()));
    let spec = Spec {
        domain,
        kind,
        protocol,
    };
    let answer = Box::new(Answer {
        descriptor: descriptor.clone(),
        success: Message::new(env, |env| success(env, &descriptor)),
    });
    let submitted =
        running::pool_or_stopped().and_then(|pool| pool.open(netns.key()?, spec, answer));
    match submitted {
        Ok(()) => (terms::ok(), descriptor).encode(env),
        Err(error) => terms::failure(env, error),
    }
}

struct Answer {
    descriptor: ResourceArc<Descriptor>,
    /// Made by the caller, who has time, not by the helper.
    success: Message,
}

impl Reply for Answer {
    fn is_wanted(&self) -> bool {
        !self.descriptor.0.is_cancelled()
    }

    fn caller(&self) -> u64 {
        self.success.caller()
    }

    fn answer(self: Box<Self>, result: Result<Socket, Error>) {
        let Self {
            descriptor,
            success,
        } = *self;
        let handover = &descriptor.0;
        let (socket, error) = match result {
            Ok(socket) => (Some(socket), None),
            Err(error) => (None, Some(error)),
        };
        let Some(_sending) = handover.offer(socket) else {
            return;
        };
        let sent = success.send(|env, message| match error {
            None => message,
            Some(error) => with_failure(env, message, error),
        });
        if !sent {
            // The caller has died, and nobody else knows of the descriptor.
            drop(handover.take());
        }
    }
}
