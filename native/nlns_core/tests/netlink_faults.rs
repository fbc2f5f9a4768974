//! What an exchange comes to when the kernel refuses, interrupts or does not finish one of its calls.

mod support;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};

use nlns_core::netlink::Exchange;
use nlns_core::{Error, MAX_CLOSING, Stage};
use rustix::io::Errno;

use support::faults::under_faults;
use support::netlink::*;
use support::{FOREVER, Running, descriptors, eventually, helpers, key, patience, settle};

/// The kernel had no room for a part of the answer.
const LOST: Option<Error> = Some(Error {
    stage: Stage::Receive,
    errno: libc::ENOBUFS,
});

#[test]
fn missing_socket_options_are_not_needed() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    for errno in [libc::ENOPROTOOPT, libc::EPERM, libc::EINVAL] {
        faults.fail(libc::SYS_setsockopt, errno);
        pool.change(path, add_pair("a", "b"));
        let refusal = pool
            .exchange(path, add_pair("a", "c"))
            .unwrap()
            .unwrap_err();
        assert_eq!(refusal.errno, libc::EEXIST);
        pool.change(path, delete("a"));
        faults.heal();
        pool.release(path);
    }
}

#[test]
fn incomplete_dump_is_repeated() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    for times in 1..5 {
        faults.fail_times(libc::SYS_recvfrom, libc::ENOBUFS, times);
        assert_eq!(pool.links(path), ["lo"]);
    }
    faults.fail_times(libc::SYS_recvfrom, libc::ENOBUFS, 5);
    let lost = pool.exchange(path, links());
    assert_eq!(lost.err(), LOST);
    // What changes something is sent once.
    faults.fail_times(libc::SYS_recvfrom, libc::ENOBUFS, 1);
    let lost = pool.exchange(path, add_pair("a", "b"));
    assert_eq!(lost.err(), LOST);
    assert_eq!(pool.links(path).len(), 3);
}

/// An address is added or removed between any two parts of a dump, so that the kernel calls it interrupted.
#[test]
fn ever_interrupted_dump_is_an_error() {
    let Some((pool, faults, path, ..)) = &under_faults(helpers(1)) else {
        return;
    };
    // So many that a dump takes several datagrams. Inside of one the kernel takes no lock, and notices nothing.
    let many = (0..1_000_u32).flat_map(|n| address(NEWADDR, 1, 0x0a00_0000 + n));
    pool.change(path, many.collect());
    let dump = || pool.exchange(path, request(GETADDR, DUMP, &[2, 0, 0, 0, 0, 0, 0, 0]));
    let (changing, there) = (Running::start(helpers(1)), path.clone());
    changing.links(path);
    let before = sockets();

    let changes = AtomicUsize::new(0);
    faults.before_each(libc::SYS_recvfrom, move || {
        let is_there = changes.fetch_add(1, Ordering::SeqCst) % 2 == 1;
        let kind = if is_there { DELADDR } else { NEWADDR };
        changing.change(&there, address(kind, 1, 0x0b00_0001));
    });
    let interrupted = Some(Error::new(Stage::Receive, Errno::INTR));
    assert_eq!(dump().err(), interrupted);
    // Each attempt was made on the same one.
    assert_eq!(sockets(), before);
    faults.heal();
    assert!(dump().unwrap().unwrap().len() >= 1_000);
}

/// The sockets of this process, by their inodes.
fn sockets() -> BTreeSet<PathBuf> {
    let descriptors = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
    descriptors
        .filter_map(|descriptor| std::fs::read_link(descriptor.path()).ok())
        .filter(|link| {
            link.to_str()
                .is_some_and(|link| link.starts_with("socket:"))
        })
        .collect()
}

#[test]
fn interrupted_calls_are_made_again() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    for call in [libc::SYS_sendto, libc::SYS_recvfrom] {
        faults.fail_times(call, libc::EINTR, 10);
        assert_eq!(pool.links(path), ["lo"]);
    }
}

/// As by the rtnl lock, which a call waits for inside the kernel, and no signal ends.
#[test]
fn blocked_exchange_holds_up_no_other() {
    let Some((pool, faults, blocked, names, _)) = &under_faults(helpers(2)) else {
        return;
    };
    let other = names.make("b");
    for call in [libc::SYS_sendto, libc::SYS_recvfrom] {
        let held = faults.held();
        let let_go = faults.hold(call);
        let (answer, _) = pool.ask_netlink(blocked, ROUTE, links());
        eventually("it is blocked", || faults.held() == held + 1);
        faults.forget(call);
        for _ in 0..20 {
            assert_eq!(pool.links(&other), ["lo"]);
            assert!(pool.open(&other, 0).is_ok());
        }
        assert!(answer.try_recv().is_err());
        drop(let_go);
        let answer = answer.recv_timeout(patience()).unwrap();
        assert_eq!(answer.unwrap().unwrap().len(), 1);
    }
}

/// `NFT_MSG_GETGEN`. The socket's last close waits for changes of nftables that are under way.
fn generation() -> Vec<u8> {
    request(10 << 8 | 16, 0, &[0; 4])
}

#[test]
fn release_waits_for_kept_socket() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let before = descriptors();
    pool.exchange_of(path, NETFILTER, generation(), MAX_REPLY, None)
        .unwrap()
        .unwrap();
    let let_go = faults.hold(libc::SYS_close);
    let released = pool.ask_release(path).unwrap();
    eventually("the helper has left", || pool.pinned() == 0);
    eventually("it is being closed", || faults.held() > 0);
    assert!(released.try_recv().is_err());
    faults.heal();
    drop(let_go);
    assert_eq!(released.recv_timeout(patience()), Ok(Ok(())));
    assert!(descriptors() <= before);
}

#[test]
fn failing_exchanges_do_not_pile_up() {
    let Some((pool, faults, path, names, _)) = &under_faults(FOREVER) else {
        return;
    };
    let other = names.make("b");
    settle(pool, path);
    eventually("nothing is closed", || pool.0.info().closing == 0);
    let let_go = faults.hold(libc::SYS_close);
    let ask = || {
        // Less than any answer, so that each leaves a socket to be closed.
        let exchange = Exchange::new(NETFILTER, generation(), 1, None).unwrap();
        let (reply, answer) = ExchangeAnswer::new();
        pool.0.exchange(key(path), exchange, reply).unwrap();
        answer
    };
    let too_large = Err(Error::new(Stage::Receive, Errno::FBIG));
    for _ in 0..MAX_CLOSING {
        assert_eq!(ask().recv_timeout(patience()).unwrap(), too_large);
    }
    let held_back = ask();
    eventually("one is held back", || pool.0.info().held_back == 1);
    assert_eq!(pool.0.info().closing, MAX_CLOSING);
    // Other kinds do not wait. (To enter a namespace takes closing what was opened for that.)
    faults.heal();
    assert_eq!(pool.links(&other), ["lo"]);
    assert!(held_back.try_recv().is_err());
    drop(let_go);
    assert_eq!(held_back.recv_timeout(patience()).unwrap(), too_large);
}

#[test]
fn kept_socket_ends_with_its_helper() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let before = descriptors();
    pool.links(path);
    faults.fail(libc::SYS_setns, libc::EPERM);
    pool.release(path);
    eventually("closed", || descriptors() <= before);
    faults.heal();
    assert_eq!(pool.links(path), ["lo"]);
}
