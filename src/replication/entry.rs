//! The bytes of an entry of the log.
//!
//! ```text
//!      0  "AE" and 1, the format   3 bytes
//!      3  kind                     u8      1 records, 2 a change of files, 3 the time
//!      4  0                        u32
//!      8  the primary's epoch      u64
//!     16  the cluster's time       u64     nanoseconds since 2020
//!     24  CRC32C of all else       u32
//!     28  the content: records of 32 bytes as in the journal, JSON, or nothing
//! ```
//!
//! All little-endian.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::journal::record::RECORD_BYTES;

const MAGIC: [u8; 3] = *b"AE\x01";
const RECORDS: u8 = 1;
const FILES: u8 = 2;
const TIME: u8 = 3;
/// Bytes before the content.
const HEAD_BYTES: usize = 28;

/// What an entry says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Records of the journal.
    Records(Vec<[u8; RECORD_BYTES]>),
    /// A change of the directory's files.
    Files(FileChange),
    /// Nothing but the time. The first entry of each epoch is one.
    Time,
}

/// An entry of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The epoch of who made it.
    pub epoch: u64,
    /// The cluster's time, in nanoseconds since 2020.
    pub time_nanos: u64,
    /// What it says.
    pub content: Content,
}

/// A change of files of pools and lists. Paths are relative to the data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "change", rename_all = "snake_case", deny_unknown_fields)]
pub enum FileChange {
    /// A directory appears, with these files.
    PutDirectory {
        /// Its path.
        path: String,
        /// Its files, by their paths in it.
        files: Vec<FileReference>,
    },
    /// A file appears or is replaced.
    PutFile {
        /// The file.
        file: FileReference,
    },
    /// Bytes are written into a file.
    Write {
        /// Its path.
        path: String,
        /// Where they begin.
        offset: u64,
        /// The bytes.
        bytes: Base64,
    },
    /// A directory disappears.
    RemoveDirectory {
        /// Its path.
        path: String,
    },
}

/// A file, and its content if that is short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileReference {
    /// Its path.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// The CRC32C of its content.
    pub crc32c: u32,
    /// Its content; without it, the primary has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<Base64>,
}

/// Bytes, in base64 in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Base64(pub Vec<u8>);

impl Serialize for Base64 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Base64 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        STANDARD.decode(text).map(Self).map_err(serde::de::Error::custom)
    }
}

/// Why bytes are no entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// They do not begin as an entry does.
    #[error(
        "it does not begin as an entry of this version does: run the same version of allotd on all members"
    )]
    OtherFormat,
    /// Their checksum is wrong.
    #[error("its checksum is wrong")]
    Checksum,
    /// Its content cannot be read.
    #[error("its content cannot be read: {0}")]
    Content(String),
}

impl Entry {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, content) = match &self.content {
            Content::Records(records) => (RECORDS, records.concat()),
            // It has no map with keys that are no text, so this cannot fail.
            Content::Files(change) => (FILES, serde_json::to_vec(change).unwrap_or_default()),
            Content::Time => (TIME, Vec::new()),
        };
        let mut bytes = Vec::with_capacity(HEAD_BYTES + content.len());
        bytes.extend(MAGIC);
        bytes.push(kind);
        bytes.extend([0; 4]);
        bytes.extend(self.epoch.to_le_bytes());
        bytes.extend(self.time_nanos.to_le_bytes());
        let sum = crc32c::crc32c_append(crc32c::crc32c(&bytes), &content);
        bytes.extend(sum.to_le_bytes());
        bytes.extend(content);
        bytes
    }

    /// Reads an entry's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let (head, content) = bytes.split_at_checked(HEAD_BYTES).ok_or(EntryError::OtherFormat)?;
        if head[..3] != MAGIC {
            return Err(EntryError::OtherFormat);
        }
        let sum = crc32c::crc32c_append(crc32c::crc32c(&head[..24]), content);
        if head[24..] != sum.to_le_bytes() {
            return Err(EntryError::Checksum);
        }
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| head[at + i]));
        let content = match head[3] {
            RECORDS => {
                let (records, rest) = content.as_chunks::<RECORD_BYTES>();
                if !rest.is_empty() {
                    return Err(EntryError::Content("it does not end with a record".to_owned()));
                }
                Content::Records(records.to_vec())
            }
            FILES => Content::Files(
                serde_json::from_slice(content).map_err(|error| EntryError::Content(error.to_string()))?,
            ),
            TIME => Content::Time,
            _ => return Err(EntryError::OtherFormat),
        };
        Ok(Self { epoch: u64_at(8), time_nanos: u64_at(16), content })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_back_and_every_flipped_bit_is_found() {
        let file = FileReference {
            path: "pools/ru/pool.toml".to_owned(),
            bytes: 3,
            crc32c: 7,
            content: Some(Base64(vec![1, 2, 255])),
        };
        let contents = [
            Content::Time,
            Content::Records(vec![[3; RECORD_BYTES], [9; RECORD_BYTES]]),
            Content::Files(FileChange::PutFile { file: file.clone() }),
            Content::Files(FileChange::PutDirectory { path: "pools/ru".to_owned(), files: vec![file] }),
            Content::Files(FileChange::RemoveDirectory { path: "lists/x".to_owned() }),
        ];
        for content in contents {
            let entry = Entry { epoch: 5, time_nanos: 6, content };
            let bytes = entry.encode();
            assert_eq!(Entry::decode(&bytes), Ok(entry));
            for bit in 0..bytes.len() * 8 {
                let mut flipped = bytes.clone();
                flipped[bit / 8] ^= 1 << (bit % 8);
                assert!(Entry::decode(&flipped).is_err(), "bit {bit}");
            }
        }
    }
}
