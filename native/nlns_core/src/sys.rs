//! The system calls that rustix does not offer, or offers only for descriptors it can name.
//!
//! This is the one module with `unsafe` in it. Three reasons, each with its functions: integers from
//! the BEAM that *are* descriptors ([`adopt`], [`with_borrowed`]), options and requests that no
//! well-kept crate wraps ([`netns_cookie`], [`set_netlink_option`], [`namespace_id`], [`socket_netns`],
//! [`pidfd_netns`], [`waiting_connections`], [`ask_for_short_slices`], [`time_slice`], [`thread_exists`]), and the
//! signal mask, which must be full before a thread exists ([`with_signals_blocked`]).
#![allow(unsafe_code)]

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};
use rustix::ioctl::{Opcode, opcode};
use rustix::process::{Pid, getpid};

fn check(result: libc::c_int) -> Result<()> {
    if result == 0 {
        Ok(())
    } else {
        Err(last_errno())
    }
}

fn last_errno() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

/// Makes the owner of a descriptor that came back from the BEAM as an integer.
///
/// Note: only for a number that the caller has just claimed in [`crate::issued`].
pub(crate) fn adopt(fd: RawFd) -> OwnedFd {
    debug_assert!(fd >= 0);
    // SAFETY: the table of issued descriptors gives each number to one claimant only, and the
    // claimant has checked that it still names the socket that was issued.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

/// Runs `f` on a descriptor that somebody else owns, known by its number; a closed one answers `EBADF`.
pub fn with_borrowed<R>(fd: RawFd, f: impl FnOnce(BorrowedFd<'_>) -> Result<R>) -> Result<R> {
    if fd < 0 {
        return Err(Errno::BADF);
    }
    // SAFETY: not -1. Nothing is read or written through it but by the system call in `f`, for
    // which a number that names nothing, or something else, is an errno.
    f(unsafe { BorrowedFd::borrow_raw(fd) })
}

/// The namespace of a socket, by a number that the kernel never uses twice (socket(7), Linux 5.14).
pub(crate) fn netns_cookie(fd: BorrowedFd<'_>) -> Result<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`.
    check(unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    })?;
    Ok(cookie)
}

/// How many connections wait for accept(2) at a TCP listener (`TCP_INFO`, tcp(7)).
pub(crate) fn waiting_connections(fd: BorrowedFd<'_>) -> Result<u32> {
    let mut info = MaybeUninit::<libc::tcp_info>::zeroed();
    let mut length = size_of::<libc::tcp_info>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `info`, which is plain numbers.
    let info = unsafe {
        check(libc::getsockopt(
            fd.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut length,
        ))?;
        info.assume_init()
    };
    // That is what the field means while the socket listens (tcp_get_info of the kernel).
    Ok(info.tcpi_unacked)
}

/// Sets one of the options of netlink(7) that are on or off.
pub(crate) fn set_netlink_option(fd: BorrowedFd<'_>, option: libc::c_int) -> Result<()> {
    let on: libc::c_int = 1;
    // SAFETY: the kernel reads an int at `on`.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_NETLINK,
            option,
            (&raw const on).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    })
}

/// The same number asked of a namespace file: `NS_GET_ID` of linux/nsfs.h (Linux 6.18), else `ENOTTY`.
pub(crate) fn namespace_id(fd: BorrowedFd<'_>) -> Result<u64> {
    const NS_GET_ID: Opcode = opcode::read::<u64>(0xb7, 13);
    let mut id = 0_u64;
    // SAFETY: this request writes one u64, and only if it succeeds.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_ID as _, &raw mut id) })?;
    Ok(id)
}

/// The namespace of a socket: `SIOCGSKNS` of linux/sockios.h (Linux 4.10), else `ENOTTY`; `EPERM`
/// without `CAP_NET_ADMIN` there.
pub(crate) fn socket_netns(fd: BorrowedFd<'_>) -> Result<OwnedFd> {
    const SIOCGSKNS: Opcode = 0x894c;
    new_descriptor(fd, SIOCGSKNS)
}

/// The network namespace of the process behind a pidfd: `PIDFD_GET_NET_NAMESPACE` of linux/pidfd.h
/// (Linux 6.11); `ESRCH` if its main thread has ended, `EACCES` if it may not be looked at.
pub(crate) fn pidfd_netns(pidfd: BorrowedFd<'_>) -> Result<OwnedFd> {
    const PIDFD_GET_NET_NAMESPACE: Opcode = opcode::none(0xff, 4);
    new_descriptor(pidfd, PIDFD_GET_NET_NAMESPACE)
}

/// A request without an argument that returns a descriptor, which the kernel makes close-on-exec.
fn new_descriptor(fd: BorrowedFd<'_>, request: Opcode) -> Result<OwnedFd> {
    // SAFETY: these requests read and write no memory of ours.
    match unsafe { libc::ioctl(fd.as_raw_fd(), request as _, 0) } {
        -1 => Err(last_errno()),
        // SAFETY: the kernel has just made it, so it has no other owner.
        new => Ok(unsafe { OwnedFd::from_raw_fd(new) }),
    }
}

/// Whether this process has a thread with this number, in its own pid namespace (tgkill(2)). It has until
/// the thread has left all its namespaces, which is later than a join returns.
pub fn thread_exists(thread: Pid) -> bool {
    let (process, thread) = (
        getpid().as_raw_nonzero().get(),
        thread.as_raw_nonzero().get(),
    );
    // SAFETY: takes no pointer; signal 0 is sent to nobody.
    check(unsafe { libc::syscall(libc::SYS_tgkill, process, thread, 0) as _ }) == Ok(())
}

/// sched_setattr(2), as far as Linux 3.14 had it.
#[repr(C)]
#[derive(Default)]
struct SchedAttr {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const SCHED_ATTR_SIZE: u32 = size_of::<SchedAttr>() as u32;

/// Asks for time slices of 100 µs, so that on a machine whose cores are all busy this thread is
/// scheduled again soon after it wakes, not after the others' whole slices (sched_setattr(2), Linux
/// 6.12 or newer for the normal policy; older kernels ignore or refuse it, which is fine).
pub(crate) fn ask_for_short_slices() {
    let attr = SchedAttr {
        size: SCHED_ATTR_SIZE,
        policy: 0, // SCHED_OTHER
        nice: rustix::process::getpriority_process(None).unwrap_or(0),
        runtime: 100_000,
        ..SchedAttr::default()
    };
    // SAFETY: the kernel reads `size` bytes of `attr`; thread 0 is the calling one.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
}

/// The calling thread's time slice in nanoseconds; 0 where it cannot be chosen (sched_getattr(2), before
/// Linux 6.12 or for another policy than the normal one).
pub(crate) fn time_slice() -> Result<u64> {
    let mut attr = SchedAttr::default();
    // SAFETY: the kernel writes at most the size that it is given; thread 0 is the calling one.
    check(unsafe {
        libc::syscall(
            libc::SYS_sched_getattr,
            0,
            &raw mut attr,
            SCHED_ATTR_SIZE,
            0,
        ) as _
    })?;
    Ok(attr.runtime)
}

/// Runs `f` with every signal blocked that is not raised by the thread's own instructions, so that
/// a thread which `f` makes starts like that: no signal of the VM is ever delivered to it.
pub(crate) fn with_signals_blocked<R>(f: impl FnOnce() -> R) -> R {
    let mut blocked = MaybeUninit::uninit();
    let mut before = MaybeUninit::uninit();
    // SAFETY: sigfillset initialises the set, pthread_sigmask writes the old one; neither can
    // fail with these arguments.
    let before = unsafe {
        libc::sigfillset(blocked.as_mut_ptr());
        for signal in [libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL] {
            libc::sigdelset(blocked.as_mut_ptr(), signal);
        }
        libc::pthread_sigmask(libc::SIG_BLOCK, blocked.as_ptr(), before.as_mut_ptr());
        before.assume_init()
    };
    let result = f();
    // SAFETY: `before` is the mask that the call above gave.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, &raw const before, std::ptr::null_mut()) };
    result
}
