//! Files and mappings. With `state/table.rs` the home of `unsafe`; nothing else in the crate maps memory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::ops::Deref;
use std::path::{Path, PathBuf};

use memmap2::{Advice, Mmap, MmapOptions, MmapRaw};
use rustix::fs::FallocateFlags;

use crate::sync::AtomicU64;

/// Bytes written at once where a file has to be filled with zeros by hand.
const ZERO_FILL_BYTES: usize = 1 << 20;
/// Size of one word in a words file.
pub const WORD_BYTES: u64 = 8;

/// A read-only mapping of an immutable file. Cheap to share: it is bytes.
pub struct MappedBytes(Mmap);

impl MappedBytes {
    /// Maps a whole file, which may be empty. The caller owns the directory the file lives in (by its
    /// lock) and never changes a file once it is mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: files mapped here are written once, before they are mapped, by the holder of the
        // directory's lock, and never changed or cut after that.
        Ok(Self(unsafe { Mmap::map(&file) }?))
    }
}

impl Deref for MappedBytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl AsRef<[u8]> for MappedBytes {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

/// A shared, writable mapping of a words file.
pub struct MappedWords {
    map: MmapRaw,
    len: usize,
}

impl MappedWords {
    /// Maps a file of exactly `len` words.
    pub fn open(path: &Path, len: u32) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = file.metadata()?.len();
        if bytes != u64::from(len) * WORD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the file has {bytes} bytes, {} were expected", u64::from(len) * WORD_BYTES),
            ));
        }
        let map = if len == 0 {
            MmapRaw::from(MmapOptions::new().len(1).map_anon()?)
        } else {
            MmapOptions::new().map_raw(&file)?
        };
        Ok(Self { map, len: len as usize })
    }

    /// Writes all changed pages to the disk and waits for it.
    pub fn flush(&self) -> io::Result<()> {
        if self.len == 0 { Ok(()) } else { self.map.flush() }
    }

    /// Reads the whole file into memory ahead of a scan, if the system can.
    pub fn populate(&self) {
        // Only a speed-up: a kernel before 5.14 does not know it, and the scan reads the pages itself.
        let _ = self.map.advise(Advice::PopulateRead);
    }
}

impl AsRef<[AtomicU64]> for MappedWords {
    #[cfg(not(allotd_loom))]
    fn as_ref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping starts at a page and holds `len` times eight bytes (checked at open, or
        // `len` is 0); it lives as long as `self`; an `AtomicU64` is eight plain bytes; and this
        // process, which holds the directory's lock, touches the file through such atomics only.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.len) }
    }

    #[cfg(allotd_loom)]
    fn as_ref(&self) -> &[AtomicU64] {
        unreachable!("models map no files")
    }
}

/// Creates a file of `len` zeroed words whose space is taken now, so that a full disk shows here and
/// never as a SIGBUS later.
pub fn create_words(path: &Path, len: u32) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).open(path)?;
    let bytes = u64::from(len) * WORD_BYTES;
    if bytes > 0 {
        match rustix::fs::fallocate(&file, FallocateFlags::empty(), 0, bytes) {
            Ok(()) => {}
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => fill_with_zeros(&file, bytes)?,
            Err(error) => return Err(error.into()),
        }
    }
    file.sync_all()
}

fn fill_with_zeros(mut file: &File, bytes: u64) -> io::Result<()> {
    let zeros = vec![0; ZERO_FILL_BYTES];
    let mut left = bytes;
    while left > 0 {
        let part = left.min(ZERO_FILL_BYTES as u64);
        file.write_all(&zeros[..part as usize])?;
        left -= part;
    }
    Ok(())
}

/// Where the new content of a file is put together by [`replace_file`].
pub fn replacement_of(path: &Path) -> PathBuf {
    path.with_extension("new")
}

/// Replaces a file so that at any moment, also after a power loss, either the old or the new content
/// is there.
pub fn replace_file(path: &Path, content: &[u8]) -> io::Result<()> {
    let new = replacement_of(path);
    let written = File::create(&new).and_then(|mut file| {
        file.write_all(content)?;
        file.sync_all()
    });
    let replaced = written.and_then(|()| fs::rename(&new, path));
    if let Err(error) = replaced {
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    sync_parent(path)
}

/// Makes the entries of a directory durable.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

/// Makes a file's entry in its directory durable.
pub fn sync_parent(path: &Path) -> io::Result<()> {
    sync_directory(path.parent().unwrap_or(Path::new(".")))
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

/// A lock on a directory, held as long as this lives, also against other processes.
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the lock by the file `path`; `None` when another process holds it.
    pub fn take(path: PathBuf) -> io::Result<Option<Self>> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Self { _file: file })),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Whether an error says that the disk (or the quota) is full.
pub fn is_storage_full(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge
    )
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use crate::sync::Ordering;

    #[test]
    fn words_are_kept_in_the_file_and_a_wrong_length_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0001.words");
        create_words(&path, 1000).unwrap();
        {
            let words = MappedWords::open(&path, 1000).unwrap();
            words.populate();
            words.as_ref()[999].store(7, Ordering::Relaxed);
            words.flush().unwrap();
        }
        let content = fs::read(&path).unwrap();
        assert_eq!((content.len(), content[999 * 8]), (8000, 7));
        assert!(MappedWords::open(&path, 999).is_err());
        assert!(MappedWords::open(&path, 1001).is_err());
        assert!(create_words(&path, 1000).is_err(), "never over an existing file");
    }

    #[test]
    fn an_empty_table_maps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0001.words");
        create_words(&path, 0).unwrap();
        assert!(MappedWords::open(&path, 0).unwrap().as_ref().is_empty());
    }

    #[test]
    fn replace_keeps_the_old_content_when_it_fails() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pool.toml");
        replace_file(&path, b"one").unwrap();
        replace_file(&path, b"two").unwrap();
        assert_eq!(read_small_file(&path, 3).unwrap(), b"two");
        assert!(read_small_file(&path, 2).is_err());
        fs::create_dir(dir.path().join("pool.new")).unwrap();
        assert!(replace_file(&path, b"three").is_err());
        assert_eq!(fs::read(&path).unwrap(), b"two");
    }

    #[test]
    fn one_lock_a_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("LOCK");
        let held = DirectoryLock::take(path.clone()).unwrap();
        assert!(held.is_some());
        assert!(DirectoryLock::take(path.clone()).unwrap().is_none());
        drop(held);
        assert!(DirectoryLock::take(path).unwrap().is_some());
    }
}
