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
        Ok(Socket::new(fd, self.close_cost()))
    }

    /// What the last close of such a socket costs; see [`crate::socket`].
    pub(crate) fn close_cost(self) -> CloseCost {
        match i32::from(self.domain) {
            libc::AF_NETLINK => netlink_cost(self.protocol as i32),
            libc::AF_INET | libc::AF_INET6 => inet_cost(self.kind as i32, self.protocol as i32),
            libc::AF_UNIX | libc::AF_VSOCK | libc::AF_XDP => CloseCost::ShortUnused,
            libc::AF_PACKET => CloseCost::GracePeriod,
            _ => CloseCost::Lock,
        }
    }
}

fn netlink_cost(protocol: i32) -> CloseCost {
    match protocol {
        libc::NETLINK_ROUTE
        | libc::NETLINK_USERSOCK
        | libc::NETLINK_SOCK_DIAG
        | libc::NETLINK_XFRM
        | libc::NETLINK_FIB_LOOKUP
        | libc::NETLINK_KOBJECT_UEVENT
        | libc::NETLINK_GENERIC => CloseCost::Short,
        libc::NETLINK_SELINUX | libc::NETLINK_AUDIT | libc::NETLINK_CONNECTOR => {
            CloseCost::ShortUnused
        }
        _ => CloseCost::Lock,
    }
}

fn inet_cost(kind: i32, protocol: i32) -> CloseCost {
    // linux/net.h; an AF_PACKET socket by its oldest name, whatever the family says.
    const SOCK_PACKET: i32 = 10;
    match (kind, protocol) {
        (libc::SOCK_STREAM, 0 | libc::IPPROTO_TCP | libc::IPPROTO_MPTCP | libc::IPPROTO_SCTP)
        | (libc::SOCK_SEQPACKET, 0 | libc::IPPROTO_SCTP)
        | (libc::SOCK_DGRAM, 0 | libc::IPPROTO_UDP | libc::IPPROTO_UDPLITE)
        | (libc::SOCK_DGRAM, libc::IPPROTO_ICMP | libc::IPPROTO_ICMPV6)
        | (libc::SOCK_RAW, _) => CloseCost::ShortUnused,
        (SOCK_PACKET, _) => CloseCost::GracePeriod,
        _ => CloseCost::Lock,
    }
}
