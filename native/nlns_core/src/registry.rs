//! The paths in use, by name.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use parking_lot::RwLock;

use crate::error::{Error, Stage};
use crate::path::{Job, Path};
use rustix::io::Errno;

/// The kernel's bound for a path with its terminating NUL (limits.h, path_resolution(7)).
const PATH_MAX: usize = 4096;

/// A path is here while it has requests or a helper is inside, so there are never more of them than
/// that. Jobs are pushed under the lock's read side, so under its write side "unused" is final.
pub(crate) struct Registry(RwLock<Paths>);

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
        Self(RwLock::new(Paths {
            open: true,
            by_name: HashMap::new(),
        }))
    }

    /// Queues a job. `Some` path is to be scheduled by the caller.
    pub(crate) fn push(
        &self,
        name: &[u8],
        job: Job,
        max_queue: usize,
    ) -> Result<Option<Arc<Path>>, Error> {
        if name.len() >= PATH_MAX {
            return Err(Error::new(Stage::Open, Errno::NAMETOOLONG));
        }
        let job = match self.0.read().push(name, job, max_queue)? {
            Pushed::Yes(path) => return Ok(path),
            Pushed::NoSuchPath(job) => job,
        };
        let c_name = CString::new(name).map_err(|_| Error::new(Stage::Open, Errno::INVAL))?;
        let c_name: Arc<CStr> = c_name.into();
        let mut paths = self.0.write();
        paths
            .by_name
            .entry(Name(c_name.clone()))
            .or_insert_with(|| Arc::new(Path::new(c_name)));
        match paths.push(name, job, max_queue)? {
            Pushed::Yes(path) => Ok(path),
            Pushed::NoSuchPath(_) => unreachable!("it was just made"),
        }
    }

    pub(crate) fn find(&self, name: &[u8]) -> bool {
        self.0.read().by_name.contains_key(name)
    }

    pub(crate) fn forget_if_unused(&self, path: &Path) {
        if path.is_unused() {
            let name = path.name().to_bytes();
            let mut paths = self.0.write();
            let is_this = |found: &Arc<Path>| std::ptr::eq(&**found, path);
            if path.is_unused() && paths.by_name.get(name).is_some_and(is_this) {
                paths.by_name.remove(name);
            }
        }
    }

    /// From now on nothing is pushed. Answers what there was.
    pub(crate) fn close(&self) -> Vec<Arc<Path>> {
        let mut paths = self.0.write();
        paths.open = false;
        paths.by_name.values().cloned().collect()
    }

    /// The number of paths, and of the requests that wait for them.
    pub(crate) fn count(&self) -> (usize, usize) {
        let paths = self.0.read();
        let waiting = paths.by_name.values().map(|path| path.waiting());
        (paths.by_name.len(), waiting.sum())
    }
}

enum Pushed {
    Yes(Option<Arc<Path>>),
    NoSuchPath(Job),
}

impl Paths {
    fn push(&self, name: &[u8], job: Job, max_queue: usize) -> Result<Pushed, Error> {
        if !self.open {
            return Err(Error::STOPPED);
        }
        let Some(path) = self.by_name.get(name) else {
            return Ok(Pushed::NoSuchPath(job));
        };
        match path.push(job, max_queue) {
            Ok(to_schedule) => Ok(Pushed::Yes(to_schedule.then(|| path.clone()))),
            Err(_) => Err(Error::BUSY),
        }
    }
}
