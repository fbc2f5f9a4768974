//! A request's way out of a scheduler and its answer's way back into a mailbox.

use nlns_core::{Error, Handover, Reply, Socket, Spec};
use rustler::env::SavedTerm;
use rustler::types::tuple::get_tuple;
use rustler::{
    Binary, Decoder, Encoder, Env, LocalPid, NifResult, NifStruct, OwnedEnv, Reference,
    ResourceArc, Term,
};

use crate::descriptor::Descriptor;
use crate::{running, terms};

#[derive(NifStruct)]
#[module = "Nlns.Handle"]
struct Handle {
    resource: ResourceArc<Descriptor>,
}

/// Where to open: a path, or a process by its number.
enum Where<'a> {
    Process(i32),
    Path(Binary<'a>),
}

impl<'a> Decoder<'a> for Where<'a> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let path = term.decode().map(Self::Path);
        path.or_else(|_| term.decode().map(Self::Process))
    }
}

/// `{:ok, resource}`, and then `{:nlns, ref, answer}` to the caller; or `{:error, {stage, errno}}`.
#[rustler::nif]
fn open<'a>(
    env: Env<'a>,
    place: Where<'a>,
    domain: u16,
    kind: u32,
    protocol: u32,
    reference: Reference<'a>,
) -> Term<'a> {
    let descriptor = ResourceArc::new(Descriptor(Handover::default()));
    let spec = Spec {
        domain,
        kind,
        protocol,
    };
    let answer = Box::new(Answer::new(env, reference, descriptor.clone()));
    let submitted = running::pool_or_stopped().and_then(|pool| match place {
        Where::Path(path) => pool.open(&path, spec, answer),
        Where::Process(pid) => pool.open_process(pid, spec, answer),
    });
    match submitted {
        Ok(()) => (terms::ok(), descriptor).encode(env),
        Err(error) => terms::failure(env, error),
    }
}

struct Answer {
    descriptor: ResourceArc<Descriptor>,
    caller: LocalPid,
    env: OwnedEnv,
    /// `{:nlns, ref, {:ok, handle}}`, made by the caller, who has time, not by the helper.
    success: SavedTerm,
}

impl Answer {
    fn new<'a>(
        env: Env<'a>,
        reference: Reference<'a>,
        descriptor: ResourceArc<Descriptor>,
    ) -> Self {
        let message = OwnedEnv::new();
        let success = message.run(|env| {
            let handle = Handle {
                resource: descriptor.clone(),
            };
            let reference = reference.in_env(env);
            message.save((terms::nlns(), reference, (terms::ok(), handle)))
        });
        Self {
            descriptor,
            caller: env.pid(),
            env: message,
            success,
        }
    }
}

impl Reply for Answer {
    fn is_wanted(&self) -> bool {
        !self.descriptor.0.is_cancelled()
    }

    fn answer(mut self: Box<Self>, result: Result<Socket, Error>) {
        let handover = &self.descriptor.0;
        let (socket, error) = match result {
            Ok(socket) => (Some(socket), None),
            Err(error) => (None, Some(error)),
        };
        let Some(_sending) = handover.offer(socket) else {
            return;
        };
        let success = self.success;
        let sent = self.env.send_and_clear(&self.caller, |env| {
            let message = success.load(env);
            match error {
                None => message,
                Some(error) => with_failure(env, message, error),
            }
        });
        if sent.is_err() {
            // The caller has died, and nobody else knows of the descriptor.
            drop(handover.take());
        }
    }
}

/// The message with an error in the handle's place.
fn with_failure<'a>(env: Env<'a>, message: Term<'a>, error: Error) -> Term<'a> {
    let reference = get_tuple(message).expect("a tuple of three")[1];
    (terms::nlns(), reference, terms::failure(env, error)).encode(env)
}
