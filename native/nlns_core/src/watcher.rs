//! Tells when the name of a namespace goes, or the process behind it.
//!
//! A helper that sleeps in a namespace keeps it alive, so when its grace period is over it has its path
//! watched, under its number as a token. For a process that is a pidfd, which polls readable when the process
//! ends (pidfd_open(2), Linux 5.3); so it is for a path into a directory of one, in a procfs that numbers
//! processes as this one does. For any other path, and each that it links to, it is an inotify(7) watch on its
//! directory, because the namespace file itself reports nothing when it is unmounted and unlinked. An event
//! proves nothing: the helper of the token looks, and what it finds decides.
//!
//! Where neither can be had (no more watches, a kernel without pidfds, the procfs of another pid namespace)
//! the helper looks again every second. Cases that nlns cannot detect:
//!
//! - an unmount without an unlink
//! - a process that changes its namespace
//! - a main thread that ends before its process
//! - a renamed directory further up than the path's own, or a directory that is a symbolic link
//! - a directory that belongs to a process in a procfs other than `/proc`
//!
//! In these cases a helper leaves when its idle timeout ends.
//!
//! Looking up the directory is the helper's part, so a mount that does not answer never blocks the
//! watcher; all the watcher thread does is wait in epoll(7) and pass tokens on.

mod links;
mod process;
#[cfg(test)]
mod tests;
mod watched;

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use parking_lot::Mutex;
use rustix::event::{EventfdFlags, epoll, eventfd};
use rustix::fs::CWD;
use rustix::fs::inotify::{self, CreateFlags, WatchFlags};
use rustix::io::{Errno, Result};

use crate::netns::NetnsRef;
use crate::pidfd;
use crate::procfs::{Procfs, open_directory};

use links::{MOST_LINKS, Split, split, target_of};
use process::{directory_of, is_procfs, pidfd_of};
use watched::Watched;

const STOP: u64 = 0;
const INOTIFY: u64 = 1;
const FIRST_PROCESS: u64 = 2;

/// Descriptors and what they are watched for.
pub(crate) struct Watcher {
    epoll: OwnedFd,
    inotify: OwnedFd,
    stop: OwnedFd,
    procfs: Option<Arc<Procfs>>,
    watched: Mutex<Watched>,
}

/// A watch on one path; ends when dropped.
pub(crate) struct Watch {
    watcher: Arc<Watcher>,
    token: u64,
    targets: Vec<Target>,
    /// Every end that can be seen is reported by it; else its owner must look by itself.
    pub(crate) is_whole: bool,
}

enum Target {
    Name(i32, Box<CStr>),
    Process(u64),
}

impl Watcher {
    /// `procfs` is what other mounts are compared with.
    pub(crate) fn new(procfs: Option<Arc<Procfs>>) -> Result<Self> {
        let watcher = Self {
            epoll: epoll::create(epoll::CreateFlags::CLOEXEC)?,
            inotify: inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?,
            stop: eventfd(0, EventfdFlags::CLOEXEC)?,
            procfs,
            watched: Mutex::new(Watched {
                next_process: FIRST_PROCESS,
                ..Watched::default()
            }),
        };
        watcher.poll(watcher.stop.as_fd(), STOP, epoll::EventFlags::IN)?;
        watcher.poll(watcher.inotify.as_fd(), INOTIFY, epoll::EventFlags::IN)?;
        Ok(watcher)
    }

    fn poll(&self, fd: impl AsFd, tag: u64, flags: epoll::EventFlags) -> Result<()> {
        epoll::add(&self.epoll, fd, epoll::EventData::new_u64(tag), flags)
    }

    /// Watches what `netns` leads to; [`run`](Self::run) passes `token` on when it may have ended.
    /// Note: what happened before this returned is not reported; look again after it.
    pub(crate) fn watch(self: &Arc<Self>, netns: &NetnsRef, token: u64) -> Result<Watch> {
        let mut watch = Watch {
            watcher: self.clone(),
            token,
            targets: Vec::new(),
            is_whole: true,
        };
        match netns {
            NetnsRef::Process(pid) => {
                let pidfd = pidfd::open(*pid)?;
                watch.targets.push(self.watch_process(pidfd, token)?);
            }
            NetnsRef::Path(path) => self.watch_path(path, &mut watch)?,
        }
        Ok(watch)
    }

    fn watch_path(&self, path: &CStr, watch: &mut Watch) -> Result<()> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let place = split(&path).ok_or(Errno::INVAL)?;
            if is_procfs(&place.0) {
                watch.is_whole &= self.watch_behind(&place.0, watch)?;
                // What else is there, as fd/N, may go before the process does.
                watch.is_whole &= place.0.to_bytes().ends_with(b"/ns");
                return Ok(());
            }
            if let Some(process) = directory_of(&path) {
                // On the way through a process: /proc/PID/root, for example.
                watch.is_whole &= self.watch_behind(&process, watch)?;
            }
            watch.targets.push(self.watch_name(place, watch.token)?);
            match target_of(&path) {
                Some(target) => path = target,
                None => break,
            }
        }
        Ok(())
    }

    /// Watches the process that a directory tells of; `false` if that cannot be proven to be one here.
    fn watch_behind(&self, directory: &CStr, watch: &mut Watch) -> Result<bool> {
        let directory = open_directory(CWD, directory)?;
        let Some(pidfd) = pidfd_of(directory.as_fd(), self.procfs.as_deref()) else {
            return Ok(false);
        };
        watch.targets.push(self.watch_process(pidfd, watch.token)?);
        Ok(true)
    }

    fn watch_process(&self, pidfd: OwnedFd, token: u64) -> Result<Target> {
        let mut watched = self.watched.lock();
        let tag = watched.next_process;
        self.poll(
            pidfd.as_fd(),
            tag,
            epoll::EventFlags::IN | epoll::EventFlags::ONESHOT,
        )?;
        watched.next_process += 1;
        watched.processes.insert(tag, (pidfd, token));
        Ok(Target::Process(tag))
    }

    fn watch_name(&self, (directory, name): Split, token: u64) -> Result<Target> {
        self.watched.lock().arriving += 1;
        let watching = inotify::add_watch(
            &self.inotify,
            directory,
            WatchFlags::DELETE
                | WatchFlags::MOVE
                | WatchFlags::DELETE_SELF
                | WatchFlags::MOVE_SELF
                | WatchFlags::ONLYDIR,
        );
        let mut watched = self.watched.lock();
        watched.arriving -= 1;
        if let Ok(directory) = watching {
            let names = watched.directories.entry(directory).or_default();
            names.entry(name.clone()).or_default().push(token);
        }
        self.sweep(&mut watched);
        Ok(Target::Name(watching?, name))
    }

    /// Ends the watches on directories in which no name is watched.
    fn sweep(&self, watched: &mut Watched) {
        if watched.arriving == 0 {
            watched.directories.retain(|&directory, names| {
                if names.is_empty() {
                    // EINVAL if the kernel has ended it, because the directory is gone.
                    let _ = inotify::remove_watch(&self.inotify, directory);
                }
                !names.is_empty()
            });
        }
    }

    fn unwatch(&self, watch: &Watch) {
        let mut watched = self.watched.lock();
        for target in &watch.targets {
            match target {
                Target::Process(tag) => drop(watched.processes.remove(tag)),
                Target::Name(directory, name) => {
                    if let Some(names) = watched.directories.get_mut(directory) {
                        if let Some(tokens) = names.get_mut(name) {
                            tokens.retain(|&token| token != watch.token);
                            if tokens.is_empty() {
                                names.remove(name);
                            }
                        }
                    }
                }
            }
        }
        self.sweep(&mut watched);
    }

    /// The watcher thread: calls `look` with the token of each watch that an event concerns, until it is
    /// told to stop.
    pub(crate) fn run(&self, look: impl Fn(u64)) {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            match epoll::wait(
                &self.epoll,
                rustix::buffer::spare_capacity(&mut events),
                None,
            ) {
                Ok(_) | Err(Errno::INTR) => {}
                // Nothing it is given can make it fail. If it does fail, idle timeouts still end.
                Err(_) => return,
            }
            for event in &events {
                match event.data.u64() {
                    STOP => return,
                    INOTIFY => self.read_inotify(&look),
                    process => {
                        // Note: first out of the lock. `look` may take others, and a watch that ends takes it.
                        let concerned = self.watched.lock().process(process);
                        concerned.into_iter().for_each(&look);
                    }
                }
            }
        }
    }

    /// Ends the thread in [`Watcher::run`].
    pub(crate) fn stop(&self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
    }

    fn read_inotify(&self, look: impl Fn(u64)) {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        while let Ok(event) = reader.next() {
            let (directory, what, name) = (event.wd(), event.events(), event.file_name());
            let concerned = self.watched.lock().concerned(directory, what, name);
            concerned.into_iter().for_each(&look);
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.watcher.unwatch(self);
    }
}
