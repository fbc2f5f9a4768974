//! When helpers leave namespaces, and who is told.

mod support;

use std::path::{Path, PathBuf};
use std::time::Duration;

use nlns_core::Config;

use support::netns::{Directory, Process, remove};
use support::{
    CONFIG, FOREVER, Running, alone, alone_with, eventually, key, settle, settle_at_each, skipped,
    threads,
};

#[test]
fn helpers_leave_after_idle_timeout() {
    let _alone = alone();
    let names = Directory::new();
    let paths = [names.make("a"), names.make("b")];
    let idle_timeout = Some(Duration::from_millis(100));
    let pool = Running::start(Config {
        idle_timeout,
        ..CONFIG
    });
    settle_at_each(&pool, &paths.each_ref().map(|path| key(path)));
    eventually("left", || pool.pinned() == 0);
    eventually("ended but for one", || threads("nlns-helper") == 1);
}

#[test]
fn deleted_and_dead_namespaces_are_left() {
    let (pool, path, ..) = &alone_with(FOREVER);
    settle(pool, path);
    remove(path);
    eventually("left the deleted", || pool.pinned() == 0);

    let process = Process::start();
    settle(pool, &process.path());
    drop(process);
    eventually("left the dead", || pool.pinned() == 0);
}

#[test]
fn dead_process_by_any_procfs_name() {
    let _alone = alone();
    let names = Directory::new();
    let mounted = names.mount_procfs("proc");
    let link = names.0.join("link");
    let pool = Running::start(FOREVER);
    for procfs in ["//proc", "/proc/.", "/proc/self/root/proc", &mounted] {
        let process = Process::start();
        let path = PathBuf::from(format!("{procfs}/{}/ns/net", process.id()));
        std::os::unix::fs::symlink(&path, &link).unwrap();
        settle_at_each(&pool, &[key(&path), key(&link)]);
        drop(process);
        eventually(procfs, || pool.pinned() == 0);
        std::fs::remove_file(&link).unwrap();
    }
}

#[test]
fn dead_process_elsewhere_is_left() {
    let _alone = alone();
    let names = Directory::new();
    let Some(process) = Process::start_first(&names, "proc") else {
        return skipped("no procfs of another pid namespace can be mounted here");
    };
    let pool = Running::start(FOREVER);
    settle(&pool, &names.0.join("proc/1/ns/net"));
    drop(process);
    eventually("left", || pool.pinned() == 0);
}

#[test]
fn ended_target_of_link_is_left() {
    let _alone = alone();
    let (names, links) = (Directory::new(), Directory::new());
    let pool = Running::start(FOREVER);
    let link = |name: &str, target: &Path| {
        let link = links.0.join(name);
        std::os::unix::fs::symlink(target, &link).unwrap();
        link
    };
    let path = names.make("a");
    let (one, two) = (link("one", &path), link("two", Path::new("one")));
    settle_at_each(&pool, &[key(&one), key(&two)]);
    remove(&path);
    eventually("left the deleted", || pool.pinned() == 0);

    // As `ip netns` is shown a container, and a file as the container sees it.
    let process = Process::start();
    let proc = PathBuf::from(format!("/proc/{}", process.id()));
    settle(&pool, &link("process", &proc.join("ns/net")));
    drop(process);
    eventually("left the dead", || pool.pinned() == 0);

    let process = Process::start();
    let proc = PathBuf::from(format!("/proc/{}", process.id()));
    let path = names.make("b");
    let seen = proc.join("root").join(path.strip_prefix("/").unwrap());
    settle(&pool, &link("seen", &seen));
    drop(process);
    eventually("left what nobody sees", || pool.pinned() == 0);
}

#[test]
fn every_spelling_leaves_a_deleted_name() {
    let (pool, path, names, _) = &alone_with(FOREVER);
    let spellings = [path.clone(), names.0.join(".//a")];
    let keys = spellings.each_ref().map(|path| key(path));
    settle_at_each(pool, &keys);
    assert_eq!(pool.pinned(), 2);
    remove(path);
    eventually("left", || pool.pinned() == 0);
}

#[test]
fn failing_requests_hold_no_other_namespace() {
    let (pool, path, names, _) = &alone_with(Config {
        max_helpers: 1,
        ..CONFIG
    });
    pool.open(path, 0).unwrap();
    let missing = names.0.join("missing");
    eventually("left", || {
        assert!(pool.open(&missing, 0).is_err());
        pool.pinned() == 0
    });
}

#[test]
fn renamed_name_is_left_at_once() {
    let (pool, path, names, _) = &alone_with(FOREVER);
    let link = names.0.join("link");
    std::os::unix::fs::symlink(path, &link).unwrap();
    settle(pool, &link);
    std::fs::rename(&link, names.0.join("other")).unwrap();
    eventually("left", || pool.pinned() == 0);
}
