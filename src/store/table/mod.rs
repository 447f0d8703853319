//! The files of a segment's words: the words themselves, and a checksum for each sector of them (`sums`).
//!
//! The words in memory are private to the process; their file changes only here. A checkpoint works in
//! batches. For each batch it first writes two checksums per sector, durably: `a`, which the sector in the
//! file has now, and `b`, which it will have. Then it writes the sectors, durably. A disk writes a sector
//! completely or not at all, so at any time, even after a power loss, a sector that matches neither `a` nor
//! `b` is damaged.
//!
//! This requires that `a` is written only after the sector is durable in that state. So a batch ends before
//! the next one begins, even if the disk had no space for it, and the file is synced at startup in case a
//! killed process left writes that are not durable.
//!
//! Words of an older layout are read as what they are now, in memory, and the table is written anew when it is
//! activated ([`upgrade`]).
//!
//! With durability `none` the words are mapped shared and the system writes them at any time. The checksums
//! then guarantee nothing from the activation until a clean end. Until the file of checksums says so, durably,
//! the words are private here too: a journal of another mode is replayed into memory.

mod batch;
pub(crate) mod given_words;
mod upgrade;
pub(crate) mod word_checksums;

use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use crate::coordinates::Rank;
use crate::disk::device::{Access, Disk};
use crate::disk::files;
use crate::disk::mapping::{MappedBytes, MappedWords, Sharing};
use crate::disk::paced::Pacer;
use crate::state::block::BlockIndex;
use crate::state::dirty_blocks::DirtyBlocks;
use crate::state::word_table::WordTable;

use super::damage::SegmentError;
use crate::journal::on_damage::OnDamage;
use crate::sys::sync::Instant;
use crate::sys::sync::Mutex;
use crate::sys::sync::MutexGuard;
use batch::Batch;
use word_checksums::{Kind, Layout};

/// The paths of a table's files.
#[derive(Debug, Clone)]
pub(crate) struct TablePaths {
    pub(crate) words: PathBuf,
    pub(crate) sums: PathBuf,
}

/// What is written to the files.
struct Written {
    /// The checksum of each sector as it is durable in the words' file.
    sums: Vec<u32>,
    max_generation: u32,
    /// Words whose checksums are already durable, but which may not be in their file yet. They must be
    /// written before the checksums of any others are.
    batch: Option<Batch>,
}

/// The files of a segment's words.
pub(crate) struct TableFile {
    disk: Arc<dyn Disk>,
    words: File,
    paths: TablePaths,
    /// How the words are mapped once the table is activated.
    sharing: Sharing,
    /// `None` while it is damaged; then it is rewritten.
    sums: Option<File>,
    len: u32,
    kind: Kind,
    /// How the words are in their file.
    layout: Layout,
    written: Mutex<Written>,
}

/// An opened table, and what is wrong with it.
pub(crate) struct OpenedTable {
    pub(crate) words: WordTable<MappedWords>,
    pub(crate) file: TableFile,
    /// The largest generation of a word, apart from changes that are only in the journal; `None` if unknown.
    pub(crate) max_generation: Option<u32>,
    /// Ranks whose words differ from what was written.
    pub(crate) damaged: Vec<Range<Rank>>,
    /// The damage of the checksums, if any. The words are then unverified.
    pub(crate) sums_damage: Option<SegmentError>,
}

impl TableFile {
    /// Creates the files of a table of zeros, durably, and allocates their space.
    pub(crate) fn create(disk: &dyn Disk, paths: &TablePaths, len: u32) -> io::Result<()> {
        files::create_words(disk, &paths.words, len)?;
        let file = disk.create(&paths.sums)?;
        disk.write_at(
            &file,
            &word_checksums::whole_file(len, Kind::Exact, 0, &word_checksums::of_zeros(len)),
            0,
        )?;
        disk.sync(&file)
    }

    /// Maps a table, whose pages are not brought in yet, and verifies it as far as its checksums allow. Changes stay in memory until
    /// [`Self::activate`]; `sharing` is what becomes of them then. `layout` is that of the words if the checksums
    /// do not tell.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        paths: &TablePaths,
        len: u32,
        sharing: Sharing,
        on_damage: OnDamage,
        layout: Layout,
    ) -> Result<OpenedTable, SegmentError> {
        let sums_io = |error| SegmentError::from_io(&paths.sums, error);
        let (read, sums_damage) = match word_checksums::read(&paths.sums, len) {
            Ok(read) => (Some(read), None),
            Err(damage @ SegmentError::Damaged { .. }) if on_damage == OnDamage::GiveUp => {
                (None, Some(damage))
            }
            Err(error) => return Err(error),
        };
        let layout = read.as_ref().map_or(layout, |read| read.layout);
        let words_path = upgrade::words_path(paths, layout);
        let words_io = |error| SegmentError::from_io(&words_path, error);
        let mapped = MappedWords::open(&words_path, len, Sharing::Private).map_err(words_io)?;
        let words = WordTable::new(mapped);
        let file = match &read {
            Some(_) => Some(disk.open(&paths.sums, Access::Buffered).map_err(sums_io)?),
            None => None,
        };
        let exact = read.filter(|read| read.kind == Kind::Exact);
        let mut found = if exact.is_some() {
            word_checksums::of_file(&MappedBytes::open(&words_path).map_err(words_io)?, len)
        } else {
            Vec::new()
        };
        let entries = exact.iter().flat_map(|exact| &exact.entries);
        let damaged = word_checksums::verify(entries, &mut found, len);
        if layout == Layout::WithoutAttempts {
            upgrade::in_memory(&words);
        }
        let max_generation = exact.map(|exact| exact.max_generation);
        let file = Self {
            disk: Arc::clone(disk),
            words: disk.open(&words_path, Access::Buffered).map_err(words_io)?,
            paths: paths.clone(),
            sharing,
            sums: file,
            len,
            kind: if max_generation.is_some() { Kind::Exact } else { Kind::Unknown },
            layout,
            written: Mutex::new(Written {
                sums: found,
                max_generation: max_generation.unwrap_or(0),
                batch: None,
            }),
        };
        Ok(OpenedTable { words, file, max_generation, damaged, sums_damage })
    }

    /// Prepares the files for the way the table is used, and returns the words to use. Call it before the first
    /// change by a caller. `dirty` are the blocks in which the memory differs from the file.
    pub(crate) fn activate(
        &mut self,
        words: WordTable<MappedWords>,
        dirty: &DirtyBlocks,
    ) -> io::Result<WordTable<MappedWords>> {
        let words = self.finish_upgrade(words)?;
        let words = match (self.sharing, self.kind) {
            // What a killed process wrote may not be durable yet.
            (Sharing::Private, Kind::Exact) => {
                self.disk.sync(&self.words)?;
                return Ok(words);
            }
            // No checksum covers the words, so they can be written in any order.
            (Sharing::Private, Kind::Unknown) => {
                self.write_uncovered(&words, dirty)?;
                self.write_checksums(&words)?;
                self.kind = Kind::Exact;
                words
            }
            (Sharing::Shared, _) => {
                let mut written = self.lock();
                written.sums.resize(word_checksums::sectors(self.len) as usize, 0);
                self.write_sums(Kind::Unknown, &written)?;
                drop(written);
                self.kind = Kind::Unknown;
                self.write_uncovered(&words, dirty)?;
                drop(words);
                let shared = MappedWords::open(&self.paths.words, self.len, Sharing::Shared)?;
                shared.populate();
                WordTable::new(shared)
            }
        };
        self.sums = Some(self.disk.open(&self.paths.sums, Access::Buffered)?);
        Ok(words)
    }

    /// Writes the changed blocks of a table that no checksum covers.
    fn write_uncovered(&self, words: &WordTable<MappedWords>, dirty: &DirtyBlocks) -> io::Result<()> {
        batch::ranges(dirty).try_for_each(|blocks| {
            let blocks = dirty.take(blocks);
            Batch::of(words, &blocks, &|_| ()).write(&*self.disk, &self.words, &|_| ())
        })
    }

    /// Closes a table after its last checkpoint.
    pub(crate) fn close(&self, words: &WordTable<MappedWords>) -> io::Result<()> {
        match words.memory().sharing() {
            Sharing::Shared => self.write_checksums(words),
            Sharing::Private => Ok(()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Replaces the file of checksums.
    fn write_sums(&self, kind: Kind, written: &Written) -> io::Result<()> {
        let content = word_checksums::whole_file(self.len, kind, written.max_generation, &written.sums);
        files::replace_file(&*self.disk, &self.paths.sums, &content)
    }

    /// Writes checksums of all words. The words in the file and in memory must be the same.
    fn write_checksums(&self, words: &WordTable<MappedWords>) -> io::Result<()> {
        self.disk.flush(words.memory())?;
        self.disk.sync(&self.words)?;
        let mut written = self.lock();
        written.sums = word_checksums::of_words(words);
        let generations = (0..words.len()).map(|rank| words.get(Rank(rank)).generation());
        written.max_generation = generations.max().unwrap_or(0);
        self.write_sums(Kind::Exact, &written)
    }

    /// Writes all changed blocks to the words' file, durably, and then those of the column to its. Call it from
    /// one thread at a time. After an error for lack of space it can be called again; no change is lost.
    ///
    /// An entry of the column may exist only because the words before it have changed, and replaces one that
    /// counted until then. So the entries of some blocks are read before their words, and written once these are
    /// durable: no file of a column is ahead of its words.
    pub(crate) fn checkpoint(
        &self,
        words: &WordTable<MappedWords>,
        dirty: &DirtyBlocks,
        column: Option<Column<'_>>,
        rest: &Pacer<'_>,
    ) -> io::Result<()> {
        if words.memory().sharing() == Sharing::Shared {
            self.disk.flush(words.memory())?;
            return column.map_or(Ok(()), |column| self.disk.flush(column.entries.memory()));
        }
        let mut written = self.lock();
        self.end_batch(&mut written, rest)?;
        let mut column = column.map(|column| (column.file.lock(), column));
        if let Some((written, Column { file, .. })) = &mut column {
            file.end_batch(written, rest)?;
        }
        for blocks in batch::ranges(dirty) {
            let entries = column
                .as_ref()
                .and_then(|(_, column)| Taken::of(column.entries, column.dirty, &blocks, rest));
            let taken = Taken::of(words, dirty, &blocks, rest);
            if let Some(taken) = taken {
                self.write_taken(&mut written, taken, rest)?;
            }
            if let (Some((written, Column { file, .. })), Some(taken)) = (&mut column, entries) {
                file.write_taken(written, taken, rest)?;
            }
        }
        Ok(())
    }

    fn write_taken(&self, written: &mut Written, mut taken: Taken<'_>, rest: &Pacer<'_>) -> io::Result<()> {
        let Some(batch) = taken.batch.take() else { return Ok(()) };
        let started = Instant::now();
        self.begin_batch(written, batch)?;
        // From here on an error leaves the batch to the next call.
        taken.blocks.clear();
        rest(started.elapsed());
        self.end_batch(written, rest)
    }

    /// Writes the present and the future checksums of a batch's sectors.
    fn begin_batch(&self, written: &mut Written, batch: Batch) -> io::Result<()> {
        let Some(file) = &self.sums else { return Err(io::ErrorKind::NotFound.into()) };
        if batch.max_generation > written.max_generation {
            let head = word_checksums::head(self.len, Kind::Exact, batch.max_generation);
            self.disk.write_at(file, &head, 0)?;
        }
        for (first, new) in batch.sums() {
            let pairs = written.sums[first as usize..].iter().zip(new).map(|(a, b)| [*a, *b]);
            self.disk.write_at(
                file,
                &word_checksums::entry_bytes(pairs),
                word_checksums::entry_offset(first),
            )?;
        }
        self.disk.sync(file)?;
        written.max_generation = written.max_generation.max(batch.max_generation);
        written.batch = Some(batch);
        Ok(())
    }

    /// Writes the words of the batch in progress, if there is one.
    fn end_batch(&self, written: &mut Written, rest: &Pacer<'_>) -> io::Result<()> {
        let Some(batch) = &written.batch else { return Ok(()) };
        batch.write(&*self.disk, &self.words, rest)?;
        for (first, new) in batch.sums() {
            written.sums[first as usize..][..new.len()].copy_from_slice(new);
        }
        written.batch = None;
        Ok(())
    }
}

/// A column beside the words of a table, and its file.
#[derive(Clone, Copy)]
pub(crate) struct Column<'a> {
    pub(crate) file: &'a TableFile,
    pub(crate) entries: &'a WordTable<MappedWords>,
    pub(crate) dirty: &'a DirtyBlocks,
}

/// Blocks that were taken to be written. Those left when this is dropped are to be written later.
struct Taken<'a> {
    dirty: &'a DirtyBlocks,
    blocks: Vec<Range<Rank>>,
    batch: Option<Batch>,
}

impl<'a> Taken<'a> {
    /// The changed ones among some blocks, if there are any.
    fn of(
        words: &WordTable<MappedWords>,
        dirty: &'a DirtyBlocks,
        blocks: &Range<BlockIndex>,
        rest: &Pacer<'_>,
    ) -> Option<Self> {
        let blocks = dirty.take(blocks.clone());
        let batch = (!blocks.is_empty()).then(|| Batch::of(words, &blocks, rest))?;
        Some(Self { dirty, blocks, batch: Some(batch) })
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        self.blocks.iter().for_each(|block| self.dirty.mark(block.start));
    }
}

#[cfg(test)]
mod tests;
