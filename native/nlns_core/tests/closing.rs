//! Sockets whose close(2) takes long: only closers wait for it.

mod support;

use std::os::fd::AsRawFd;

use crossbeam_channel::bounded;
use nlns_core::Pool;
use rustix::io::dup;

use support::faults::under_faults;
use support::{FOREVER, alone_with, eventually, patience, threads};

#[test]
fn slow_close_keeps_no_other_waiting() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let sockets: Vec<_> = (0..3).map(|_| pool.open_packet(path)).collect();
    let let_go = faults.hold_close(&sockets);
    drop(sockets);
    eventually("each is being closed by one of its own", || {
        faults.held() == 3 && threads("nlns-closer") == 4
    });
    faults.heal();
    let (done, closed) = bounded(1);
    let next = pool.open_packet(path);
    assert!(next.close(Box::new(move || done.send(()).unwrap())));
    closed.recv_timeout(patience()).unwrap();
    eventually("the others are not", || pool.0.info().closing == 3);
    drop(let_go);
    eventually("all are closed", || pool.0.info().closing == 0);
    eventually("one is enough", || threads("nlns-closer") == 1);
}

#[test]
fn duplicates_that_stay_open_keep_no_close_waiting() {
    // More than a lane has threads, and fewer than hold an open back.
    const COUNT: usize = 20;
    let (pool, path, ..) = &alone_with(FOREVER);
    // They are waited for a second, which may be over too soon on a busy machine.
    eventually("another closes while they wait", || {
        // As for sockets whose owners have ended after they gave them to others.
        let _kept = Vec::from_iter((0..COUNT).map(|_| {
            let socket = pool.open_packet(path);
            let duplicate = dup(&socket).unwrap();
            socket.close_after(duplicate.as_raw_fd());
            duplicate
        }));
        let (done, closed) = bounded(1);
        let other = pool.open_packet(path);
        assert!(other.close(Box::new(move || done.send(()).unwrap())));
        closed.recv_timeout(patience()).unwrap();
        pool.0.info().closing == COUNT
    });
    eventually("all are closed", || pool.0.info().closing == 0);
    eventually("one thread is enough", || threads("nlns-closer") == 1);
}

#[test]
fn failed_start_takes_no_sockets() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let socket = pool.open_packet(path);
    faults.fail_threads(libc::EAGAIN);
    assert!(faults.among_them(|| Pool::start(FOREVER).is_err()));
    faults.heal();
    let (done, closed) = bounded(1);
    let closer = || std::thread::current().name().map(str::to_owned);
    assert!(socket.close(Box::new(move || done.send(closer()).unwrap())));
    let closer = closed.recv_timeout(patience()).unwrap();
    assert_eq!(closer.as_deref(), Some("nlns-closer"));
}

#[test]
fn stop_awaits_slow_close_within_bound() {
    let Some((pool, faults, path, ..)) = &under_faults(FOREVER) else {
        return;
    };
    let socket = pool.open_packet(path);
    let let_go = faults.hold_close([&socket]);
    drop(socket);
    eventually("it is being closed", || faults.held() == 1);
    assert_eq!(pool.stop(), 1);
    faults.heal();
    drop(let_go);
    eventually("it is closed", || threads("nlns") == 0);
    assert_eq!(pool.0.info().closing, 0);
}
