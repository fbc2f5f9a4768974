//! What a namespace is named by, as Elixir terms: a path or a process's number from the caller, a path or
//! `{:pid, pid}` to it.

use nlns_core::{Error, NetnsKey, NetnsRef};
use rustler::{Binary, Decoder, Encoder, Env, NewBinary, NifResult, Term};

use crate::terms;

/// A path, or a process by its number.
pub enum Netns<'a> {
    Process(i32),
    Path(Binary<'a>),
}

impl<'a> Decoder<'a> for Netns<'a> {
    fn decode(term: Term<'a>) -> NifResult<Self> {
        let path = term.decode().map(Self::Path);
        path.or_else(|_| term.decode().map(Self::Process))
    }
}

impl Netns<'_> {
    /// As the core takes it.
    pub fn key(&self) -> Result<NetnsKey<'_>, Error> {
        match self {
            Self::Process(pid) => NetnsKey::process(*pid),
            Self::Path(path) => Ok(NetnsKey::Path(path)),
        }
    }
}

/// As `t:Nlns.netns/0` has it.
pub fn term<'a>(env: Env<'a>, netns: &NetnsRef) -> Term<'a> {
    match netns {
        NetnsRef::Process(pid) => (terms::pid(), pid.as_raw_nonzero().get()).encode(env),
        NetnsRef::Path(path) => {
            let mut binary = NewBinary::new(env, path.to_bytes().len());
            binary.copy_from_slice(path.to_bytes());
            Binary::from(binary).encode(env)
        }
    }
}
