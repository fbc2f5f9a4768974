//! Threads that work inside other network namespaces: they open sockets and carry out netlink exchanges.
//!
//! `README.md` beside this crate explains how the threads work together: the way of a request, the states of a
//! helper, why no wake-up is lost, and the layers of the modules. From outside, a [`Pool`] takes requests, and
//! each is answered by one call of its [`Reply`].
//!
//! | item | purpose |
//! |---|---|
//! | [`Pool`] | starts, opens, exchanges, releases, reports, stops |
//! | [`Socket`] | owns an open socket, and closes it without keeping the caller waiting |
//! | [`Owned`] | closes what a process of the VM leaves, where that takes long |
//! | [`Handover`] | carries one descriptor from helper to caller, if either gives up or dies |
//! | [`netlink`] | requests to the kernel and their whole answers |
//! | [`issued`] | descriptors that were given away as numbers |
//! | [`features`] | optional features of the kernel, and what stands in for each |
//! | [`Event`] | tells where helpers sleep and when they leave |

mod affinity;
mod claim;
mod clock;
mod closer;
mod control;
mod error;
mod events;
pub mod features;
mod handover;
mod held_back;
mod helper;
mod identity;
mod idle;
pub mod issued;
mod linger;
mod manager;
pub mod netlink;
mod netns;
mod owned;
mod path;
mod pidfd;
mod pool;
mod procfs;
mod ready;
mod registry;
mod reply;
mod request;
mod shared;
mod socket;
mod stats;
mod sys;
mod threads;
mod turn;
mod watcher;
mod worker;

#[cfg(loom)]
pub use claim::Claim;
pub use closer::MAX_CLOSING;
pub use error::{Error, Stage};
pub use events::{Event, EventKind, LeaveReason};
pub use handover::{Cancelled, Handover, Sending};
pub use netns::{NetnsKey, NetnsRef, Spec};
pub use owned::Owned;
pub use pidfd::is_running;
pub use pool::{HelperInfo, Info, Pool, State};
pub use reply::Reply;
pub use shared::Config;
pub use socket::Socket;
pub use sys::{thread_exists, with_borrowed};
