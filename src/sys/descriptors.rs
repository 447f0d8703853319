//! The limit on open file descriptors, and the reserve that connections leave for the daemon's own files.

use std::fs;
use std::os::fd::{AsFd, AsRawFd};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that connections leave for files: each segment has two open, and the journal, imports and
/// backups open more.
const RESERVED_DESCRIPTORS: u64 = 128;
/// The reserve takes at most this part of a low limit.
const RESERVED_SHARE: u64 = 4;

/// Descriptors of these that nothing but the daemon's own short-lived files uses: new parts of pools leave them.
const OWN_DESCRIPTORS: u64 = 32;

/// Raises the limit as far as the system allows.
pub(crate) fn raise_limit() {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    // If the system refuses, the lower limit stays in force, and the log tells what it allows.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
}

/// How many descriptors may be open; `None` without a limit.
pub(crate) fn limit() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// How many descriptors are open, or `None` where `/proc` does not report it.
pub(crate) fn open() -> Option<u64> {
    // One of them is that of the directory.
    Some((fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1))
}

/// How many of `limit` descriptors connections leave free.
pub(crate) fn reserve(limit: u64) -> u64 {
    RESERVED_DESCRIPTORS.min(limit / RESERVED_SHARE)
}

/// Whether this many more can stay open, and leave those that the daemon's own files need.
pub(crate) fn are_free(count: usize) -> bool {
    let limit = limit();
    let reserved = limit.map_or(0, |limit| OWN_DESCRIPTORS.min(limit / RESERVED_SHARE / 2));
    // The system gives out the lowest ones: these show what the next ones would be.
    let probes: Result<Vec<_>, _> =
        (0..count).map(|_| std::io::stderr().as_fd().try_clone_to_owned()).collect();
    probes.is_ok_and(|probes| !probes.iter().any(|probe| is_among_last(probe, limit, reserved)))
}

/// Whether a new descriptor is among the last `reserved`. The system gives out the lowest free one, so all
/// below it are in use.
pub(crate) fn is_among_last(descriptor: &impl AsFd, limit: Option<u64>, reserved: u64) -> bool {
    let number = u64::from(descriptor.as_fd().as_raw_fd().unsigned_abs());
    limit.is_some_and(|limit| number >= limit.saturating_sub(reserved))
}
