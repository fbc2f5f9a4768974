//! Asks about system calls of threads, and lets each go on or fail: seccomp_unotify(2).
#![allow(unsafe_code, reason = "no crate here wraps seccomp's notifications")]

use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

const RECV: libc::c_ulong = 0xc050_2100; // SECCOMP_IOCTL_NOTIF_RECV
const SEND: libc::c_ulong = 0xc018_2101; // SECCOMP_IOCTL_NOTIF_SEND
const CONTINUE: u32 = 1; // SECCOMP_USER_NOTIF_FLAG_CONTINUE

/// Where the kernel asks about the calls of threads under a filter.
pub struct Listener(OwnedFd);

impl Listener {
    /// Waits for the next call; `None` when no thread is left under the filter.
    pub fn next(&self) -> Option<libc::seccomp_notif> {
        loop {
            let mut poll = libc::pollfd {
                fd: self.0.as_raw_fd(),
                events: libc::POLLIN,
                revents: 0,
            };
            // SAFETY: one pollfd.
            if unsafe { libc::poll(&raw mut poll, 1, -1) } < 0 {
                // Interrupted, as by glibc's own signals (nptl(7)).
                continue;
            }
            if poll.revents & libc::POLLIN == 0 {
                return None;
            }
            // SAFETY: plain numbers, for which zeros are what the kernel wants.
            let mut asked: libc::seccomp_notif = unsafe { std::mem::zeroed() };
            // SAFETY: the kernel writes one seccomp_notif.
            if unsafe { libc::ioctl(self.0.as_raw_fd(), RECV as _, &raw mut asked) } == 0 {
                return Some(asked);
            }
        }
    }

    /// Lets a call go on, or fail.
    pub fn respond(&self, id: u64, errno: Option<i32>) {
        let answer = libc::seccomp_notif_resp {
            id,
            val: 0,
            error: -errno.unwrap_or(0),
            flags: if errno.is_some() { 0 } else { CONTINUE },
        };
        // SAFETY: the kernel reads one seccomp_notif_resp. A thread that is gone needs none.
        unsafe { libc::ioctl(self.0.as_raw_fd(), SEND as _, &raw const answer) };
    }

    /// Puts the calling thread, and those that it starts, under a filter that asks about these calls.
    pub fn start(calls: &[i64]) -> Self {
        let op = |code: u32, k: u32, jt: u8, jf: u8| libc::sock_filter {
            code: code as u16,
            jt,
            jf,
            k,
        };
        const LOAD: u32 = libc::BPF_LD | libc::BPF_W | libc::BPF_ABS;
        const IS: u32 = libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K;
        const RETURN: u32 = libc::BPF_RET | libc::BPF_K;
        // The number of the call is the first field of seccomp_data.
        let mut program = vec![op(LOAD, 0, 0, 0)];
        for (n, call) in calls.iter().enumerate() {
            program.push(op(IS, *call as u32, (calls.len() - n) as u8, 0));
        }
        program.push(op(RETURN, libc::SECCOMP_RET_ALLOW, 0, 0));
        program.push(op(RETURN, libc::SECCOMP_RET_USER_NOTIF, 0, 0));
        let filter = libc::sock_fprog {
            len: program.len() as u16,
            filter: program.as_mut_ptr(),
        };
        // SAFETY: only numbers; for this thread and those it starts.
        assert_eq!(
            // SAFETY: takes no pointer.
            unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
            0
        );
        // SAFETY: the kernel copies the program.
        let listener = unsafe {
            libc::syscall(
                libc::SYS_seccomp,
                libc::SECCOMP_SET_MODE_FILTER,
                libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
                &raw const filter,
            )
        };
        assert!(
            listener >= 0,
            "seccomp: {}",
            std::io::Error::last_os_error()
        );
        // SAFETY: the kernel has just made it for us.
        unsafe { Self(OwnedFd::from_raw_fd(listener as i32)) }
    }
}
