//! The paths in use, by name.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::RwLock;

use crate::error::{Error, Stage};
use crate::path::{Path, Request};
use crate::release::Announce;
use rustix::io::Errno;

/// The kernel's bound for a path with its terminating NUL (limits.h, path_resolution(7)).
const PATH_MAX: usize = 4096;

/// Below this many paths, unused ones wait for a helper that has nothing else to do; each takes some
/// 3 KiB. Above, they are dropped when they are as many as the others.
const SWEEP_ABOVE: usize = 4_096;

/// Dropping so many takes some 10 µs.
const SWEPT_AT_ONCE: usize = 64;

/// A path is here while it has requests or a helper is inside, and for a short while after. Jobs are
/// pushed under the lock's read side, so under its write side "unused" is final.
pub(crate) struct Registry {
    paths: RwLock<Paths>,
    /// Paths have become unused since the last sweep.
    has_unused: AtomicBool,
}

struct Paths {
    open: bool,
    sweep_above: usize,
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
                sweep_above: SWEEP_ABOVE,
                by_name: HashMap::new(),
            }),
            has_unused: AtomicBool::new(false),
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
    /// will often be used again; unless there are many more paths than at the last one.
    pub(crate) fn forget_later(&self, path: &Path) {
        if path.is_unused() {
            self.has_unused.store(true, Ordering::Relaxed);
            let paths = self.paths.read();
            if paths.by_name.len() > paths.sweep_above {
                drop(paths);
                self.sweep();
            }
        }
    }

    /// Drops every path that has neither requests nor a helper, if there may be any.
    pub(crate) fn sweep(&self) {
        if !self.has_unused.swap(false, Ordering::Relaxed) {
            return;
        }
        let unused = |path: &&Arc<Path>| path.is_unused();
        let unused: Vec<_> = self
            .paths
            .read()
            .by_name
            .values()
            .filter(unused)
            .cloned()
            .collect();
        // Callers wait for the lock, so it is held for a few paths at a time.
        for some in unused.chunks(SWEPT_AT_ONCE) {
            let mut paths = self.paths.write();
            some.iter().for_each(|path| paths.forget(path));
        }
        let mut paths = self.paths.write();
        paths.sweep_above = (2 * paths.by_name.len()).max(SWEEP_ABOVE);
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
}
