//! The processes that own a `:socket` of nlns. Each is watched, because `:socket` closes what it leaves on a
//! scheduler; see [`Owned`].
//!
//! When a process ends, erts calls those that watch it in the order in which they began to (the list of
//! `erl_monitor_link.h` grows at its end and is read from its start). So an owner is watched before its first
//! `:socket` is made, and nlns is called before `:socket` is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::hash::{DefaultHasher, Hash, Hasher};

use nlns_core::Owned;
use once_cell::sync::Lazy;
use parking_lot::Mutex;
use rustler::{Env, LocalPid, Monitor, Resource, ResourceArc};

type Owners = Mutex<HashMap<LocalPid, ResourceArc<Owner>>>;

/// Fewer, and what a map does to grow keeps a scheduler for longer; more is memory for nothing.
const SHARDS: usize = 64;

/// By the hash of the owner. Held for a look.
static OWNERS: Lazy<[Owners; SHARDS]> = Lazy::new(|| std::array::from_fn(|_| Mutex::default()));

fn owners(pid: &LocalPid) -> &'static Owners {
    let mut hasher = DefaultHasher::new();
    pid.hash(&mut hasher);
    &OWNERS[hasher.finish() as usize % SHARDS]
}

struct Owner(Owned);

#[rustler::resource_impl]
impl Resource for Owner {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, _env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        let _this = owners(&pid).lock().remove(&pid);
        self.0.leave();
    }
}

/// Watches the calling process, until it ends.
pub fn watch(env: Env<'_>) {
    let pid = env.pid();
    if let Entry::Vacant(place) = owners(&pid).lock().entry(pid) {
        let owner = ResourceArc::new(Owner(Owned::default()));
        if owner.monitor(Some(env), &pid).is_some() {
            place.insert(owner);
        }
    }
}

/// Remembers a descriptor of `:socket` for the end of a process that is watched.
pub fn add(pid: LocalPid, fd: i32) {
    let owner = owners(&pid).lock().get(&pid).cloned();
    if let Some(owner) = owner {
        owner.0.add(fd);
    }
}
