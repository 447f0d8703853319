//! A standby's data directory: takes the entries of the log, in order, as a primary's directory would look after a crash.
//!
//! Records become frames of the journal. Changes of files are done as the primary does them, once the frames before them
//! are durable. From time to time the directory is *recovered*: opened as at a start and closed, which brings the
//! journal into the tables.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use crate::disk::device::Disk;
use crate::disk::files;
use crate::journal::frame::MAX_FRAME_RECORDS;
use crate::journal::received::{ReceiveError, ReceivedFrames};
use crate::store::data_dir;
use crate::store::manifest::{MANIFEST_FILE, Manifest};
use crate::store::totals_file::TOTALS_FILES;

use super::cluster_clock::ClusterClock;
use super::entry::{Base64, Content, Entry, EntryError, FileChange, FileReference};
use super::member_file::MemberFile;

/// Why an entry could not be applied.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The bytes are no entry.
    #[error("entry {0} cannot be read: {1}")]
    Entry(u64, #[source] EntryError),
    /// The next entry is not there any more.
    #[error("entry {0} is not in the log any more")]
    Gone(u64),
    /// A file that it names cannot be had from the primary at present.
    #[error("a file of entry {0} cannot be had from the primary: {1}")]
    Fetch(u64, #[source] io::Error),
    /// The primary does not offer a file that it names any more.
    #[error("the files of entry {0} are not offered any more")]
    NotOffered(u64),
    /// The journal cannot be written.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// The directory cannot be recovered.
    #[error("the directory cannot be recovered: {0}")]
    Recover(String),
    /// A file cannot be written.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] io::Error),
    /// A path leads out of the directory.
    #[error("an entry names the path {0}")]
    Path(String),
}

/// What a standby needs of the rest of the daemon.
pub trait Surroundings {
    /// Copies the file `index` of those that an entry names from the primary to `to`. [`io::ErrorKind::NotFound`] says
    /// that the primary does not offer it any more.
    fn fetch(&self, sequence: u64, index: usize, to: &File) -> io::Result<()>;

    /// Opens the directory as at a start and closes it.
    fn recover(&self) -> Result<(), String>;
}

/// Applies entries to a directory.
pub struct Follower<'a> {
    disk: Arc<dyn Disk>,
    data_dir: PathBuf,
    journal_file_bytes: u64,
    surroundings: &'a dyn Surroundings,
    clock: Arc<ClusterClock>,
    /// What the directory is, as the disk will say.
    pub file: MemberFile,
    frames: Option<ReceivedFrames>,
    /// Whether there are frames that are not durable.
    is_unsynced: bool,
    /// Files that were written to and are not durable.
    unsynced: BTreeMap<PathBuf, File>,
}

impl<'a> Follower<'a> {
    /// Goes on with a directory.
    pub fn new(
        disk: Arc<dyn Disk>,
        data_dir: &Path,
        journal_file_bytes: u64,
        surroundings: &'a dyn Surroundings,
        clock: Arc<ClusterClock>,
        file: MemberFile,
    ) -> Self {
        let data_dir = data_dir.to_owned();
        Self {
            disk,
            data_dir,
            journal_file_bytes,
            surroundings,
            clock,
            file,
            frames: None,
            is_unsynced: false,
            unsynced: BTreeMap::new(),
        }
    }

    /// Applies the next entry. `is_fresh` is whether it was waited for.
    pub fn apply(&mut self, sequence: u64, bytes: &[u8], is_fresh: bool) -> Result<(), FollowError> {
        if sequence > self.file.position + 1 {
            return Err(FollowError::Gone(self.file.position + 1));
        }
        let entry = Entry::decode(bytes).map_err(|error| FollowError::Entry(sequence, error))?;
        self.clock.observe(entry.time_nanos, entry.epoch, is_fresh);
        match entry.content {
            Content::Records(records) => self.take_records(&records, entry.time_nanos)?,
            Content::Files(_) if sequence <= self.file.files => {}
            // It can be done again, so it need not be durable at once.
            Content::Files(FileChange::Write { path, offset, bytes }) => {
                self.write(&path, offset, &bytes.0)?;
            }
            Content::Files(change) => {
                self.sync()?;
                self.change(sequence, &change)?;
                self.file.files = sequence;
            }
            Content::Time => {}
        }
        self.file.position = self.file.position.max(sequence);
        self.file.epoch = self.file.epoch.max(entry.epoch);
        if self.file.files == sequence {
            self.save()?;
        }
        Ok(())
    }

    /// Leaves out an entry whose files cannot be had. Returns the directory that it would have made, if it is one.
    pub fn pass_by(&mut self, sequence: u64, bytes: &[u8]) -> Result<Option<String>, FollowError> {
        self.file.position = self.file.position.max(sequence);
        self.file.files = sequence;
        self.save()?;
        Ok(match Entry::decode(bytes).map(|entry| entry.content) {
            Ok(Content::Files(FileChange::PutDirectory { path, .. })) => Some(path),
            _ => None,
        })
    }

    /// Makes all that was applied durable, and says so in the directory.
    pub fn save(&mut self) -> Result<(), FollowError> {
        self.sync()?;
        let path = &self.data_dir;
        self.file.write(&*self.disk, path).map_err(|error| FollowError::Io(path.clone(), error))
    }

    /// Brings the journal into the tables.
    pub fn recover(&mut self) -> Result<(), FollowError> {
        self.save()?;
        self.frames = None;
        self.surroundings.recover().map_err(FollowError::Recover)
    }

    fn sync(&mut self) -> Result<(), FollowError> {
        if let Some(frames) = self.frames.as_mut().filter(|_| self.is_unsynced) {
            let journal = data_dir::journal_dir(&self.data_dir);
            frames.sync().map_err(|error| FollowError::Io(journal, error))?;
            self.is_unsynced = false;
        }
        while let Some((path, file)) = self.unsynced.pop_first() {
            self.disk.sync(&file).map_err(|error| FollowError::Io(path, error))?;
        }
        Ok(())
    }

    fn take_records(&mut self, records: &[[u8; 32]], time_nanos: u64) -> Result<(), FollowError> {
        let journal = data_dir::journal_dir(&self.data_dir);
        for part in records.chunks(MAX_FRAME_RECORDS) {
            if self.frames.as_ref().is_some_and(|frames| !frames.has_room(part.len())) {
                self.recover()?;
            }
            let frames = match &mut self.frames {
                Some(frames) => frames,
                none => none.insert(ReceivedFrames::begin(&self.disk, &journal, self.journal_file_bytes)?),
            };
            frames.append(part, time_nanos).map_err(|error| FollowError::Io(journal.clone(), error))?;
            self.is_unsynced = true;
        }
        Ok(())
    }

    /// A path in the directory.
    fn path(&self, path: &str) -> Result<PathBuf, FollowError> {
        let is_plain = |part| matches!(part, Component::Normal(_));
        let found = Path::new(path);
        let is_inside =
            path.starts_with("pools/") || path.starts_with("lists/") || TOTALS_FILES.contains(&path);
        if is_inside && found.components().all(is_plain) {
            Ok(self.data_dir.join(found))
        } else {
            Err(FollowError::Path(path.to_owned()))
        }
    }

    fn write(&mut self, path: &str, offset: u64, bytes: &[u8]) -> Result<(), FollowError> {
        let path = self.path(path)?;
        let at = |error| FollowError::Io(path.clone(), error);
        let file = match self.unsynced.remove(&path) {
            Some(file) => file,
            None => OpenOptions::new().write(true).open(&path).map_err(at)?,
        };
        file.write_all_at(bytes, offset).map_err(at)?;
        self.unsynced.insert(path, file);
        Ok(())
    }

    fn change(&mut self, sequence: u64, change: &FileChange) -> Result<(), FollowError> {
        match change {
            FileChange::PutFile { file } => {
                let path = self.path(&file.path)?;
                if ends_merge(&path, file.content.as_ref()) {
                    // The words of the merged parts are in no record.
                    self.recover()?;
                }
                self.put_file(sequence, &path, file)
            }
            FileChange::PutDirectory { path, files } => {
                let target = self.path(path)?;
                self.put_directory(sequence, &target, files)
            }
            FileChange::Write { path, offset, bytes } => self.write(path, *offset, &bytes.0),
            FileChange::RemoveDirectory { path } => {
                let path = self.path(path)?;
                match self.disk.remove_directory(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => {
                        Err(FollowError::Io(path, error))
                    }
                    _ => {
                        let synced = files::sync_parent(&*self.disk, &path);
                        synced.map_err(|error| FollowError::Io(path, error))
                    }
                }
            }
        }
    }

    fn put_file(&self, sequence: u64, path: &Path, file: &FileReference) -> Result<(), FollowError> {
        let at = |error| FollowError::Io(path.to_owned(), error);
        if let Some(content) = &file.content {
            return files::replace_file(&*self.disk, path, &content.0).map_err(at);
        }
        let fetched = path.with_extension("new");
        self.fetch(sequence, 0, &fetched, file)?;
        files::rename_durably(&*self.disk, &fetched, path).map_err(at)
    }

    fn put_directory(
        &self,
        sequence: u64,
        target: &Path,
        references: &[FileReference],
    ) -> Result<(), FollowError> {
        let staging = self.data_dir.join(data_dir::STAGING_DIR).join(format!("entry-{sequence}"));
        let at = |path: &Path| {
            let path = path.to_owned();
            move |error| FollowError::Io(path, error)
        };
        for dir in [&staging, target] {
            match self.disk.remove_directory(dir) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(at(dir)(error)),
                _ => {}
            }
        }
        self.disk.create_directories(&staging).map_err(at(&staging))?;
        let mut index = 0;
        for reference in references {
            if reference.path.contains('/') {
                return Err(FollowError::Path(reference.path.clone()));
            }
            let path = staging.join(&reference.path);
            if let Some(Base64(content)) = &reference.content {
                files::replace_file(&*self.disk, &path, content).map_err(at(&path))?;
            } else {
                self.fetch(sequence, index, &path, reference)?;
                index += 1;
            }
        }
        self.disk.sync_directory(&staging).map_err(at(&staging))?;
        if let Some(parent) = target.parent() {
            self.disk.create_directories(parent).map_err(at(parent))?;
            files::sync_parent(&*self.disk, parent).map_err(at(parent))?;
        }
        files::rename_durably(&*self.disk, &staging, target).map_err(at(target))
    }

    /// Copies a file from the primary, and verifies it.
    fn fetch(
        &self,
        sequence: u64,
        index: usize,
        to: &Path,
        reference: &FileReference,
    ) -> Result<(), FollowError> {
        let at = |error| FollowError::Io(to.to_owned(), error);
        let _ = self.disk.remove_file(to);
        let file = self.disk.create(to).map_err(at)?;
        let failed = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => FollowError::NotOffered(sequence),
            _ => FollowError::Fetch(sequence, error),
        };
        self.surroundings.fetch(sequence, index, &file).map_err(failed)?;
        self.disk.sync(&file).map_err(at)?;
        let found = crate::disk::mapping::MappedBytes::open(to).map_err(at)?;
        if files::crc32c_of(found.as_ref()) != (reference.crc32c, reference.bytes) {
            return Err(failed(io::Error::other("its checksum is not the one in the entry")));
        }
        Ok(())
    }
}

/// Whether a manifest of a pool drops parts that are being merged.
fn ends_merge(path: &Path, content: Option<&Base64>) -> bool {
    if path.file_name().is_none_or(|name| name != MANIFEST_FILE) {
        return false;
    }
    let (Some(dir), Some(Base64(content))) = (path.parent(), content) else { return true };
    let merges = |manifest: &Manifest| manifest.merges().count();
    let before = Manifest::read(dir).map_or(0, |manifest| merges(&manifest));
    before > 0 && Manifest::parse(path, content).map_or(0, |manifest| merges(&manifest)) < before
}
