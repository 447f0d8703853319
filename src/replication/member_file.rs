//! `cluster.toml`: what a data directory knows of its cluster. The first line is a checksum of the rest.

use std::io;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::device::Disk;
use crate::disk::files;
use crate::store::checksummed_text::{ChecksummedToml, checksummed_toml};

/// The file's name in the data directory.
pub const MEMBER_FILE: &str = "cluster.toml";
const FORMAT: u32 = 1;
const MAX_BYTES: u64 = 64 << 10;

/// What the directory of a member is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Directory {
    /// It is that of the first member of a cluster without a log: what it has is what the cluster begins with.
    Founds,
    /// It is to be filled from the primary.
    Incomplete,
    /// All that it has stands in the log, up to its position.
    Follows,
    /// It was changed by a primary, and may have what the log has not: unless that ended in order, the directory is
    /// filled anew once another member has gone on.
    Leads,
}

/// The content of the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemberFile {
    /// The version of the file.
    pub format: u32,
    /// The id of the cluster, which its first member made.
    pub cluster: String,
    /// The id of the member.
    pub member: String,
    /// What the directory is.
    pub directory: Directory,
    /// The epoch of the last entry that was applied, or the epoch of the primary.
    pub epoch: u64,
    /// All entries up to this one are in the directory.
    pub position: u64,
    /// Changes of files up to this entry are in it.
    pub files: u64,
}

/// Why the file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum MemberFileError {
    /// It cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// This program did not write it so.
    #[error("{0} is damaged: {1}. Remove the data directory: it is filled anew from the primary")]
    Damaged(PathBuf, String),
}

impl MemberFile {
    /// Of a directory that follows, and has nothing of the log.
    pub fn new(cluster: &str, member: &str) -> Self {
        Self {
            format: FORMAT,
            cluster: cluster.to_owned(),
            member: member.to_owned(),
            directory: Directory::Follows,
            epoch: 0,
            position: 0,
            files: 0,
        }
    }

    /// Reads the file of a data directory; `None` if it has none.
    pub fn read(data_dir: &Path) -> Result<Option<Self>, MemberFileError> {
        let path = data_dir.join(MEMBER_FILE);
        let content = match files::read_small_file(&path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(MemberFileError::Io(path, error)),
            Ok(content) => content,
        };
        let damaged = |what: String| MemberFileError::Damaged(path.clone(), what);
        let found = ChecksummedToml::parse(&content).map_err(damaged)?;
        match found.format().map_err(damaged)? {
            FORMAT => found.values().map_err(damaged).map(Some),
            other => Err(damaged(format!("it has format {other}, this allotd reads {FORMAT}"))),
        }
    }

    /// Writes it durably.
    pub fn write(&self, disk: &dyn Disk, data_dir: &Path) -> io::Result<()> {
        files::replace_file(disk, &data_dir.join(MEMBER_FILE), checksummed_toml(self)?.as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::device::RealDisk;

    #[test]
    fn it_is_read_back_and_a_changed_one_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(MemberFile::read(dir.path()).unwrap(), None);
        let file = MemberFile { position: 77, ..MemberFile::new("abc", "m1") };
        file.write(&RealDisk, dir.path()).unwrap();
        assert_eq!(MemberFile::read(dir.path()).unwrap(), Some(file));
        let path = dir.path().join(MEMBER_FILE);
        let text = std::fs::read_to_string(&path).unwrap().replace("77", "78");
        std::fs::write(&path, text).unwrap();
        assert!(MemberFile::read(dir.path()).is_err());
    }
}
