//! Operations on whole files: read with a limit, replace atomically, allocate, checksum.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use rustix::io::Errno;

use super::device::{Access, Disk, RealDisk};
use super::mapping::WORD_BYTES;
use super::paced::{self, PART_BYTES, Pacer};

#[cfg(debug_assertions)]
use super::unsynced;

/// The disk of the machine, as most of the crate holds it.
pub fn real() -> Arc<dyn Disk> {
    #[cfg(debug_assertions)]
    if std::env::var_os(unsynced::SKIP_SYNC_VARIABLE).is_some_and(|value| value == "1") {
        return Arc::new(unsynced::UnsyncedDisk);
    }
    Arc::new(RealDisk)
}

/// Opens a file with the given access, or buffered where the file system has no direct access, as an older
/// tmpfs. Also returns the access used.
pub fn open_direct(disk: &dyn Disk, path: &Path, access: Access) -> io::Result<(File, Access)> {
    match disk.open(path, access) {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Ok((disk.open(path, Access::Buffered)?, Access::Buffered))
        }
        opened => Ok((opened?, access)),
    }
}

/// Allocates the space of a file, so that a full disk shows here. Writes zeros where the file system cannot
/// allocate without writing.
pub fn allocate(disk: &dyn Disk, file: &File, bytes: u64) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    match disk.allocate(file, bytes) {
        Err(error) if error.kind() == io::ErrorKind::Unsupported => {
            paced::fill_with_zeros(disk, file, bytes, &|_| ()).and_then(|()| disk.sync(file))
        }
        allocated => allocated,
    }
}

/// Reads to the end, handing each part to `take`.
pub fn read_in_parts(input: &mut dyn Read, mut take: impl FnMut(&[u8]) -> io::Result<()>) -> io::Result<()> {
    let mut buffer = vec![0; PART_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(read) => take(&buffer[..read])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Creates a file of `len` zeroed words and allocates its space, so that a full disk shows here and not when
/// a number is leased.
pub fn create_words(disk: &dyn Disk, path: &Path, len: u32) -> io::Result<()> {
    let file = disk.create(path)?;
    allocate(disk, &file, u64::from(len) * WORD_BYTES)?;
    disk.sync(&file)
}

/// Replaces a file atomically: at any moment, also after a power loss, it has either the old or the new
/// content.
pub fn replace_file(disk: &dyn Disk, path: &Path, content: &[u8]) -> io::Result<()> {
    replace_file_paced(disk, path, content, &|_| ())
}

/// Like [`replace_file`], for content that may be large: it is written in parts.
pub fn replace_file_paced(disk: &dyn Disk, path: &Path, content: &[u8], pacer: &Pacer<'_>) -> io::Result<()> {
    let new = path.with_extension("new");
    // A leftover of a process that ended in the middle of this function.
    match disk.remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let written = disk.create(&new).and_then(|file| paced::write_in_parts(disk, &file, content, 0, pacer));
    written.and_then(|()| rename_durably(disk, &new, path)).inspect_err(|_| {
        // There is nothing to remove if the rename was done.
        let _ = disk.remove_file(&new);
    })
}

/// Renames a file or directory, durably. An error for lack of something ([`is_shortage`]) means that nothing
/// changed.
pub fn rename_durably(disk: &dyn Disk, from: &Path, to: &Path) -> io::Result<()> {
    let parent = to.parent().unwrap_or(Path::new("."));
    // Opened before the rename, so that a lack of descriptors shows while nothing has changed.
    let opened = disk.open_directory(parent)?;
    disk.rename(from, to)?;
    // From here on a power loss can leave either name. So a failure is reported as another kind of error: it
    // may have changed the directory.
    disk.sync_opened(&opened, parent).map_err(io::Error::other)
}

/// Makes a file's entry in its directory durable.
pub fn sync_parent(disk: &dyn Disk, path: &Path) -> io::Result<()> {
    disk.sync_directory(path.parent().unwrap_or(Path::new(".")))
}

/// Reads a whole small file, refusing more than `limit_bytes`.
pub fn read_small_file(path: &Path, limit_bytes: u64) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    let read = File::open(path)?.take(limit_bytes + 1).read_to_end(&mut content)?;
    if read as u64 > limit_bytes {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("longer than {limit_bytes} bytes")));
    }
    Ok(content)
}

/// The CRC32C of a whole file, and its length in bytes.
pub fn crc32c_of(bytes: &[u8]) -> (u32, u64) {
    (crc32c::crc32c(bytes), bytes.len() as u64)
}

/// Whether an error says that the disk (or the quota) is full.
pub fn is_storage_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

/// Whether an error says that the system lacked something other than space: descriptors, memory, or time (the
/// call was interrupted). Nothing was done, and the call can succeed later.
pub fn is_out_of_resources(error: &io::Error) -> bool {
    const RESOURCES: [Errno; 6] =
        [Errno::MFILE, Errno::NFILE, Errno::NOMEM, Errno::NOBUFS, Errno::INTR, Errno::AGAIN];
    Errno::from_io_error(error).is_some_and(|errno| RESOURCES.contains(&errno))
        || matches!(
            error.kind(),
            io::ErrorKind::OutOfMemory | io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock
        )
}

/// Whether an error says that the system lacked space or something else that may come back. It says nothing
/// about the health of the disk.
pub fn is_shortage(error: &io::Error) -> bool {
    is_storage_full(error) || is_out_of_resources(error)
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::device::RealDisk;

    #[test]
    fn replace_keeps_the_old_content_when_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.toml");
        replace_file(&RealDisk, &path, b"one").unwrap();
        fs::write(dir.path().join("pool.new"), "left over").unwrap();
        replace_file(&RealDisk, &path, b"two").unwrap();
        assert_eq!(read_small_file(&path, 3).unwrap(), b"two");
        assert!(read_small_file(&path, 2).is_err());
        fs::create_dir(dir.path().join("pool.new")).unwrap();
        assert!(replace_file(&RealDisk, &path, b"three").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }
}
