//! A process, not the number that it shares with those before and after it.

use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, Result};
use rustix::process::{Pid, PidfdFlags, getpid, pidfd_open};
use rustix::thread::gettid;

use crate::error::uninterrupted;
use crate::features::{self, Feature};
use crate::procfs::Procfs;
use crate::sys;

/// Holds on to the process that had a number, in this process's pid namespace, when this was made.
pub(crate) struct Process {
    pid: Pid,
    /// None where the kernel has no pidfds (pidfd_open(2), Linux 5.3), or a filter gives none: its number
    /// must do.
    pidfd: Option<OwnedFd>,
}

impl Process {
    /// Finds the process that has this number now. None there, or a thread that leads no process, is what
    /// a missing `/proc/PID` is to an open.
    pub(crate) fn find(pid: Pid) -> Result<Self> {
        let pidfd = match open(pid) {
            Ok(pidfd) => Some(pidfd),
            Err(Errno::NOSYS) => None,
            Err(errno) => return Err(errno),
        };
        Ok(Self { pid, pidfd })
    }

    /// Returns `ENOENT` once it has ended. Before that its number belongs to no other, so what was read
    /// under `/proc/PID` before this returned was its own.
    pub(crate) fn is_alive(&self) -> Result<()> {
        match &self.pidfd {
            Some(pidfd) if has_ended(pidfd) => Err(Errno::NOENT),
            _ => Ok(()),
        }
    }

    /// Opens its network namespace; `EOPNOTSUPP` if neither the kernel nor a procfs can tell which it is.
    pub(crate) fn netns(&self, procfs: Option<&Procfs>) -> Result<OwnedFd> {
        if features::get().has(Feature::PidfdNetns) {
            if let Some(pidfd) = &self.pidfd {
                return sys::pidfd_netns(pidfd.as_fd()).map_err(as_path);
            }
        }
        let procfs = procfs.ok_or(Errno::OPNOTSUPP)?;
        let netns = procfs.process_netns(self.pid)?;
        self.is_alive()?;
        Ok(netns)
    }
}

/// Whether a process has this number now and has not ended, whatever procfs shows; `None` where the kernel
/// gives no pidfd. Not even a thread-group leader's end is one, as long as other threads of it live.
pub fn is_running(pid: i32) -> Option<bool> {
    let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten();
    match pid.map(open) {
        Some(Ok(pidfd)) => Some(!has_ended(&pidfd)),
        Some(Err(Errno::NOENT)) | None => Some(false),
        Some(Err(_)) => None,
    }
}

/// What `/proc/PID` would have answered.
fn as_path(errno: Errno) -> Errno {
    match errno {
        Errno::SRCH | Errno::INVAL => Errno::NOENT,
        errno => errno,
    }
}

/// Opens a pidfd; `ENOENT` if there is no such process, `ENOSYS` if there are no pidfds, whatever the kernel
/// or a filter says.
pub(crate) fn open(pid: Pid) -> Result<OwnedFd> {
    if features::are_known() && !features::get().has(Feature::Pidfd) {
        return Err(Errno::NOSYS);
    }
    // As the first pool starts, the kernel has to be asked.
    let pidfd = uninterrupted(|| pidfd_open(pid, PidfdFlags::empty())).map_err(as_path);
    pidfd.map_err(|errno| match errno {
        Errno::PERM | Errno::ACCESS if !features::are_known() => Errno::NOSYS,
        errno => errno,
    })
}

/// Whether the process behind a pidfd has ended.
pub(crate) fn has_ended(pidfd: &OwnedFd) -> bool {
    let now = Timespec::default();
    let mut pidfd = [PollFd::new(pidfd, PollFlags::IN)];
    // Interrupted by any signal that has come, though it does not wait.
    uninterrupted(|| poll(&mut pidfd, Some(&now))) != Ok(0)
}

/// Opens this process's own pidfd.
pub(crate) fn own() -> Result<OwnedFd> {
    uninterrupted(|| pidfd_open(getpid(), PidfdFlags::empty()))
}

/// Opens the network namespace of the main thread without a procfs.
pub(crate) fn own_netns() -> Result<OwnedFd> {
    sys::pidfd_netns(own()?.as_fd())
}

/// The same for the calling thread (`PIDFD_THREAD`, Linux 6.9).
pub(crate) fn thread_netns() -> Result<OwnedFd> {
    const PIDFD_THREAD: PidfdFlags = PidfdFlags::from_bits_retain(libc::O_EXCL as u32);
    sys::pidfd_netns(pidfd_open(gettid(), PIDFD_THREAD)?.as_fd())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Host;
    use rustix::fs::{fstat, stat};
    use std::process::Command;

    #[test]
    fn ended_process_is_not_its_successor() {
        // Finds the features.
        Host::find().unwrap();
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let pid = Pid::from_child(&child);
        let process = Process::find(pid).unwrap();
        assert!(process.is_alive().is_ok());
        let id = child.id() as i32;
        let has_pidfds = process.pidfd.is_some();
        assert_eq!(is_running(id), has_pidfds.then_some(true));
        child.kill().unwrap();
        child.wait().unwrap();
        if has_pidfds {
            assert_eq!(is_running(id), Some(false));
            assert_eq!(process.is_alive(), Err(Errno::NOENT));
            assert_eq!(Process::find(pid).err(), Some(Errno::NOENT));
        }
    }

    #[test]
    fn each_lookup_finds_same_namespace() {
        let procfs = Host::find().unwrap().procfs().unwrap();
        let inode = |fd: OwnedFd| fstat(fd).unwrap().st_ino;
        let own = stat("/proc/self/ns/net").unwrap().st_ino;
        let process = Process::find(getpid()).unwrap();
        let by_number = Process {
            pid: process.pid,
            pidfd: None,
        };
        for process in [process, by_number] {
            assert_eq!(process.netns(Some(&procfs)).map(inode), Ok(own));
        }
        if features::get().has(Feature::PidfdNetns) {
            assert_eq!(own_netns().map(inode), Ok(own));
            assert_eq!(thread_netns().map(inode), Ok(own));
        }
    }

    #[test]
    fn no_pidfd_nor_procfs_proves_nothing() {
        let process = Process {
            pid: getpid(),
            pidfd: None,
        };
        assert_eq!(process.netns(None).err(), Some(Errno::OPNOTSUPP));
    }
}
