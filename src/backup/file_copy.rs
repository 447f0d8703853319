//! Writing the files of a backup.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::coordinates::Rank;
use crate::disk::device::Disk;
use crate::disk::mapping::{MappedWords, WORD_BYTES};
use crate::disk::paced::{PART_BYTES, PartSyncs};
use crate::state::word_table::WordTable;
use crate::store::table::word_checksums::{self, Kind, SECTOR_BYTES};

use super::contents::FileEntry;
use super::error::BackupError;

/// Words copied together.
const COPY_WORDS: u32 = (PART_BYTES as u64 / WORD_BYTES) as u32;

/// Adds the path to an error.
pub(crate) fn at(path: &Path) -> impl FnOnce(io::Error) -> BackupError {
    let path = path.to_owned();
    move |error| BackupError::from_io(path, error)
}

/// A file that is being written.
pub(crate) struct FileCopy<'a> {
    disk: &'a dyn Disk,
    file: File,
    path: PathBuf,
    relative: String,
    head_bytes: u64,
    position: u64,
    crc32c: u32,
    syncs: PartSyncs,
}

impl<'a> FileCopy<'a> {
    /// Creates the file `relative` of the backup in `root`. Its first `head_bytes` bytes are written last.
    pub(crate) fn create(
        disk: &'a dyn Disk,
        root: &Path,
        relative: String,
        head_bytes: u64,
    ) -> Result<Self, BackupError> {
        let path = root.join(&relative);
        let file = disk.create(&path).map_err(at(&path))?;
        Ok(Self {
            disk,
            file,
            path,
            relative,
            head_bytes,
            position: head_bytes,
            crc32c: 0,
            syncs: PartSyncs::default(),
        })
    }

    /// Writes the next bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.disk.write_at(&self.file, bytes, self.position).map_err(at(&self.path))?;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.position += bytes.len() as u64;
        self.syncs.wrote(self.disk, &self.file, bytes.len()).map_err(at(&self.path))
    }

    /// Writes the head and makes the file durable.
    pub(crate) fn finish(self, head: &[u8]) -> Result<FileEntry, BackupError> {
        debug_assert_eq!(head.len() as u64, self.head_bytes);
        self.disk
            .write_at(&self.file, head, 0)
            .and_then(|()| self.disk.sync(&self.file))
            .map_err(at(&self.path))?;
        let rest_bytes = (self.position - self.head_bytes) as usize;
        let crc32c = crc32c::crc32c_combine(crc32c::crc32c(head), self.crc32c, rest_bytes);
        Ok(FileEntry { path: self.relative, bytes: self.position, crc32c })
    }
}

/// Writes a whole file.
pub(crate) fn whole(
    disk: &dyn Disk,
    root: &Path,
    relative: String,
    content: &[u8],
) -> Result<FileEntry, BackupError> {
    let mut file = FileCopy::create(disk, root, relative, 0)?;
    for part in content.chunks(PART_BYTES) {
        file.write(part)?;
    }
    file.finish(&[])
}

/// Copies the words in memory, each read atomically, with checksums of the copy, into files of these paths. Calls `check` repeatedly and stops if it fails.
pub(crate) fn words(
    disk: &dyn Disk,
    root: &Path,
    [words_path, sums_path]: [String; 2],
    words: &WordTable<MappedWords>,
    check: &dyn Fn() -> Result<(), BackupError>,
) -> Result<[FileEntry; 2], BackupError> {
    let len = words.len();
    let mut file = FileCopy::create(disk, root, words_path, 0)?;
    let mut buffer = vec![0; PART_BYTES];
    let (mut sums, mut max_generation) = (Vec::new(), 0);
    let mut start = 0;
    while start < len {
        check()?;
        let end = start.saturating_add(COPY_WORDS).min(len);
        let part = &mut buffer[..(end - start) as usize * WORD_BYTES as usize];
        for (bytes, rank) in part.as_chunks_mut::<8>().0.iter_mut().zip((start..end).map(Rank)) {
            let word = words.get(rank);
            max_generation = word.generation().max(max_generation);
            *bytes = word.bits().to_le_bytes();
        }
        sums.extend(part.chunks(SECTOR_BYTES).map(crc32c::crc32c));
        file.write(part)?;
        start = end;
    }
    let words = file.finish(&[])?;
    let sums = word_checksums::whole_file(len, Kind::Exact, max_generation, &sums);
    Ok([words, whole(disk, root, sums_path, &sums)?])
}
