//! Network namespaces: what a path names, where this thread is, how it gets from one to the other.

mod lookup;
mod spec;

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::error::{Error, Stage, uninterrupted};
use crate::features::{self, Feature};
use crate::socket::Socket;
use crate::sys;

pub use lookup::cached_lookup;
use lookup::{Identity, OpenedNetns, look_up, open};
pub use spec::Spec;

/// Not `/proc/thread-self`: that is where a thread is, this is where the VM is (the main thread's).
const OF_PROCESS: &CStr = c"/proc/self/ns/net";
const OF_THREAD: &CStr = c"/proc/thread-self/ns/net";

/// A namespace that the calling thread is in.
#[derive(Clone, Copy, Debug)]
pub struct Netns {
    identity: Identity,
    /// What every socket made here answers for `SO_NETNS_COOKIE`: told by the namespace itself where
    /// the kernel can, else by the first socket. `None` until then, and always before Linux 5.14.
    cookie: Option<u64>,
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

/// The VM's own namespace, and the way back to it.
pub struct Host {
    fd: OwnedFd,
    netns: Netns,
    /// `NS_GET_ID` of a namespace is the cookie of its sockets here (Linux 6.18), so a namespace
    /// can be asked for its cookie before it is entered.
    ids_are_cookies: bool,
}

impl Host {
    /// Finds the VM's namespace and takes the calling thread there, if it is not in it: a scheduler
    /// that OTP's own `netns` option has stranded may have made this thread.
    pub fn find() -> Result<Self, Errno> {
        let fd = open(OF_PROCESS)?;
        let identity = Identity::of_fd(fd.as_fd())?;
        if !Identity::of_path(OF_THREAD)?.is_same_namespace(&identity) {
            setns(fd.as_fd())?;
        }
        let features = features::probe()?;
        let netns = Netns {
            identity,
            cookie: None,
        };
        Ok(Self {
            fd,
            netns,
            ids_are_cookies: features.has(Feature::NetnsId),
        })
    }

    /// The VM's namespace.
    pub fn netns(&self) -> Netns {
        self.netns
    }

    /// Whether `netns` is the VM's own.
    pub fn is_home(&self, netns: &Netns) -> bool {
        netns.identity.is_same_namespace(&self.netns.identity)
    }

    /// Takes the calling thread back. Not everybody who may enter a namespace may also go back:
    /// inside `unshare -Ur` the VM's own belongs to another user namespace.
    pub fn return_to(&self) -> Result<Netns, LocationUnknown> {
        setns(self.fd.as_fd()).map_err(|_| LocationUnknown)?;
        Ok(self.netns)
    }

    /// Takes the calling thread from `here` into the namespace that `path` names, and was
    /// [`cached_lookup`], or else is looked up. If that fails with an [`Error`] the thread is in the VM's
    /// namespace or still in `here`; see `here` after.
    pub fn enter(
        &self,
        path: &CStr,
        cached_lookup: Option<OpenedNetns>,
        here: &mut Netns,
    ) -> Result<(), EnterError> {
        let OpenedNetns(mut fd, mut identity) = cached_lookup.map_or_else(|| look_up(path), Ok)?;
        if identity.is_same_namespace(&here.identity) && !self.is_home(here) {
            // Another name of the namespace this thread is in, or a name that means "where you
            // are", like /proc/thread-self/ns/net: only a look from the VM's own can tell.
            *here = self
                .return_to()
                .map_err(|LocationUnknown| EnterError::LocationUnknown)?;
            OpenedNetns(fd, identity) = look_up(path)?;
        }
        setns(fd.as_fd()).map_err(EnterError::at(Stage::Setns))?;
        let cookie = self
            .arrived(fd.as_fd(), &identity)
            .map_err(|LocationUnknown| EnterError::LocationUnknown)?;
        *here = Netns { identity, cookie };
        Ok(())
    }

    /// Proves that the calling thread is where `fd` is, and tells the cookie of the sockets there.
    fn arrived(
        &self,
        fd: BorrowedFd<'_>,
        identity: &Identity,
    ) -> Result<Option<u64>, LocationUnknown> {
        if self.ids_are_cookies {
            // Each socket is compared with it, which proves the place as well.
            return sys::namespace_id(fd).map(Some).map_err(|_| LocationUnknown);
        }
        let thread = Identity::of_path(OF_THREAD).map_err(|_| LocationUnknown)?;
        thread
            .is_same_namespace(identity)
            .then_some(None)
            .ok_or(LocationUnknown)
    }
}

impl Netns {
    /// Whether it is the same namespace.
    pub fn is(&self, other: &Self) -> bool {
        self.identity.is_same_namespace(&other.identity)
    }

    /// Whether `path` still leads here, exactly as it did when this thread entered.
    pub fn is_named_by(&self, path: &CStr) -> bool {
        Identity::of_path(path).is_ok_and(|identity| identity == self.identity)
    }

    /// A close-on-exec socket, proven to be in this namespace, in which the calling thread must be.
    pub fn socket(&mut self, spec: Spec) -> Result<Socket, EnterError> {
        let fd = spec.socket().map_err(EnterError::at(Stage::Socket))?;
        if !features::get().has(Feature::NetnsCookie) {
            return Ok(fd);
        }
        match sys::netns_cookie(fd.as_fd()) {
            Ok(cookie) if *self.cookie.get_or_insert(cookie) == cookie => Ok(fd),
            _ => Err(EnterError::LocationUnknown),
        }
    }
}

fn setns(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    uninterrupted(|| move_into_link_name_space(fd, Some(LinkNameSpaceType::Network)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_with_another_cookie_is_not_handed_out() {
        let mut netns = Host::find().unwrap().netns();
        assert!(netns.socket(Spec::netlink(0)).is_ok());
        netns.cookie = netns.cookie.map(|cookie| cookie + 1);
        if netns.cookie.is_some() {
            assert!(matches!(
                netns.socket(Spec::netlink(0)),
                Err(EnterError::LocationUnknown)
            ));
        }
    }
}
