//! The paths in use, found by name or process number.

mod shard;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_queue::SegQueue;
use parking_lot::RwLock;
use rustix::process::Pid;

use crate::error::{Error, Stage};
use crate::netns::{NetnsKey, NetnsRef, PATH_MAX};
use crate::path::Path;
use crate::pidfd::Process;
use crate::request::{OnLeft, Request};

use shard::Shard;

/// So many unused paths wait until the pool is at rest; each takes some 3 KiB.
const MAX_UNUSED: usize = 4_096;

/// A shard that grows moves all it has, while callers wait for it: with so many, some 10 µs at 100,000
/// paths. With more it takes longer to count them.
const SHARDS: usize = 256;

/// A path is here while it has requests or a helper is inside, and for a short while after. Jobs are
/// pushed under a lock's read side, so under its write side "unused" is final.
pub(crate) struct Registry {
    hasher: RandomState,
    shards: [RwLock<Shard>; SHARDS],
    /// Paths that became unused since the last sweep; each is in it at most once.
    unused: SegQueue<Arc<Path>>,
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shards: std::array::from_fn(|_| RwLock::default()),
            unused: SegQueue::new(),
        }
    }

    /// Where a key belongs, and its hash.
    fn shard(&self, key: NetnsKey<'_>) -> (&RwLock<Shard>, u64) {
        // No path is longer; a caller on a scheduler would wait for what is.
        let hash = self.hasher.hash_one(match key {
            NetnsKey::Path(path) => NetnsKey::Path(&path[..path.len().min(PATH_MAX)]),
            process => process,
        });
        // The shard itself goes by the lowest bits and the highest.
        (&self.shards[(hash >> 32) as usize % SHARDS], hash)
    }

    /// Queues a request. `Some` path is to be scheduled by the caller.
    pub(crate) fn push(
        &self,
        key: NetnsKey<'_>,
        request: Request,
        max_queue: usize,
    ) -> Result<Option<Arc<Path>>, Error> {
        let (shard, hash) = self.shard(key);
        let reading = shard.read();
        if let Some(path) = reading.find(hash, key)? {
            return path.push(request, max_queue);
        }
        drop(reading);
        let netns = NetnsRef::try_from(key).map_err(|errno| Error::new(Stage::Open, errno))?;
        shard.write().add(hash, netns)?.push(request, max_queue)
    }

    /// Finds the process that has a number now, which one that a request waits for has still.
    pub(crate) fn process(&self, pid: Pid) -> Result<Arc<Process>, Error> {
        let (shard, hash) = self.shard(NetnsKey::Process(pid));
        let path = shard.read().find(hash, NetnsKey::Process(pid))?.cloned();
        match path.and_then(|path| path.process()) {
            Some(process) => Ok(process),
            None => Process::find(pid)
                .map(Arc::new)
                .map_err(|errno| Error::new(Stage::Open, errno)),
        }
    }

    /// Queues a release, likewise; `None` if there is no such path.
    pub(crate) fn push_release(
        &self,
        key: NetnsKey<'_>,
        on_left: OnLeft,
        max_queue: usize,
    ) -> Result<Option<Option<Arc<Path>>>, Error> {
        let (shard, hash) = self.shard(key);
        let reading = shard.read();
        let path = reading.find(hash, key)?;
        path.map(|path| path.push_release(on_left, max_queue))
            .transpose()
    }

    /// Drops a path that has neither requests nor a helper.
    pub(crate) fn forget_if_unused(&self, path: &Path) {
        if path.is_unused() {
            let (shard, hash) = self.shard(path.netns().key());
            shard.write().forget(hash, path);
        }
    }

    /// The same, but leaves it to a later [`sweep`](Self::sweep), because a path that was just used
    /// will often be used again; if many are left to it already, the one that is for the longest goes. Returns
    /// whether it was left to it now.
    pub(crate) fn forget_later(&self, path: &Arc<Path>) -> bool {
        let is_left = path.is_unused() && !path.to_be_swept.swap(true, Ordering::SeqCst);
        if is_left {
            self.unused.push(path.clone());
            if self.unused.len() > MAX_UNUSED {
                self.sweep_some(1);
            }
        }
        is_left
    }

    /// Drops every path that has neither requests nor a helper.
    pub(crate) fn sweep(&self) {
        self.sweep_some(self.unused.len());
    }

    fn sweep_some(&self, most: usize) {
        for path in std::iter::from_fn(|| self.unused.pop()).take(most) {
            // Before the look, so that a helper that leaves the path after it has the path swept again.
            path.to_be_swept.swap(false, Ordering::SeqCst);
            self.forget_if_unused(&path);
        }
    }

    /// From now on nothing is pushed. Answers what there was.
    pub(crate) fn close(&self) -> Vec<Arc<Path>> {
        let close = |shard: &RwLock<Shard>| shard.write().close();
        self.shards.iter().flat_map(close).collect()
    }

    /// The number of paths, and of the requests that wait for them.
    pub(crate) fn count(&self) -> (usize, usize) {
        self.shards.iter().fold((0, 0), |(paths, waiting), shard| {
            let shard = shard.read();
            (paths + shard.len(), waiting + shard.waiting())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::tests::request;

    fn key(name: &str) -> NetnsKey<'_> {
        NetnsKey::Path(name.as_bytes())
    }

    fn has(registry: &Registry, name: &str) -> bool {
        let key = key(name);
        let (shard, hash) = registry.shard(key);
        shard.read().find(hash, key).unwrap().is_some()
    }

    #[test]
    fn names_spread_over_the_shards() {
        let registry = Registry::new();
        let count = 100 * SHARDS;
        for n in 0..count {
            let name = format!("/run/netns/{n}");
            registry.push(key(&name), request(), 9).unwrap();
            assert!(has(&registry, &name));
        }
        assert_eq!(registry.count(), (count, count));
        // A hundred each, give or take ten; never a third or three times as many.
        for shard in &registry.shards {
            assert!((30..300).contains(&shard.read().len()));
        }
        assert_eq!(registry.close().len(), count);
        let late = registry.push(key("x"), request(), 9);
        assert_eq!(late.err(), Some(Error::STOPPED));
    }

    #[test]
    fn waiting_requests_share_the_pidfd() {
        crate::netns::Host::find().unwrap();
        let mut child = std::process::Command::new("sleep")
            .arg("60")
            .spawn()
            .unwrap();
        let (registry, pid) = (Registry::new(), Pid::from_child(&child));
        let push = || {
            let process = registry.process(pid).unwrap();
            let mut request = request();
            request.process = Some(process.clone());
            let path = registry.push(NetnsKey::Process(pid), request, 9).unwrap();
            (Arc::downgrade(&process), path)
        };
        let (first, path) = push();
        let (second, _) = push();
        assert!(first.ptr_eq(&second));
        while path.as_ref().unwrap().pop().is_some() {}
        assert_eq!(first.strong_count(), 0);
        let (third, _) = push();
        child.kill().unwrap();
        child.wait().unwrap();
        // One with its number later would be another.
        let has_pidfds = crate::pidfd::is_running(1).is_some();
        assert_eq!(registry.process(pid).is_err(), has_pidfds);
        assert!(third.strong_count() == 1);
    }

    #[test]
    fn late_forget_keeps_new_path() {
        let registry = Registry::new();
        let push = || registry.push(key("x"), request(), 9).unwrap().unwrap();
        let is_there = || has(&registry, "x");
        let serve = |path: &Path| assert!(path.pop().is_some() && path.unschedule());
        let old = push();
        serve(&old);
        registry.forget_if_unused(&old);
        assert!(!is_there());
        let young = push();
        serve(&young);
        registry.forget_if_unused(&old);
        assert!(is_there());
        registry.forget_if_unused(&young);
        assert!(!is_there());
    }

    #[test]
    fn path_reused_before_forget_is_kept() {
        let registry = Registry::new();
        let path = registry.push(key("x"), request(), 9).unwrap().unwrap();
        let (shard, hash) = registry.shard(key("x"));
        shard.write().forget(hash, &path);
        assert!(has(&registry, "x"));
    }

    /// A path that was used and is not used any more.
    fn leave(registry: &Registry, name: &str) -> Arc<Path> {
        let path = registry.push(key(name), request(), 9);
        let path = path.unwrap().expect("it is idle");
        assert!(path.pop().is_some() && path.unschedule());
        registry.forget_later(&path);
        path
    }

    #[test]
    fn unused_paths_are_bounded_until_sweep() {
        let registry = Registry::new();
        for n in 0..MAX_UNUSED + 9 {
            leave(&registry, &n.to_string());
        }
        assert_eq!(registry.count().0, MAX_UNUSED);
        assert!(!has(&registry, "8") && has(&registry, "9"));
        registry.sweep();
        assert_eq!(registry.count().0, 0);
    }

    #[test]
    fn reused_path_survives_one_sweep() {
        let registry = Registry::new();
        let path = leave(&registry, "x");
        registry.push(key("x"), request(), 9).unwrap();
        registry.sweep();
        assert_eq!(registry.count(), (1, 1));
        assert!(path.pop().is_some() && path.unschedule());
        for _ in 0..3 {
            registry.forget_later(&path);
        }
        assert_eq!(registry.unused.len(), 1);
        registry.sweep();
        assert_eq!(registry.count(), (0, 0));
    }
}
