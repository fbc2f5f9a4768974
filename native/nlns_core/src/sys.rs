//! The system calls that rustix does not offer, or offers only for descriptors it can name.
//!
//! This is the one module with `unsafe` in it. Three reasons, each with its functions: integers from
//! the BEAM that *are* descriptors ([`adopt`], [`with_borrowed`]), options and requests that no
//! well-kept crate wraps ([`netns_cookie`], [`namespace_id`], [`ask_for_short_slices`]), and the
//! signal mask, which must be full before a thread exists ([`with_signals_blocked`]).
#![allow(unsafe_code)]

use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::io::{Errno, Result};

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
/// NB: only for a number that the caller has just claimed in [`crate::issued`].
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

/// The same number asked of a namespace file: `NS_GET_ID` of linux/nsfs.h (Linux 6.18), else `ENOTTY`.
pub(crate) fn namespace_id(fd: BorrowedFd<'_>) -> Result<u64> {
    const NS_GET_ID: libc::c_ulong = 0x8008_b70d; // _IOR(0xb7, 13, __u64)
    let mut id = 0_u64;
    // SAFETY: this request writes one u64, and only if it succeeds.
    check(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_ID as _, &raw mut id) })?;
    Ok(id)
}

/// Asks for time slices of 100 µs, so that on a machine whose cores are all busy this thread is
/// scheduled again soon after it wakes, not after the others' whole slices (sched_setattr(2), Linux
/// 6.12 or newer for the normal policy; older kernels ignore or refuse it, which is fine).
pub(crate) fn ask_for_short_slices() {
    #[repr(C)]
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
    let attr = SchedAttr {
        size: size_of::<SchedAttr>() as u32,
        policy: 0, // SCHED_OTHER
        flags: 0,
        nice: rustix::process::getpriority_process(None).unwrap_or(0),
        priority: 0,
        runtime: 100_000,
        deadline: 0,
        period: 0,
    };
    // SAFETY: the kernel reads `size` bytes of `attr`; thread 0 is the calling one.
    let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, &raw const attr, 0) };
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
