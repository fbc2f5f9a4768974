use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::fs::inotify::ReadFlags;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::netns::Host;

use super::*;

const NOBODY: [u64; 0] = [];

fn watcher() -> Watcher {
    Watcher::new(Host::find().unwrap().procfs()).unwrap()
}

fn watch(watcher: &Arc<Watcher>, path: &CStr) -> Watch {
    watcher.watch(&NetnsRef::Path(path.into()), 1).unwrap()
}

/// 1 watches a and 2 b in the directory 1, 3 watches a in the directory 2.
fn watched() -> Watched {
    let mut watched = Watched::default();
    for (token, directory, name) in [(1, 1, c"a"), (2, 1, c"b"), (3, 2, c"a")] {
        let names = watched.directories.entry(directory).or_default();
        names.insert(name.into(), vec![token]);
    }
    watched
}

fn sorted(mut tokens: Vec<u64>) -> Vec<u64> {
    tokens.sort_unstable();
    tokens
}

#[test]
fn event_concerns_its_name_or_directory() {
    let mut watched = watched();
    let mut concerned =
        |directory, name| sorted(watched.concerned(directory, ReadFlags::DELETE, name));
    assert_eq!(concerned(1, Some(c"a")), [1]);
    assert_eq!(concerned(1, Some(c"c")), NOBODY);
    assert_eq!(concerned(1, None), [1, 2]);
    assert_eq!(concerned(3, Some(c"a")), NOBODY);
}

#[test]
fn ended_directory_concerns_all_names_once() {
    let mut watched = watched();
    let mut ended = || sorted(watched.concerned(1, ReadFlags::IGNORED, None));
    assert_eq!(ended(), [1, 2]);
    // The number may be the next directory's.
    assert_eq!(ended(), NOBODY);
    assert!(!watched.directories.contains_key(&1));
}

#[test]
fn lost_events_concern_every_name() {
    let mut watched = watched();
    let lost = ReadFlags::QUEUE_OVERFLOW;
    assert_eq!(sorted(watched.concerned(-1, lost, None)), [1, 2, 3]);
}

#[test]
fn empty_directory_is_watched_for_arrivals() {
    let watcher = watcher();
    let flags = WatchFlags::DELETE;
    let directory = inotify::add_watch(&watcher.inotify, c"/", flags).unwrap();
    let mut watched = watcher.watched.lock();
    watched.directories.entry(directory).or_default();
    watched.arriving = 1;
    watcher.sweep(&mut watched);
    assert!(watched.directories.contains_key(&directory));
    watched.arriving = 0;
    watcher.sweep(&mut watched);
    assert!(watched.directories.is_empty());
    let again = inotify::remove_watch(&watcher.inotify, directory);
    assert_eq!(again, Err(Errno::INVAL));
}

#[test]
fn path_below_process_watches_its_pidfd() {
    let watcher = Arc::new(watcher());
    for path in [c"//proc/self/ns/net", c"/proc/self/root/proc/self/ns/net"] {
        let watch = watch(&watcher, path);
        assert!(watch.is_whole);
        assert!(matches!(watch.targets[..], [Target::Process(_)]));
    }
    // What is there but for `ns` may end before the process does.
    for path in [c"/proc/self/fd/0", c"/proc/1/fd/0"] {
        assert!(!watch(&watcher, path).is_whole);
    }
    let watch = watch(&watcher, c"/proc/sys/net");
    assert!(!watch.is_whole && watch.targets.is_empty());
}

#[test]
fn ended_process_is_told_without_lock() {
    let watcher = Arc::new(watcher());
    let mut process = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pidfd = pidfd_open(Pid::from_child(&process), PidfdFlags::empty()).unwrap();
    let _target = watcher.watch_process(pidfd, 1).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    let told = AtomicUsize::new(0);
    watcher.run(|token| {
        assert_eq!(token, 1);
        assert!(watcher.watched.try_lock().is_some());
        told.fetch_add(1, Ordering::Relaxed);
        watcher.stop();
    });
    assert_eq!(told.into_inner(), 1);
}
