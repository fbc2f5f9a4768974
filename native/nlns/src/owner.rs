//! The processes that own a `:socket` of nlns. Each is watched, because `:socket` closes what it leaves on a
//! scheduler; see [`Owned`].
//!
//! When a process ends, erts calls those that watch it in the order in which they began to (the list of
//! `erl_monitor_link.h` grows at its end and is read from its start). So an owner is watched before its first
//! `:socket` is made, and nlns is called before `:socket` is.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use nlns_core::Owned;
use once_cell::sync::Lazy;
use parking_lot::Mutex;
use rustler::{Env, LocalPid, Monitor, Resource, ResourceArc};

/// Held for a look.
static OWNERS: Lazy<Mutex<HashMap<LocalPid, ResourceArc<Owner>>>> = Lazy::new(Mutex::default);

struct Owner(Owned);

#[rustler::resource_impl]
impl Resource for Owner {
    const IMPLEMENTS_DOWN: bool = true;

    fn down<'a>(&'a self, _env: Env<'a>, pid: LocalPid, _monitor: Monitor) {
        let _this = OWNERS.lock().remove(&pid);
        self.0.leave();
    }
}

/// Watches the calling process, until it ends.
pub fn watch(env: Env<'_>) {
    let pid = env.pid();
    if let Entry::Vacant(place) = OWNERS.lock().entry(pid) {
        let owner = ResourceArc::new(Owner(Owned::default()));
        if owner.monitor(Some(env), &pid).is_some() {
            place.insert(owner);
        }
    }
}

/// Remembers a descriptor of `:socket` for the end of a process that is watched.
pub fn add(pid: LocalPid, fd: i32) {
    let owner = OWNERS.lock().get(&pid).cloned();
    if let Some(owner) = owner {
        owner.0.add(fd);
    }
}
