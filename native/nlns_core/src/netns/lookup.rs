//! What a path or a process leads to now.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    AtFlags, CWD, Mode, OFlags, ResolveFlags, Stat, StatxFlags, fstat, makedev, openat, openat2,
    stat, statx,
};
use rustix::io::{Errno, Result};

use crate::error::uninterrupted;
use crate::features::{self, Feature};

/// What a path led to. Device and inode name a namespace only while somebody holds it, because the
/// kernel uses the numbers of dead ones again at once; the thread that compares must be inside one of the two.
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
    pub(super) fn of_path(path: &CStr) -> Result<Self> {
        stat(path).map(Self::from)
    }

    pub(super) fn of_fd(fd: BorrowedFd<'_>) -> Result<Self> {
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

/// Note: never without `O_NONBLOCK`, or a FIFO in the path's place holds the helper for ever.
const FLAGS: OFlags = OFlags::RDONLY
    .union(OFlags::CLOEXEC)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY);

/// What a path or a process led to.
pub struct OpenedNetns(pub(super) OwnedFd, pub(super) Identity);

impl OpenedNetns {
    pub(super) fn new(fd: OwnedFd) -> Result<Self> {
        let identity = Identity::of_fd(fd.as_fd())?;
        Ok(Self(fd, identity))
    }

    /// Opens what `path` names.
    pub(super) fn at(path: &CStr) -> Result<Self> {
        uninterrupted(|| openat(CWD, path, FLAGS, Mode::empty())).and_then(Self::new)
    }

    /// Opens what `path` names, if the kernel can tell without asking a file system that may not answer:
    /// `RESOLVE_CACHED` of openat2(2) (Linux 5.12). It never can for what is below `/proc/PID/ns`.
    ///
    /// Note: that bounds the lookup, but FUSE for one is asked by the open as well. See
    /// [`is_namespace`](Self::is_namespace).
    pub(super) fn cached(path: &CStr) -> Result<Self> {
        Self::open_cached(path, FLAGS).and_then(Self::new)
    }

    /// Returns whether `path` names a namespace, as `one` is, if the kernel can tell without asking another file
    /// system: it opens nothing (`O_PATH`), and takes the attributes that are known (statx(2)).
    pub(super) fn is_namespace(path: &CStr, one: &Identity) -> Result<bool> {
        let file = Self::open_cached(path, OFlags::PATH | OFlags::CLOEXEC)?;
        let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
        let file = statx(file, c"", flags, StatxFlags::empty())?;
        // They are files of one file system, nsfs.
        Ok(makedev(file.stx_dev_major, file.stx_dev_minor) == one.dev)
    }

    fn open_cached(path: &CStr, flags: OFlags) -> Result<OwnedFd> {
        if !features::get().has(Feature::CachedLookup) {
            return Err(Errno::AGAIN);
        }
        openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED)
    }
}
