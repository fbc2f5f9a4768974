//! A process, not the number that it shares with those before and after it.

use std::ffi::CStr;
use std::os::fd::OwnedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use crate::error::{Error, Stage, uninterrupted};

/// Holds on to the process that had a number when this was made (pidfd_open(2), Linux 5.3).
pub(crate) struct Process(OwnedFd);

impl Process {
    /// The process that has this number now. None there, or a thread that leads no process, is what
    /// a missing `/proc/PID` is to an open. `Ok(None)` where the kernel has no pidfds, or a filter gives
    /// none (EPERM, which is no errno of its own): its number must do.
    pub(crate) fn find(pid: i32) -> Result<Option<Self>, Error> {
        let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten();
        match pid
            .ok_or(Errno::SRCH)
            .and_then(|pid| pidfd_open(pid, PidfdFlags::empty()))
        {
            Ok(pidfd) => Ok(Some(Self(pidfd))),
            Err(Errno::NOSYS | Errno::PERM) => Ok(None),
            Err(Errno::SRCH | Errno::INVAL) => Err(ENDED),
            Err(errno) => Err(Error::new(Stage::Open, errno)),
        }
    }

    /// An error once it has ended. Before that its number belongs to no other, so what was read
    /// under `/proc/PID` before this answered was its own.
    pub(crate) fn is_alive(&self) -> Result<(), Error> {
        let now = Timespec::default();
        let mut pidfd = [PollFd::new(&self.0, PollFlags::IN)];
        // Interrupted by any signal that has come, though it does not wait.
        match uninterrupted(|| poll(&mut pidfd, Some(&now))) {
            Ok(0) => Ok(()),
            Ok(_) | Err(_) => Err(ENDED),
        }
    }
}

/// Whether a process has this number now and has not ended, whatever procfs shows; `None` where the kernel
/// gives no pidfd. Not even a thread-group leader's end is one, as long as other threads of it live.
pub fn is_running(pid: i32) -> Option<bool> {
    match Process::find(pid) {
        Ok(process) => process.map(|process| process.is_alive().is_ok()),
        Err(error) => (error == ENDED).then_some(false),
    }
}

const ENDED: Error = Error::new(Stage::Open, Errno::NOENT);

/// PID and what follows, if the path begins with `/proc/PID/`.
pub(crate) fn process_of(path: &CStr) -> Option<(Pid, &str)> {
    let path = path.to_str().ok()?;
    let (pid, rest) = path.strip_prefix("/proc/")?.split_once('/')?;
    let pid = pid.parse().ok().filter(|&pid| pid > 0)?;
    Some((Pid::from_raw(pid)?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_process_that_has_ended_is_not_its_successor() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let process = Process::find(child.id() as i32).unwrap().unwrap();
        assert!(process.is_alive().is_ok());
        assert_eq!(is_running(child.id() as i32), Some(true));
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(process.is_alive(), Err(ENDED));
        assert_eq!(is_running(child.id() as i32), Some(false));
        assert_eq!(Process::find(child.id() as i32).err(), Some(ENDED));
        assert!(Process::find(0).is_err() && Process::find(-1).is_err());
    }

    #[test]
    fn only_a_process_path_names_a_process() {
        let process = |path| process_of(path).map(|(pid, rest)| (pid.as_raw_nonzero().get(), rest));
        assert_eq!(process(c"/proc/17/ns/net"), Some((17, "ns/net")));
        assert_eq!(process(c"/proc/17/root/a"), Some((17, "root/a")));
        assert_eq!(process(c"/proc/self/ns/net"), None);
        assert_eq!(process(c"/proc/0/ns/net"), None);
        assert_eq!(process(c"/proc/-1/ns/net"), None);
        assert_eq!(process(c"/host/proc/17/ns/net"), None);
    }
}
