//! What a path names now.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, Stat, fstat, openat, openat2, stat};
use rustix::io::Errno;

use super::EnterError;
use crate::error::{Stage, uninterrupted};
use crate::process::process_of;

/// What a path led to. Device and inode name a namespace only while somebody holds it, because the
/// kernel uses the numbers of dead ones again at once; whoever compares must be inside one of the two.
/// Mode and owner are part of it so that a namespace file made unreadable is opened, and refused, anew
/// (kernels that make namespace files immutable allow no such change).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    dev: u64,
    ino: u64,
    mode: u32,
    uid: u32,
    gid: u32,
}

impl Identity {
    /// The file that `path` leads to now (stat(2): 1.5 to 7 µs, no descriptor).
    pub fn of_path(path: &CStr) -> Result<Self, Errno> {
        stat(path).map(Self::from)
    }

    pub(super) fn of_fd(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        fstat(fd).map(Self::from)
    }

    pub(super) fn is_same_namespace(&self, other: &Self) -> bool {
        (self.dev, self.ino) == (other.dev, other.ino)
    }
}

impl From<Stat> for Identity {
    fn from(stat: Stat) -> Self {
        Self {
            dev: stat.st_dev,
            ino: stat.st_ino,
            mode: stat.st_mode,
            uid: stat.st_uid,
            gid: stat.st_gid,
        }
    }
}

/// NB: never without `O_NONBLOCK`, or a FIFO in the path's place holds the helper for ever.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

pub(super) fn open(path: &CStr) -> Result<OwnedFd, Errno> {
    uninterrupted(|| openat(CWD, path, FLAGS, Mode::empty()))
}

/// What a path led to.
pub struct OpenedNetns(pub(super) OwnedFd, pub(super) Identity);

impl OpenedNetns {
    fn new(fd: OwnedFd) -> Result<Self, Errno> {
        let identity = Identity::of_fd(fd.as_fd())?;
        Ok(Self(fd, identity))
    }
}

pub(super) fn look_up(path: &CStr) -> Result<OpenedNetns, EnterError> {
    let found = open(path).and_then(OpenedNetns::new);
    found.map_err(EnterError::at(Stage::Open))
}

/// What `path` names, if the kernel can tell without asking a file system that may not answer:
/// `RESOLVE_CACHED` of openat2(2) (Linux 5.12). `/proc/PID/ns/net` is never cached, but it answers.
pub fn cached_lookup(path: &CStr) -> Option<OpenedNetns> {
    let fd = match process_of(path) {
        Some((_, "ns/net")) => open(path),
        _ => openat2(CWD, path, FLAGS, Mode::empty(), ResolveFlags::CACHED),
    };
    fd.and_then(OpenedNetns::new).ok()
}
