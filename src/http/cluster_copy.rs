//! A copy of a data directory on its way from the primary to a new standby.
//!
//! ```text
//! "AFILL" and 1, 0, 0    8 bytes
//! position, epoch        u64 each: the entry that the copy stands for
//! for each file
//!     length of its path u32; 0 at the end
//!     path               bytes, relative
//!     length             u64
//!     content
//! ```

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Component, Path, PathBuf};

use bytes::Bytes;

use crate::http::response::body::Parts;

const MAGIC: [u8; 8] = *b"AFILL\x01\0\0";
const HEAD_BYTES: usize = 24;
const PART_BYTES: usize = 1 << 20;
const MAX_PATH_BYTES: usize = 4_096;

/// Sends a directory, and removes it once it was sent or given up.
pub(crate) struct DirectoryParts {
    root: PathBuf,
    /// Files that are still to be sent.
    left: Vec<PathBuf>,
    open: Option<File>,
    head: Option<Vec<u8>>,
    ended: bool,
}

impl DirectoryParts {
    pub(crate) fn new(root: PathBuf, position: u64, epoch: u64) -> io::Result<Self> {
        // Made first: it removes the directory whatever happens.
        let mut parts = Self { root, left: Vec::new(), open: None, head: None, ended: false };
        let mut left = Vec::new();
        gather(&parts.root, &mut left)?;
        parts.left = left;
        let mut head = MAGIC.to_vec();
        head.extend(position.to_le_bytes());
        head.extend(epoch.to_le_bytes());
        parts.head = Some(head);
        Ok(parts)
    }
}

fn gather(dir: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for found in fs::read_dir(dir)? {
        let found = found?;
        if found.file_type()?.is_dir() { gather(&found.path(), files)? } else { files.push(found.path()) }
    }
    Ok(())
}

impl Parts for DirectoryParts {
    fn next_part(&mut self) -> io::Result<Option<Bytes>> {
        if let Some(head) = self.head.take() {
            return Ok(Some(head.into()));
        }
        if let Some(file) = &mut self.open {
            let mut part = vec![0; PART_BYTES];
            let read = file.read(&mut part)?;
            if read > 0 {
                part.truncate(read);
                return Ok(Some(part.into()));
            }
            self.open = None;
        }
        let Some(path) = self.left.pop() else {
            return Ok((!std::mem::replace(&mut self.ended, true)).then(|| Bytes::from_static(&[0; 4])));
        };
        let file = File::open(&path)?;
        let name = path.strip_prefix(&self.root).map_err(io::Error::other)?.to_string_lossy().into_owned();
        let mut head = Vec::new();
        head.extend((name.len() as u32).to_le_bytes());
        head.extend(name.as_bytes());
        head.extend(file.metadata()?.len().to_le_bytes());
        self.open = Some(file);
        Ok(Some(head.into()))
    }
}

impl Drop for DirectoryParts {
    fn drop(&mut self) {
        // What cannot be removed is a backup that an operator removes.
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// Writes a copy as it arrives.
pub(crate) struct CopyWriter {
    root: PathBuf,
    waiting: Vec<u8>,
    /// The file that is being written, and how many bytes are still to come.
    open: Option<(File, u64)>,
    /// The entry that the copy stands for, and its epoch.
    pub(crate) stands_for: Option<(u64, u64)>,
    /// Whether all of it has arrived.
    pub(crate) is_complete: bool,
}

impl CopyWriter {
    /// Writes into an empty directory.
    pub(crate) fn new(root: PathBuf) -> Self {
        Self { root, waiting: Vec::new(), open: None, stands_for: None, is_complete: false }
    }

    /// Takes the next head of what waits. Returns whether there was one.
    fn take_head(&mut self) -> io::Result<bool> {
        let refused = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
        let u64_at = |bytes: &[u8], at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        if self.stands_for.is_none() {
            if self.waiting.len() < HEAD_BYTES {
                return Ok(false);
            }
            if self.waiting[..8] != MAGIC {
                return Err(refused(
                    "the primary sends something else than a copy: is it of the same version?",
                ));
            }
            self.stands_for = Some((u64_at(&self.waiting, 8), u64_at(&self.waiting, 16)));
            self.waiting.drain(..HEAD_BYTES);
        }
        let Some(length) = self.waiting.first_chunk().map(|bytes| u32::from_le_bytes(*bytes) as usize) else {
            return Ok(false);
        };
        if length == 0 {
            self.is_complete = true;
            return Ok(false);
        }
        if length > MAX_PATH_BYTES {
            return Err(refused("a path in the copy is too long"));
        }
        if self.waiting.len() < 4 + length + 8 {
            return Ok(false);
        }
        let name = std::str::from_utf8(&self.waiting[4..4 + length]).map_err(io::Error::other)?;
        let name = Path::new(name);
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(refused("a path in the copy leads out of it"));
        }
        let path = self.root.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let bytes = u64_at(&self.waiting, 4 + length);
        self.open = Some((File::options().write(true).create_new(true).open(path)?, bytes));
        self.waiting.drain(..4 + length + 8);
        Ok(true)
    }
}

impl Write for CopyWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.waiting.extend_from_slice(bytes);
        while !self.is_complete {
            let Some((file, left)) = &mut self.open else {
                if !self.take_head()? {
                    break;
                }
                continue;
            };
            let part = self.waiting.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
            file.write_all(&self.waiting[..part])?;
            self.waiting.drain(..part);
            *left -= part as u64;
            if *left > 0 {
                break;
            }
            file.sync_data()?;
            self.open = None;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_arrives_whole_however_it_is_cut() {
        let from = tempfile::tempdir().unwrap();
        let root = from.path().join("copy");
        fs::create_dir_all(root.join("pools/ru")).unwrap();
        fs::write(root.join("secret"), "secret").unwrap();
        fs::write(root.join("pools/ru/0001.words"), vec![7; 3 << 20]).unwrap();
        fs::write(root.join("pools/ru/empty"), "").unwrap();
        let mut parts = DirectoryParts::new(root.clone(), 17, 5).unwrap();
        let mut sent = Vec::new();
        while let Some(part) = parts.next_part().unwrap() {
            sent.extend_from_slice(&part);
        }
        drop(parts);
        assert!(!root.exists());
        for step in [1, 7, 4_096, sent.len()] {
            let to = tempfile::tempdir().unwrap();
            let mut writer = CopyWriter::new(to.path().to_owned());
            let from = if step == 1 { sent.len() - 100_000 } else { 0 };
            writer.write_all(&sent[..from]).unwrap();
            sent[from..].chunks(step).for_each(|part| writer.write_all(part).unwrap());
            assert!(writer.is_complete);
            assert_eq!(writer.stands_for, Some((17, 5)));
            assert_eq!(fs::read(to.path().join("secret")).unwrap(), b"secret");
            assert_eq!(fs::read(to.path().join("pools/ru/0001.words")).unwrap(), vec![7; 3 << 20]);
            assert_eq!(fs::read(to.path().join("pools/ru/empty")).unwrap(), b"");
        }
    }
}
