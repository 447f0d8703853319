//! How much room a file system has.

use std::io;
use std::path::Path;

/// The room of a file system, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DiskSpace {
    /// That this process may still take.
    pub free_bytes: u64,
    /// Of all of it.
    pub total_bytes: u64,
}

/// The room of the file system that a path is on.
pub fn space_of(path: &Path) -> io::Result<DiskSpace> {
    let found = rustix::fs::statvfs(path)?;
    Ok(DiskSpace {
        free_bytes: found.f_bavail * found.f_frsize,
        total_bytes: found.f_blocks * found.f_frsize,
    })
}
