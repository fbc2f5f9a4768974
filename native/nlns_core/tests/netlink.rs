//! Netlink exchanges: the whole answer or an error, whatever happens meanwhile, and nothing left behind.

mod support;

use std::os::fd::AsFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crossbeam_channel::bounded;
use nlns_core::{Error, Stage};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::{SendFlags, sendto};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use support::netlink::*;
use support::netns::{Directory, remove};
use support::{
    CONFIG, FOREVER, Running, alone, alone_with, descriptors, eventually, helpers, patience, settle,
};

fn at(stage: Stage, errno: Errno) -> Option<Error> {
    Some(Error::new(stage, errno))
}

#[test]
fn each_namespace_answers_for_itself() {
    let _alone = alone();
    let names = Directory::new();
    let paths = [names.make("a"), names.make("b"), names.make("c")];
    let pool = Running::start(CONFIG);
    for (path, n) in paths.iter().zip(0..) {
        pool.change(path, add_pair(&format!("one{n}"), &format!("two{n}")));
    }
    for _ in 0..20 {
        for (path, n) in paths.iter().zip(0..) {
            let mut links = pool.links(path);
            links.sort();
            assert_eq!(
                links,
                ["lo".to_owned(), format!("one{n}"), format!("two{n}")]
            );
        }
    }
    assert_eq!(pool.0.info().exchanged, 63);
    let missing = pool.exchange(&names.0.join("missing"), links());
    assert_eq!(missing.err(), at(Stage::Open, Errno::NOENT));
}

#[test]
fn refusal_has_index_and_text() {
    let (pool, path, ..) = &alone_with(CONFIG);
    let unknown = attribute(18, &attribute(1, b"nonesuch"));
    let request = request(NEWLINK, CREATE, &[vec![0; 16], unknown].concat());
    let requests = [get("lo"), request, get("lo")].concat();
    let refusal = pool.exchange(path, requests).unwrap().unwrap_err();
    assert_eq!((refusal.errno, refusal.index), (libc::EOPNOTSUPP, 1));
    assert_eq!(refusal.text.as_deref(), Some(&b"Unknown device type"[..]));
    assert_eq!(pool.0.info().failed, 1);
    // What was not read of that answer belongs to no other.
    assert_eq!(pool.links(path), ["lo"]);
}

#[test]
fn listed_requests_are_answered_in_order() {
    let (pool, path, ..) = &alone_with(CONFIG);
    let addresses = request(22, DUMP, &[0; 8]);
    let list = [
        get("lo"),
        links(),
        addresses,
        add_pair("a", "b"),
        get("a"),
        links(),
    ];
    let messages = pool.exchange(path, list.concat()).unwrap().unwrap();
    assert_eq!(names_sorted(&messages), ["a", "a", "b", "lo", "lo", "lo"]);
}

fn names_sorted(messages: &[Message]) -> Vec<String> {
    let mut names = names(messages);
    names.sort();
    names
}

#[test]
fn kept_socket_closes_with_its_namespace() {
    let (pool, path, ..) = &alone_with(FOREVER);
    settle(pool, path);
    let before = descriptors();
    for _ in 0..5 {
        pool.links(path);
        assert_eq!(descriptors(), before + 1);
    }
    // Another protocol's takes its place.
    let sock_diag = 4;
    let unknown = pool.exchange_of(path, sock_diag, request(99, 0, &[]), MAX_REPLY, None);
    assert!(unknown.unwrap().is_err());
    assert_eq!(descriptors(), before + 1);
    pool.release(path);
    assert_eq!(descriptors(), before);

    settle(pool, path);
    pool.links(path);
    let kept = descriptors();
    remove(path);
    eventually("left the deleted", || pool.pinned() == 0);
    assert!(descriptors() < kept);
}

#[test]
fn kept_socket_refuses_other_processes() {
    let (pool, path, ..) = &alone_with(FOREVER);
    settle(pool, path);
    pool.links(path);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let end = Stop(&stop);
        let (begin, begun) = bounded(1);
        let hostile = scope.spawn(|| {
            let begin = begin;
            let netns = std::fs::File::open(path).unwrap();
            move_into_link_name_space(netns.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
            // The kernel gives the first socket of a process its number; others get some of their own.
            let ports = ports();
            assert!(!ports.is_empty());
            let socket = support::netns::netlink(ROUTE).unwrap();
            let forged = request(NEWLINK, 0x2, &[0; 16]);
            let mut refused = 0;
            while !stop.load(Ordering::SeqCst) {
                for port in &ports {
                    let to = SocketAddrNetlink::new(*port, 0);
                    let sent = sendto(&socket, &forged, SendFlags::DONTWAIT, &to);
                    assert_eq!(sent, Err(Errno::CONNREFUSED));
                    refused += 1;
                }
                // There is room for the first only.
                let _ = begin.try_send(());
            }
            refused
        });
        begun.recv_timeout(patience()).unwrap();
        for _ in 0..2_000 {
            assert_eq!(pool.links(path), ["lo"]);
        }
        drop(end);
        assert!(hostile.join().unwrap() > 0);
    });
}

/// The ports of netlink sockets of the protocol in this thread's namespace that are not the kernel's.
fn ports() -> Vec<u32> {
    let table = std::fs::read_to_string("/proc/thread-self/net/netlink").unwrap();
    let port = |line: &str| {
        let mut fields = line.split_whitespace().skip(1);
        let protocol: u32 = fields.next()?.parse().ok()?;
        let port: u32 = fields.next()?.parse().ok()?;
        (protocol == ROUTE && port != 0).then_some(port)
    };
    table.lines().skip(1).filter_map(port).collect()
}

#[test]
fn message_larger_than_buffer_is_whole() {
    let (pool, path, ..) = &alone_with(CONFIG);
    pool.change(path, add_pair("a", "b"));
    for n in 0..4 {
        pool.change(path, add_names("a", n * 120..(n + 1) * 120));
    }
    // Nearly as many as one attribute can hold. With a mask (IFLA_EXT_MASK) the kernel makes room in a dump for
    // the largest link; without one it leaves out what does not fit into 32 KiB, and says so nowhere.
    let mask = attribute(29, &1_u32.to_ne_bytes());
    let links = request(GETLINK, DUMP, &[vec![0; 16], mask].concat());
    for asked in [links, get("a")] {
        let messages = pool.exchange(path, asked).unwrap().unwrap();
        let largest = messages.iter().map(|m| m.payload.len()).max().unwrap();
        assert!(largest > 50_000, "{largest}");
    }
}

#[test]
fn answer_larger_than_allowed_is_refused() {
    let (pool, path, ..) = &alone_with(FOREVER);
    // A helper that settles later opens files.
    settle(pool, path);
    let pairs = (0..20).flat_map(|n| add_pair(&format!("a{n}"), &format!("b{n}")));
    pool.change(path, pairs.collect());
    let before = descriptors();
    let ask = |max_reply| pool.exchange_of(path, ROUTE, links(), max_reply, None);
    assert_eq!(ask(30_000).err(), at(Stage::Receive, Errno::FBIG));
    // A dump that was not read to its end is not kept.
    assert!(descriptors() < before);
    assert_eq!(ask(100_000).unwrap().unwrap().len(), 41);
}

#[test]
fn list_of_thousands_is_acknowledged_whole() {
    let (pool, path, ..) = &alone_with(CONFIG);
    let list: Vec<u8> = (0..5_000).flat_map(|_| get("lo")).collect();
    let messages = pool.exchange(path, list).unwrap().unwrap();
    assert_eq!(messages.len(), 5_000);
}

#[test]
fn dump_under_constant_changes_is_whole() {
    let (pool, path, ..) = &alone_with(CONFIG);
    let changing = Running::start(CONFIG);
    let pairs = (0..100).flat_map(|n| add_pair(&format!("a{n}"), &format!("b{n}")));
    pool.change(path, pairs.collect());
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = Stop(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                changing.change(path, add_pair("x", "y"));
                changing.change(path, delete("x"));
            }
        });
        for _ in 0..200 {
            match pool.exchange(path, links()) {
                // The pair is there or not, never one of them.
                Ok(messages) => assert!([201, 203].contains(&messages.unwrap().len())),
                error => assert_eq!(error.err(), at(Stage::Receive, Errno::INTR)),
            }
        }
    });
    assert_eq!(pool.links(path).len(), 201);
}

/// Ends what waits for it, also after a failure.
struct Stop<'a>(&'a AtomicBool);

impl Drop for Stop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

#[test]
fn waiting_exchange_holds_up_no_other() {
    let (pool, silent, names, _) = &alone_with(helpers(2));
    let other = names.make("b");
    // The kernel drops a request for a route lookup that is too short (net/ipv4/fib_frontend.c).
    let (answer, wanted) = pool.ask_netlink(silent, FIB_LOOKUP, request(0, 0, &[]));
    let (behind, _) = pool.ask_netlink(silent, ROUTE, links());
    for _ in 0..50 {
        assert_eq!(pool.links(&other), ["lo"]);
        assert!(pool.open(&other, 0).is_ok());
    }
    assert!(answer.try_recv().is_err() && behind.try_recv().is_err());
    wanted.store(false, Ordering::SeqCst);
    let behind = behind.recv_timeout(patience()).unwrap();
    assert_eq!(names_sorted(&behind.unwrap().unwrap()), ["lo"]);
    assert_eq!(pool.0.info().cancelled, 1);
}

#[test]
fn waiting_exchange_times_out() {
    let (pool, path, ..) = &alone_with(FOREVER);
    settle(pool, path);
    let before = descriptors();
    let timeout = Some(Duration::from_millis(30));
    for _ in 0..3 {
        let silent = request(0, 0, &[]);
        let late = pool.exchange_of(path, FIB_LOOKUP, silent, MAX_REPLY, timeout);
        assert_eq!(late.err(), Some(Error::TIMED_OUT));
        // Its answer may still come, so that the socket is not used again.
        eventually("closed", || descriptors() == before);
    }
    let over = pool.exchange_of(path, ROUTE, links(), MAX_REPLY, Some(Duration::ZERO));
    assert_eq!(over.err(), Some(Error::TIMED_OUT));
}

#[test]
fn stop_answers_a_waiting_exchange() {
    let _alone = alone();
    let names = Directory::new();
    let path = names.make("a");
    let before = descriptors();
    let pool = Running::start(FOREVER);
    let (answer, _) = pool.ask_netlink(&path, FIB_LOOKUP, request(0, 0, &[]));
    eventually("it waits", || pool.0.info().waiting == 0);
    assert_eq!(pool.stop(), 0);
    assert_eq!(
        answer.recv_timeout(patience()).unwrap().err(),
        Some(Error::STOPPED)
    );
    drop(pool);
    eventually("closed", || descriptors() <= before);
}

#[test]
fn opens_and_exchanges_keep_their_order() {
    let (pool, path, ..) = &alone_with(CONFIG);
    for _ in 0..20 {
        let asked: Vec<_> = (0..50)
            .map(|_| {
                let (exchanged, _) = pool.ask_netlink(path, ROUTE, links());
                (exchanged, pool.ask(path, 0).unwrap())
            })
            .collect();
        // The last one's answer is the last.
        let (_, last) = asked.last().unwrap();
        assert!(last.recv_timeout(patience()).unwrap().is_ok());
        for (exchanged, opened) in &asked[..asked.len() - 1] {
            assert!(exchanged.try_recv().unwrap().unwrap().is_ok());
            assert!(opened.try_recv().unwrap().is_ok());
        }
    }
}

#[test]
fn replaced_namespace_is_never_answered_for() {
    let _alone = alone();
    let names = Directory::new();
    let pool = Running::start(FOREVER);
    for n in 0..50 {
        let path = names.make("a");
        pool.change(&path, add_pair(&format!("a{n}"), &format!("b{n}")));
        assert_eq!(pool.links(&path).len(), 3);
        remove(&path);
        let gone = pool.exchange(&path, links());
        assert_eq!(gone.err(), at(Stage::Open, Errno::NOENT));
    }
}
