//! Users and groups of this machine by name, users by id, and those of a socket's peer.

use std::ffi::{CStr, CString, c_char};
use std::io;
use std::mem::{MaybeUninit, size_of};
use std::os::fd::{AsFd, AsRawFd};
use std::ptr;

/// How much space the entry of a user or a group has at first, in bytes.
const ENTRY_BYTES: usize = 4 << 10;
/// Largest entry, in bytes: a group lists its members.
const MAX_ENTRY_BYTES: usize = 16 << 20;
/// Groups of a peer that are asked for at first.
const PEER_GROUPS: usize = 32;

/// The id of the group with this name.
pub(crate) fn group_id(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let ask = |entry: *mut libc::group, space: &mut [c_char], found: *mut *mut libc::group| {
        // SAFETY: all pointers are valid for their sizes during the call, and `name` ends with a zero.
        unsafe { libc::getgrnam_r(name.as_ptr(), entry, space.as_mut_ptr(), space.len(), found) }
    };
    entry(ask, |group| group.gr_gid)
}

/// The id of the user with this name.
pub(crate) fn user_id(name: &str) -> io::Result<Option<u32>> {
    let Ok(name) = CString::new(name) else { return Ok(None) };
    let ask = |entry: *mut libc::passwd, space: &mut [c_char], found: *mut *mut libc::passwd| {
        // SAFETY: all pointers are valid for their sizes during the call, and `name` ends with a zero.
        unsafe { libc::getpwnam_r(name.as_ptr(), entry, space.as_mut_ptr(), space.len(), found) }
    };
    entry(ask, |user| user.pw_uid)
}

/// The name of the user with this id; the id itself if it has none.
pub(crate) fn user_name(id: u32) -> String {
    let ask = |entry: *mut libc::passwd, space: &mut [c_char], found: *mut *mut libc::passwd| {
        // SAFETY: all pointers are valid for their sizes during the call.
        unsafe { libc::getpwuid_r(id, entry, space.as_mut_ptr(), space.len(), found) }
    };
    let name = entry(ask, |user| {
        // SAFETY: the name is in the space of the entry, which is still there, and ends with a zero.
        unsafe { CStr::from_ptr(user.pw_name) }.to_string_lossy().into_owned()
    });
    name.ok().flatten().unwrap_or_else(|| format!("user {id}"))
}

/// Looks an entry up, in as much space as it needs. Its pointers are into that space, which is there only while
/// `take` reads the entry.
fn entry<T, R>(
    mut ask: impl FnMut(*mut T, &mut [c_char], *mut *mut T) -> i32,
    take: impl FnOnce(&T) -> R,
) -> io::Result<Option<R>> {
    let mut space = vec![0; ENTRY_BYTES];
    loop {
        let mut entry = MaybeUninit::<T>::uninit();
        let mut found = ptr::null_mut();
        match ask(entry.as_mut_ptr(), &mut space, &raw mut found) {
            // SAFETY: the call has written the entry, as it says where.
            0 if !found.is_null() => return Ok(Some(take(unsafe { entry.assume_init_ref() }))),
            // Some systems report an error for a name that they do not have.
            0 | libc::ENOENT | libc::ESRCH => return Ok(None),
            libc::EINTR => {}
            libc::ERANGE if space.len() < MAX_ENTRY_BYTES => space.resize(2 * space.len(), 0),
            error => return Err(io::Error::from_raw_os_error(error)),
        }
    }
}

/// The supplementary groups of the process at the other end of a Unix socket, as of when it connected.
pub(crate) fn peer_groups(socket: &impl AsFd) -> io::Result<Vec<u32>> {
    let mut groups = vec![0; PEER_GROUPS];
    loop {
        let mut bytes = (groups.len() * size_of::<u32>()) as libc::socklen_t;
        // SAFETY: `groups` has `bytes` bytes, which the call may fill; the descriptor is open.
        let result = unsafe {
            libc::getsockopt(
                socket.as_fd().as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut bytes,
            )
        };
        let error = io::Error::last_os_error();
        let count = bytes as usize / size_of::<u32>();
        if result == 0 {
            groups.truncate(count);
            return Ok(groups);
        }
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn the_administrator_is_known_and_nobody_else_by_chance() {
        assert_eq!((user_id("root").unwrap(), group_id("root").unwrap()), (Some(0), Some(0)));
        for name in ["no such name", "", "a\0b"] {
            assert_eq!((user_id(name).unwrap(), group_id(name).unwrap()), (None, None), "{name:?}");
        }
    }

    #[test]
    fn a_user_without_a_name_has_its_id() {
        assert_eq!((user_name(0).as_str(), user_name(4_000_000_001).as_str()), ("root", "user 4000000001"));
    }

    #[test]
    fn a_peer_has_the_groups_of_its_process() {
        let (one, _other) = UnixStream::pair().unwrap();
        let mut own: Vec<u32> =
            rustix::process::getgroups().unwrap().into_iter().map(rustix::process::Gid::as_raw).collect();
        let mut groups = peer_groups(&one).unwrap();
        own.sort_unstable();
        groups.sort_unstable();
        assert_eq!(groups, own);
    }
}
