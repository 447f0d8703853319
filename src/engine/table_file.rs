//! The files of a segment's words: the words themselves and a checksum for each sector of them.
//!
//! ```text
//! 0001.words    one u64 a rank
//! 0001.sums     head, one page              then for each sector of 64 words (512 bytes)
//!                    0  "ALLOTDS" and 1  8 bytes    a  CRC32C u32
//!                    8  format           u32        b  CRC32C u32
//!                   12  CRC32C of 16..32 and 8..12  u32
//!                   16  words            u64
//!                   24  kind             u32   1: each sector is as a or as b says; 2: nothing is said
//!                   28  largest generation that was ever written u32
//! ```
//!
//! All little-endian. The words in memory are private to the process; their file changes only here. A
//! checkpoint first writes, durably, the new checksum of each sector as `b` and the last one as `a`; then
//! it writes the sectors. A disk writes a sector whole or not at all, so at any moment, also after a loss
//! of power, a sector is as `a` or as `b` says, or it is damaged.
//!
//! With durability `none` the words are mapped shared and the system writes them when it likes; then the
//! kind is 2 from the opening until a clean end.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::disk::{
    self, Access, Disk, MappedBytes, MappedWords, PAGE_BYTES, PageBuffer, Sharing, WORD_BYTES,
};
use crate::state::dirty::DirtyBlocks;
use crate::state::table::WordTable;

use super::segment::SegmentError;

/// Words a sector.
pub(crate) const SECTOR_WORDS: u32 = 64;
/// Bytes a sector.
const SECTOR_BYTES: usize = SECTOR_WORDS as usize * WORD_BYTES as usize;
/// Bytes of a sector's checksums.
const ENTRY_BYTES: u64 = 8;
const HEAD_BYTES: u64 = PAGE_BYTES as u64;
const MAGIC: [u8; 8] = *b"ALLOTDS\x01";
const FORMAT: u32 = 1;
const KIND_EXACT: u32 = 1;
const KIND_UNKNOWN: u32 = 2;
/// Blocks written between two syncs of the checksums: 4 MiB.
const BATCH_BLOCKS: usize = 1_024;
/// Pause before a write is tried again for which the disk had no room, and how often it is.
const FULL_DISK_PAUSE: Duration = Duration::from_millis(200);
const FULL_DISK_TRIES: u32 = 50;
/// A thread verifies at least so many sectors.
const MIN_SECTORS_A_THREAD: u32 = 1 << 14;

/// Where the files of a segment's words are.
#[derive(Debug, Clone)]
pub(crate) struct TablePaths {
    pub(crate) words: PathBuf,
    pub(crate) sums: PathBuf,
}

/// The checksums in memory: `[a, b]` a sector.
struct Sums {
    entries: Vec<[u32; 2]>,
    max_generation: u32,
}

/// See the module.
pub(crate) struct TableFile {
    disk: Arc<dyn Disk>,
    words: File,
    file: File,
    len: u32,
    sums: Mutex<Sums>,
}

/// The head of a sums file whose checksums vouch for every word.
pub(crate) fn exact_head(len: u32, max_generation: u32) -> Vec<u8> {
    let mut page = vec![0; HEAD_BYTES as usize];
    page[..32].copy_from_slice(&head(len, KIND_EXACT, max_generation));
    page
}

fn sectors(len: u32) -> u32 {
    len.div_ceil(SECTOR_WORDS)
}

fn ranks_of(sector: u32, len: u32) -> Range<u32> {
    let start = sector * SECTOR_WORDS;
    start..start.saturating_add(SECTOR_WORDS).min(len)
}

fn head(len: u32, kind: u32, max_generation: u32) -> [u8; 32] {
    let mut head = [0; 32];
    head[..8].copy_from_slice(&MAGIC);
    head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    head[16..24].copy_from_slice(&u64::from(len).to_le_bytes());
    head[24..28].copy_from_slice(&kind.to_le_bytes());
    head[28..].copy_from_slice(&max_generation.to_le_bytes());
    let checksum = head_checksum(&head);
    head[12..16].copy_from_slice(&checksum.to_le_bytes());
    head
}

fn head_checksum(head: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&head[16..32]), &head[8..12])
}

/// What a sums file says: its kind and the checksums.
fn read_sums(path: &Path, len: u32) -> Result<(u32, Sums), SegmentError> {
    let content = std::fs::read(path).map_err(|error| SegmentError::Io(path.to_owned(), error))?;
    let damaged = |offset: u64, what: &str| SegmentError::Damaged {
        path: path.to_owned(),
        offset,
        what: what.to_owned(),
    };
    let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| content[at + i]));
    if content.len() as u64 != HEAD_BYTES + u64::from(sectors(len)) * ENTRY_BYTES {
        return Err(damaged(0, "its length does not fit the pool's manifest"));
    }
    if content[..8] != MAGIC || u32_at(12) != head_checksum(&content) {
        return Err(damaged(0, "the checksum of its head is wrong"));
    }
    if u32_at(8) != FORMAT || content[16..24] != u64::from(len).to_le_bytes() {
        return Err(damaged(8, "its head is that of another file"));
    }
    let (entries, _) = content[HEAD_BYTES as usize..].as_chunks::<8>();
    let entry = |bytes: &[u8; 8]| {
        let [a0, a1, a2, a3, b0, b1, b2, b3] = *bytes;
        [u32::from_le_bytes([a0, a1, a2, a3]), u32::from_le_bytes([b0, b1, b2, b3])]
    };
    Ok((u32_at(24), Sums { entries: entries.iter().map(entry).collect(), max_generation: u32_at(28) }))
}

/// The checksum of a sector as it is in memory.
fn sum_of(words: &WordTable<MappedWords>, ranks: Range<u32>) -> u32 {
    let mut bytes = [0; SECTOR_BYTES];
    let used = ranks.len() * WORD_BYTES as usize;
    for (chunk, rank) in bytes.as_chunks_mut::<8>().0.iter_mut().zip(ranks) {
        *chunk = words.get(rank).bits().to_le_bytes();
    }
    crc32c::crc32c(&bytes[..used])
}

/// Runs `work` over all sectors in parts, on all processors; the answers in order.
fn in_parallel<T: Send>(len: u32, work: impl Fn(Range<u32>) -> Vec<T> + Sync) -> Vec<T> {
    let threads = std::thread::available_parallelism().map_or(1, usize::from) as u32;
    let part = sectors(len).div_ceil(threads).max(MIN_SECTORS_A_THREAD);
    let parts = (0..sectors(len)).step_by(part as usize).map(|at| at..(at + part).min(sectors(len)));
    std::thread::scope(|scope| {
        let work = &work;
        let threads: Vec<_> = parts.map(|part| scope.spawn(move || work(part))).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, Vec<T>>| {
            thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        threads.into_iter().flat_map(join).collect()
    })
}

/// The sectors of a words file that are neither as `a` nor as `b` says.
fn damaged_sectors(content: &[u8], len: u32, sums: &Sums) -> Vec<u32> {
    in_parallel(len, |part| {
        let bytes = &content[part.start as usize * SECTOR_BYTES..];
        let sectors = part.clone().zip(bytes.chunks(SECTOR_BYTES)).zip(&sums.entries[part.start as usize..]);
        let damaged = sectors.filter(|((_, sector), entry)| !entry.contains(&crc32c::crc32c(sector)));
        damaged.map(|((index, _), _)| index).collect()
    })
}

/// A table that was opened, and what is wrong with it.
pub(crate) struct OpenedTable {
    pub(crate) words: WordTable<MappedWords>,
    pub(crate) file: TableFile,
    /// The largest generation that a word can have if nothing was recorded since; `None` if not known.
    pub(crate) max_generation: Option<u32>,
    /// Ranks whose words are not what was written.
    pub(crate) damaged: Vec<Range<u32>>,
}

impl TableFile {
    /// Creates the files of a table of zeros, durably, with their space taken.
    pub(crate) fn create(disk: &dyn Disk, paths: &TablePaths, len: u32) -> io::Result<()> {
        disk::create_words(disk, &paths.words, len)?;
        let zeros = [0; SECTOR_BYTES];
        let sum = |sector: u32| {
            let bytes = ranks_of(sector, len).len() * WORD_BYTES as usize;
            crc32c::crc32c(&zeros[..bytes]).to_le_bytes()
        };
        let mut content = vec![0; HEAD_BYTES as usize];
        content[..32].copy_from_slice(&head(len, KIND_EXACT, 0));
        content.extend((0..sectors(len)).flat_map(|sector| [sum(sector), sum(sector)].concat()));
        let file = disk.create(&paths.sums)?;
        disk.write_at(&file, &content, 0)?;
        disk.sync(&file)
    }

    /// Maps a table and verifies all of it that can be.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        paths: &TablePaths,
        len: u32,
        sharing: Sharing,
    ) -> Result<OpenedTable, SegmentError> {
        let words_io = |error| SegmentError::Io(paths.words.clone(), error);
        let sums_io = |error| SegmentError::Io(paths.sums.clone(), error);
        let mapped = MappedWords::open(&paths.words, len, sharing).map_err(words_io)?;
        mapped.populate();
        let words = WordTable::new(mapped);
        let (kind, sums) = read_sums(&paths.sums, len)?;
        let exact = kind == KIND_EXACT;
        let damaged = if exact {
            let content = MappedBytes::open(&paths.words).map_err(words_io)?;
            damaged_sectors(&content, len, &sums)
        } else {
            Vec::new()
        };
        let max_generation = exact.then_some(sums.max_generation);
        let file = Self {
            disk: Arc::clone(disk),
            words: disk.open(&paths.words, Access::Buffered).map_err(words_io)?,
            file: disk.open(&paths.sums, Access::Buffered).map_err(sums_io)?,
            len,
            sums: Mutex::new(sums),
        };
        let damaged = damaged.into_iter().map(|sector| ranks_of(sector, len)).collect();
        Ok(OpenedTable { words, file, max_generation, damaged })
    }

    /// Makes the files say how the table is used from now on. To be called before the first change.
    pub(crate) fn begin(&self, words: &WordTable<MappedWords>) -> io::Result<()> {
        match words.memory().sharing() {
            Sharing::Shared => self.write_head(KIND_UNKNOWN),
            // It may have been used shared before: then the words are vouched for from here on.
            Sharing::Private => {
                let mut head = [0; 32];
                std::os::unix::fs::FileExt::read_exact_at(&self.file, &mut head, 0)?;
                if head[24..28] == KIND_UNKNOWN.to_le_bytes() { self.sum_all(words) } else { Ok(()) }
            }
        }
    }

    /// Ends the use of a table, after its last checkpoint.
    pub(crate) fn close(&self, words: &WordTable<MappedWords>) -> io::Result<()> {
        match words.memory().sharing() {
            Sharing::Shared => self.sum_all(words),
            Sharing::Private => Ok(()),
        }
    }

    fn write_head(&self, kind: u32) -> io::Result<()> {
        let max_generation = self.lock().max_generation;
        self.disk.write_at(&self.file, &head(self.len, kind, max_generation), 0)?;
        self.disk.sync(&self.file)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Vouches for all words as they are in the file and in memory, which must be the same.
    fn sum_all(&self, words: &WordTable<MappedWords>) -> io::Result<()> {
        self.disk.flush(words.memory())?;
        self.disk.sync(&self.words)?;
        let entries: Vec<(u32, u32)> = in_parallel(self.len, |part| {
            let entry = |sector| {
                let ranks = ranks_of(sector, self.len);
                let generations = ranks.clone().map(|rank| words.get(rank).generation());
                (sum_of(words, ranks), generations.max().unwrap_or(0))
            };
            part.map(entry).collect()
        });
        let mut content = Vec::with_capacity(entries.len() * ENTRY_BYTES as usize);
        let mut sums = self.lock();
        sums.max_generation = entries.iter().map(|(_, generation)| *generation).max().unwrap_or(0);
        sums.entries = entries.into_iter().map(|(sum, _)| [sum, sum]).collect();
        content.extend(sums.entries.iter().flatten().flat_map(|sum| sum.to_le_bytes()));
        drop(sums);
        self.disk.write_at(&self.file, &content, HEAD_BYTES)?;
        self.disk.sync(&self.file)?;
        self.write_head(KIND_EXACT)
    }

    /// Writes all blocks that changed to the words' file, durably. To be called by one thread at a time.
    pub(crate) fn checkpoint(&self, words: &WordTable<MappedWords>, dirty: &DirtyBlocks) -> io::Result<()> {
        if words.memory().sharing() == Sharing::Shared {
            return self.disk.flush(words.memory());
        }
        let mut from = 0;
        let mut buffer: Option<PageBuffer> = None;
        loop {
            let blocks = dirty.take(from, BATCH_BLOCKS);
            let Some(last) = blocks.last() else { break };
            from = last.start / crate::state::due::BLOCK_WORDS;
            let buffer = match &mut buffer {
                Some(buffer) => buffer,
                None => buffer.insert(PageBuffer::new(BATCH_BLOCKS * PAGE_BYTES)?),
            };
            self.write_blocks(words, &blocks, buffer)?;
            if blocks.len() < BATCH_BLOCKS {
                break;
            }
        }
        if buffer.is_none() {
            return Ok(());
        }
        self.disk.sync(&self.words)
    }

    /// Writes some blocks: their checksums first, then, once these are durable, the words.
    fn write_blocks(
        &self,
        words: &WordTable<MappedWords>,
        blocks: &[Range<u32>],
        buffer: &mut PageBuffer,
    ) -> io::Result<()> {
        let runs = runs(blocks);
        let mut sums = self.lock();
        let mut used = 0;
        for ranks in &runs {
            let bytes = ranks.len() * WORD_BYTES as usize;
            let memory = &mut buffer[used..used + bytes];
            for (chunk, rank) in memory.as_chunks_mut::<8>().0.iter_mut().zip(ranks.clone()) {
                let word = words.get(rank);
                sums.max_generation = sums.max_generation.max(word.generation());
                *chunk = word.bits().to_le_bytes();
            }
            let first = (ranks.start / SECTOR_WORDS) as usize;
            for (entry, sector) in sums.entries[first..].iter_mut().zip(memory.chunks(SECTOR_BYTES)) {
                let sum = crc32c::crc32c(sector);
                if sum != entry[1] {
                    *entry = [entry[1], sum];
                }
            }
            used += bytes;
        }
        let max_generation = sums.max_generation;
        let head = head(self.len, KIND_EXACT, max_generation);
        self.write_patiently(&self.file, &head, 0)?;
        for ranks in &runs {
            let (first, end) = (ranks.start / SECTOR_WORDS, ranks.end.div_ceil(SECTOR_WORDS));
            let entries = &sums.entries[first as usize..end as usize];
            let content: Vec<u8> = entries.iter().flatten().flat_map(|sum| sum.to_le_bytes()).collect();
            self.write_patiently(&self.file, &content, HEAD_BYTES + u64::from(first) * ENTRY_BYTES)?;
        }
        drop(sums);
        self.disk.sync(&self.file)?;
        let mut used = 0;
        for ranks in &runs {
            let bytes = ranks.len() * WORD_BYTES as usize;
            let offset = u64::from(ranks.start) * WORD_BYTES;
            self.write_patiently(&self.words, &buffer[used..used + bytes], offset)?;
            used += bytes;
        }
        Ok(())
    }

    /// Writes again the same bytes while the disk has no room: the checksums speak of them already.
    fn write_patiently(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut tries = 0;
        loop {
            match self.disk.write_at(file, bytes, offset) {
                Err(error) if disk::is_storage_full(&error) && tries < FULL_DISK_TRIES => {
                    tries += 1;
                    std::thread::sleep(FULL_DISK_PAUSE);
                }
                result => return result,
            }
        }
    }
}

/// Neighbouring blocks as one.
fn runs(blocks: &[Range<u32>]) -> Vec<Range<u32>> {
    let mut runs: Vec<Range<u32>> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if run.end == block.start => run.end = block.end,
            _ => runs.push(block.clone()),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::time::Timestamp;
    use crate::state::word::Word;

    const LEN: u32 = 5_000;

    fn table(dir: &Path) -> TablePaths {
        let paths = TablePaths { words: dir.join("words"), sums: dir.join("sums") };
        TableFile::create(&disk::RealDisk, &paths, LEN).unwrap();
        paths
    }

    fn open(paths: &TablePaths, sharing: Sharing) -> OpenedTable {
        let opened = TableFile::open(&disk::real(), paths, LEN, sharing).unwrap();
        opened.file.begin(&opened.words).unwrap();
        opened
    }

    fn lease(opened: &OpenedTable, dirty: &DirtyBlocks, rank: u32) {
        opened.words.update(rank, |word| word.lease(Timestamp::new(9))).unwrap();
        dirty.mark(rank);
    }

    #[test]
    fn a_checkpoint_writes_what_changed_and_every_flip_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let paths = table(dir.path());
        let (opened, dirty) = (open(&paths, Sharing::Private), DirtyBlocks::new(LEN));
        for rank in [0, 70, 4_999] {
            lease(&opened, &dirty, rank);
        }
        opened.file.checkpoint(&opened.words, &dirty).unwrap();
        lease(&opened, &dirty, 100);
        drop(opened);
        let opened = open(&paths, Sharing::Private);
        assert_eq!((opened.damaged.len(), opened.max_generation), (0, Some(1)));
        let leased: Vec<u32> = (0..LEN).filter(|rank| opened.words.get(*rank) != Word::NEW).collect();
        assert_eq!(leased, [0, 70, 4_999], "what came after the checkpoint is the journal's to tell");
        drop(opened);
        let content = std::fs::read(&paths.words).unwrap();
        for at in (0..content.len()).step_by(97) {
            let mut flipped = content.clone();
            flipped[at] ^= 1 << (at % 8);
            std::fs::write(&paths.words, flipped).unwrap();
            let rank = at as u32 / 8;
            let damaged = open(&paths, Sharing::Private).damaged;
            assert_eq!(damaged, [ranks_of(rank / SECTOR_WORDS, LEN)], "byte {at}");
        }
    }

    #[test]
    fn either_checksum_will_do_and_flips_of_them_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let paths = table(dir.path());
        let (opened, dirty) = (open(&paths, Sharing::Private), DirtyBlocks::new(LEN));
        let old = std::fs::read(&paths.words).unwrap();
        lease(&opened, &dirty, 3);
        opened.file.checkpoint(&opened.words, &dirty).unwrap();
        drop(opened);
        let new = std::fs::read(&paths.words).unwrap();
        std::fs::write(&paths.words, old).unwrap();
        assert!(open(&paths, Sharing::Private).damaged.is_empty(), "as before the checkpoint");
        std::fs::write(&paths.words, new).unwrap();
        let content = std::fs::read(&paths.sums).unwrap();
        for (at, found) in [(8, true), (24, true), (4_096, false), (4_100, true), (4_104, false)] {
            let mut flipped = content.clone();
            flipped[at] ^= 0x10;
            std::fs::write(&paths.sums, flipped).unwrap();
            let opened = TableFile::open(&disk::real(), &paths, LEN, Sharing::Private);
            assert_eq!(opened.map_or(1, |opened| opened.damaged.len()), usize::from(found), "byte {at}");
        }
    }

    #[test]
    fn a_shared_table_is_vouched_for_only_after_its_end() {
        let dir = tempfile::tempdir().unwrap();
        let paths = table(dir.path());
        let (opened, dirty) = (open(&paths, Sharing::Shared), DirtyBlocks::new(LEN));
        lease(&opened, &dirty, 3);
        let unclean = TableFile::open(&disk::real(), &paths, LEN, Sharing::Private).unwrap();
        assert_eq!((unclean.damaged.len(), unclean.max_generation), (0, None));
        opened.file.close(&opened.words).unwrap();
        drop(opened);
        let opened = open(&paths, Sharing::Private);
        assert_eq!((opened.damaged.len(), opened.max_generation), (0, Some(1)));
        assert_eq!(opened.words.get(3).generation(), 1);
    }
}
