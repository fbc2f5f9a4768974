//! What the kernel says of this process: its descriptors and threads, proc(5).

use std::fs::{self, DirEntry};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

/// Returns how many descriptors this process has. What answers for an earlier test's faults may still be closing
/// its own, so a later count may be less.
pub fn descriptors() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count()
}

fn all() -> impl Iterator<Item = DirEntry> {
    fs::read_dir("/proc/self/task")
        .unwrap()
        .map(io::Result::unwrap)
}

/// Returns the ids of the threads of this process whose name begins so.
pub fn tasks(prefix: &str) -> Vec<i32> {
    let is_meant = |task: &DirEntry| {
        let name = fs::read_to_string(task.path().join("comm"));
        name.is_ok_and(|name| name.starts_with(prefix))
    };
    all()
        .filter(is_meant)
        .map(|task| task.file_name().to_str().unwrap().parse().unwrap())
        .collect()
}

/// Returns how many they are.
pub fn threads(prefix: &str) -> usize {
    tasks(prefix).len()
}

/// Returns how many of them sleep now.
pub fn sleeping(prefix: &str) -> usize {
    // "TID (NAME) STATE ...", proc(5)
    let name = format!("({prefix}");
    all()
        .map(|task| fs::read_to_string(task.path().join("stat")).unwrap_or_default())
        .filter(|stat| stat.contains(&name) && stat.contains(") S "))
        .count()
}

/// Returns whether a thread has slept for all of this time, by how often it has given its processor up.
pub fn has_slept_for(id: i32, time: Duration) -> bool {
    let given_up = || {
        let status = fs::read_to_string(format!("/proc/self/task/{id}/status")).unwrap();
        let mut lines = status.lines().map(str::to_owned);
        lines.find(|line| line.starts_with("voluntary_ctxt_switches"))
    };
    let before = given_up();
    std::thread::sleep(time);
    given_up() == before
}

/// Returns how many threads of this process are outside its namespace.
pub fn outside() -> usize {
    let netns = |task: &Path| fs::read_link(task.join("ns/net"));
    let home = netns(Path::new("/proc/self")).unwrap();
    all()
        .filter(|task| netns(&task.path()).is_ok_and(|netns| netns != home))
        .count()
}

/// Returns whether any thread of this process is in the namespace that a path names.
pub fn threads_are_in(path: &Path) -> bool {
    let inode = |path: &Path| fs::metadata(path).map(|netns| netns.ino());
    let there = inode(path).unwrap();
    all().any(|task| inode(&task.path().join("ns/net")).is_ok_and(|inode| inode == there))
}
