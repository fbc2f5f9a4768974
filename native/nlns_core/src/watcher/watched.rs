//! Which tokens an event concerns.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::fs::inotify::ReadFlags;

pub(super) type Names = HashMap<Box<CStr>, Vec<u64>>;

#[derive(Default)]
pub(super) struct Watched {
    /// By inotify's watch descriptor: the names in that directory, and the tokens of each. They may be
    /// several, because a directory has many paths.
    pub(super) directories: HashMap<i32, Names>,
    pub(super) processes: HashMap<u64, (OwnedFd, u64)>,
    pub(super) next_process: u64,
    /// Callers between asking the kernel for a watch and noting it down. Until there are none, a
    /// directory without names may be about to get one and keeps its watch.
    pub(super) arriving: usize,
}

impl Watched {
    pub(super) fn process(&self, tag: u64) -> Option<u64> {
        self.processes.get(&tag).map(|&(_, token)| token)
    }

    /// Returns the tokens that an event concerns: those of the name; without one, of all names in the
    /// directory; and when events were lost, all.
    pub(super) fn concerned(
        &mut self,
        directory: i32,
        what: ReadFlags,
        name: Option<&CStr>,
    ) -> Vec<u64> {
        let in_directory = |names: &Names| names.values().flatten().copied().collect::<Vec<_>>();
        if what.contains(ReadFlags::QUEUE_OVERFLOW) {
            return self.directories.values().flat_map(in_directory).collect();
        }
        if what.contains(ReadFlags::IGNORED) {
            let names = self.directories.remove(&directory);
            return names.iter().flat_map(in_directory).collect();
        }
        let Some(names) = self.directories.get(&directory) else {
            return Vec::new();
        };
        match name {
            Some(name) => names.get(name).cloned().unwrap_or_default(),
            None => in_directory(names),
        }
    }
}
