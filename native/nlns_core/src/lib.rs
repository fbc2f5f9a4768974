//! Sockets in other network namespaces, opened by helper threads that stay there.
//!
//! `setns(2)` moves one thread, so the threads that move are the pool's own. Each path in use has a
//! queue. A request makes its path *ready*, an awake helper takes the path, proves that it still
//! leads to the namespace it is in (or goes where it leads now), opens the sockets and answers;
//! then the next path. Out of work it falls asleep where it is, **pinned**, and leaves when it has
//! lingered long enough. Everything a caller waits for comes as one call of a [`Reply`].
//!
//! | module | its one responsibility |
//! |---|---|
//! | [`pool`](Pool) | the whole, as seen from outside |
//! | `registry`, `path` | which paths are in use; one path's queue |
//! | `right` | the right to serve it |
//! | `crew`, `helper` | who is awake, who sleeps where; one helper as others see it |
//! | `work` | what a helper thread does |
//! | `counters` | what has happened, and that each answer is counted |
//! | `cpus` | where a thread may run |
//! | `spin` | how long it looks for work before it sleeps |
//! | `manager` | starting, joining and watching over helpers, ending their naps |
//! | `watcher` | telling sleeping helpers that their namespace's name or process is gone |
//! | [`observer`](Event) | what is told of helpers that settle and leave |
//! | `netns` | identity of namespaces; entering, returning, proven sockets |
//! | [`Socket`] | an open socket; closing it without waiting |
//! | `closer` | closing what takes its time; when to hold back opens that add to it |
//! | `held_back` | paths that hold such opens back |
//! | `identity` | which socket a number names |
//! | [`Handover`] | one descriptor's way from helper to caller |
//! | `process` | a process as distinct from its number |
//! | [`issued`] | which descriptors were given away as numbers |
//! | [`features`] | what this kernel has, and what stands in for what it lacks |
//! | `sys` | system calls that need `unsafe` |

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
mod manager;
pub mod netlink;
mod netns;
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
pub use pidfd::is_running;
pub use pool::{HelperInfo, Info, Pool, State};
pub use reply::Reply;
pub use shared::Config;
pub use socket::Socket;
pub use sys::{thread_exists, with_borrowed};
