//! Backups: copies of a data directory's files, with a list of their checksums, made while the daemon serves.
//! No caller waits for one.
//!
//! A restored backup has the state as of the end of the backup and needs only the recovery of a normal start:
//!
//! 1. The journal is pinned. Whatever is recorded in files before the pinned ones is in memory by then.
//! 2. The words are copied from memory. A word is changed first and recorded afterwards, so a word that
//!    changes after it was copied has its record in the pinned files.
//! 3. The backup waits until everything seen so far is committed, and copies the journal to its end. The copy
//!    contains everything acknowledged by then. Words only grow and recovery takes the maximum, so it does
//!    not matter which records the copied words already include.
//! 4. The manifests are copied, each under its lock. They may be newer than the words and the journal, but
//!    never older: no word is done in a round that its manifest does not have, and a start repeats the
//!    opening of a round. A pool or segment that is in a manifest but was not copied in step 2 is copied now,
//!    and steps 3 and 4 are repeated. A pool that was deleted meanwhile is left out; recovery ignores its
//!    records.
//! 5. The lists are copied with the manifests, so they are not older than either. A list that a manifest names is
//!    in the backup: neither changes in between.
//!
//! With durability `none` words have no records: each word is as it was when it was copied.
//!
//! The directory gets its name once all of it is durable. Until then it is hidden. If the daemon ends before,
//! the next backup removes it.

pub(crate) mod contents;
pub mod error;
mod file_copy;
mod journal_copy;
mod kept;
mod list_copies;
mod pool_copies;
pub(crate) mod restore;
mod unfinished;

use std::path::Path;
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime};
use std::{fmt, fs, io};

use rustix::fs::Access;

use crate::disk::device::Disk;
use crate::disk::directory_lock::DirectoryLock;
use crate::disk::files;
use crate::disk::space;
use crate::domain::name;
use crate::engine::background::recorder;
use crate::engine::budgets;
use crate::engine::registry::Engine;
use crate::engine::shared::SWEEPER_SLOT;
use crate::journal::error::JournalError;
use crate::journal::handle::Journal;
use crate::store::data_dir::CONTENTS_FILE;
use crate::store::holders_file::{self, HOLDERS_FILE};
use crate::store::{idempotency_file, totals_file};
use crate::sys::sync::thread;

use error::{BackupError, MAX_NAME_BYTES};
use file_copy::at;
use journal_copy::JournalCopy;
use kept::UNFINISHED_PREFIX;
use pool_copies::PoolCopies;
use unfinished::Unfinished;

pub use contents::ContentsError;
pub use restore::{RestoreError, Restored, Serving, restore};

pub(crate) use contents::Contents;
pub(crate) use kept::Found;

/// Locked while a backup is made in the directory of backups.
const LOCK_FILE: &str = ".lock";
/// Maximum length of a file that is copied unchanged.
const MAX_SMALL_FILE_BYTES: u64 = 4_096;
/// Interval at which the copied journal is checked for a first frame.
const FIRST_FRAME_PAUSE: Duration = Duration::from_millis(20);
/// Interval at which the commit position is checked.
const SETTLE_PAUSE: Duration = Duration::from_micros(500);

/// The name of a backup: 1 to 64 of `[A-Za-z0-9._-]`, beginning with a letter or digit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupName(String);

/// Whether backups can be made in a directory, which may still have to be created. Says why not.
pub(crate) fn check_directory(backups: &Path) -> Result<(), BackupError> {
    let place = std::path::absolute(backups).map_err(at(backups))?;
    let there = place.ancestors().find(|place| place.exists()).unwrap_or(&place);
    let may_write = rustix::fs::access(there, Access::WRITE_OK | Access::EXEC_OK);
    may_write.map_err(|error| BackupError::Io(there.to_owned(), error.into()))?;
    if there.is_dir() {
        Ok(())
    } else {
        Err(BackupError::Io(there.to_owned(), io::ErrorKind::NotADirectory.into()))
    }
}

impl FromStr for BackupName {
    type Err = BackupError;

    fn from_str(name: &str) -> Result<Self, BackupError> {
        if name::is_valid(name, MAX_NAME_BYTES) {
            Ok(Self(name.to_owned()))
        } else {
            Err(BackupError::Name(name.chars().take(MAX_NAME_BYTES).collect()))
        }
    }
}

impl fmt::Display for BackupName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is asked of a backup.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BackupOptions {
    /// Its name; the current time if there is none.
    pub name: Option<BackupName>,
    /// Whether it is read back and compared with its checksums before it gets its name.
    pub verify: bool,
    /// How many backups that are named by their time are kept, this one among them; `None` for all.
    pub keep: Option<u32>,
}

/// A finished backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backup {
    /// Its name in the directory of backups.
    pub name: String,
    /// It contains everything acknowledged before this time (RFC 3339).
    pub as_of: String,
    /// How many pools.
    pub pools: u64,
    /// How many numbers.
    pub numbers: u64,
    /// Total bytes of its files.
    pub bytes: u64,
    /// Whether it was read back.
    pub verified: bool,
    /// The names of older ones that were removed.
    pub removed: Vec<String>,
}

impl Backup {
    /// As it is found later.
    pub(crate) fn found(&self) -> Found {
        Found { name: self.name.clone(), as_of_unix_seconds: kept::unix_seconds(&self.as_of) }
    }
}

impl Engine {
    /// Makes a backup in the directory of backups, named after the current time unless `name` is given.
    /// Blocks for as long as it takes to write all words. Gives up when `is_ending`, which it calls
    /// repeatedly, returns true.
    pub fn backup(
        &self,
        name: Option<&BackupName>,
        is_ending: &(dyn Fn() -> bool + Sync),
    ) -> Result<Backup, BackupError> {
        self.backup_with(&BackupOptions { name: name.cloned(), ..BackupOptions::default() }, is_ending)
    }

    /// Makes a backup as it is asked for. See [`Self::backup`].
    pub fn backup_with(
        &self,
        options: &BackupOptions,
        is_ending: &(dyn Fn() -> bool + Sync),
    ) -> Result<Backup, BackupError> {
        let disk = &*self.shared.disk;
        let backups = &std::path::absolute(&self.dirs.backups).map_err(at(&self.dirs.backups))?;
        let name = options.name.as_ref().map_or_else(|| kept::name_of(self.now()), ToString::to_string);
        disk.create_directories(backups)
            .and_then(|()| files::sync_parent(disk, backups))
            .map_err(at(backups))?;
        let lock_path = backups.join(LOCK_FILE);
        let lock = DirectoryLock::take(lock_path.clone()).map_err(at(&lock_path))?;
        let _lock = lock.ok_or(BackupError::Busy)?;
        remove_unfinished(disk, backups).map_err(at(backups))?;
        let place = backups.join(&name);
        if place.symlink_metadata().is_ok() {
            return Err(BackupError::Exists(name));
        }
        self.check_room(backups)?;
        let unfinished = Unfinished { disk, dir: backups.join(format!("{UNFINISHED_PREFIX}{name}")) };
        let contents = self.write_backup(&unfinished.dir, is_ending)?;
        if options.verify {
            verify(&unfinished.dir, &contents, is_ending)?;
        }
        disk.rename(&unfinished.dir, &place)
            .and_then(|()| disk.sync_directory(backups))
            .map_err(at(&place))?;
        let removed = match options.keep {
            Some(keep) => kept::remove_old(disk, backups, keep as usize)?,
            None => Vec::new(),
        };
        let bytes = contents.bytes();
        let Contents { as_of, pools, numbers, .. } = contents;
        Ok(Backup { name, as_of, pools, numbers, bytes, verified: options.verify, removed })
    }

    /// Where the backup of a name is.
    pub fn backup_path(&self, name: &str) -> std::path::PathBuf {
        self.dirs.backups.join(name)
    }

    /// Checks that there may be another backup, and that its disk and the data's have space.
    fn check_room(&self, backups: &Path) -> Result<(), BackupError> {
        if let Some(limit) = self.dirs.max_backups {
            let entries = fs::read_dir(backups).map_err(at(backups))?;
            let made = entries.flatten().filter(|entry| entry.path().join(CONTENTS_FILE).exists());
            if made.count() as u64 >= limit {
                return Err(BackupError::TooMany(limit));
            }
        }
        self.shared.budgets.check_space()?;
        if let Ok(space) = space::space_of(backups) {
            budgets::check(space, 0)?;
        }
        Ok(())
    }

    /// Writes the whole backup into a new directory, durably.
    fn write_backup(
        &self,
        root: &Path,
        is_ending: &(dyn Fn() -> bool + Sync),
    ) -> Result<Contents, BackupError> {
        let disk = &*self.shared.disk;
        for dir in [root, &root.join("pools"), &root.join("journal")] {
            disk.create_directories(dir).map_err(at(dir))?;
        }
        let pin = self.journal.pin().ok_or(BackupError::Busy)?;
        // Before the words: then the copied words include the leases of the copied keys. Later keys are in
        // the pinned journal.
        let keys = idempotency_file::content(&self.shared.keys.records());
        let mut names = Vec::new();
        for pool in &self.pools() {
            pool.holders.records(pool.id(), &mut names);
        }
        let holders = holders_file::content(&names);
        let mut journal = JournalCopy::new(disk, self.journal.dir(), root, pin)?;
        let mut pools = PoolCopies::new(disk, root);
        let mut as_of;
        let (mut files, lists) = loop {
            as_of = following(&mut journal, is_ending, |check| {
                pools.copy_new(&self.pools(), check)?;
                let as_of = SystemTime::now();
                settle(self.journal.journal(), check)?;
                Ok(as_of)
            })?;
            // A start reads the engine's time from the newest frame. The writer writes one each second.
            if journal.frames() == 0 {
                thread::sleep(FIRST_FRAME_PAUSE);
                continue;
            }
            // No list that a manifest names is deleted before it is copied.
            let _changing = self.shared.lists.begin_change();
            if let Some(files) = pools.write_manifests(&self.pools())? {
                break (files, list_copies::snapshots(&self.lists()));
            }
        };
        files.extend(list_copies::write(disk, root, &lists)?);
        files.extend(journal.finish()?);
        for name in ["LOCK", "secret"] {
            let path = self.dirs.data.join(name);
            let content = files::read_small_file(&path, MAX_SMALL_FILE_BYTES).map_err(at(&path))?;
            files.push(file_copy::whole(disk, root, name.to_owned(), &content)?);
        }
        files.push(file_copy::whole(disk, root, "keys".to_owned(), &keys)?);
        if !names.is_empty() {
            files.push(file_copy::whole(disk, root, HOLDERS_FILE.to_owned(), &holders)?);
        }
        let totals = totals_file::content(1, &recorder::totals_of(&self.pools())).map_err(at(root))?;
        files.push(file_copy::whole(disk, root, totals_file::FIRST_FILE.to_owned(), totals.as_bytes())?);
        let (pools, numbers) = pools.counts();
        let as_of = humantime::format_rfc3339_micros(as_of).to_string();
        let contents = Contents::new(as_of, pools, numbers, files);
        for dir in [&root.join("pools"), &root.join("journal"), root] {
            disk.sync_directory(dir).map_err(at(dir))?;
        }
        let content = contents.content().map_err(at(root))?;
        file_copy::whole(disk, root, CONTENTS_FILE.to_owned(), content.as_bytes())?;
        disk.sync_directory(root).map_err(at(root))?;
        Ok(contents)
    }
}

/// Reads all files of a backup from the disk and compares them with their checksums.
fn verify(
    root: &Path,
    contents: &Contents,
    is_ending: &(dyn Fn() -> bool + Sync),
) -> Result<(), BackupError> {
    for file in &contents.files {
        if is_ending() {
            return Err(BackupError::Ended);
        }
        if let Some(fault) = file.fault_on_disk(root) {
            return Err(BackupError::Unreadable(file.path.clone(), fault));
        }
    }
    Ok(())
}

/// Removes backups that an ended daemon left unfinished.
fn remove_unfinished(disk: &dyn Disk, backups: &Path) -> io::Result<()> {
    for entry in fs::read_dir(backups)? {
        let entry = entry?;
        if entry.file_name().to_string_lossy().starts_with(UNFINISHED_PREFIX) {
            disk.remove_directory(&entry.path())?;
        }
    }
    Ok(())
}

/// Does `work` while another thread copies the journal. On return, the copy has everything
/// journaled before `work` ended.
fn following<T>(
    journal: &mut JournalCopy<'_>,
    is_ending: &(dyn Fn() -> bool + Sync),
    work: impl FnOnce(&dyn Fn() -> Result<(), BackupError>) -> Result<T, BackupError>,
) -> Result<T, BackupError> {
    /// Ends the other thread even if `work` panics.
    struct SetAtEnd<'a>(&'a AtomicBool);
    impl Drop for SetAtEnd<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }
    let (done, failed) = (AtomicBool::new(false), AtomicBool::new(false));
    thread::scope(|scope| {
        let follower = scope.spawn(|| {
            let followed = journal.follow(&done);
            failed.store(followed.is_err(), Ordering::SeqCst);
            followed
        });
        let worked = {
            let _done = SetAtEnd(&done);
            work(&|| {
                let ended = failed.load(Ordering::SeqCst) || is_ending();
                if ended { Err(BackupError::Ended) } else { Ok(()) }
            })
        };
        follower.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        worked
    })
}

/// Waits until everything seen so far is committed. Fails on a full disk, where that may never happen: this
/// backup itself may have filled it.
fn settle(journal: &Journal, check: &dyn Fn() -> Result<(), BackupError>) -> Result<(), BackupError> {
    if journal.is_poisoned() {
        return Err(JournalError::Poisoned.into());
    }
    let position = journal.observed_position(SWEEPER_SLOT);
    while !journal.is_committed(SWEEPER_SLOT, position) {
        check()?;
        match journal.check() {
            Ok(()) => {}
            Err(JournalError::Full) => return Err(BackupError::StorageFull),
            Err(error) => return Err(error.into()),
        }
        journal.wake_writer();
        thread::sleep(SETTLE_PAUSE);
    }
    Ok(())
}
