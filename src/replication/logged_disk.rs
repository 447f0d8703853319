//! The disk of a primary: what makes a change of pools or lists visible is a rename, and that is committed to the log
//! before it is done. So no change of files can pass the log by.
//!
//! Changes of words, lists and holders are records, which the journal commits. What a checkpoint writes is made of them
//! and is each member's own.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::disk::device::{Access, Disk};
use crate::disk::mapping::MappedWords;
use crate::store::list_files::CHANGES_FILE;

use super::cluster_clock::ClusterClock;
use super::entry::{Base64, FileChange, FileReference};
use super::primary::Primary;

/// Files up to this length are in their entry.
const MAX_INLINE_BYTES: u64 = 32 << 10;
/// What a checksum is read with at once.
const READ_BYTES: usize = 1 << 20;
/// The extension of checksums, which a member's own checkpoints replace.
const SUMS: &str = "sums";

/// A disk whose changes of pools and lists are committed first.
pub struct LoggedDisk {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    primary: Arc<Primary>,
    clock: Arc<ClusterClock>,
}

impl fmt::Debug for LoggedDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.disk.fmt(f)
    }
}

/// What a rename is.
enum Renamed {
    /// A directory of a pool or list appears.
    Appears(String),
    /// It disappears.
    Disappears(String),
    /// A file in such a directory appears or is replaced.
    File(String),
    /// Nothing that others have.
    Own,
}

/// The path of a pool's or list's directory, and what follows, if that is where a path leads.
fn place(data_dir: &Path, path: &Path) -> Option<(String, Option<String>)> {
    let parts: Option<Vec<&str>> = path
        .strip_prefix(data_dir)
        .ok()?
        .components()
        .map(|part| match part {
            Component::Normal(name) => name.to_str(),
            _ => None,
        })
        .collect();
    match parts?.as_slice() {
        [kind @ ("pools" | "lists"), name, rest @ ..] if !name.starts_with('.') => {
            let dir = format!("{kind}/{name}");
            match rest {
                [] => Some((dir, None)),
                [file] => Some((dir.clone(), Some(format!("{dir}/{file}")))),
                _ => None,
            }
        }
        _ => None,
    }
}

/// Whether a rename puts a file in the place of one that a member's own checkpoints make of records.
fn is_own(from: &Path, to: &Path) -> bool {
    let is_made =
        to.file_name() == Some(OsStr::new(CHANGES_FILE)) || to.extension() == Some(OsStr::new(SUMS));
    // What comes from elsewhere is new.
    is_made && from.parent() == to.parent()
}

impl LoggedDisk {
    /// The disk of the data directory of a primary.
    pub fn new(
        disk: Arc<dyn Disk>,
        data_dir: PathBuf,
        primary: Arc<Primary>,
        clock: Arc<ClusterClock>,
    ) -> Self {
        Self { disk, data_dir, primary, clock }
    }

    fn what(&self, from: &Path, to: &Path) -> Renamed {
        match (place(&self.data_dir, from), place(&self.data_dir, to)) {
            (_, Some((dir, None))) => Renamed::Appears(dir),
            (Some((dir, None)), None) => Renamed::Disappears(dir),
            (_, Some((_, Some(file)))) if !is_own(from, to) => Renamed::File(file),
            _ => Renamed::Own,
        }
    }

    /// Commits a change, does it, and says so. If it cannot be done after it was committed, only a restart helps.
    fn commit(
        &self,
        change: FileChange,
        files: Vec<Arc<File>>,
        done: impl FnOnce() -> io::Result<()>,
    ) -> io::Result<()> {
        let sequence = self.primary.change_files(self.clock.now_nanos(), change, files)?;
        done().map_err(io::Error::other)?;
        self.primary.is_done(sequence);
        Ok(())
    }
}

/// A file as an entry names it, and the file itself unless its content is in the entry.
fn referenced(path: &Path, name: String) -> io::Result<(FileReference, Option<Arc<File>>)> {
    let mut file = File::open(path)?;
    let bytes = file.metadata()?.len();
    if bytes <= MAX_INLINE_BYTES {
        let mut content = Vec::new();
        file.read_to_end(&mut content)?;
        let crc32c = crc32c::crc32c(&content);
        let bytes = content.len() as u64;
        return Ok((FileReference { path: name, bytes, crc32c, content: Some(Base64(content)) }, None));
    }
    let (mut crc32c, mut buffer) = (0, vec![0; READ_BYTES]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => break,
            Ok(read) => crc32c = crc32c::crc32c_append(crc32c, &buffer[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok((FileReference { path: name, bytes, crc32c, content: None }, Some(Arc::new(file))))
}

/// The files of a directory as an entry names them.
fn directory(dir: &Path) -> io::Result<(Vec<FileReference>, Vec<Arc<File>>)> {
    let (mut references, mut files) = (Vec::new(), Vec::new());
    for found in std::fs::read_dir(dir)? {
        let found = found?;
        let name = found.file_name().into_string().map_err(|_| io::ErrorKind::InvalidData)?;
        let (reference, file) = referenced(&found.path(), name)?;
        references.push(reference);
        files.extend(file);
    }
    Ok((references, files))
}

impl Disk for LoggedDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.disk.create(path)
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        self.disk.open(path, access)
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.disk.allocate(file, bytes)
    }

    #[inline]
    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.disk.write_at(file, bytes, offset)
    }

    fn add_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let path = std::fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
        let Some((_, Some(name))) = place(&self.data_dir, &path) else {
            return self.disk.write_at(file, bytes, offset);
        };
        let change = FileChange::Write { path: name, offset, bytes: Base64(bytes.to_vec()) };
        self.commit(change, Vec::new(), || self.disk.write_at(file, bytes, offset))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.disk.sync(file)
    }

    fn flush(&self, words: &MappedWords) -> io::Result<()> {
        self.disk.flush(words)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.disk.sync_directory(directory)
    }

    fn open_directory(&self, directory: &Path) -> io::Result<File> {
        self.disk.open_directory(directory)
    }

    fn sync_opened(&self, opened: &File, directory: &Path) -> io::Result<()> {
        self.disk.sync_opened(opened, directory)
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.disk.create_directories(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let rename = || self.disk.rename(from, to);
        let (change, files) = match self.what(from, to) {
            Renamed::Own => return rename(),
            Renamed::Disappears(path) => (FileChange::RemoveDirectory { path }, Vec::new()),
            Renamed::Appears(path) => {
                let (references, files) = directory(from)?;
                (FileChange::PutDirectory { path, files: references }, files)
            }
            Renamed::File(path) => {
                let (reference, file) = referenced(from, path)?;
                (FileChange::PutFile { file: reference }, file.into_iter().collect())
            }
        };
        self.commit(change, files, rename)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_file(path)
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.disk.remove_directory(path)
    }
}
