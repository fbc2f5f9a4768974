//! What a caller names a namespace by.

use std::ffi::{CStr, CString};
use std::sync::Arc;

use rustix::io::Errno;
use rustix::process::Pid;

use crate::error::{Error, Stage};

/// The kernel's bound for a path with its terminating NUL (limits.h, path_resolution(7)).
pub(crate) const PATH_MAX: usize = 4096;

/// A path, or a process. The two never stand for each other: `/proc/17/ns/net` is whatever is at that path,
/// the process 17 the one that has this number for this process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NetnsRef {
    /// A namespace file.
    Path(Arc<CStr>),
    /// The process with this number in this process's own pid namespace, whatever is mounted at `/proc`.
    Process(Pid),
}

/// The same, borrowed, as it is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NetnsKey<'a> {
    /// The bytes of a path.
    Path(&'a [u8]),
    /// The number of a process.
    Process(Pid),
}

impl NetnsKey<'_> {
    /// The key of a process; none has a number below 1.
    pub fn process(pid: i32) -> Result<Self, Error> {
        let pid = (pid > 0).then(|| Pid::from_raw(pid)).flatten();
        let none = Error::new(Stage::Open, Errno::NOENT);
        pid.map(Self::Process).ok_or(none)
    }
}

impl<'a> From<&'a [u8]> for NetnsKey<'a> {
    fn from(path: &'a [u8]) -> Self {
        Self::Path(path)
    }
}

impl NetnsRef {
    /// As it is looked for.
    pub fn key(&self) -> NetnsKey<'_> {
        match self {
            Self::Path(path) => NetnsKey::Path(path.to_bytes()),
            Self::Process(pid) => NetnsKey::Process(*pid),
        }
    }
}

impl TryFrom<NetnsKey<'_>> for NetnsRef {
    type Error = Errno;

    /// Fails for bytes that no path can be.
    fn try_from(key: NetnsKey<'_>) -> Result<Self, Errno> {
        match key {
            NetnsKey::Path(path) if path.len() >= PATH_MAX => Err(Errno::NAMETOOLONG),
            NetnsKey::Path(path) => {
                let path = CString::new(path).map_err(|_| Errno::INVAL)?;
                Ok(Self::Path(path.into()))
            }
            NetnsKey::Process(pid) => Ok(Self::Process(pid)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_not_its_path() {
        let process = NetnsKey::Process(Pid::from_raw(17).unwrap());
        let path = NetnsKey::Path(b"/proc/17/ns/net");
        for key in [process, path] {
            assert_eq!(NetnsRef::try_from(key).unwrap().key(), key);
        }
        assert_ne!(process, path);
        assert_eq!(NetnsKey::process(17), Ok(process));
        assert!(NetnsKey::process(0).is_err() && NetnsKey::process(-1).is_err());
    }

    #[test]
    fn invalid_path_bytes_are_refused() {
        let refused = |bytes: &[u8]| NetnsRef::try_from(NetnsKey::Path(bytes)).err();
        assert_eq!(refused(b"a\0b"), Some(Errno::INVAL));
        assert_eq!(refused(&[b'a'; PATH_MAX]), Some(Errno::NAMETOOLONG));
        assert_eq!(refused(&[b'a'; PATH_MAX - 1]), None);
        assert_eq!(refused(b""), None);
    }
}
