//! What a pool answers when the kernel refuses or interrupts what its threads ask for.
#![allow(
    unsafe_code,
    reason = "setresuid(2) of a whole process has no safe wrapper"
)]

mod support;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nlns_core::{Error, Stage};

use support::faults::{Faults, start, under_faults};
use support::netlink::links;
use support::netns::{Directory, Process, cookie, oracle, remove};
use support::{FOREVER, Running, alone, descriptors, eventually, open_and_settle, threads};

/// Has each of these steps of a request fail. Each is answered with the errno, by a helper that lives on,
/// and leaves nothing. Once it is healed, `assert_is_served` holds.
fn assert_each_failure_is_answered(
    steps: &[(i64, Stage, i32)],
    ask: impl Fn(&Running, &Path) -> Option<Error>,
    assert_is_served: impl Fn(&Running, &Path),
) {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    pool.open(path, 0).unwrap();
    pool.release(path);
    let before = descriptors();
    for &(call, stage, errno) in steps {
        faults.fail_step(call, errno);
        for _ in 0..3 {
            assert_eq!(ask(pool, path), Some(Error { stage, errno }));
        }
        faults.heal();
        assert_is_served(pool, path);
        pool.release(path);
        assert_eq!(pool.pinned(), 0);
    }
    assert_eq!(pool.0.info().died, 0);
    eventually("closed", || descriptors() <= before);
}

#[test]
fn failing_open_returns_the_errno() {
    let steps = [
        (libc::SYS_openat, Stage::Open, libc::EMFILE),
        (libc::SYS_openat, Stage::Open, libc::ENFILE),
        (libc::SYS_openat, Stage::Open, libc::ENOMEM),
        (libc::SYS_setns, Stage::Setns, libc::ENOMEM),
        (libc::SYS_socket, Stage::Socket, libc::EMFILE),
        (libc::SYS_socket, Stage::Socket, libc::ENFILE),
        (libc::SYS_socket, Stage::Socket, libc::ENOBUFS),
        (libc::SYS_socket, Stage::Socket, libc::ENOMEM),
    ];
    assert_each_failure_is_answered(
        &steps,
        |pool, path| pool.open(path, 0).err(),
        |pool, path| assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0)),
    );
}

#[test]
fn failing_exchange_returns_the_errno() {
    let steps = [
        (libc::SYS_openat, Stage::Open, libc::EMFILE),
        (libc::SYS_setns, Stage::Setns, libc::ENOMEM),
        (libc::SYS_socket, Stage::Socket, libc::EMFILE),
        (libc::SYS_connect, Stage::Socket, libc::ENOMEM),
        (libc::SYS_sendto, Stage::Send, libc::ENOBUFS),
        (libc::SYS_sendto, Stage::Send, libc::EPERM),
        (libc::SYS_recvfrom, Stage::Receive, libc::ENOMEM),
    ];
    assert_each_failure_is_answered(
        &steps,
        |pool, path| pool.exchange(path, links()).err(),
        |pool, path| assert_eq!(pool.links(path), ["lo"]),
    );
}

#[test]
fn interrupted_step_is_done_again() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    for (call, stage) in [
        (libc::SYS_openat, Stage::Open),
        (libc::SYS_setns, Stage::Setns),
        (libc::SYS_socket, Stage::Socket),
    ] {
        faults.fail(libc::SYS_openat2, libc::EAGAIN);
        faults.fail_times(call, libc::EINTR, 20);
        assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
        pool.release(path);
        // One that always is holds no helper.
        let errno = libc::EINTR;
        faults.fail(call, errno);
        assert_eq!(pool.open(path, 0).err(), Some(Error { stage, errno }));
        faults.heal();
        pool.release(path);
        assert_eq!(pool.pinned(), 0);
    }
}

#[test]
fn ended_unwatched_namespace_is_left() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let process = Process::start();
    faults.fail(libc::SYS_inotify_add_watch, libc::ENOSPC);
    faults.fail(libc::SYS_pidfd_open, libc::ENOSYS);
    for (path, end) in [
        (path.clone(), Box::new(|| remove(path)) as Box<dyn FnOnce()>),
        (process.path(), Box::new(|| drop(process))),
    ] {
        pool.open(&path, 0).unwrap();
        // It stays for as long as all is well.
        let checks = faults.asked(libc::SYS_newfstatat);
        eventually("it has checked more than once", || {
            faults.asked(libc::SYS_newfstatat) >= checks + 2
        });
        assert_eq!(pool.pinned(), 1);
        end();
        eventually("left", || pool.pinned() == 0);
    }
}

#[test]
fn missing_watcher_is_started_later() {
    let _alone = alone();
    let Some(faults) = Faults::new() else { return };
    faults.fail(libc::SYS_inotify_init1, libc::EMFILE);
    let pool = start(&faults, FOREVER);
    let names = Directory::new();
    open_and_settle(&pool, &names.make("a"));
    assert_eq!(faults.asked(libc::SYS_inotify_add_watch), 0);
    faults.heal();
    open_and_settle(&pool, &names.make("b"));
    assert!(faults.asked(libc::SYS_inotify_add_watch) > 0);
    eventually("its thread", || threads("nlns-watcher") == 1);
}

/// Interrupts every thread of this process over and over, until it is dropped. The kernel keeps a user per
/// thread, so glibc tells each thread of a new one by a signal that none can block (nptl(7)).
struct Storm(Arc<AtomicBool>, Option<JoinHandle<()>>);

impl Storm {
    fn begin() -> Self {
        let rages = Arc::new(AtomicBool::new(true));
        let still = rages.clone();
        let thread = std::thread::spawn(move || {
            const AS_IT_IS: libc::uid_t = libc::uid_t::MAX;
            while still.load(Ordering::SeqCst) {
                // SAFETY: takes no pointer.
                let done = unsafe { libc::setresuid(AS_IT_IS, AS_IT_IS, AS_IT_IS) };
                assert_eq!(done, 0);
                // A sleep takes the longer the more often it is interrupted, nanosleep(2): without end, else.
                std::thread::sleep(Duration::from_micros(100));
            }
        });
        Self(rages, Some(thread))
    }
}

impl Drop for Storm {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
        let _ = self.1.take().map(JoinHandle::join);
    }
}

#[test]
fn signal_storm_changes_no_answer() {
    let _alone = alone();
    let names = Directory::new();
    let paths: Vec<_> = (0..4).map(|n| names.make(&n.to_string())).collect();
    let process = Process::start();
    let storm = Storm::begin();
    let pool = Running::start(FOREVER);
    let cookies: Vec<_> = paths.iter().map(|path| oracle(path, 0)).collect();
    for _ in 0..20 {
        for (path, there) in paths.iter().zip(&cookies) {
            assert_eq!(pool.open(path, 0).map(cookie), *there);
        }
        assert!(pool.open_process(process.id()).is_ok());
    }
    drop(process);
    paths.iter().for_each(|path| remove(path));
    eventually("left", || pool.pinned() == 0);
    assert_eq!(pool.stop(), 0);
    drop(storm);
}
