//! Optional features of the kernel that are missing, whatever the errno says so: the next best does.
#![allow(
    unsafe_code,
    reason = "a number that names another socket is made by dup2(2)"
)]

mod support;

use std::os::fd::AsRawFd;
use std::path::Path;

use nlns_core::features::{self, Feature, TABLE};
use nlns_core::issued;

use support::faults::{Faults, start};
use support::netns::{Directory, Process, cookie, oracle, remove};
use support::{FOREVER, Running, alone, eventually};

/// What kernels, emulators and filters say of what they do not have.
const ERRNOS: [i32; 9] = [
    libc::EPERM,
    libc::EIO,
    libc::EAGAIN,
    libc::EACCES,
    libc::EINVAL,
    libc::ENOTTY,
    libc::ENOSYS,
    libc::ENOPROTOOPT,
    libc::EOPNOTSUPP,
];

/// Makes the call fail by which a feature is used.
fn fail(faults: &Faults, feature: Feature, errno: i32) {
    let ioctl = |request| faults.fail_where(libc::SYS_ioctl, (1, request), errno);
    let option = |name| faults.fail_where(libc::SYS_getsockopt, (2, name as u32), errno);
    match feature {
        Feature::SocketNetns => ioctl(0x894c),
        Feature::SocketCookie => option(libc::SO_COOKIE),
        Feature::OwnProcfs => faults.fail(libc::SYS_fsopen, errno),
        Feature::Pidfd => faults.fail(libc::SYS_pidfd_open, errno),
        // The table's own way to it; setns(2) itself is what every entry needs.
        Feature::PidfdSetns => ioctl(0x894c),
        Feature::CachedLookup => faults.fail(libc::SYS_openat2, errno),
        Feature::NetnsCookie => option(libc::SO_NETNS_COOKIE),
        Feature::PidfdNetns => ioctl(0xff04),
        Feature::ShortSlices => faults.fail(libc::SYS_sched_getattr, errno),
        Feature::NetnsId => ioctl(0x8008_b70d),
    }
}

/// Opens, closes, watches and releases as with all of them.
fn assert_all_works(pool: &Running) {
    let names = Directory::new();
    let (path, other) = (names.make("a"), names.make("b"));
    let process = Process::start();
    for _ in 0..3 {
        remove(&path);
        assert_eq!(pool.open(&path, 0).err(), oracle(&path, 0).err());
        names.make("a");
        for path in [&path, &other, &process.path()] {
            assert_eq!(pool.open(path, 0).map(cookie), oracle(path, 0));
        }
        let by_number = pool.open_process(process.id()).map(cookie);
        assert_eq!(by_number, oracle(&process.path(), 0));
    }
    assert_numbers_are_taken_back(pool, &other);
    pool.release(&other);
    // One that ends at a time: the helper there leaves though it may stay for ever.
    pool.open(&path, 0).unwrap();
    remove(&path);
    let id = process.id();
    pool.open_process(id).unwrap();
    drop(process);
    eventually("left", || pool.pinned() == 0);
    assert!(pool.open_process(id).is_err());
    assert_eq!(pool.0.info().died, 0);
}

fn assert_numbers_are_taken_back(pool: &Running, path: &Path) {
    let (first, second) = (pool.open(path, 0).unwrap(), pool.open(path, 0).unwrap());
    let number = first.as_raw_fd();
    assert_eq!(issued::issue(first), number);
    let socket = issued::reclaim(number).expect("it is the same socket");
    assert!(issued::reclaim(number).is_none());
    // The number names another socket by then.
    issued::issue(socket);
    let file = second.as_raw_fd();
    // SAFETY: both are open, and this test's alone.
    assert_eq!(unsafe { libc::dup2(file, number) }, number);
    assert!(issued::reclaim(number).is_none());
    // SAFETY: it is open, and nobody else's.
    assert_eq!(unsafe { libc::close(number) }, 0);
}

#[test]
fn each_feature_missing_with_any_errno() {
    let _alone = alone();
    for row in &TABLE {
        for errno in ERRNOS {
            let Some(faults) = Faults::new() else { return };
            fail(&faults, row.feature, errno);
            let pool = start(&faults, FOREVER);
            assert!(!features::get().has(row.feature), "{} {errno}", row.name);
            assert_all_works(&pool);
        }
    }
}

#[test]
fn all_features_may_be_missing_together() {
    let _alone = alone();
    for errno in ERRNOS {
        let Some(faults) = Faults::new() else { return };
        TABLE
            .iter()
            .for_each(|row| fail(&faults, row.feature, errno));
        let pool = start(&faults, FOREVER);
        assert!(TABLE.iter().all(|row| !features::get().has(row.feature)));
        assert_all_works(&pool);
    }
}

#[test]
fn shortage_at_start_hides_no_process() {
    let _alone = alone();
    let process = Process::start();
    for errno in [libc::EMFILE, libc::ENFILE, libc::ENOMEM] {
        for calls in 0..8 {
            let Some(faults) = Faults::new() else { return };
            // Only a procfs tells which process has a number, and only the one at /proc.
            faults.fail(libc::SYS_ioctl, libc::ENOTTY);
            faults.fail(libc::SYS_fsopen, libc::EPERM);
            faults.fail_after(libc::SYS_openat, errno, calls);
            let pool = faults.among_them(|| nlns_core::Pool::start(FOREVER));
            let pool = Running::of(pool.unwrap());
            eventually("it has looked", || {
                faults.asked(libc::SYS_openat) > calls || pool.0.info().started == 1
            });
            faults.forget(libc::SYS_openat);
            let answer = pool.open_process(process.id()).map(cookie);
            assert_eq!(answer, oracle(&process.path(), 0));
        }
    }
}

#[test]
fn descriptor_shortage_hides_no_feature() {
    let _alone = alone();
    let names = Directory::new();
    let path = names.make("a");
    let Some(faults) = Faults::new() else { return };
    faults.fail(libc::SYS_pidfd_open, libc::EMFILE);
    let pool = faults.among_them(|| nlns_core::Pool::start(FOREVER));
    let pool = Running::of(pool.unwrap());
    let answer = pool.open(&path, 0).map(cookie);
    assert_eq!(answer.unwrap_err().errno, libc::EMFILE);
    faults.heal();
    assert_eq!(pool.open(&path, 0).map(cookie), oracle(&path, 0));
    // They are tried again, and found as without the shortage.
    let found = features::get();
    let unharmed = start(&Faults::new().expect("as before"), FOREVER);
    assert_eq!(found, features::get());
    drop(unharmed);
}

#[test]
fn disturbance_at_start_hides_no_feature() {
    let _alone = alone();
    let Some(faults) = Faults::new() else { return };
    let unharmed = start(&faults, FOREVER);
    let found = features::get();
    drop(unharmed);
    let calls = [
        libc::SYS_openat2,
        libc::SYS_pidfd_open,
        libc::SYS_fsopen,
        libc::SYS_ioctl,
        libc::SYS_getsockopt,
        libc::SYS_sched_getattr,
    ];
    for call in calls {
        for errno in [libc::EAGAIN, libc::EINTR] {
            let faults = Faults::new().expect("as before");
            faults.fail_times(call, errno, 20);
            let _disturbed = start(&faults, FOREVER);
            assert_eq!(found, features::get(), "{call} {errno}");
        }
    }
}
