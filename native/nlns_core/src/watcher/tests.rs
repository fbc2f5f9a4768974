use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use crossbeam_utils::sync::Parker;
use rustix::fs::inotify::ReadFlags;
use rustix::process::Pid;

use super::*;

const NOBODY: [u64; 0] = [];

fn helper(id: u64) -> Arc<Helper> {
    Arc::new(Helper::new(id, Parker::new().unparker().clone()))
}

/// 1 sleeps behind a and 2 behind b in the directory 1, 3 behind a in the directory 2.
fn watched(helpers: &[Arc<Helper>]) -> Watched {
    let mut watched = Watched::default();
    let places = [(1, c"a"), (1, c"b"), (2, c"a")];
    for (helper, (directory, name)) in helpers.iter().zip(places) {
        let names = watched.directories.entry(directory).or_default();
        names.insert(name.into(), vec![Arc::downgrade(helper)]);
    }
    watched
}

fn ids(helpers: &[Arc<Helper>]) -> Vec<u64> {
    let mut ids: Vec<_> = helpers.iter().map(|helper| helper.id).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn an_event_concerns_who_sleeps_behind_the_name_or_in_the_directory() {
    let helpers = [helper(1), helper(2), helper(3)];
    let mut watched = watched(&helpers);
    let mut concerned =
        |directory, name| ids(&watched.concerned(directory, ReadFlags::DELETE, name));
    assert_eq!(concerned(1, Some(c"a")), [1]);
    assert_eq!(concerned(1, Some(c"c")), NOBODY);
    assert_eq!(concerned(1, None), [1, 2]);
    assert_eq!(concerned(3, Some(c"a")), NOBODY);
}

#[test]
fn a_directory_that_is_watched_no_more_concerns_all_in_it_once() {
    let helpers = [helper(1), helper(2), helper(3)];
    let mut watched = watched(&helpers);
    let mut ended = || ids(&watched.concerned(1, ReadFlags::IGNORED, None));
    assert_eq!(ended(), [1, 2]);
    // The number may be the next directory's.
    assert_eq!(ended(), NOBODY);
    assert!(!watched.directories.contains_key(&1));
}

#[test]
fn lost_events_concern_all_whose_name_is_watched() {
    let helpers = [helper(1), helper(2), helper(3)];
    let mut watched = watched(&helpers);
    let lost = ReadFlags::QUEUE_OVERFLOW;
    assert_eq!(ids(&watched.concerned(-1, lost, None)), [1, 2, 3]);
    drop(helpers);
    assert_eq!(ids(&watched.concerned(-1, lost, None)), NOBODY);
}

#[test]
fn a_directory_without_names_is_watched_until_nobody_arrives() {
    let watcher = Watcher::new().unwrap();
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
fn what_is_below_a_process_in_any_spelling_is_watched_by_its_pidfd() {
    let watcher = Arc::new(Watcher::new().unwrap());
    let helper = helper(1);
    for path in [c"//proc/self/ns/net", c"/proc/self/root/proc/self/ns/net"] {
        let watch = watcher.watch(path, &helper).unwrap();
        assert!(watch.is_whole);
        assert!(matches!(watch.targets[..], [Target::Process(_)]));
    }
    // What is there but for `ns` may end before the process does.
    for path in [c"/proc/self/fd/0", c"/proc/1/fd/0"] {
        assert!(!watcher.watch(path, &helper).unwrap().is_whole);
    }
    let watch = watcher.watch(c"/proc/sys/net", &helper).unwrap();
    assert!(!watch.is_whole && watch.targets.is_empty());
}

#[test]
fn a_helper_is_told_of_an_ended_process_when_the_lock_is_free() {
    let watcher = Arc::new(Watcher::new().unwrap());
    let mut process = Command::new("cat").stdin(Stdio::piped()).spawn().unwrap();
    let pidfd = pidfd_open(Pid::from_child(&process), PidfdFlags::empty()).unwrap();
    let helper = helper(1);
    let _target = watcher.watch_process(pidfd, &helper).unwrap();
    process.kill().unwrap();
    process.wait().unwrap();
    let told = AtomicUsize::new(0);
    watcher.run(|_| {
        assert!(watcher.watched.try_lock().is_some());
        told.fetch_add(1, Ordering::Relaxed);
        watcher.stop();
    });
    assert_eq!(told.into_inner(), 1);
}
