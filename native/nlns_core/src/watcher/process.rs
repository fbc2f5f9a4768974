//! The process behind a directory of a procfs, by whatever path that is reached: `//proc/PID/ns`,
//! `/proc/self/root/proc/PID/ns`, the host's procfs that a container is shown as `/host/proc`. inotify(7)
//! reports nothing there.

use std::ffi::{CStr, CString};
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::fs::{PROC_SUPER_MAGIC, statfs};
use rustix::process::Pid;

use crate::pidfd;
use crate::procfs::{Procfs, open_file, read};

/// Whether `directory` is one of a procfs, whatever its path says.
pub(super) fn is_procfs(directory: &CStr) -> bool {
    statfs(directory).is_ok_and(|of| of.f_type == PROC_SUPER_MAGIC)
}

/// Opens a pidfd of the process that `directory` tells of: its own, or one below, as `ns`. `None` if that is
/// not proven to be the process that has the same number here (pid_namespaces(7)).
pub(super) fn pidfd_of(directory: BorrowedFd<'_>, procfs: Option<&Procfs>) -> Option<OwnedFd> {
    if !procfs?.is_like(directory) {
        return None;
    }
    let pid = || number(directory, c"stat").or_else(|| number(directory, c"../stat"));
    let before = pid()?;
    let pidfd = pidfd::open(before).ok()?;
    // The directory tells of one process only, as long as that lives; so its number was that one's.
    (pid() == Some(before)).then_some(pidfd)
}

fn number(directory: BorrowedFd<'_>, stat: &CStr) -> Option<Pid> {
    number_in(&open_file(directory, stat).and_then(read).ok()?)
}

/// "PID (NAME) STATE ..." of proc_pid_stat(5).
fn number_in(stat: &str) -> Option<Pid> {
    let (pid, rest) = stat.split_once(' ')?;
    let pid = pid.parse().ok().filter(|&pid| pid > 0)?;
    rest.starts_with('(').then(|| Pid::from_raw(pid)).flatten()
}

/// `/proc/PID` if the path goes through it.
pub(super) fn directory_of(path: &CStr) -> Option<CString> {
    let (pid, _) = path
        .to_str()
        .ok()?
        .strip_prefix("/proc/")?
        .split_once('/')?;
    let pid: u32 = pid.parse().ok()?;
    CString::new(format!("/proc/{pid}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::netns::Host;
    use crate::procfs::open_directory;
    use rustix::fs::CWD;
    use std::os::fd::AsFd;

    fn process_behind(directory: &CStr) -> Option<OwnedFd> {
        let procfs = Host::find().unwrap().procfs();
        let directory = open_directory(CWD, directory).ok()?;
        pidfd_of(directory.as_fd(), procfs.as_deref())
    }

    #[test]
    fn process_is_found_behind_each_spelling() {
        let pid = std::process::id();
        for directory in [
            format!("/proc/{pid}"),
            format!("//proc/{pid}/ns"),
            format!("/proc/./{pid}/ns"),
            format!("/proc/{pid}/task/../ns"),
            format!("/proc/self/root/proc/{pid}/fd"),
            "/proc/self/ns".to_owned(),
        ] {
            let directory = CString::new(directory).unwrap();
            assert!(is_procfs(&directory));
            assert!(process_behind(&directory).is_some(), "{directory:?}");
        }
        assert!(!is_procfs(c"/tmp") && !is_procfs(c"/proc/self/root") && !is_procfs(c"/no/such"));
    }

    #[test]
    fn no_process_is_behind_other_directories() {
        for directory in [c"/proc", c"/proc/sys", c"/proc/no-such/ns", c"/tmp"] {
            assert!(process_behind(directory).is_none(), "{directory:?}");
        }
        // A thread that leads no process has no pidfd of this kind.
        let thread = || process_behind(c"/proc/thread-self/ns").is_none();
        assert!(std::thread::spawn(thread).join().unwrap());
    }

    #[test]
    fn odd_process_names_are_parsed() {
        let pid = |stat: &str| number_in(stat).map(|pid| pid.as_raw_nonzero().get());
        for name in ["cat", "a) S 1 (b", "", "\n) \n"] {
            assert_eq!(pid(&format!("17 ({name}) S 1 1")), Some(17));
        }
        for wrong in ["", "17", "17 cat", "0 (cat) S", "-1 (cat) S", "cpu  1 (2"] {
            assert_eq!(pid(wrong), None);
        }
    }

    #[test]
    fn only_process_paths_have_process_directories() {
        let directory = |path| directory_of(path).map(|found| found.into_string().unwrap());
        let found = Some("/proc/17".to_owned());
        assert_eq!(directory(c"/proc/17/ns/net"), found);
        assert_eq!(directory(c"/proc/17/root/a"), found);
        for path in [
            c"/proc/self/ns/net",
            c"/proc/-1/ns/net",
            c"/host/proc/17/root/a",
        ] {
            assert_eq!(directory(path), None);
        }
    }
}
