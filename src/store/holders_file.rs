//! `holders`: the names of the pools' holders as of the last checkpoint.
//!
//! ```text
//!      0  "ALLOTDH" and 1         8 bytes
//!      8  format = 1              u32
//!     12  CRC32C of all after it  u32
//!     16  records of 32 bytes, as in the journal: the names, and for each pool which ids have been given out
//! ```
//!
//! Little-endian. A checkpoint replaces it atomically before older journal files are recycled. Names that the
//! journal has are added to these; an id never means another name.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::paced::Pacer;
use crate::journal::record::{HolderRecord, RECORD_BYTES, Record};

const MAGIC: [u8; 8] = *b"ALLOTDH\x01";
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 16;
/// Maximum length of the file.
const MAX_BYTES: u64 = 16 << 30;

/// Where the file is in a data directory.
pub(crate) fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join(HOLDERS_FILE)
}

/// The name of the file in a data directory.
pub(crate) const HOLDERS_FILE: &str = "holders";

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HoldersFileError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// It differs from what was written.
    #[error(
        "{0} is damaged: restore a backup, or remove it; leases then lose their holders, and nothing else"
    )]
    Damaged(PathBuf),
}

/// The file's content.
pub(crate) fn content(records: &[HolderRecord]) -> Vec<u8> {
    let mut content = Vec::with_capacity(HEAD_BYTES + records.len() * RECORD_BYTES);
    content.extend(MAGIC);
    content.extend(FORMAT.to_le_bytes());
    content.extend([0; 4]);
    for record in records {
        content.extend(Record::Holder(*record).encode());
    }
    let checksum = crc32c::crc32c(&content[HEAD_BYTES..]);
    content[12..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    content
}

/// Replaces the file, durably. Does not create a file without records.
pub(crate) fn write(
    disk: &dyn Disk,
    path: &Path,
    records: &[HolderRecord],
    pacer: &Pacer<'_>,
) -> io::Result<()> {
    if records.is_empty() && !path.exists() {
        return Ok(());
    }
    files::replace_file_paced(disk, path, &content(records), pacer)
}

/// The records of the file; none if it does not exist.
pub(crate) fn read(path: &Path) -> Result<Vec<HolderRecord>, HoldersFileError> {
    let content = match files::read_small_file(path, MAX_BYTES) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(HoldersFileError::Io(path.to_owned(), error)),
    };
    let damaged = || HoldersFileError::Damaged(path.to_owned());
    let (head, body) = content.split_at_checked(HEAD_BYTES).ok_or_else(damaged)?;
    let (records, rest) = body.as_chunks::<RECORD_BYTES>();
    let right = head[..8] == MAGIC
        && head[8..12] == FORMAT.to_le_bytes()
        && head[12..] == crc32c::crc32c(body).to_le_bytes()
        && rest.is_empty();
    if !right {
        return Err(damaged());
    }
    let of_holder = |record: &[u8; RECORD_BYTES]| match Record::decode(record) {
        Ok(Record::Holder(record)) => Ok(record),
        _ => Err(damaged()),
    };
    records.iter().map(of_holder).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::device::RealDisk;
    use crate::state::holder_column::HolderId;

    #[test]
    fn records_are_read_back_and_every_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_in(dir.path());
        assert!(read(&path).unwrap().is_empty());
        write(&RealDisk, &path, &[], &|_| ()).unwrap();
        assert!(!path.exists());
        let name = "Анна, 2-й стол";
        let mut records: Vec<_> = HolderRecord::of(7, HolderId(1 << 33), name, true).collect();
        records.push(HolderRecord::given_out(7, HolderId(1 << 34)));
        write(&RealDisk, &path, &records, &|_| ()).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        let mut text = vec![0; records[0].name_bytes()];
        for record in records.iter().filter(|record| record.is_name()) {
            let (start, part) = record.text();
            text[start..][..part.len()].copy_from_slice(part);
        }
        assert_eq!((str::from_utf8(&text), records[0].has_returned()), (Ok(name), true));
        let content = std::fs::read(&path).unwrap();
        for bit in 0..content.len() * 8 {
            let mut flipped = content.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, flipped).unwrap();
            assert!(matches!(read(&path), Err(HoldersFileError::Damaged(_))), "bit {bit}");
        }
    }
}
