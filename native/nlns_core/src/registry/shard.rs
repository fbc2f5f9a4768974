//! Some of the paths in use: those whose names' hashes put them here.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use hashbrown::HashTable;

use crate::error::Error;
use crate::netns::{NetnsKey, NetnsRef};
use crate::path::Path;

#[derive(Default)]
pub(super) struct Shard {
    is_closed: bool,
    paths: HashTable<Entry>,
    /// Requests in the queues of all of them.
    waiting: Arc<AtomicUsize>,
}

/// With the hash of its name, so that a table that grows need not look at the name, which is far away.
struct Entry {
    hash: u64,
    path: Arc<Path>,
}

impl Entry {
    fn is_found_by(&self, key: NetnsKey<'_>) -> bool {
        self.path.netns().key() == key
    }
}

impl Shard {
    pub(super) fn find(&self, hash: u64, key: NetnsKey<'_>) -> Result<Option<&Arc<Path>>, Error> {
        if self.is_closed {
            return Err(Error::STOPPED);
        }
        let found = self.paths.find(hash, |entry| entry.is_found_by(key));
        Ok(found.map(|entry| &entry.path))
    }

    /// The path of this reference, made if there is none.
    pub(super) fn add(&mut self, hash: u64, netns: NetnsRef) -> Result<&Arc<Path>, Error> {
        if self.is_closed {
            return Err(Error::STOPPED);
        }
        let is_it = |entry: &Entry| entry.is_found_by(netns.key());
        let place = self.paths.entry(hash, is_it, |entry| entry.hash);
        let make = || {
            let path = Arc::new(Path::new(netns.clone(), self.waiting.clone()));
            Entry { hash, path }
        };
        Ok(&place.or_insert_with(make).into_mut().path)
    }

    /// Drops a path if it is unused, and no other of its key.
    pub(super) fn forget(&mut self, hash: u64, path: &Path) {
        let is_it = |entry: &Entry| std::ptr::eq(&*entry.path, path);
        if path.is_unused() {
            if let Ok(entry) = self.paths.find_entry(hash, is_it) {
                entry.remove();
            }
        }
    }

    /// From now on there are no paths to be found. Answers what there was.
    pub(super) fn close(&mut self) -> Vec<Arc<Path>> {
        self.is_closed = true;
        self.paths.iter().map(|entry| entry.path.clone()).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.paths.len()
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}
