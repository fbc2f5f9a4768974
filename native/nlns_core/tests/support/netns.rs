//! Making and naming namespaces without another program, and the oracle: a fresh thread per open.
#![allow(
    unsafe_code,
    reason = "unshare(2) and SO_NETNS_COOKIE have no safe wrapper; only test threads are moved"
)]

use std::ffi::CString;
use std::fs::{self, Permissions};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::UNIX_EPOCH;

use nlns_core::{Error, Stage, thread_exists};

use super::{eventually, mark};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;
use rustix::mount::{MountFlags, UnmountFlags, mount, mount_bind, mount_bind_recursive, unmount};
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};
use rustix::thread::{
    LinkNameSpaceType, UnshareFlags, gettid, move_into_link_name_space, unshare_unsafe,
};

pub fn unshare_net() {
    // SAFETY: a network namespace has no part in memory or descriptors.
    unsafe { unshare_unsafe(UnshareFlags::NEWNET) }
        .expect("no network namespace can be made here; scripts/with-netns cargo test ... makes it possible");
    let socket = netlink(0).unwrap();
    if netns_cookie(socket.as_fd()).is_none() {
        mark::leave(socket.as_fd());
    }
}

/// A directory of namespace files, emptied and removed with everything mounted in it.
pub struct Directory(pub PathBuf);

impl Directory {
    pub fn new() -> Self {
        static COUNT: AtomicUsize = AtomicUsize::new(0);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        // A killed run leaves its directories, and its number is used again.
        let started = UNIX_EPOCH.elapsed().unwrap().as_nanos();
        let name = format!("nlns-test-{}-{started}-{count}", std::process::id());
        let path = std::env::temp_dir().join(name);
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    /// A new namespace under a new name.
    pub fn make(&self, name: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, "").unwrap();
        mount_new(&path);
        path
    }

    /// Another mount of the procfs of this pid namespace, which only who made that may mount anew.
    pub fn mount_procfs(&self, name: &str) -> String {
        let path = self.0.join(name);
        fs::create_dir(&path).unwrap();
        mount("proc", &path, "proc", MountFlags::empty(), None)
            .or_else(|_| mount_bind_recursive("/proc", &path))
            .unwrap();
        path.into_os_string().into_string().unwrap()
    }

    /// Nobody can look into it until what this returns is dropped.
    pub fn close(&self) -> Closed<'_> {
        fs::set_permissions(&self.0, Permissions::from_mode(0o0)).unwrap();
        Closed(self)
    }
}

pub struct Closed<'a>(&'a Directory);

impl Drop for Closed<'_> {
    fn drop(&mut self) {
        fs::set_permissions(&self.0.0, Permissions::from_mode(0o700)).unwrap();
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        for entry in fs::read_dir(&self.0).unwrap() {
            remove(&entry.unwrap().path());
        }
        let _ = fs::remove_dir(&self.0);
    }
}

/// Mounts a new namespace on a file.
pub fn mount_new(path: &Path) {
    let path = path.to_owned();
    in_fresh_thread(move || {
        unshare_net();
        mount_bind("/proc/thread-self/ns/net", path).unwrap();
    });
}

/// Unmounts whatever is mounted on a path, and removes what was below, as `ip netns del` does.
pub fn remove(path: &Path) {
    while unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW).is_ok() {}
    let _ = fs::remove_file(path).or_else(|_| fs::remove_dir(path));
}

/// A process in a namespace of its own, ended and reaped when dropped.
pub struct Process(Child);

impl Process {
    pub fn start() -> Self {
        Self::start_with_cookie().0
    }

    /// The same, and the cookie of its namespace.
    pub fn start_with_cookie() -> (Self, u64) {
        in_fresh_thread(|| {
            unshare_net();
            let there = cookie(netlink(0).unwrap());
            let process = Command::new("sleep").arg("1000").spawn().unwrap();
            (Self(process), there)
        })
    }

    /// The same, the first of a pid namespace whose procfs is mounted in `names`; if that can be had here.
    pub fn start_first(names: &Directory, name: &str) -> Option<Self> {
        let path = names.0.join(name);
        fs::create_dir(&path).unwrap();
        let script = "mount -t proc proc \"$0\" && exec sleep 1000";
        let mut unshare = Command::new("unshare");
        unshare.args([
            "--net",
            "--pid",
            "--fork",
            "--kill-child",
            "sh",
            "-c",
            script,
        ]);
        let mut process = Self(unshare.arg(&path).spawn().unwrap());
        let netns = path.join("1/ns/net");
        eventually("mounted, or not", || {
            netns.exists() || process.0.try_wait().unwrap().is_some()
        });
        netns.exists().then_some(process)
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn path(&self) -> PathBuf {
        format!("/proc/{}/ns/net", self.id()).into()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns once the thread has left its namespace and its number is free, which is after pthread_join(3).
pub fn in_fresh_thread<R: Send + 'static>(f: impl FnOnce() -> R + Send + 'static) -> R {
    let (answer, number) = thread::spawn(|| (f(), gettid()))
        .join()
        // With its own words, if it panics.
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    while thread_exists(number) {
        thread::yield_now();
    }
    answer
}

/// Which namespace a socket is in: a number that no other namespace of this process ever has.
pub fn cookie(fd: impl AsFd) -> u64 {
    let fd = fd.as_fd();
    netns_cookie(fd).unwrap_or_else(|| mark::read(fd))
}

/// The kernel's own number; `None` before Linux 5.14.
fn netns_cookie(fd: BorrowedFd<'_>) -> Option<u64> {
    let mut cookie = 0_u64;
    let mut length = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the kernel writes at most `length` bytes to `cookie`.
    let result = unsafe {
        libc::getsockopt(
            fd.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut length,
        )
    };
    (result == 0).then_some(cookie)
}

/// What opening from a fresh throwaway thread answers: the specification of every open.
pub fn oracle(path: &Path, protocol: u32) -> Result<u64, Error> {
    let path = CString::new(path.as_os_str().as_encoded_bytes()).unwrap();
    let at = |stage| move |errno: Errno| Error::new(stage, errno);
    in_fresh_thread(move || {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        let namespace = openat(CWD, path, flags, Mode::empty()).map_err(at(Stage::Open))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
            .map_err(at(Stage::Setns))?;
        Ok(cookie(netlink(protocol).map_err(at(Stage::Socket))?))
    })
}

/// A netlink socket where the calling thread is.
pub fn netlink(protocol: u32) -> Result<OwnedFd, Errno> {
    let protocol = std::num::NonZeroU32::new(protocol).map(Protocol::from_raw);
    let flags = SocketFlags::CLOEXEC;
    socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, protocol)
}
