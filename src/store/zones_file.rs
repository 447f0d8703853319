//! `0001.zones`: the time zones of a pool's numbers, as the CSV that callers give. The manifest names the file
//! with its checksum; another table gets another file.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::device::Disk;
use crate::disk::files;
use crate::domain::zone_table::ZoneTable;

/// Maximum length of the file, in bytes.
const MAX_ZONES_BYTES: u64 = 64 << 20;

/// What the manifest says of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ZonesEntry {
    pub(crate) id: u32,
    pub(crate) bytes: u64,
    pub(crate) crc32c: u32,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ZonesFileError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// It is not what was written.
    #[error("{0} is damaged: restore a backup; its content is a CSV of time zones")]
    Damaged(PathBuf),
}

impl ZonesEntry {
    /// The entry of a table's file.
    pub(crate) fn of(id: u32, content: &[u8]) -> Self {
        let (crc32c, bytes) = files::crc32c_of(content);
        Self { id, bytes, crc32c }
    }

    /// The file's name.
    pub(crate) fn file_name(self) -> String {
        format!("{:04}.zones", self.id)
    }

    pub(crate) fn path_in(self, pool_dir: &Path) -> PathBuf {
        pool_dir.join(self.file_name())
    }

    /// Reads the file.
    pub(crate) fn read(self, pool_dir: &Path) -> Result<ZoneTable, ZonesFileError> {
        let path = self.path_in(pool_dir);
        let content = match files::read_small_file(&path, MAX_ZONES_BYTES) {
            Ok(content) => content,
            Err(error) => return Err(ZonesFileError::Io(path, error)),
        };
        let is_same = files::crc32c_of(&content) == (self.crc32c, self.bytes);
        let table = String::from_utf8(content).ok().and_then(|text| ZoneTable::parse(&text).ok());
        table.filter(|_| is_same).ok_or(ZonesFileError::Damaged(path))
    }

    /// Writes the file durably.
    pub(crate) fn write(self, disk: &dyn Disk, pool_dir: &Path, content: &[u8]) -> io::Result<()> {
        files::replace_file(disk, &self.path_in(pool_dir), content)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::device::RealDisk;

    #[test]
    fn a_table_is_read_back_and_every_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let table = ZoneTable::parse("prefix,zones\n7,Europe/Moscow\n79,Asia/Omsk\n").unwrap();
        let content = table.to_csv().into_bytes();
        let entry = ZonesEntry::of(3, &content);
        entry.write(&RealDisk, dir.path(), &content).unwrap();
        assert_eq!(entry.read(dir.path()).unwrap(), table);
        let path = entry.path_in(dir.path());
        for bit in 0..content.len() * 8 {
            let mut flipped = content.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, flipped).unwrap();
            assert!(matches!(entry.read(dir.path()), Err(ZonesFileError::Damaged(_))), "bit {bit}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(entry.read(dir.path()), Err(ZonesFileError::Io(..))));
    }
}
