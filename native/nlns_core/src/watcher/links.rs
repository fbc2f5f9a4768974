//! Paths, as far as they say what is to be watched.

use std::ffi::{CStr, CString};

use rustix::fs::readlink;

/// The kernel follows no more links in one path (path_resolution(7)).
pub(super) const MOST_LINKS: usize = 40;

/// Where `path` links to, if it is a symbolic link (what links in `/proc` say may be no path: readlink(2)).
pub(super) fn target_of(path: &CStr) -> Option<CString> {
    let target = readlink(path, Vec::new()).ok()?;
    if target.to_bytes().starts_with(b"/") {
        return Some(target);
    }
    let (directory, _) = split(path)?;
    CString::new([directory.to_bytes(), b"/", target.to_bytes()].concat()).ok()
}

/// Directory and name.
pub(super) type Split = (CString, Box<CStr>);

/// `None` for a path that ends with a slash.
pub(super) fn split(path: &CStr) -> Option<Split> {
    let bytes = path.to_bytes();
    let (directory, name) = match bytes.iter().rposition(|&byte| byte == b'/') {
        None => (&b"."[..], bytes),
        Some(0) => (&b"/"[..], &bytes[1..]),
        Some(slash) => (&bytes[..slash], &bytes[slash + 1..]),
    };
    let name = CString::new(name).ok().filter(|name| !name.is_empty())?;
    Some((CString::new(directory).ok()?, name.into_boxed_c_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn path_is_split_at_last_slash() {
        let parts = |path| {
            split(path).map(|(directory, name)| {
                let text = |bytes: &CStr| bytes.to_str().unwrap().to_owned();
                (text(&directory), text(&name))
            })
        };
        let of = |directory: &str, name: &str| Some((directory.to_owned(), name.to_owned()));
        assert_eq!(parts(c"/run/netns/a"), of("/run/netns", "a"));
        assert_eq!(parts(c"/a"), of("/", "a"));
        assert_eq!(parts(c"a"), of(".", "a"));
        assert_eq!(parts(c"/a/"), None);
        assert_eq!(parts(c""), None);
    }
}
