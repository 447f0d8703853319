//! `keys`: the `Idempotency-Key`s whose leases had not ended at the last checkpoint.
//!
//! ```text
//!      0  "ALLOTDK" and 1         8 bytes
//!      8  format = 1              u32
//!     12  CRC32C of all after it  u32
//!     16  records of 32 bytes, as in the journal: each key, then its leases
//! ```
//!
//! Little-endian. A checkpoint replaces it atomically before older journal files are recycled. Records of a
//! key in the journal are newer than those in this file.

use std::io;
use std::path::{Path, PathBuf};

use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::paced::Pacer;
use crate::journal::record::{RECORD_BYTES, Record};

/// Maximum number of leases under keys that are stored at the same time.
pub const MAX_KEYED_LEASES: u64 = 1 << 20;

const MAGIC: [u8; 8] = *b"ALLOTDK\x01";
const FORMAT: u32 = 1;
const HEAD_BYTES: usize = 16;
/// Maximum length of the file.
const MAX_BYTES: u64 = HEAD_BYTES as u64 + 2 * MAX_KEYED_LEASES * RECORD_BYTES as u64;

/// Where the file is in a data directory.
pub(crate) fn path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("keys")
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// It differs from what was written.
    #[error(
        "{0} is damaged: restore a backup, or remove it; calls that are repeated with an Idempotency-Key \
         then lease new numbers"
    )]
    Damaged(PathBuf),
}

/// The file's content.
pub(crate) fn content(records: &[Record]) -> Vec<u8> {
    let mut content = Vec::with_capacity(HEAD_BYTES + records.len() * RECORD_BYTES);
    content.extend(MAGIC);
    content.extend(FORMAT.to_le_bytes());
    content.extend([0; 4]);
    for record in records {
        content.extend(record.encode());
    }
    let checksum = crc32c::crc32c(&content[HEAD_BYTES..]);
    content[12..HEAD_BYTES].copy_from_slice(&checksum.to_le_bytes());
    content
}

/// Replaces the file, durably. Does not create a file without records.
pub(crate) fn write(disk: &dyn Disk, path: &Path, records: &[Record], pacer: &Pacer<'_>) -> io::Result<()> {
    if records.is_empty() && !path.exists() {
        return Ok(());
    }
    files::replace_file_paced(disk, path, &content(records), pacer)
}

/// The records of the file; none if it does not exist.
pub(crate) fn read(path: &Path) -> Result<Vec<Record>, KeyFileError> {
    let content = match files::read_small_file(path, MAX_BYTES) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(KeyFileError::Io(path.to_owned(), error)),
    };
    let damaged = || KeyFileError::Damaged(path.to_owned());
    let (head, body) = content.split_at_checked(HEAD_BYTES).ok_or_else(damaged)?;
    let (records, rest) = body.as_chunks::<RECORD_BYTES>();
    let right = head[..8] == MAGIC
        && head[8..12] == FORMAT.to_le_bytes()
        && head[12..] == crc32c::crc32c(body).to_le_bytes()
        && rest.is_empty();
    if !right {
        return Err(damaged());
    }
    records.iter().map(|record| Record::decode(record).map_err(|_| damaged())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::device::RealDisk;
    use crate::journal::record::KeyRecord;

    #[test]
    fn records_are_read_back_and_every_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = path_in(dir.path());
        assert!(read(&path).unwrap().is_empty());
        write(&RealDisk, &path, &[], &|_| ()).unwrap();
        assert!(!path.exists());
        let record = |byte| Record::Key(KeyRecord { key: [byte; 16], body: 7, leases: 1, until_seconds: 9 });
        let records = [record(1), record(2)];
        write(&RealDisk, &path, &records, &|_| ()).unwrap();
        assert_eq!(read(&path).unwrap(), records);
        let content = std::fs::read(&path).unwrap();
        for bit in 0..content.len() * 8 {
            let mut flipped = content.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, flipped).unwrap();
            assert!(matches!(read(&path), Err(KeyFileError::Damaged(_))), "bit {bit}");
        }
        std::fs::write(&path, &content[..content.len() - 1]).unwrap();
        assert!(read(&path).is_err());
        write(&RealDisk, &path, &[], &|_| ()).unwrap();
        assert!(read(&path).unwrap().is_empty());
    }
}
