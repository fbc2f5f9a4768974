//! A helper that is not, or cannot tell whether it is, where it should be: it answers with an error and ends.
//! The kernel's answers are made up, also as older kernels give them.

mod support;

use std::path::Path;
use std::time::Duration;

use nlns_core::{Config, Error};

use support::faults::{Faults, start, under_faults};
use support::netns::{Directory, Process, cookie, oracle, remove};
use support::{
    CONFIG, FOREVER, Running, alone, descriptors, eventually, lacks, outside, threads_are_in,
};

#[test]
fn helper_of_unknown_location_ends() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    // Kernels that give a namespace no number (before 6.18) are not asked for it, and all is well.
    faults.fail(libc::SYS_ioctl, libc::EIO);
    let answer = pool.open(path, 0);
    assert!(matches!(answer, Ok(_) | Err(Error::DIED)), "{answer:?}");
    faults.heal();
    drop(answer);
    eventually("nobody is outside unseen", || outside() == pool.pinned());
    assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
}

/// What kernels before 6.18, 5.14 and 5.3 lack.
const OLDER: [&[(i64, i32)]; 3] = [
    &[(libc::SYS_ioctl, libc::ENOTTY)],
    &[
        (libc::SYS_ioctl, libc::ENOTTY),
        (libc::SYS_getsockopt, libc::ENOPROTOOPT),
    ],
    &[
        (libc::SYS_ioctl, libc::ENOTTY),
        (libc::SYS_getsockopt, libc::ENOPROTOOPT),
        (libc::SYS_pidfd_open, libc::ENOSYS),
    ],
];

fn on_each_kernel(test: impl Fn(&Faults, &Running)) {
    for lacks in std::iter::once(&[][..]).chain(OLDER) {
        let Some(faults) = Faults::new() else { return };
        for (call, errno) in lacks {
            faults.fail(*call, *errno);
        }
        let idle_timeout = Some(Duration::from_millis(100));
        let pool = start(
            &faults,
            Config {
                idle_timeout,
                ..CONFIG
            },
        );
        test(&faults, &pool);
    }
}

#[test]
fn older_kernels_give_the_same_answers() {
    let _alone = alone();
    let names = Directory::new();
    let paths = [names.make("a"), names.make("b")];
    let process = Process::start();
    on_each_kernel(|_, pool| {
        for _ in 0..20 {
            remove(&paths[0]);
            assert_eq!(pool.open(&paths[0], 0).err(), oracle(&paths[0], 0).err());
            names.make("a");
            for path in paths.iter().chain([&process.path()]) {
                assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
            }
        }
        eventually("idle timeout ended", || pool.pinned() == 0);
    });
}

#[test]
fn process_is_served_without_pidfd() {
    let _alone = alone();
    for errno in [libc::ENOSYS, libc::EPERM] {
        let process = Process::start();
        let (pid, path) = (process.id(), process.path());
        let Some(faults) = Faults::new() else { return };
        faults.fail(libc::SYS_pidfd_open, errno);
        let pool = start(&faults, FOREVER);
        let open = || faults.among_them(|| pool.open_process(pid).map(cookie));
        assert_eq!(open(), oracle(&path, 0));
        drop(process);
        assert_eq!(open(), oracle(&path, 0));
    }
}

/// Each is answered by a helper of its own: those that were there before, then new ones.
fn assert_each_open_ends_a_helper(pool: &Running, path: &Path) {
    let (opens, before) = (10, pool.0.info());
    for _ in 0..opens {
        assert_eq!(pool.open(path, 0).err(), Some(Error::DIED));
    }
    let started = before.started + opens - before.helpers.len() as u64;
    let after = pool.0.info();
    assert!(after.started >= started);
    assert_eq!(after.failed, before.failed + opens);
}

#[test]
fn helper_in_the_wrong_namespace_ends() {
    let _alone = alone();
    let names = Directory::new();
    let (path, other) = (names.make("a"), names.make("b"));
    on_each_kernel(|faults, pool| {
        assert_eq!(pool.open(&other, 0).map(cookie), oracle(&other, 0));
        faults.pretend(libc::SYS_setns);
        assert_each_open_ends_a_helper(pool, &path);
        faults.forget(libc::SYS_setns);
        assert_eq!(pool.open(&path, 0).map(cookie), oracle(&path, 0));
    });
}

#[test]
fn socket_from_elsewhere_is_refused() {
    // Without it a new helper learns the cookie from its first socket, of which it has another proof.
    if lacks((6, 18), "NS_GET_ID") {
        return;
    }
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    pool.open(path, 0).unwrap();
    let before = descriptors();
    // Its cookie is then said to be 0.
    faults.pretend(libc::SYS_getsockopt);
    assert_each_open_ends_a_helper(pool, path);
    faults.heal();
    assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
    pool.release(path);
    eventually("closed", || descriptors() <= before);
}

#[test]
fn helper_that_cannot_go_back_ends() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    for _ in 0..5 {
        pool.open(path, 0).unwrap();
        eventually("asleep there", || pool.pinned() == 1);
        faults.fail(libc::SYS_setns, libc::EPERM);
        pool.release(path);
        assert!(!threads_are_in(path));
        faults.heal();
    }
}
