//! The files of a list: `list.toml`, the numbers as a set, and the changes since that set was written.
//!
//! ```text
//! lists/optouts/list.toml      id and which set of numbers counts, replaced atomically; the first line is a
//!                              checksum of the rest
//! lists/optouts/0001.numbers   portable 64-bit Roaring, immutable, CRC in list.toml
//! lists/optouts/changes        what changed since, as of the last checkpoint
//! ```
//!
//! `changes`, little-endian:
//!
//! ```text
//!      0  "ALLOTDL" and 1         8 bytes
//!      8  format = 1              u32
//!     12  CRC32C of all after it  u32
//!     16  id of the list          u64
//!     24  records of 32 bytes, as in the journal: of disjoint ranges, ascending
//! ```
//!
//! Changes have ascending sequences. Those up to `folded` are in the set; those in `changes` are newer than the
//! set, and those in the journal may be newer still.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use std::{fs, io};

use serde::{Deserialize, Serialize};

use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::mapping::MappedBytes;
use crate::disk::paced::Pacer;
use crate::domain::list_name::ListName;
use crate::journal::record::{ListRecord, RECORD_BYTES, Record};
use crate::numbers::set::NumberSet;
use crate::numbers::set::writer::Written;

use super::checksummed_text::{ChecksummedToml, checksummed_toml};

/// Version of `list.toml` and `changes`.
const FORMAT: u32 = 1;
/// The name of a list's manifest.
pub(crate) const LIST_FILE: &str = "list.toml";
/// The name of the file of changes.
pub(crate) const CHANGES_FILE: &str = "changes";
const MAX_LIST_FILE_BYTES: u64 = 64 << 10;
/// Most changes that are kept beside a set; with more, the set is written anew.
pub(crate) const MAX_CHANGES: usize = 1 << 17;
/// Some more may come while the set is written.
const MAX_CHANGES_BYTES: u64 = CHANGES_HEAD_BYTES as u64 + 64 * (MAX_CHANGES * RECORD_BYTES) as u64;
const MAGIC: [u8; 8] = *b"ALLOTDL\x01";
const CHANGES_HEAD_BYTES: usize = 24;

/// Why the files of a list cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListFileError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// A file differs from what was written.
    #[error(
        "{0} is damaged: {1}. Numbers of this list could be leased without it: restore a backup, or remove the \
         list's directory, start with --recover-damaged, which pauses the pools that use the list, and create the \
         list again from its source"
    )]
    Damaged(PathBuf, String),
    /// Another version of this program wrote it.
    #[error("{0} has format {1}, this allotd reads format {FORMAT}: use the version of allotd that wrote it")]
    OtherFormat(PathBuf, u32),
    /// A pool names a list that does not exist.
    #[error(
        "the pool {pool} names the list {list}, which is not in {lists}: restore it from a backup. Its numbers \
         could be leased without it; with --recover-damaged the pool starts without it, paused"
    )]
    Missing {
        /// The pool.
        pool: String,
        /// The list that is missing.
        list: ListName,
        /// The directory of all lists.
        lists: PathBuf,
    },
}

/// The content of `list.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListManifest {
    format: u32,
    /// Sixteen hexadecimal digits; identifies the list in the journal.
    id: String,
    /// The last change that the set includes.
    pub(crate) folded: u64,
    /// The set; none if it would be empty.
    pub(crate) numbers: Option<SetEntry>,
}

/// The set of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SetEntry {
    /// The number in the file's name.
    pub(crate) file: u32,
    pub(crate) numbers: u64,
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
}

impl SetEntry {
    /// An entry of a set that was written; `None` if it is empty.
    pub(crate) fn of(file: u32, written: &Written) -> Option<Self> {
        let Written { numbers, bytes, crc32c } = *written;
        (numbers > 0).then_some(Self { file, numbers, bytes, crc32c })
    }
}

/// When the files of a list were written last; `None` if the system does not report it.
pub(crate) fn written_at(list_dir: &Path) -> Option<SystemTime> {
    let modified = |name| fs::metadata(list_dir.join(name)).and_then(|file| file.modified()).ok();
    [LIST_FILE, CHANGES_FILE].into_iter().filter_map(modified).max()
}

/// Where the set with a number is.
pub(crate) fn set_path(list_dir: &Path, file: u32) -> PathBuf {
    list_dir.join(format!("{file:04}.numbers"))
}

impl ListManifest {
    pub(crate) fn new(id: u64, folded: u64, numbers: Option<SetEntry>) -> Self {
        Self { format: FORMAT, id: format!("{id:016x}"), folded, numbers }
    }

    /// The list's id.
    pub(crate) fn id(&self) -> u64 {
        // Checked when it was read.
        u64::from_str_radix(&self.id, 16).unwrap_or_default()
    }

    pub(crate) fn read(list_dir: &Path) -> Result<Self, ListFileError> {
        let path = list_dir.join(LIST_FILE);
        let content = files::read_small_file(&path, MAX_LIST_FILE_BYTES);
        let content = content.map_err(|error| ListFileError::Io(path.clone(), error))?;
        let damaged = |what: String| ListFileError::Damaged(path.clone(), what);
        let found = ChecksummedToml::parse(&content).map_err(damaged)?;
        match found.format().map_err(damaged)? {
            FORMAT => {}
            other => return Err(ListFileError::OtherFormat(path, other)),
        }
        let manifest: Self = found.values().map_err(damaged)?;
        if manifest.id.len() != 16 || !manifest.id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(damaged(format!("id is \"{}\", not sixteen hexadecimal digits", manifest.id)));
        }
        Ok(manifest)
    }

    /// The file's content.
    pub(crate) fn content(&self) -> io::Result<String> {
        checksummed_toml(self)
    }

    pub(crate) fn write(&self, disk: &dyn Disk, list_dir: &Path) -> io::Result<()> {
        files::replace_file(disk, &list_dir.join(LIST_FILE), self.content()?.as_bytes())
    }
}

/// Maps the set of a list and verifies its checksum.
pub(crate) fn open_set(list_dir: &Path, entry: &SetEntry) -> Result<NumberSet<MappedBytes>, ListFileError> {
    let path = set_path(list_dir, entry.file);
    let bytes = MappedBytes::open(&path).map_err(|error| ListFileError::Io(path.clone(), error))?;
    if files::crc32c_of(bytes.as_ref()) != (entry.crc32c, entry.bytes) {
        let what = format!("its checksum is not the one in {LIST_FILE}");
        return Err(ListFileError::Damaged(path, what));
    }
    let set =
        NumberSet::open(bytes).map_err(|error| ListFileError::Damaged(path.clone(), error.to_string()))?;
    if set.len() != entry.numbers {
        let what = format!("it holds {} numbers, {LIST_FILE} says {}", set.len(), entry.numbers);
        return Err(ListFileError::Damaged(path, what));
    }
    Ok(set)
}

/// The content of the file of changes.
pub(crate) fn changes_content(list: u64, records: &[ListRecord]) -> Vec<u8> {
    let mut content = Vec::with_capacity(CHANGES_HEAD_BYTES + records.len() * RECORD_BYTES);
    content.extend(MAGIC);
    content.extend(FORMAT.to_le_bytes());
    content.extend([0; 4]);
    content.extend(list.to_le_bytes());
    for record in records {
        content.extend(Record::List(*record).encode());
    }
    let checksum = crc32c::crc32c(&content[16..]);
    content[12..16].copy_from_slice(&checksum.to_le_bytes());
    content
}

/// Replaces the file of changes, durably.
pub(crate) fn write_changes(
    disk: &dyn Disk,
    list_dir: &Path,
    list: u64,
    records: &[ListRecord],
    pacer: &Pacer<'_>,
) -> io::Result<()> {
    files::replace_file_paced(disk, &list_dir.join(CHANGES_FILE), &changes_content(list, records), pacer)
}

/// The changes of a list's file; none if it does not exist.
pub(crate) fn read_changes(list_dir: &Path, list: u64) -> Result<Vec<ListRecord>, ListFileError> {
    let path = list_dir.join(CHANGES_FILE);
    let content = match files::read_small_file(&path, MAX_CHANGES_BYTES) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(ListFileError::Io(path, error)),
    };
    let damaged = |what: &str| ListFileError::Damaged(path.clone(), what.to_owned());
    let short = || damaged("it is too short");
    let (head, body) = content.split_at_checked(CHANGES_HEAD_BYTES).ok_or_else(short)?;
    if head[..8] != MAGIC || head[8..12] != FORMAT.to_le_bytes() {
        return Err(damaged("it does not begin as such a file does"));
    }
    if head[12..16] != crc32c::crc32c(&content[16..]).to_le_bytes() {
        return Err(damaged("its checksum is wrong"));
    }
    if head[16..] != list.to_le_bytes() {
        return Err(damaged("it is another list's"));
    }
    let (records, rest) = body.as_chunks::<RECORD_BYTES>();
    if !rest.is_empty() {
        return Err(damaged("it does not end with a record"));
    }
    let decoded = records.iter().map(|record| match Record::decode(record) {
        Ok(Record::List(record)) if record.list == list => Ok(record),
        _ => Err(damaged("it has a record that is no change of this list")),
    });
    decoded.collect()
}

/// The files of a list that its manifest names.
pub(crate) fn known_files(list_dir: &Path, manifest: &ListManifest) -> BTreeSet<PathBuf> {
    let set = manifest.numbers.iter().map(|entry| set_path(list_dir, entry.file));
    set.chain([LIST_FILE, CHANGES_FILE].map(|name| list_dir.join(name))).collect()
}

/// Removes files that a call or a process left unfinished.
pub(crate) fn remove_strays(disk: &dyn Disk, list_dir: &Path, manifest: &ListManifest) -> io::Result<()> {
    let known = known_files(list_dir, manifest);
    for entry in fs::read_dir(list_dir)? {
        let path = entry?.path();
        if super::pool_dir::is_ours(&path) && !known.contains(&path) {
            disk.remove_file(&path)?;
        }
    }
    Ok(())
}

/// The lists of a data directory and where they are; none if it has no directory of lists.
pub(crate) fn list_dirs(lists_dir: &Path) -> io::Result<Vec<(ListName, PathBuf)>> {
    let entries = match fs::read_dir(lists_dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut dirs = Vec::new();
    for entry in entries {
        let entry = entry?;
        if let Some(name) = entry.file_name().to_str().and_then(|name| name.parse().ok()) {
            dirs.push((name, entry.path()));
        }
    }
    dirs.sort();
    Ok(dirs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::device::RealDisk;
    use crate::store::checksummed_text::with_checksum;

    #[test]
    fn changes_are_read_back_and_every_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_changes(dir.path(), 7).unwrap(), []);
        let records = [
            ListRecord { list: 7, on: true, first: 5, more: 9, sequence: 3 },
            ListRecord { list: 7, on: false, first: 70, more: 0, sequence: 2 },
        ];
        write_changes(&RealDisk, dir.path(), 7, &records, &|_| ()).unwrap();
        assert_eq!(read_changes(dir.path(), 7).unwrap(), records);
        assert!(read_changes(dir.path(), 8).is_err(), "another list's");
        let content = std::fs::read(dir.path().join(CHANGES_FILE)).unwrap();
        for bit in 0..content.len() * 8 {
            let mut flipped = content.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(dir.path().join(CHANGES_FILE), &flipped).unwrap();
            assert!(read_changes(dir.path(), 7).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn a_manifest_is_read_back_and_a_changed_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let entry = SetEntry { file: 3, numbers: 5, bytes: 40, crc32c: 7 };
        for numbers in [None, Some(entry)] {
            let manifest = ListManifest::new(0xab, 17, numbers);
            manifest.write(&RealDisk, dir.path()).unwrap();
            let read = ListManifest::read(dir.path()).unwrap();
            assert_eq!((read.id(), &read), (0xab, &manifest));
        }
        let path = dir.path().join(LIST_FILE);
        let text = std::fs::read_to_string(&path).unwrap().replace("folded = 17", "folded = 18");
        std::fs::write(&path, &text).unwrap();
        assert!(matches!(ListManifest::read(dir.path()), Err(ListFileError::Damaged(..))));
        let rest = text.split_once('\n').unwrap().1.replace("format = 1", "format = 9");
        std::fs::write(&path, with_checksum(&rest)).unwrap();
        assert!(matches!(ListManifest::read(dir.path()), Err(ListFileError::OtherFormat(_, 9))));
    }
}
