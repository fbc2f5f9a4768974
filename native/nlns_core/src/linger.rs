//! Streams whose close(2) waits until their data is sent (`SO_LINGER`, socket(7)).

use std::os::fd::AsFd;
use std::time::Duration;

use rustix::net::sockopt::{set_socket_linger, socket_linger};

pub(crate) fn lingers(fd: impl AsFd) -> bool {
    // With no time to linger the connection is reset, which does not wait.
    !matches!(socket_linger(fd), Ok(None | Some(Duration::ZERO)))
}

/// Has the close wait no more. The data is sent all the same, only nobody waits for that.
pub(crate) fn stop_lingering(fd: impl AsFd) {
    if lingers(&fd) {
        let _ = set_socket_linger(fd, None);
    }
}
