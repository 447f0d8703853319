//! Mapped memory: immutable files, word tables, and buffers for direct writes.

use std::fs::{File, OpenOptions};
use std::io;
use std::ops::{Deref, DerefMut, Range};
use std::path::Path;

use memmap2::{Advice, Mmap, MmapMut, MmapOptions, MmapRaw};
use rustix::mm::Advice as MadviseAdvice;

use crate::sys::atomics::AtomicU64;

/// Size of one word in a words file.
pub const WORD_BYTES: u64 = 8;
/// The alignment of direct writes: offset, length and memory. No disk in use needs more.
pub const PAGE_BYTES: usize = 4096;

/// Size of a huge page. Smaller memory gets none.
const HUGE_PAGE_BYTES: usize = 2 << 20;

/// A read-only mapping of an immutable file.
#[derive(Debug)]
pub struct MappedBytes(Mmap);

impl MappedBytes {
    /// Maps a whole file, which may be empty. The caller owns the directory the file lives in (by its
    /// lock) and never changes a file once it is mapped.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        // SAFETY: files mapped here are written before they are mapped, by the holder of the
        // directory's lock, and not changed or cut while the mapping lives.
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

/// Memory for `capacity` items, in huge pages where the system has them and the memory is untouched. Random
/// reads over some megabytes of it then wait less for the processor's page tables.
pub fn huge_page_vec<T>(capacity: usize) -> Vec<T> {
    let mut items = Vec::with_capacity(capacity);
    let spare = items.spare_capacity_mut();
    let into_page = spare.as_ptr().addr() % PAGE_BYTES;
    let bytes = size_of_val(spare);
    if bytes >= HUGE_PAGE_BYTES {
        let start = spare.as_mut_ptr().cast::<u8>().wrapping_sub(into_page);
        // SAFETY: the advice changes no byte of memory, also not of other data in the first page; and the
        // range is mapped, as `spare` and the whole of its first page are.
        // A system that ignores the advice uses small pages, which is no error.
        let _ = unsafe { rustix::mm::madvise(start.cast(), into_page + bytes, MadviseAdvice::LinuxHugepage) };
    }
    items
}

/// Bytes that the system reads into memory at once. On a single core nothing else runs meanwhile.
const POPULATED_BYTES: usize = 256 << 10;
/// Bytes that are prefetched ahead of that.
const AHEAD_BYTES: usize = 16 * POPULATED_BYTES;

/// What becomes of changes made through a mapping.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sharing {
    /// They change the file at once, in the page cache, and reach the disk when the system writes them.
    Shared,
    /// They stay in the memory of this process until they are written to the file explicitly.
    Private,
}

/// A writable mapping of a words file.
#[derive(Debug)]
pub struct MappedWords {
    map: MmapRaw,
    len: usize,
    sharing: Sharing,
}

impl MappedWords {
    /// Maps a file of exactly `len` words.
    pub fn open(path: &Path, len: u32, sharing: Sharing) -> io::Result<Self> {
        let file = OpenOptions::new().read(true).write(true).open(path)?;
        let bytes = file.metadata()?.len();
        if bytes != u64::from(len) * WORD_BYTES {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("the file has {bytes} bytes, {} were expected", u64::from(len) * WORD_BYTES),
            ));
        }
        let map = match sharing {
            _ if len == 0 => MmapRaw::from(MmapOptions::new().len(1).map_anon()?),
            Sharing::Shared => MmapOptions::new().map_raw(&file)?,
            // SAFETY: this process, which holds the directory's lock, changes the file only by whole
            // words, read as atomics; and a page that was changed here no longer shows the file.
            Sharing::Private => MmapRaw::from(unsafe { MmapOptions::new().map_copy(&file) }?),
        };
        Ok(Self { map, len: len as usize, sharing })
    }

    /// What becomes of changes.
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Writes all changed pages of a shared mapping to the disk and waits for it.
    pub(super) fn flush(&self) -> io::Result<()> {
        if self.len == 0 || self.sharing == Sharing::Private { Ok(()) } else { self.map.flush() }
    }

    /// Makes the pages of some words writable together, if the system can: their first changes then cause no page
    /// faults.
    pub fn prefault(&self, words: Range<usize>) {
        let (start, end) = (words.start.min(self.len), words.end.min(self.len));
        if start < end {
            let bytes = WORD_BYTES as usize;
            // Only a speed-up, as in `populate`.
            let _ = self.map.advise_range(Advice::PopulateWrite, start * bytes, (end - start) * bytes);
        }
    }

    /// Reads the whole file into memory before a scan, if the system can.
    pub fn populate(&self) {
        // All advice is only a speed-up: a kernel that does not know it reads the pages at their first use.
        // Random: words are read at scattered places, so the system's own read-ahead does not help. On a
        // single core it would also stall all leases while it fills the pages of a new pool with zeros.
        let _ = self.map.advise(Advice::Random);
        let advise = |advice, start: usize| {
            let bytes = self.len * WORD_BYTES as usize;
            if start < bytes {
                let _ = self.map.advise_range(advice, start, POPULATED_BYTES.min(bytes - start));
            }
        };
        let starts = (0..self.len * WORD_BYTES as usize).step_by(POPULATED_BYTES);
        (0..AHEAD_BYTES).step_by(POPULATED_BYTES).for_each(|start| advise(Advice::WillNeed, start));
        for start in starts {
            advise(Advice::WillNeed, start + AHEAD_BYTES);
            advise(Advice::PopulateRead, start);
        }
    }
}

impl AsRef<[AtomicU64]> for MappedWords {
    #[cfg(not(allotd_loom))]
    fn as_ref(&self) -> &[AtomicU64] {
        // SAFETY: the mapping starts at a page and holds `len` times eight bytes (checked at open, or
        // `len` is 0); it lives as long as `self`; an `AtomicU64` is eight plain bytes; and this
        // process, which holds the directory's lock, touches the memory through such atomics only.
        unsafe { std::slice::from_raw_parts(self.map.as_ptr().cast(), self.len) }
    }

    #[cfg(allotd_loom)]
    fn as_ref(&self) -> &[AtomicU64] {
        unreachable!("models map no files")
    }
}

/// Memory for direct writes: whole pages, zeroed.
#[derive(Debug)]
pub struct PageBuffer(MmapMut);

impl PageBuffer {
    /// A buffer of at least `bytes` bytes.
    pub fn new(bytes: usize) -> io::Result<Self> {
        MmapMut::map_anon(bytes.next_multiple_of(PAGE_BYTES)).map(Self)
    }
}

impl Deref for PageBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl DerefMut for PageBuffer {
    fn deref_mut(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use std::fs;

    use super::*;
    use crate::disk::device::RealDisk;
    use crate::disk::files::create_words;
    use crate::sys::atomics::Ordering;

    #[test]
    fn shared_words_are_the_files_and_private_ones_are_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0001.words");
        create_words(&RealDisk, &path, 1000).unwrap();
        {
            let words = MappedWords::open(&path, 1000, Sharing::Shared).unwrap();
            words.populate();
            words.as_ref()[999].store(7, Ordering::Relaxed);
            words.flush().unwrap();
            let private = MappedWords::open(&path, 1000, Sharing::Private).unwrap();
            private.as_ref()[998].store(9, Ordering::Relaxed);
            assert_eq!(private.as_ref()[999].load(Ordering::Relaxed), 7);
        }
        let content = fs::read(&path).unwrap();
        assert_eq!((content.len(), content[999 * 8], content[998 * 8]), (8000, 7, 0));
        assert!(MappedWords::open(&path, 999, Sharing::Private).is_err());
        assert!(MappedWords::open(&path, 1001, Sharing::Shared).is_err());
        assert!(create_words(&RealDisk, &path, 1000).is_err(), "never over an existing file");
    }

    #[test]
    fn an_empty_table_maps() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("0001.words");
        create_words(&RealDisk, &path, 0).unwrap();
        assert!(MappedWords::open(&path, 0, Sharing::Private).unwrap().as_ref().is_empty());
    }
}
