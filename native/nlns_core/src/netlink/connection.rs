//! One netlink socket that talks to the kernel and to nobody else.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{
    set_socket_recv_buffer_size, set_socket_recv_buffer_size_force, set_socket_send_buffer_size,
    set_socket_send_buffer_size_force,
};
use rustix::net::{RecvFlags, SendFlags, connect, recv, recvfrom, send};

use crate::error::{Error, uninterrupted};
use crate::netns::Netns;
use crate::socket::Socket;
use crate::sys;

/// How long a wait for data goes on without a look at whether anybody still waits. Longer and a helper stays
/// with a request that was given up; shorter and it wakes for nothing.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// The room that the kernel takes for an acknowledgement, by a wide margin (some 800 bytes).
const ACK_ROOM: usize = 2_048;

/// The room for the answers to several requests: the kernel answers all of them while they are sent, before any
/// can be received. More is of use only to longer lists of larger answers; less, and the kernel drops those of a
/// few interfaces with many names. A socket as it is made has net.core.rmem_default, 208 KiB.
const ANSWERS: usize = 4 << 20;

pub(crate) struct Connection {
    /// Always there until it is closed.
    socket: Option<Socket>,
    /// Where it is.
    netns: Netns,
    protocol: u32,
    /// Dropped once the socket is closed.
    stay: Option<Arc<dyn Send + Sync>>,
}

/// The number of the next request. No two of this process have the same within four billion: the next socket
/// may get the port of the last, and the kernel may answer that late (audit, from a thread).
static NEXT: AtomicU32 = AtomicU32::new(1);

/// Whether a wait may go on.
pub(crate) struct Patience<'a> {
    pub(crate) deadline: Option<Instant>,
    /// An error once the pool is stopping.
    pub(crate) go_on: &'a dyn Fn() -> Result<(), Error>,
}

impl Patience<'_> {
    /// An error if nobody waits any more, in whose place it is the answer.
    pub(crate) fn check(&self, is_wanted: bool) -> Result<(), Error> {
        (self.go_on)()?;
        let is_late = self.deadline.is_some_and(|time| Instant::now() >= time);
        if is_late || !is_wanted {
            return Err(Error::TIMED_OUT);
        }
        Ok(())
    }

    fn slice(&self) -> Timespec {
        let left = |time: Instant| time.saturating_duration_since(Instant::now());
        let slice = self
            .deadline
            .map_or(LOOK_EVERY, |time| left(time).min(LOOK_EVERY));
        Timespec::try_from(slice).unwrap_or_default()
    }
}

impl Connection {
    /// Prepares a socket that nobody has used. Once it is connected, the kernel refuses what other
    /// processes send to it (`ECONNREFUSED`), and chooses its port.
    /// `stay` is dropped once it is closed.
    pub(crate) fn new(
        socket: Socket,
        netns: Netns,
        protocol: u32,
        stay: Arc<dyn Send + Sync>,
    ) -> Result<Self, Errno> {
        let this = Self {
            socket: Some(socket),
            netns,
            protocol,
            stay: Some(stay),
        };
        let socket = this.socket();
        // Each needs its kernel, and no request needs them: 4.2, 4.12 and 4.20.
        for option in [
            libc::NETLINK_CAP_ACK,
            libc::NETLINK_EXT_ACK,
            libc::NETLINK_GET_STRICT_CHK,
        ] {
            let _ = sys::set_netlink_option(socket.as_fd(), option);
        }
        connect(socket, &SocketAddrNetlink::new(0, 0))?;
        Ok(this)
    }

    fn socket(&self) -> &Socket {
        self.socket.as_ref().expect("it is there until the drop")
    }

    /// Whether it serves `protocol` in `netns`.
    pub(crate) fn is_for(&self, protocol: u32, netns: &Netns) -> bool {
        self.protocol == protocol && self.netns.is(netns)
    }

    /// Sends one datagram that asks for `acks` acknowledgements.
    pub(crate) fn send(&self, request: &[u8], acks: usize) -> Result<(), Errno> {
        if acks > 1 {
            // If there is no room for all, receiving says so.
            let size = (acks * ACK_ROOM).max(ANSWERS);
            let _ = set_socket_recv_buffer_size_force(self.socket(), size)
                .or_else(|_| set_socket_recv_buffer_size(self.socket(), size));
        }
        let send = || uninterrupted(|| send(self.socket(), request, SendFlags::empty()));
        match send() {
            Err(Errno::MSGSIZE) => {
                let size = request.len() + 4_096;
                set_socket_send_buffer_size_force(self.socket(), size)
                    .or_else(|_| set_socket_send_buffer_size(self.socket(), size))?;
                send()
            }
            sent => sent,
        }?;
        Ok(())
    }

    /// The length of the datagram that is received next.
    pub(crate) fn next_length(&self) -> Result<usize, Errno> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC | RecvFlags::PEEK;
        let mut nothing = [0; 0];
        let (_, length) = uninterrupted(|| recv(self.socket(), &mut nothing[..], flags))?;
        Ok(length)
    }

    /// Receives a datagram that is there; returns its length, which may be more than there was room for,
    /// or `None` if it is not the kernel's.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>, Errno> {
        let flags = RecvFlags::DONTWAIT | RecvFlags::TRUNC;
        let (_, length, sender) = uninterrupted(|| recvfrom(self.socket(), &mut *buffer, flags))?;
        let sender = sender.and_then(|sender| SocketAddrNetlink::try_from(sender).ok());
        let is_kernel = sender.is_some_and(|sender| sender.pid() == 0);
        Ok(is_kernel.then_some(length))
    }

    /// Waits until there is something to receive, or it is time for a look at whether anybody waits.
    pub(crate) fn wait(&self, patience: &Patience<'_>) -> Result<(), Errno> {
        let mut socket = [PollFd::new(self.socket(), PollFlags::IN)];
        match poll(&mut socket, Some(&patience.slice())) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(errno),
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let (Some(socket), stay) = (self.socket.take(), self.stay.take()) {
            socket.close(Box::new(|| drop(stay)));
        }
    }
}

/// Takes `count` numbers for requests, and returns the first.
pub(crate) fn numbers(count: usize) -> u32 {
    NEXT.fetch_add(count as u32, Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use rustix::net::{bind, getsockname, sendto};

    use super::*;
    use crate::netns::{Host, Spec};

    /// `NETLINK_USERSOCK`, by which any process may send to any other.
    const USERSOCK: u32 = 2;

    fn socket() -> (Socket, Netns) {
        let host = Host::find().unwrap();
        let mut here = host.netns();
        (
            host.socket(&mut here, Spec::netlink(USERSOCK)).unwrap(),
            here,
        )
    }

    fn address(socket: &Socket) -> SocketAddrNetlink {
        getsockname(socket).unwrap().try_into().unwrap()
    }

    #[test]
    fn datagram_of_stranger_is_ignored() {
        let (stranger, _) = socket();
        let (to, netns) = socket();
        bind(&to, &SocketAddrNetlink::new(0, 0)).unwrap();
        let mut connection = Connection {
            socket: Some(to),
            netns,
            protocol: USERSOCK,
            stay: None,
        };
        let to = address(connection.socket());
        sendto(&stranger, &[0; 20], SendFlags::empty(), &to).unwrap();
        assert_eq!(connection.next_length(), Ok(20));
        assert_eq!(connection.receive(&mut [0; 9]), Ok(None));
        assert_eq!(connection.receive(&mut [0; 9]), Err(Errno::AGAIN));

        connection = Connection::new(socket().0, netns, USERSOCK, Arc::new(())).unwrap();
        let to = address(connection.socket());
        let sent = sendto(&stranger, &[0; 20], SendFlags::empty(), &to);
        assert_eq!(sent, Err(Errno::CONNREFUSED));
    }
}
