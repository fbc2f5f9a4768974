//! Paths that hold jobs back until sockets of their kind are closed; see [`crate::closer`].

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use crate::path::Path;

/// First in, first out, so that the paths take turns. Each path is in it at most once.
#[derive(Default)]
pub(crate) struct HeldBackPaths(Mutex<VecDeque<Arc<Path>>>);

impl HeldBackPaths {
    /// Adds a path that holds jobs back; returns whether it was added. Only for the holder of its claim.
    pub(crate) fn add(&self, path: &Arc<Path>) -> bool {
        let is_new = path.held_back() > 0 && !path.is_listed.swap(true, Ordering::SeqCst);
        if is_new {
            self.0.lock().push_back(path.clone());
        }
        is_new
    }

    /// Takes up to `most` paths of which a job may be served now, with their claims. A path that is being
    /// served keeps its place.
    pub(crate) fn take_due(&self, most: usize) -> Vec<Arc<Path>> {
        let mut due = Vec::new();
        self.0.lock().retain(|path| {
            let is_due = due.len() < most && path.claim_held_back();
            if is_due {
                path.is_listed.store(false, Ordering::SeqCst);
                due.push(path.clone());
            }
            !is_due
        });
        due
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.lock().is_empty()
    }

    /// Returns how many jobs are held back.
    pub(crate) fn jobs(&self) -> usize {
        self.0.lock().iter().map(|path| path.held_back()).sum()
    }
}
