//! Who is to be told of what.

use std::collections::HashMap;
use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::{Arc, Weak};

use rustix::fs::inotify::ReadFlags;

use crate::helper::Helper;

pub(super) type Names = HashMap<Box<CStr>, Vec<Weak<Helper>>>;

#[derive(Default)]
pub(super) struct Watched {
    /// By inotify's watch descriptor: the names in that directory, and who sleeps behind each. They may
    /// be several, because a directory has many paths.
    pub(super) directories: HashMap<i32, Names>,
    pub(super) processes: HashMap<u64, (OwnedFd, Weak<Helper>)>,
    pub(super) next_process: u64,
    /// Helpers between asking the kernel for a watch and noting it down. Until there are none, a
    /// directory without names may be about to get one and keeps its watch.
    pub(super) arriving: usize,
}

impl Watched {
    pub(super) fn process(&self, tag: u64) -> Option<Arc<Helper>> {
        self.processes
            .get(&tag)
            .and_then(|(_, helper)| helper.upgrade())
    }

    /// Whom an event concerns: the helpers behind the name; without one, all in the directory; and
    /// when events were lost, all.
    pub(super) fn concerned(
        &mut self,
        directory: i32,
        what: ReadFlags,
        name: Option<&CStr>,
    ) -> Vec<Arc<Helper>> {
        let living = |helpers: &Vec<Weak<Helper>>| -> Vec<_> {
            helpers.iter().filter_map(Weak::upgrade).collect()
        };
        let in_directory = |names: &Names| names.values().flat_map(living).collect::<Vec<_>>();
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
            Some(name) => names.get(name).map(living).unwrap_or_default(),
            None => in_directory(names),
        }
    }
}
