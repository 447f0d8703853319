//! A disk of which one call fails, or a few from one on.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use allotd::disk::MappedWords;
use allotd::disk::device::{Access, Disk, RealDisk};

/// What a call does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Open,
    Create,
    Allocate,
    Write,
    Sync,
    Rename,
    Remove,
}

/// How calls fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// With an error of the medium.
    Broken { short: bool, for_ever: bool },
    /// For lack of space, for `calls` calls; then there is space again.
    Full { short: bool, calls: u64 },
}

impl Way {
    fn error(self) -> io::Error {
        io::Error::from_raw_os_error(match self {
            Self::Broken { .. } => 5,
            Self::Full { .. } => 28,
        })
    }

    fn is_short(self) -> bool {
        let (Self::Broken { short, .. } | Self::Full { short, .. }) = self;
        short
    }
}

/// The real disk, with calls that can be made to fail.
#[derive(Debug, Default)]
pub(crate) struct FaultyDisk {
    calls: AtomicU64,
    /// From which call on, how.
    fault: Mutex<Option<(u64, Way)>>,
    /// The calls that failed: what each did, and to which file or directory.
    failed: Mutex<Vec<(Kind, PathBuf)>>,
    healed: AtomicBool,
}

/// Whether what was confirmed depends on a file or directory, and a failed write, sync or rename of it ends the
/// daemon.
fn is_depended_on(path: &Path) -> bool {
    let has = |part: &str| path.components().any(|other| other.as_os_str() == part);
    // Nothing was written to a spare file yet that matters.
    if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("spare-")) {
        return false;
    }
    let kind = path.extension().and_then(|kind| kind.to_str()).unwrap_or_default();
    has("journal") || (has("pools") && ["", "words", "sums", "new", "toml"].contains(&kind))
}

fn path_of(file: &File) -> PathBuf {
    fs::read_link(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap()
}

impl FaultyDisk {
    /// Makes calls fail from this one on.
    pub(crate) fn fail(&self, from_call: u64, way: Way) {
        *self.fault.lock().unwrap() = Some((from_call, way));
    }

    /// Lets all calls succeed from now on.
    pub(crate) fn heal(&self) {
        *self.fault.lock().unwrap() = None;
        self.healed.store(true, Ordering::SeqCst);
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// What the first call did that failed, and to what.
    pub(crate) fn failed(&self) -> Option<(Kind, PathBuf)> {
        self.failed.lock().unwrap().first().cloned()
    }

    /// Whether a call failed after which the content of something that confirmations depend on is unknown, and
    /// the disk was not healed since.
    pub(crate) fn has_lost(&self, is_broken: bool) -> bool {
        let is_lost = |(kind, path): &(Kind, PathBuf)| {
            let changes = *kind == Kind::Sync || (is_broken && matches!(kind, Kind::Write | Kind::Rename));
            changes && is_depended_on(path)
        };
        !self.healed.load(Ordering::SeqCst) && self.failed.lock().unwrap().iter().any(is_lost)
    }

    /// Whether no call that failed has to do with what was confirmed.
    pub(crate) fn is_harmless(&self) -> bool {
        self.failed.lock().unwrap().iter().all(|(_, path)| {
            let has = |part: &str| path.components().any(|other| other.as_os_str() == part);
            let is_totals =
                path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("totals-"));
            has("staging") || is_totals
        })
    }

    fn call(&self, kind: Kind, path: impl FnOnce() -> PathBuf) -> Result<(), Way> {
        let call = self.calls.fetch_add(1, Ordering::SeqCst);
        let fault = *self.fault.lock().unwrap();
        let Some((_, way)) = fault.filter(|(from, way)| {
            call >= *from
                && match way {
                    Way::Broken { for_ever, .. } => *for_ever || call == *from,
                    Way::Full { calls, .. } => {
                        call < from + calls && kind != Kind::Open && kind != Kind::Remove
                    }
                }
        }) else {
            return Ok(());
        };
        self.failed.lock().unwrap().push((kind, path()));
        Err(way)
    }

    fn done<T>(&self, kind: Kind, path: &Path, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.call(kind, || path.to_owned()).map_err(Way::error)?;
        call()
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.done(Kind::Create, path, || RealDisk.create(path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        self.done(Kind::Open, path, || RealDisk.open(path, access))
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.done(Kind::Allocate, &path_of(file), || RealDisk.allocate(file, bytes))
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = self.call(Kind::Write, || path_of(file)).map_err(|way| {
            if way.is_short() {
                // Whole sectors, as direct writes need them.
                let part = bytes.len() / 2 / 4096 * 4096;
                RealDisk.write_at(file, &bytes[..part], offset).unwrap();
            }
            way.error()
        });
        written.and_then(|()| RealDisk.write_at(file, bytes, offset))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.done(Kind::Sync, &path_of(file), || Ok(()))
    }

    fn flush(&self, words: &MappedWords) -> io::Result<()> {
        self.done(Kind::Sync, Path::new("pools/a.words"), || RealDisk.flush(words))
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        self.done(Kind::Sync, directory, || Ok(()))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.done(Kind::Create, path, || RealDisk.create_directories(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.done(Kind::Rename, to, || RealDisk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.done(Kind::Remove, path, || RealDisk.remove_file(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.done(Kind::Remove, path, || RealDisk.remove_directory(path))
    }
}
