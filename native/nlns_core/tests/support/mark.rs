//! A number by which each namespace can be told from all others, where the kernel has none (before Linux
//! 5.14): the hardware address of the loopback interface, which nothing uses. Every socket can ask for it, and
//! root of a user namespace may change it, netdevice(7). An inode would not do: the next namespace may get that
//! of the last.
#![allow(unsafe_code, reason = "no crate here wraps these ioctls")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::UNIX_EPOCH;

/// Each process begins elsewhere, because one may look at the marks of another.
static NEXT: LazyLock<AtomicU32> =
    LazyLock::new(|| AtomicU32::new(UNIX_EPOCH.elapsed().unwrap().subsec_nanos()));

/// Marks the namespace of a socket.
pub fn leave(fd: BorrowedFd<'_>) {
    let mut request = request();
    let [a, b, c, d] = NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes();
    // A locally administered address; zeros are none.
    let address = [2, 0, a, b, c, d].map(|byte| byte as libc::c_char);
    let mut hardware = libc::sockaddr {
        sa_family: libc::ARPHRD_LOOPBACK,
        sa_data: [0; 14],
    };
    hardware.sa_data[..6].copy_from_slice(&address);
    request.ifr_ifru.ifru_hwaddr = hardware;
    ask(fd, libc::SIOCSIFHWADDR, &mut request);
}

/// Reads it.
pub fn read(fd: BorrowedFd<'_>) -> u64 {
    let mut request = request();
    ask(fd, libc::SIOCGIFHWADDR, &mut request);
    // SAFETY: the kernel has written the address; whichever bytes it has, they are one. (A `c_char` has a sign or
    // not, by the processor.)
    let hardware = unsafe { request.ifr_ifru.ifru_hwaddr };
    let address = &hardware.sa_data[..6];
    address
        .iter()
        .fold(0, |mark, byte| mark << 8 | u64::from(byte.to_ne_bytes()[0]))
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
