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
        if path.held_back() == 0 {
            return false;
        }
        // Under the lock, so that a path is not taken out between the look and the push.
        let mut paths = self.0.lock();
        let is_new = !path.is_listed.swap(true, Ordering::SeqCst);
        if is_new {
            paths.push_back(path.clone());
        }
        is_new
    }

    /// Takes up to `most` paths of which a job may be served now, with their claims. A path that is being
    /// served keeps its place, unless that has left nothing to wait for.
    pub(crate) fn take_due(&self, most: usize) -> Vec<Arc<Path>> {
        let mut due = Vec::new();
        self.0.lock().retain(|path| {
            let is_due = due.len() < most && path.claim_held_back();
            if is_due {
                due.push(path.clone());
            }
            let stays = !is_due && path.held_back() > 0;
            if !stays {
                path.is_listed.store(false, Ordering::SeqCst);
            }
            stays
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::path::tests::{path, request};

    #[test]
    fn path_without_jobs_is_unlisted() {
        let (paths, path) = (HeldBackPaths::default(), path());
        assert!(!paths.add(&path));
        path.hold_back(request());
        assert!(paths.add(&path) && !paths.add(&path));
        // It is being served, and keeps its place until its jobs are gone.
        path.push(request(), 9).unwrap();
        assert!(paths.take_due(9).is_empty() && !paths.is_empty());
        while path.pop().is_some() {}
        assert!(paths.take_due(9).is_empty() && paths.is_empty());
        path.hold_back(request());
        assert!(paths.add(&path));
    }
}
