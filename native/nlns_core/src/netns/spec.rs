//! Which socket to make.

use rustix::io::Errno;
use rustix::net::{AddressFamily, Protocol, SocketFlags, SocketType, socket_with};

use crate::error::uninterrupted;
use crate::socket::{CloseCost, Socket};

/// Which socket to make: socket(2)'s three arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spec {
    /// `AF_*`
    pub domain: u16,
    /// `SOCK_*`, without flags
    pub kind: u32,
    /// The protocol, in the form that socket(2) takes for the domain.
    pub protocol: u32,
}

impl Spec {
    /// `AF_NETLINK`, `SOCK_RAW`, and one of the `NETLINK_*` protocols.
    pub const fn netlink(protocol: u32) -> Self {
        Self {
            domain: libc::AF_NETLINK as u16,
            kind: libc::SOCK_RAW as u32,
            protocol,
        }
    }

    pub(super) fn socket(self) -> Result<Socket, Errno> {
        let domain = AddressFamily::from_raw(self.domain);
        let kind = SocketType::from_raw(self.kind);
        let protocol = std::num::NonZeroU32::new(self.protocol).map(Protocol::from_raw);
        let fd = uninterrupted(|| socket_with(domain, kind, SocketFlags::CLOEXEC, protocol))?;
        Ok(Socket::new(fd, self.wait()))
    }

    /// See [`crate::socket`].
    fn wait(self) -> CloseCost {
        let protocol = self.protocol as i32;
        match (i32::from(self.domain), self.kind as i32) {
            (libc::AF_NETLINK, _) if protocol != libc::NETLINK_NETFILTER => CloseCost::Never,
            (libc::AF_INET | libc::AF_INET6, libc::SOCK_STREAM)
                if [0, libc::IPPROTO_TCP].contains(&protocol) =>
            {
                CloseCost::SoLinger
            }
            (libc::AF_NETLINK | libc::AF_INET | libc::AF_INET6 | libc::AF_UNIX, _) => {
                CloseCost::Used
            }
            _ => CloseCost::Always,
        }
    }
}
