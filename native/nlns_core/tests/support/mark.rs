//! A number by which each namespace can be told from all others, where the kernel has none (before Linux
//! 5.14): the length of the loopback interface's transmit queue, which nothing uses. Every socket can ask
//! for it, netdevice(7). An inode would not do: the next namespace may get that of the last.
#![allow(unsafe_code, reason = "no crate here wraps these ioctls")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::UNIX_EPOCH;

/// What is not marked has 1,000. Each process begins elsewhere, because one may look at the marks of another.
static NEXT: LazyLock<AtomicI32> = LazyLock::new(|| {
    let now = UNIX_EPOCH.elapsed().unwrap();
    AtomicI32::new(1_001 + now.subsec_nanos() as i32)
});

/// Marks the namespace of a socket.
pub fn leave(fd: BorrowedFd<'_>) {
    let mut request = request();
    request.ifr_ifru.ifru_metric = NEXT.fetch_add(1, Ordering::Relaxed);
    ask(fd, libc::SIOCSIFTXQLEN, &mut request);
}

/// Reads it.
pub fn read(fd: BorrowedFd<'_>) -> u64 {
    let mut request = request();
    ask(fd, libc::SIOCGIFTXQLEN, &mut request);
    // SAFETY: the kernel has written the number; whichever it is, it is one.
    let mark = unsafe { request.ifr_ifru.ifru_metric };
    mark as u64
}

fn request() -> libc::ifreq {
    // SAFETY: plain numbers, of which zeros are a name without end and a value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = *from as libc::c_char;
    }
    request
}

fn ask(fd: BorrowedFd<'_>, call: libc::Ioctl, request: &mut libc::ifreq) {
    // SAFETY: the kernel reads and writes one ifreq.
    let result = unsafe { libc::ioctl(fd.as_raw_fd(), call, std::ptr::from_mut(request)) };
    assert_eq!(result, 0, "{}", std::io::Error::last_os_error());
}
