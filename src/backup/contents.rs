//! `BACKUP`: the list of a backup's files. It is written last: a directory without it is not a backup.
//!
//! The first line is a checksum of the rest, as in `pool.toml`.

use std::fs::File;
use std::io;
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::disk::files;
use crate::store::checksummed_text::{ChecksummedToml, checksummed_toml};
use crate::store::data_dir::CONTENTS_FILE;

/// Version of the file and of what it lists.
const FORMAT: u32 = 1;
/// Maximum length of the file.
const MAX_CONTENTS_BYTES: u64 = 1 << 30;

/// Why the list of a backup's files cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContentsError {
    /// There is no list.
    #[error("{0} is not a backup: it has no file {CONTENTS_FILE}, which is written last")]
    NotABackup(PathBuf),
    /// It cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// It differs from what was written.
    #[error("{0} is damaged: {1}; use another backup")]
    Damaged(PathBuf, String),
    /// Another version of this program wrote it.
    #[error("{0} has format {1}, this allotd reads format {FORMAT}: use the version of allotd that wrote it")]
    OtherFormat(PathBuf, u32),
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FileEntry {
    /// Relative to the backup's directory, with slashes.
    pub(crate) path: String,
    /// Its length.
    pub(crate) bytes: u64,
    /// CRC32C of the whole file.
    pub(crate) crc32c: u32,
}

/// The content of `BACKUP`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contents {
    format: u32,
    /// The version of allotd that made the backup.
    version: String,
    /// The backup contains everything acknowledged before this time (RFC 3339).
    pub(crate) as_of: String,
    pub(crate) pools: u64,
    pub(crate) numbers: u64,
    pub(crate) files: Vec<FileEntry>,
}

impl Contents {
    pub(crate) fn new(as_of: String, pools: u64, numbers: u64, files: Vec<FileEntry>) -> Self {
        Self { format: FORMAT, version: env!("CARGO_PKG_VERSION").to_owned(), as_of, pools, numbers, files }
    }

    /// Total bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.files.iter().map(|file| file.bytes).sum()
    }

    /// The file's content.
    pub(crate) fn content(&self) -> io::Result<String> {
        checksummed_toml(self)
    }

    /// Reads the list of a backup.
    pub(crate) fn read(backup: &Path) -> Result<Self, ContentsError> {
        let path = backup.join(CONTENTS_FILE);
        let content = match files::read_small_file(&path, MAX_CONTENTS_BYTES) {
            Ok(content) => content,
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(ContentsError::NotABackup(backup.to_owned()));
            }
            Err(error) => return Err(ContentsError::Io(path, error)),
        };
        Self::parse(&content).map_err(|error| match error {
            ParseError::Damaged(what) => ContentsError::Damaged(path, what),
            ParseError::OtherFormat(format) => ContentsError::OtherFormat(path, format),
        })
    }

    fn parse(content: &[u8]) -> Result<Self, ParseError> {
        let found = ChecksummedToml::parse(content).map_err(ParseError::Damaged)?;
        match found.format().map_err(ParseError::Damaged)? {
            FORMAT => {}
            other => return Err(ParseError::OtherFormat(other)),
        }
        let contents: Self = found.values().map_err(ParseError::Damaged)?;
        match contents.files.iter().find(|file| !file.stays_below()) {
            Some(file) => Err(ParseError::Damaged(format!("\"{}\" is not a path below it", file.path))),
            None => Ok(contents),
        }
    }
}

enum ParseError {
    Damaged(String),
    OtherFormat(u32),
}

impl FileEntry {
    /// Whether the path stays below the directory it is joined to.
    fn stays_below(&self) -> bool {
        let mut parts = Path::new(&self.path).components().peekable();
        parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
    }

    /// Where the file is in a backup.
    pub(crate) fn path_in(&self, backup: &Path) -> PathBuf {
        backup.join(&self.path)
    }

    /// Reads the whole file and passes it to `take` in parts. Returns what is wrong with it, if anything.
    pub(crate) fn read_through(
        &self,
        backup: &Path,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<Option<String>> {
        let mut file = match File::open(self.path_in(backup)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Ok(Some("is missing".to_owned()));
            }
            opened => opened?,
        };
        let found = file.metadata()?.len();
        if found != self.bytes {
            return Ok(Some(format!("has {found} bytes, but {} were written", self.bytes)));
        }
        let (mut crc32c, mut bytes) = (0, 0);
        files::read_in_parts(&mut file, |part| {
            crc32c = crc32c::crc32c_append(crc32c, part);
            bytes += part.len() as u64;
            take(part)
        })?;
        let same = (crc32c, bytes) == (self.crc32c, self.bytes);
        Ok((!same).then(|| "has changed since it was written: its checksum differs".to_owned()))
    }

    /// Like [`Self::fault`], but reads what the disk has, not what the system remembers of it.
    pub(crate) fn fault_on_disk(&self, backup: &Path) -> Option<String> {
        if let Ok(file) = File::open(self.path_in(backup)) {
            // Only a hint: without it the file is read from memory.
            let _ = rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::DontNeed);
        }
        self.fault(backup)
    }

    /// What is wrong with the file, if anything.
    pub(crate) fn fault(&self, backup: &Path) -> Option<String> {
        self.read_through(backup, |_| Ok(())).unwrap_or_else(|error| Some(format!("cannot be read: {error}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents(path: &str) -> Contents {
        let file = FileEntry { path: path.to_owned(), bytes: 7, crc32c: 9 };
        Contents::new("2026-11-24T15:00:00.000001Z".to_owned(), 1, 10, vec![file])
    }

    #[test]
    fn reads_what_it_wrote_and_refuses_every_flipped_bit() {
        let directory = tempfile::tempdir().unwrap();
        let written = contents("pools/ru/pool.toml");
        let content = written.content().unwrap();
        let path = directory.path().join(CONTENTS_FILE);
        assert!(matches!(Contents::read(directory.path()), Err(ContentsError::NotABackup(_))));
        std::fs::write(&path, &content).unwrap();
        assert_eq!(Contents::read(directory.path()).unwrap(), written);
        for bit in 0..content.len() * 8 {
            let mut flipped = content.clone().into_bytes();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(Contents::parse(&flipped).is_err(), "bit {bit}");
        }
    }

    #[test]
    fn paths_stay_below_the_backup() {
        for path in ["", "/etc/passwd", "../secret", "pools/../../secret", ".", "pools/./../x"] {
            let content = contents(path).content().unwrap();
            assert!(Contents::parse(content.as_bytes()).is_err(), "{path}");
        }
        assert!(Contents::parse(contents("journal/00000001.journal").content().unwrap().as_bytes()).is_ok());
    }
}
