//! Writing the files of a new segment: its number set and its words.

use std::io::{self, BufWriter};
use std::path::Path;

use crate::coordinates::SegmentId;
use crate::disk::device::Disk;
use crate::disk::paced::PART_BYTES;
use crate::disk::sequential::SequentialWriter;
use crate::numbers::number::NumberRange;
use crate::numbers::set::writer::{SetWriter, WriteError, Written};
use crate::state::word::Word;

use super::growing_file::GrowingFile;
use super::manifest::SegmentEntry;
use super::pool_dir::SegmentPaths;
use super::table::{self, TableFile};

/// Writes a number set as the file `path`, durably.
pub(crate) fn write_ranges(
    disk: &dyn Disk,
    path: &Path,
    ranges: impl Iterator<Item = NumberRange>,
) -> Result<Written, WriteError> {
    let file = disk.create(path)?;
    let sequential = SequentialWriter::new(disk, &file);
    let mut writer = SetWriter::new(BufWriter::with_capacity(PART_BYTES, sequential))?;
    for range in ranges {
        writer.push(range)?;
    }
    let written = writer.finish()?;
    disk.sync(&file)?;
    Ok(written)
}

/// Writes the files of segment `id` into `dir`; the numbers come from `write`.
pub(crate) fn make_segment(
    disk: &dyn Disk,
    dir: &Path,
    id: SegmentId,
    write: impl FnOnce(&Path) -> Result<Written, WriteError>,
) -> Result<SegmentEntry, WriteError> {
    make_segment_of(disk, dir, id, write, None::<std::iter::Empty<Word>>)
}

/// [`make_segment`] with the words of the numbers, in ascending order of the numbers; without them all
/// numbers are new.
pub(crate) fn make_segment_of(
    disk: &dyn Disk,
    dir: &Path,
    id: SegmentId,
    write: impl FnOnce(&Path) -> Result<Written, WriteError>,
    words: Option<impl Iterator<Item = Word>>,
) -> Result<SegmentEntry, WriteError> {
    let paths = SegmentPaths::new(dir, id);
    let written = write(&paths.set)?;
    // A set holds at most MAX_SET_NUMBERS, which ranks can count.
    let len = written.numbers as u32;
    match words {
        None => TableFile::create(disk, &paths.table, len)?,
        Some(words) => table::given_words::create(disk, &paths.table, len, words)?,
    }
    Ok(SegmentEntry {
        id,
        numbers: written.numbers,
        numbers_bytes: written.bytes,
        numbers_crc32c: written.crc32c,
        capacity: 0,
        merges: Vec::new(),
    })
}

/// Writes the files of a segment without numbers that grows up to `capacity`.
pub(crate) fn make_growing_segment(
    disk: &dyn Disk,
    dir: &Path,
    id: SegmentId,
    capacity: u32,
) -> io::Result<SegmentEntry> {
    let paths = SegmentPaths::growing(dir, id);
    GrowingFile::create(disk, &paths.set, capacity)?;
    TableFile::create(disk, &paths.table, capacity)?;
    Ok(SegmentEntry { id, numbers: 0, numbers_bytes: 0, numbers_crc32c: 0, capacity, merges: Vec::new() })
}
