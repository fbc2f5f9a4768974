//! The paths in use, by name.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crossbeam_channel::{Receiver, Sender, unbounded};
use parking_lot::RwLock;

use crate::error::{Error, Stage};
use crate::path::{Path, Request};
use crate::release::Announce;
use rustix::io::Errno;

/// The kernel's bound for a path with its terminating NUL (limits.h, path_resolution(7)).
const PATH_MAX: usize = 4096;

/// So many unused paths wait for a helper that has nothing else to do; each takes some 3 KiB.
const MOST_UNUSED: usize = 4_096;

/// A path is here while it has requests or a helper is inside, and for a short while after. Jobs are
/// pushed under the lock's read side, so under its write side "unused" is final.
pub(crate) struct Registry {
    paths: RwLock<Paths>,
    /// Paths that became unused since the last sweep; each is in it at most once.
    unused: (Sender<Arc<Path>>, Receiver<Arc<Path>>),
}

struct Paths {
    open: bool,
    by_name: HashMap<Name, Arc<Path>>,
}

/// A path's name, to be found by its bytes as they come from the caller.
#[derive(PartialEq, Eq)]
struct Name(Arc<CStr>);

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.0.to_bytes()
    }
}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.to_bytes().hash(state);
    }
}

impl Registry {
    pub(crate) fn new() -> Self {
        Self {
            paths: RwLock::new(Paths {
                open: true,
                by_name: HashMap::new(),
            }),
            unused: unbounded(),
        }
    }

    /// Queues a request. `Some` path is to be scheduled by the caller.
    pub(crate) fn push(
        &self,
        name: &[u8],
        request: Request,
        max_queue: usize,
    ) -> Result<Option<Arc<Path>>, Error> {
        if name.len() >= PATH_MAX {
            return Err(Error::new(Stage::Open, Errno::NAMETOOLONG));
        }
        let paths = self.paths.read();
        if let Some(path) = paths.find(name)? {
            return path.push(request, max_queue);
        }
        drop(paths);
        let c_name = CString::new(name).map_err(|_| Error::new(Stage::Open, Errno::INVAL))?;
        self.paths.write().add(c_name)?.push(request, max_queue)
    }

    /// Queues a release, likewise; `None` if there is no such path.
    pub(crate) fn push_release(
        &self,
        name: &[u8],
        announce: Announce,
        max_queue: usize,
    ) -> Result<Option<Option<Arc<Path>>>, Error> {
        let paths = self.paths.read();
        let path = paths.find(name)?;
        path.map(|path| path.push_release(announce, max_queue))
            .transpose()
    }

    /// Drops a path that has neither requests nor a helper.
    pub(crate) fn forget_if_unused(&self, path: &Path) {
        if path.is_unused() {
            self.paths.write().forget(path);
        }
    }

    /// The same, but leaves it to a later [`sweep`](Self::sweep), because a path that was just used
    /// will often be used again; if many are left to it already, the one that is for the longest goes.
    pub(crate) fn forget_later(&self, path: &Arc<Path>) {
        if path.is_unused() && !path.to_be_swept.swap(true, Ordering::SeqCst) {
            // Both ends live in `self`, so the channel is never disconnected.
            let _ = self.unused.0.send(path.clone());
            if self.unused.1.len() > MOST_UNUSED {
                self.sweep_some(1);
            }
        }
    }

    /// Drops every path that has neither requests nor a helper.
    pub(crate) fn sweep(&self) {
        self.sweep_some(self.unused.1.len());
    }

    fn sweep_some(&self, most: usize) {
        for path in self.unused.1.try_iter().take(most) {
            // NB: before the look, so that whoever leaves it after the look has it looked at again.
            path.to_be_swept.swap(false, Ordering::SeqCst);
            self.forget_if_unused(&path);
        }
    }

    /// From now on nothing is pushed. Answers what there was.
    pub(crate) fn close(&self) -> Vec<Arc<Path>> {
        let mut paths = self.paths.write();
        paths.open = false;
        paths.by_name.values().cloned().collect()
    }

    /// The number of paths, and of the requests that wait for them.
    pub(crate) fn count(&self) -> (usize, usize) {
        let paths = self.paths.read();
        let waiting = paths.by_name.values().map(|path| path.waiting());
        (paths.by_name.len(), waiting.sum())
    }
}

impl Paths {
    fn forget(&mut self, path: &Path) {
        let name = path.name().to_bytes();
        let is_this = |found: &Arc<Path>| std::ptr::eq(&**found, path);
        if path.is_unused() && self.by_name.get(name).is_some_and(is_this) {
            self.by_name.remove(name);
        }
    }

    fn find(&self, name: &[u8]) -> Result<Option<&Arc<Path>>, Error> {
        match self.open {
            true => Ok(self.by_name.get(name)),
            false => Err(Error::STOPPED),
        }
    }

    /// A path of this name, made if there is none.
    fn add(&mut self, name: CString) -> Result<&Arc<Path>, Error> {
        if !self.open {
            return Err(Error::STOPPED);
        }
        let name: Arc<CStr> = name.into();
        let path = self.by_name.entry(Name(name.clone()));
        Ok(path.or_insert_with(|| Arc::new(Path::new(name))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::tests::request;

    #[test]
    fn who_left_late_forgets_no_younger_path_of_the_same_name() {
        let registry = Registry::new();
        let push = || registry.push(b"x", request(), 9).unwrap().unwrap();
        let is_there = || registry.paths.read().find(b"x").unwrap().is_some();
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

    /// A path that was used and is not used any more.
    fn leave(registry: &Registry, name: &str) -> Arc<Path> {
        let path = registry.push(name.as_bytes(), request(), 9);
        let path = path.unwrap().expect("it is idle");
        assert!(path.pop().is_some() && path.unschedule());
        registry.forget_later(&path);
        path
    }

    #[test]
    fn the_unused_are_many_at_most_and_the_last_are_kept_until_the_sweep() {
        let registry = Registry::new();
        for n in 0..MOST_UNUSED + 9 {
            leave(&registry, &n.to_string());
        }
        assert_eq!(registry.count().0, MOST_UNUSED);
        let is_there = |n: usize| {
            registry
                .paths
                .read()
                .by_name
                .contains_key(n.to_string().as_bytes())
        };
        assert!(!is_there(8) && is_there(9));
        registry.sweep();
        assert_eq!(registry.count().0, 0);
    }

    #[test]
    fn a_path_that_is_used_again_is_kept_and_swept_when_it_is_not() {
        let registry = Registry::new();
        let path = leave(&registry, "x");
        registry.push(b"x", request(), 9).unwrap();
        registry.sweep();
        assert_eq!(registry.count(), (1, 1));
        assert!(path.pop().is_some() && path.unschedule());
        for _ in 0..3 {
            registry.forget_later(&path);
        }
        assert_eq!(registry.unused.1.len(), 1);
        registry.sweep();
        assert_eq!(registry.count(), (0, 0));
    }
}
