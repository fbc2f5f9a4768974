//! What an exchange comes to when the kernel refuses, interrupts or does not finish one of its calls.

mod support;

use nlns_core::{Error, Stage};

use support::faults::under_faults;
use support::netlink::*;
use support::{FOREVER, descriptors, eventually, helpers, patience};

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

#[test]
fn kept_socket_ends_with_its_helper() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let before = descriptors();
    pool.links(path);
    faults.fail(libc::SYS_setns, libc::EPERM);
    pool.release(path);
    eventually("closed", || descriptors() == before);
    faults.heal();
    assert_eq!(pool.links(path), ["lo"]);
}
