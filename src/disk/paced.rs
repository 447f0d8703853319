//! Large writes to a disk that others wait for: in parts, each with its own sync, with pauses between them.
//!
//! A sync waits for whatever the system sends to the disk at the same time. Scattered pages delay other syncs
//! much more than a contiguous part, and larger parts delay them more than smaller ones.

use std::fs::File;
use std::io;
use std::time::Duration;

use crate::sys::sync::Instant;

use super::device::Disk;
use super::mapping::PageBuffer;

/// Most bytes of a part.
pub const PART_BYTES: usize = 256 << 10;

/// Called after each part with the time that it took. It pauses for as long, so that the disk can serve
/// others, unless the work is urgent.
pub type Pacer<'a> = dyn Fn(Duration) + 'a;

/// Syncs a file that is written piece by piece, each time that a part ([`PART_BYTES`]) is written.
#[derive(Debug, Default)]
pub struct PartSyncs {
    unsynced_bytes: usize,
}

impl PartSyncs {
    /// Call after each piece, with its length in bytes.
    pub fn wrote(&mut self, disk: &dyn Disk, file: &File, bytes: usize) -> io::Result<()> {
        self.unsynced_bytes += bytes;
        if self.unsynced_bytes < PART_BYTES {
            return Ok(());
        }
        self.unsynced_bytes = 0;
        disk.sync(file)
    }
}

/// Writes all bytes at an offset in parts, durably.
pub fn write_in_parts(
    disk: &(impl Disk + ?Sized),
    file: &File,
    bytes: &[u8],
    offset: u64,
    pacer: &Pacer<'_>,
) -> io::Result<()> {
    let mut at = offset;
    for part in bytes.chunks(PART_BYTES) {
        let started = Instant::now();
        disk.write_at(file, part, at)?;
        disk.sync(file)?;
        at += part.len() as u64;
        pacer(started.elapsed());
    }
    Ok(())
}

/// Writes zeros into the first `bytes` bytes of a file, which may be open for direct writes. Its blocks are
/// then written once, and overwriting them costs no more than the data. The caller syncs the file.
pub fn fill_with_zeros(
    disk: &(impl Disk + ?Sized),
    file: &File,
    bytes: u64,
    pacer: &Pacer<'_>,
) -> io::Result<()> {
    let zeros = PageBuffer::new(PART_BYTES)?;
    let mut at = 0;
    while at < bytes {
        let part = (bytes - at).min(PART_BYTES as u64);
        let started = Instant::now();
        disk.write_at(file, &zeros[..part as usize], at)?;
        at += part;
        pacer(started.elapsed());
    }
    Ok(())
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use crate::disk::device::RealDisk;

    #[test]
    fn zeros_fill_a_file_to_the_byte() {
        let dir = tempfile::tempdir().unwrap();
        let file = RealDisk.create(&dir.path().join("zeros")).unwrap();
        let bytes = PART_BYTES as u64 + 17;
        fill_with_zeros(&RealDisk, &file, bytes, &|_| ()).unwrap();
        assert_eq!(file.metadata().unwrap().len(), bytes);
    }
}
