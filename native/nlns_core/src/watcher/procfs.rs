//! The process behind a directory of a procfs, by whatever path that is reached: `//proc/PID/ns`,
//! `/proc/self/root/proc/PID/ns`, the host's procfs that a container is shown as `/host/proc`. inotify(7)
//! reports nothing there.

use std::ffi::{CStr, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{PROC_SUPER_MAGIC, statfs};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Whether `directory` is one of a procfs.
pub(super) fn is_procfs(directory: &CStr) -> bool {
    statfs(directory).is_ok_and(|of| of.f_type == PROC_SUPER_MAGIC)
}

/// The process that `directory` tells of, `ns` for example. `None` if it is not proven to be one that has
/// the same number here: a procfs numbers processes as its own pid namespace does (pid_namespaces(7)).
pub(super) fn process_behind(directory: &CStr) -> Option<OwnedFd> {
    let there = Stat::read(&[directory.to_bytes(), b"/../stat"].concat())?;
    let pidfd = pidfd_open(there.pid, PidfdFlags::empty()).ok()?;
    let here = Stat::read(format!("/proc/{}/stat", there.pid.as_raw_nonzero()).as_bytes())?;
    (there == here).then_some(pidfd)
}

/// What tells a process from others: its number and when it started (proc_pid_stat(5)).
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    pid: Pid,
    start: u64,
}

impl Stat {
    fn read(path: &[u8]) -> Option<Self> {
        Self::parse(&std::fs::read(OsStr::from_bytes(path)).ok()?)
    }

    /// "PID (NAME) STATE ...", where there may be anything in the name.
    fn parse(stat: &[u8]) -> Option<Self> {
        let end_of_name = stat.iter().rposition(|&byte| byte == b')')?;
        let is_space = |byte: &u8| *byte == b' ';
        let pid = stat.split(is_space).next()?;
        let start = stat[end_of_name..].split(is_space).nth(20)?;
        let pid = std::str::from_utf8(pid).ok()?.parse().ok()?;
        let start = std::str::from_utf8(start).ok()?.parse().ok()?;
        Some(Self {
            pid: Pid::from_raw(pid)?,
            start,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_process_is_found_behind_each_spelling() {
        let pid = std::process::id();
        for directory in [
            format!("//proc/{pid}/ns"),
            format!("/proc/./{pid}/ns"),
            format!("/proc/{pid}/task/../ns"),
            format!("/proc/self/root/proc/{pid}/fd"),
            "/proc/self/ns".to_owned(),
        ] {
            let directory = std::ffi::CString::new(directory).unwrap();
            assert!(is_procfs(&directory));
            assert!(process_behind(&directory).is_some(), "{directory:?}");
        }
        assert!(!is_procfs(c"/tmp") && !is_procfs(c"/proc/self/root") && !is_procfs(c"/no/such"));
    }

    #[test]
    fn what_tells_of_no_process_has_none_behind_it() {
        // A thread that leads no process has no pidfd of this kind.
        for directory in [c"/proc", c"/proc/sys", c"/proc/no-such/ns"] {
            assert!(process_behind(directory).is_none(), "{directory:?}");
        }
        let thread = || process_behind(c"/proc/thread-self/ns").is_none();
        assert!(std::thread::spawn(thread).join().unwrap());
    }

    #[test]
    fn a_name_may_look_like_anything() {
        let fields = " S 1 1 1 0 -1 4194304 98 0 0 0 0 0 0 0 20 0 1 0 1589901 3133440 362\n";
        for name in ["cat", "a) S 1 (b", "", "\n) \n"] {
            let stat = Stat::parse(format!("17 ({name}){fields}").as_bytes()).unwrap();
            assert_eq!(
                (stat.pid.as_raw_nonzero().get(), stat.start),
                (17, 1_589_901)
            );
        }
        let not_utf8 = [b"17 (\xff)", fields.as_bytes()].concat();
        assert!(Stat::parse(&not_utf8).is_some());
        for wrong in ["", "17", "17 (cat", "17 (cat) S 1", "0 (cat) S"] {
            assert_eq!(Stat::parse(wrong.as_bytes()), None);
        }
    }
}
