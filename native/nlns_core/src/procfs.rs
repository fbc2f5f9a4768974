//! Which procfs numbers processes as this process does.
//!
//! Each procfs shows the processes of one pid namespace (pid_namespaces(7)). What is mounted at `/proc` may
//! belong to another: the host's in a container, the one outside after `unshare --pid`. There `/proc/N` is not
//! the process that has the number N here.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    CWD, Mode, OFlags, PROC_SUPER_MAGIC, ResolveFlags, fstat, fstatfs, openat, openat2, readlinkat,
};
use rustix::io::{Errno, Result};
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, fsconfig_create, fsmount, fsopen};
use rustix::process::{Pid, getpid};

use crate::error::{is_shortage, uninterrupted};

const DIRECTORY: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

const FILE: OFlags = OFlags::RDONLY
    .union(OFlags::NONBLOCK)
    .union(OFlags::CLOEXEC);

/// A procfs that shows this process. It stays that one, whatever is mounted where later.
pub(crate) struct Procfs {
    root: OwnedFd,
    /// The number of its file system, which no other has while this is open.
    dev: u64,
    /// It is of this process's pid namespace, not of one above.
    is_own: bool,
}

impl Procfs {
    /// Finds the one that is mounted at `/proc` now. If that is not of this pid namespace, one is taken that is
    /// mounted nowhere (fsmount(2), Linux 5.2, needs `CAP_SYS_ADMIN`), where that can be had.
    pub(crate) fn find() -> Result<Self> {
        let found = Self::of(open_directory(CWD, c"/proc"));
        if matches!(found, Ok(Self { is_own: true, .. })) {
            return found;
        }
        Self::of(mount()).or(found)
    }

    fn of(root: Result<OwnedFd>) -> Result<Self> {
        let root = root?;
        if !is_procfs(root.as_fd()) {
            return Err(Errno::NOENT);
        }
        // Fails where this process is in no pid namespace that it shows.
        readlinkat(&root, c"self", Vec::new())?;
        let dev = fstat(&root)?.st_dev;
        let is_own = numbers_as_we_do(root.as_fd())?;
        Ok(Self { root, dev, is_own })
    }

    /// Opens the namespace file of the main thread, which is where the VM is.
    pub(crate) fn own_netns(&self) -> Result<OwnedFd> {
        open_file(self.root.as_fd(), c"self/ns/net")
    }

    /// Opens the namespace file of the calling thread.
    pub(crate) fn thread_netns(&self) -> Result<OwnedFd> {
        open_file(self.root.as_fd(), c"thread-self/ns/net")
    }

    /// Opens the namespace file of a process; `EOPNOTSUPP` if this numbers them in another way. Nothing that is
    /// mounted over it is taken for it (openat2(2), Linux 5.6).
    pub(crate) fn process_netns(&self, pid: Pid) -> Result<OwnedFd> {
        if !self.is_own {
            return Err(Errno::OPNOTSUPP);
        }
        let directory = format!("{}/ns", pid.as_raw_nonzero());
        let in_here = ResolveFlags::NO_XDEV;
        let found = match openat2(&self.root, &*directory, DIRECTORY, Mode::empty(), in_here) {
            Err(errno) if errno == Errno::XDEV || is_shortage(errno) => Err(errno),
            Err(_) => openat(&self.root, &*directory, DIRECTORY, Mode::empty()),
            found => found,
        };
        open_file(found?.as_fd(), c"net")
    }

    /// Whether `directory` is in a procfs of this process's pid namespace: in this one, or in another mount
    /// of its like.
    pub(crate) fn is_like(&self, directory: BorrowedFd<'_>) -> bool {
        let is_in = |fd: BorrowedFd<'_>, dev| fstat(fd).is_ok_and(|stat| stat.st_dev == dev);
        if is_in(directory, self.dev) {
            return self.is_own;
        }
        let Ok(dev) = fstat(directory).map(|stat| stat.st_dev) else {
            return false;
        };
        if !is_procfs(directory) {
            return false;
        }
        // Its root is up to four directories further up (PID/task/TID/ns).
        let above = [c".", c"..", c"../..", c"../../..", c"../../../.."];
        let mut roots = above
            .iter()
            .filter_map(|up| open_directory(directory, up).ok());
        roots.any(|root| is_in(root.as_fd(), dev) && numbers_as_we_do(root.as_fd()) == Ok(true))
    }
}

pub(crate) fn open_directory(at: impl AsFd, path: &CStr) -> Result<OwnedFd> {
    uninterrupted(|| openat(&at, path, DIRECTORY, Mode::empty()))
}

pub(crate) fn open_file(at: BorrowedFd<'_>, path: &CStr) -> Result<OwnedFd> {
    uninterrupted(|| openat(at, path, FILE, Mode::empty()))
}

/// Mounts the procfs of this pid namespace nowhere (fsmount(2), Linux 5.2, needs `CAP_SYS_ADMIN`).
pub(crate) fn mount() -> Result<OwnedFd> {
    let procfs = fsopen("proc", FsOpenFlags::FSOPEN_CLOEXEC)?;
    fsconfig_create(procfs.as_fd())?;
    let attributes = MountAttrFlags::MOUNT_ATTR_NOSUID
        | MountAttrFlags::MOUNT_ATTR_NODEV
        | MountAttrFlags::MOUNT_ATTR_NOEXEC;
    fsmount(procfs.as_fd(), FsMountFlags::FSMOUNT_CLOEXEC, attributes)
}

/// Whether the file system is a procfs, whatever its path says.
pub(crate) fn is_procfs(fd: BorrowedFd<'_>) -> bool {
    fstatfs(fd).is_ok_and(|of| of.f_type == PROC_SUPER_MAGIC)
}

/// Whether the procfs with this root shows this process by the number that it has for itself, and by no
/// other: `NSpid` of proc_pid_status(5) has one number for each pid namespace from the procfs's to its own.
fn numbers_as_we_do(root: BorrowedFd<'_>) -> Result<bool> {
    let own = getpid().as_raw_nonzero().to_string();
    let shown = readlinkat(root, c"self", Vec::new());
    if shown.is_ok_and(|shown| shown.to_bytes() != own.as_bytes()) {
        return Ok(false);
    }
    let status = match open_file(root, c"self/status").and_then(read) {
        Err(errno) if is_shortage(errno) => return Err(errno),
        Err(_) => return Ok(false),
        Ok(status) => status,
    };
    // Before Linux 4.1 the number alone must do.
    let numbers = numbers(&status);
    Ok(numbers.is_none_or(|numbers| numbers.split_ascii_whitespace().eq([&*own])))
}

fn numbers(status: &str) -> Option<&str> {
    status.lines().find_map(|line| line.strip_prefix("NSpid:"))
}

/// The text of a file; what is no UTF-8 in it (a process's name) is replaced.
pub(crate) fn read(file: OwnedFd) -> Result<String> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::from(file).read_to_end(&mut bytes);
    read.map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::fs::stat;

    #[test]
    fn own_procfs_knows_this_process() {
        let procfs = Procfs::find().unwrap();
        let inode = |fd: OwnedFd| fstat(fd).unwrap().st_ino;
        let own = stat("/proc/self/ns/net").unwrap().st_ino;
        assert_eq!(inode(procfs.own_netns().unwrap()), own);
        assert_eq!(inode(procfs.thread_netns().unwrap()), own);
        assert_eq!(inode(procfs.process_netns(getpid()).unwrap()), own);
        let nobody = procfs.process_netns(Pid::from_raw(i32::MAX).unwrap());
        assert_eq!(nobody.err(), Some(Errno::NOENT));
    }

    #[test]
    fn detached_procfs_is_recognized() {
        match Procfs::of(mount()) {
            Ok(procfs) => {
                assert!(procfs.is_own);
                assert!(procfs.own_netns().is_ok());
                // It is another mount of the same.
                let proc = open_directory(CWD, c"/proc").unwrap();
                assert!(procfs.is_like(proc.as_fd()));
            }
            Err(errno) => assert_eq!(errno, Errno::PERM),
        }
    }

    #[test]
    fn directories_of_each_depth_are_recognized() {
        let procfs = Procfs::find().unwrap();
        for path in [
            c"/proc",
            c"/proc/self",
            c"/proc/self/ns",
            c"/proc/thread-self/ns",
        ] {
            assert!(procfs.is_like(open_directory(CWD, path).unwrap().as_fd()));
        }
        for path in [c"/", c"/tmp", c"/proc/self/root"] {
            assert!(!procfs.is_like(open_directory(CWD, path).unwrap().as_fd()));
        }
    }

    #[test]
    fn numbers_of_each_namespace_are_read() {
        let status = "Name:\tcat\nNStgid:\t7\t1\nNSpid:\t7\t1\nThreads:\t1\n";
        assert_eq!(numbers(status), Some("\t7\t1"));
        assert_eq!(numbers("Name:\tNSpid: 1\n"), None);
    }
}
