//! What kernels may or may not offer, what it is good for here, and what stands in where it is missing.
//!
//! Each feature is tried once, at the start, in the VM's own namespace. One that fails there is missing,
//! whatever the errno: an older kernel says `ENOPROTOOPT`, an emulator `EINVAL`, a filter `EPERM`. Only what
//! may pass is tried again.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::{Errno, Result};
use rustix::net::sockopt::socket_cookie;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{is_shortage, undisturbed, uninterrupted};
use crate::{procfs, sys};

/// An optional feature of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// A socket tells the namespace that it is in.
    SocketNetns,
    /// A socket tells its number, which is never used again.
    SocketCookie,
    /// A procfs can be mounted nowhere.
    OwnProcfs,
    /// A process has a descriptor.
    Pidfd,
    /// A thread can join the namespace of a process by that descriptor.
    PidfdSetns,
    /// A path is looked up only as far as that takes no waiting.
    CachedLookup,
    /// A socket tells its namespace's number, which is never used again.
    NetnsCookie,
    /// The descriptor of a process gives its namespace.
    PidfdNetns,
    /// A thread may ask for short time slices.
    ShortSlices,
    /// A namespace tells its own number.
    NetnsId,
}

/// One row of the table of features.
pub struct Row {
    /// Which one.
    pub feature: Feature,
    /// The kernel's name for it.
    pub name: &'static str,
    /// The version of Linux that brought it.
    pub since: (u16, u16),
    /// What it gives.
    pub gives: &'static str,
    /// What takes its place where it is missing.
    pub stand_in: &'static str,
    probe: fn(&Home<'_>) -> Result<bool>,
}

/// Every optional feature that is used, the oldest first.
pub const TABLE: [Row; 10] = [
    Row {
        feature: Feature::SocketNetns,
        name: "SIOCGSKNS",
        since: (4, 10),
        gives: "the first socket after an entry is compared with the namespace itself (needs CAP_NET_ADMIN)",
        stand_in: "the thread is compared with it, by its file under /proc",
        probe: |home| sys::socket_netns(home.socket.as_fd()).map(|_| true),
    },
    Row {
        feature: Feature::SocketCookie,
        name: "SO_COOKIE",
        since: (4, 12),
        gives: "close_fd recognizes its socket by a number that is never used again",
        stand_in: "the socket's inode, whose 32 bits start over after four billion",
        probe: |home| socket_cookie(&home.socket).map(|cookie| cookie != 0),
    },
    Row {
        feature: Feature::OwnProcfs,
        name: "fsmount",
        since: (5, 2),
        gives: "{:pid, n} where /proc is of another pid namespace, or nothing is there (needs CAP_SYS_ADMIN)",
        stand_in: "PIDFD_GET_NET_NAMESPACE, for which /proc does not matter",
        probe: |_| procfs::mount().map(|_| true),
    },
    Row {
        feature: Feature::Pidfd,
        name: "pidfd_open",
        since: (5, 3),
        gives: "{:pid, n} means one process, whose end is seen at once",
        stand_in: "the number in /proc, and a look every second",
        probe: |_| own_pidfd().map(|_| true),
    },
    Row {
        feature: Feature::PidfdSetns,
        name: "setns(pidfd)",
        since: (5, 8),
        gives: "{:pid, n} where nothing but a visit tells its namespace (needs SIOCGSKNS)",
        stand_in: "{:open, 95}",
        probe: |home| match own_pidfd().and_then(setns) {
            // Privileges over the VM's own namespace are missing, not the feature.
            Ok(()) | Err(Errno::PERM) => sys::socket_netns(home.socket.as_fd()).map(|_| true),
            Err(errno) => Err(errno),
        },
    },
    Row {
        feature: Feature::CachedLookup,
        name: "RESOLVE_CACHED",
        since: (5, 12),
        gives: "a helper goes from one namespace straight to the next",
        stand_in: "it returns home before each lookup",
        probe: |_| {
            let flags = OFlags::PATH | OFlags::CLOEXEC;
            openat2(CWD, c"/", flags, Mode::empty(), ResolveFlags::CACHED).map(|_| true)
        },
    },
    Row {
        feature: Feature::NetnsCookie,
        name: "SO_NETNS_COOKIE",
        since: (5, 14),
        gives: "each socket is proven to be in its namespace",
        stand_in: "the first socket after each entry is",
        probe: |home| sys::netns_cookie(home.socket.as_fd()).map(|cookie| cookie != 0),
    },
    Row {
        feature: Feature::PidfdNetns,
        name: "PIDFD_GET_NET_NAMESPACE",
        since: (6, 11),
        gives: "{:pid, n} whatever is mounted at /proc",
        stand_in: "the procfs of this pid namespace: that at /proc, else one by fsmount; else setns(pidfd)",
        probe: |_| {
            let pidfd = own_pidfd()?;
            sys::pidfd_netns(pidfd.as_fd()).map(|_| true)
        },
    },
    Row {
        feature: Feature::ShortSlices,
        name: "sched_setattr slices",
        since: (6, 12),
        gives: "a helper runs soon after it wakes where all processors are busy",
        stand_in: "it waits for the others' time slices, milliseconds each",
        probe: |_| sys::time_slice().map(|slice| slice != 0),
    },
    Row {
        feature: Feature::NetnsId,
        name: "NS_GET_ID",
        since: (6, 18),
        gives: "a namespace tells the cookie of its sockets before it is entered",
        stand_in: "the first socket after each entry is proven by SIOCGSKNS or /proc",
        probe: |home| {
            let id = sys::namespace_id(home.netns)?;
            Ok(id != 0 && sys::netns_cookie(home.socket.as_fd())? == id)
        },
    },
];

/// Which features there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Features(u32);

static FOUND: AtomicU32 = AtomicU32::new(0);

/// No feature's bit.
const KNOWN: u32 = 1 << 31;

impl Features {
    /// Whether the kernel has it.
    pub fn has(self, feature: Feature) -> bool {
        self.0 & bit(feature) != 0
    }
}

fn bit(feature: Feature) -> u32 {
    1 << feature as u32
}

/// Returns the features that were found last; none before the first pool has started.
pub fn get() -> Features {
    Features(FOUND.load(Ordering::Acquire))
}

/// Whether they have been looked for.
pub(crate) fn are_known() -> bool {
    FOUND.load(Ordering::Acquire) & KNOWN != 0
}

/// Tries each feature. Fails only for want of descriptors or memory, which says nothing about the kernel.
/// Note: only for a thread that is in the VM's own namespace.
pub(crate) fn probe(netns: BorrowedFd<'_>) -> Result<Features> {
    let home = Home::find(netns)?;
    let mut found = KNOWN;
    for row in &TABLE {
        match undisturbed(|| (row.probe)(&home)) {
            Ok(true) => found |= bit(row.feature),
            Err(errno) if is_shortage(errno) => return Err(errno),
            Ok(false) | Err(_) => {}
        }
    }
    FOUND.store(found, Ordering::Release);
    Ok(Features(found))
}

/// What the features are tried on.
struct Home<'a> {
    netns: BorrowedFd<'a>,
    socket: OwnedFd,
}

impl<'a> Home<'a> {
    /// With a socket of the first family that a filter on families lets through.
    fn find(netns: BorrowedFd<'a>) -> Result<Self> {
        let mut last = Errno::AFNOSUPPORT;
        for family in [
            AddressFamily::NETLINK,
            AddressFamily::UNIX,
            AddressFamily::INET,
        ] {
            let flags = SocketFlags::CLOEXEC;
            match uninterrupted(|| socket_with(family, SocketType::DGRAM, flags, None)) {
                Ok(socket) => return Ok(Self { netns, socket }),
                Err(errno) => last = errno,
            }
        }
        Err(last)
    }
}

fn own_pidfd() -> Result<OwnedFd> {
    pidfd_open(getpid(), PidfdFlags::empty())
}

/// Joins the network namespace of the main thread, where a thread that is at home is already.
fn setns(pidfd: OwnedFd) -> Result<()> {
    move_into_link_name_space(pidfd.as_fd(), Some(LinkNameSpaceType::Network))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feature_table_is_complete_and_ordered() {
        for (number, row) in TABLE.iter().enumerate() {
            assert_eq!(row.feature as usize, number);
            assert!(number == 0 || TABLE[number - 1].since <= row.since);
            assert!(!row.gives.is_empty() && !row.stand_in.is_empty());
        }
    }

    #[test]
    fn newer_feature_implies_the_older() {
        let home = std::fs::File::open("/proc/self/ns/net").unwrap();
        let found = probe(home.as_fd()).unwrap();
        assert!(!found.has(Feature::PidfdNetns) || found.has(Feature::Pidfd));
        assert!(!found.has(Feature::NetnsId) || found.has(Feature::NetnsCookie));
    }
}
