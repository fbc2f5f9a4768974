//! Network namespaces: what a path or a process leads to, where this thread is, how it gets from one to the
//! other.

mod lookup;
mod reference;
mod spec;

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Error, Stage, is_shortage, uninterrupted};
use crate::features::{self, Feature};
use crate::pidfd::{self, Process};
use crate::procfs::Procfs;
use crate::socket::Socket;
use crate::sys;

use lookup::{Identity, OpenedNetns};
pub(crate) use reference::PATH_MAX;
pub use reference::{NetnsKey, NetnsRef};
pub use spec::Spec;

/// A namespace that the calling thread is in.
#[derive(Clone, Copy, Debug)]
pub struct Netns {
    identity: Identity,
    proof: Proof,
}

/// What a socket that is made here must show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Proof {
    /// That it is in the namespace of this identity: the first one after an entry.
    Identity,
    /// This `SO_NETNS_COOKIE`.
    Cookie(u64),
    /// Nothing more: sockets have no cookie before Linux 5.14, and the first one has proven the place.
    None,
}

impl Proof {
    /// What is known from the namespace's file alone.
    fn before_entry(fd: BorrowedFd<'_>) -> Result<Self, Errno> {
        match features::get().has(Feature::NetnsId) {
            true => sys::namespace_id(fd).map(Self::Cookie),
            false => Ok(Self::Identity),
        }
    }
}

/// The thread is not, or may not be, where it should be; all it may still do is end.
#[derive(Debug)]
pub struct LocationUnknown;

/// Why a namespace could not be entered.
#[derive(Debug)]
pub enum EnterError {
    /// What an open in a fresh thread would have answered too.
    Error(Error),
    /// Nothing may be concluded from where this thread is.
    LocationUnknown,
}

impl EnterError {
    fn at(stage: Stage) -> impl Fn(Errno) -> Self {
        move |errno| Self::Error(Error::new(stage, errno))
    }
}

impl From<LocationUnknown> for EnterError {
    fn from(LocationUnknown: LocationUnknown) -> Self {
        Self::LocationUnknown
    }
}

/// The VM's own namespace, and the way back to it.
pub struct Host {
    fd: OwnedFd,
    netns: Netns,
    /// None where no procfs that shows this process is mounted or can be.
    procfs: Option<Arc<Procfs>>,
}

impl Host {
    /// Finds the VM's namespace, which is the main thread's, and takes the calling thread there, if it is not
    /// in it: a scheduler that OTP's own `netns` option has stranded may have made this thread.
    pub fn find() -> Result<Self, Errno> {
        let found = Procfs::find();
        let fd = match &found {
            Ok(procfs) => procfs.own_netns(),
            Err(errno) if is_shortage(*errno) => Err(*errno),
            Err(_) => pidfd::own_netns()
                .or_else(|_| visit(pidfd::own()?.as_fd()))
                .map_err(|_| Errno::NOENT),
        }?;
        let procfs = found.ok().map(Arc::new);
        let identity = Identity::of_fd(fd.as_fd())?;
        let thread = thread_identity(procfs.as_deref());
        if !thread.is_ok_and(|thread| thread.is_same_namespace(&identity)) {
            setns(fd.as_fd())?;
        }
        features::probe(fd.as_fd())?;
        let proof = Proof::before_entry(fd.as_fd())?;
        Ok(Self {
            fd,
            netns: Netns { identity, proof },
            procfs,
        })
    }

    /// The VM's namespace.
    pub fn netns(&self) -> Netns {
        self.netns
    }

    /// A procfs that shows this process.
    pub(crate) fn procfs(&self) -> Option<Arc<Procfs>> {
        self.procfs.clone()
    }

    /// Whether `netns` is the VM's own.
    pub fn is_home(&self, netns: &Netns) -> bool {
        netns.is(&self.netns)
    }

    /// Takes the calling thread back. Not everybody who may enter a namespace may also go back:
    /// inside `unshare -Ur` the VM's own belongs to another user namespace.
    pub fn return_to(&self) -> Result<Netns, LocationUnknown> {
        setns(self.fd.as_fd()).map_err(|_| LocationUnknown)?;
        Ok(self.netns)
    }

    /// Takes the calling thread from `here` into the namespace that `target` was `found` to lead to. If that
    /// fails with an [`Error`] the thread is in the VM's namespace or still in `here`; see `here` after.
    pub fn enter(
        &self,
        target: &NetnsRef,
        found: OpenedNetns,
        here: &mut Netns,
    ) -> Result<(), EnterError> {
        let OpenedNetns(mut fd, mut identity) = found;
        if identity.is_same_namespace(&here.identity) && !self.is_home(here) {
            // Another name of the namespace this thread is in, or a name that means "where you
            // are", like /proc/thread-self/ns/net: only a look from the VM's own can tell.
            *here = self.return_to()?;
            OpenedNetns(fd, identity) = self.look_up_from_home(target)?;
        }
        setns(fd.as_fd()).map_err(EnterError::at(Stage::Setns))?;
        let proof = Proof::before_entry(fd.as_fd()).map_err(|_| LocationUnknown)?;
        *here = Netns { identity, proof };
        Ok(())
    }

    fn look_up(&self, target: &NetnsRef) -> Result<OpenedNetns, Errno> {
        match target {
            NetnsRef::Path(path) => OpenedNetns::at(path),
            NetnsRef::Process(pid) => Process::find(*pid)?
                .netns(self.procfs.as_deref())
                .and_then(OpenedNetns::new),
        }
    }

    /// Finds what `target` leads to, from the VM's namespace. A process of which nothing else tells the
    /// namespace is visited.
    pub fn look_up_from_home(&self, target: &NetnsRef) -> Result<OpenedNetns, EnterError> {
        let at_open = EnterError::at(Stage::Open);
        let pid = match (self.look_up(target), target) {
            (Err(Errno::OPNOTSUPP), NetnsRef::Process(pid))
                if features::get().has(Feature::PidfdSetns) =>
            {
                *pid
            }
            (found, _) => return found.map_err(at_open),
        };
        let pidfd = pidfd::open(pid).map_err(&at_open)?;
        let visited = visit(pidfd.as_fd());
        self.return_to()?;
        match visited.and_then(OpenedNetns::new) {
            Err(Errno::SRCH) => Err(at_open(Errno::NOENT)),
            Err(Errno::PERM) => Err(EnterError::at(Stage::Setns)(Errno::PERM)),
            visited => visited.map_err(at_open),
        }
    }

    /// Finds what `target` leads to, if that asks no file system that may not answer. One that was `entered`
    /// before is taken for a namespace still: to look at each would take a sixth of the processor time of an
    /// open, where 1,000 namespaces are used in turn (`bench/run w4`).
    pub fn look_up_cached(&self, target: &NetnsRef, entered: bool) -> Option<OpenedNetns> {
        let is_namespace = |path| OpenedNetns::is_namespace(path, &self.netns.identity) == Ok(true);
        match target {
            NetnsRef::Path(path) if entered || is_namespace(path) => OpenedNetns::cached(path).ok(),
            NetnsRef::Path(_) => None,
            // Neither a pidfd nor a procfs in which no mount is followed waits for anything.
            NetnsRef::Process(_) => self.look_up(target).ok(),
        }
    }

    /// Whether `target` still leads to `here`, exactly as it did when this thread entered.
    pub fn is_named_by(&self, here: &Netns, target: &NetnsRef) -> bool {
        let identity = match target {
            NetnsRef::Path(path) => Identity::of_path(path),
            NetnsRef::Process(_) => self
                .look_up(target)
                .map(|OpenedNetns(_, identity)| identity),
        };
        identity == Ok(here.identity)
    }

    /// Opens a close-on-exec socket, proven to be in `here`, in which the calling thread must be.
    pub fn socket(&self, here: &mut Netns, spec: Spec) -> Result<Socket, EnterError> {
        let socket = spec.socket().map_err(EnterError::at(Stage::Socket))?;
        match here.proof {
            Proof::Cookie(cookie) => {
                if sys::netns_cookie(socket.as_fd()) != Ok(cookie) {
                    return Err(EnterError::LocationUnknown);
                }
            }
            Proof::Identity => here.proof = self.prove(here, socket.as_fd())?,
            Proof::None => {}
        }
        Ok(socket)
    }

    /// Proves that `socket`, the first one after an entry, is in `here`; what the next ones must show.
    fn prove(&self, here: &Netns, socket: BorrowedFd<'_>) -> Result<Proof, EnterError> {
        let features = features::get();
        let is_here = |identity: Identity| identity.is_same_namespace(&here.identity);
        let of_socket = match features.has(Feature::SocketNetns) {
            true => sys::socket_netns(socket).and_then(|netns| Identity::of_fd(netns.as_fd())),
            false => Err(Errno::NOTTY),
        };
        // Without privileges over the socket, that the thread is there must do.
        match of_socket.or_else(|_| thread_identity(self.procfs.as_deref())) {
            Ok(identity) if is_here(identity) => {}
            // The socket had the last descriptor, so it is as if there had been none for it.
            Err(errno @ (Errno::MFILE | Errno::NFILE)) => {
                return Err(EnterError::at(Stage::Socket)(errno));
            }
            _ => return Err(EnterError::LocationUnknown),
        }
        match features.has(Feature::NetnsCookie) {
            true => sys::netns_cookie(socket)
                .map(Proof::Cookie)
                .map_err(|_| EnterError::LocationUnknown),
            false => Ok(Proof::None),
        }
    }
}

impl Netns {
    /// What `SO_NETNS_COOKIE` is of each socket in it, as far as that is known.
    pub fn cookie(&self) -> Option<u64> {
        match self.proof {
            Proof::Cookie(cookie) => Some(cookie),
            Proof::Identity | Proof::None => None,
        }
    }

    /// Whether it is the same namespace.
    pub fn is(&self, other: &Self) -> bool {
        self.identity.is_same_namespace(&other.identity)
    }
}

/// Where the calling thread is.
fn thread_identity(procfs: Option<&Procfs>) -> Result<Identity, Errno> {
    let netns = match procfs {
        Some(procfs) => procfs.thread_netns(),
        None => pidfd::thread_netns(),
    }?;
    Identity::of_fd(netns.as_fd())
}

/// Takes the calling thread into the namespace of a process (setns(2) with a pidfd, Linux 5.8), and asks a
/// socket which that is.
fn visit(pidfd: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    setns(pidfd)?;
    let socket = Spec::netlink(0).socket()?;
    sys::socket_netns(socket.as_fd())
}

fn setns(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    uninterrupted(|| move_into_link_name_space(fd, Some(LinkNameSpaceType::Network)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cached_lookup_opens_only_namespaces() {
        let host = Host::find().unwrap();
        let file = std::env::temp_dir().join(format!("nlns-{}", std::process::id()));
        std::fs::write(&file, "").unwrap();
        let path = std::ffi::CString::new(file.as_os_str().as_encoded_bytes()).unwrap();
        let target = NetnsRef::Path(path.into());
        assert!(host.look_up_cached(&target, false).is_none());
        assert!(host.look_up_from_home(&target).is_ok());
        std::fs::remove_file(&file).unwrap();
    }

    #[test]
    fn socket_with_other_cookie_is_refused() {
        let host = Host::find().unwrap();
        let mut here = host.netns();
        assert!(host.socket(&mut here, Spec::netlink(0)).is_ok());
        if let Proof::Cookie(cookie) = here.proof {
            here.proof = Proof::Cookie(cookie + 1);
            let socket = host.socket(&mut here, Spec::netlink(0));
            assert!(matches!(socket, Err(EnterError::LocationUnknown)));
        }
    }
}
