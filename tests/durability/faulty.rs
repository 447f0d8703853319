//! A disk of which one call fails, or a few from one on.

use std::fs::File;
use std::io;
use std::path::Path;
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
    failed: Mutex<Option<Kind>>,
    pub(crate) failed_sync: AtomicBool,
}

impl FaultyDisk {
    /// Makes calls fail from this one on.
    pub(crate) fn fail(&self, from_call: u64, way: Way) {
        *self.fault.lock().unwrap() = Some((from_call, way));
    }

    /// Lets all calls succeed from now on.
    pub(crate) fn heal(&self) {
        *self.fault.lock().unwrap() = None;
        self.failed_sync.store(false, Ordering::SeqCst);
    }

    /// How many calls there were.
    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::SeqCst)
    }

    /// What the first call did that failed.
    pub(crate) fn failed(&self) -> Option<Kind> {
        *self.failed.lock().unwrap()
    }

    fn call(&self, kind: Kind) -> Result<(), Way> {
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
        self.failed.lock().unwrap().get_or_insert(kind);
        if kind == Kind::Sync {
            self.failed_sync.store(true, Ordering::SeqCst);
        }
        Err(way)
    }

    fn done<T>(&self, kind: Kind, call: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.call(kind).map_err(Way::error)?;
        call()
    }
}

impl Disk for FaultyDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.done(Kind::Create, || RealDisk.create(path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        self.done(Kind::Open, || RealDisk.open(path, access))
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.done(Kind::Allocate, || RealDisk.allocate(file, bytes))
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let written = self.call(Kind::Write).map_err(|way| {
            if way.is_short() {
                // Whole sectors, as direct writes need them.
                let part = bytes.len() / 2 / 4096 * 4096;
                RealDisk.write_at(file, &bytes[..part], offset).unwrap();
            }
            way.error()
        });
        written.and_then(|()| RealDisk.write_at(file, bytes, offset))
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        self.done(Kind::Sync, || Ok(()))
    }

    fn flush(&self, words: &MappedWords) -> io::Result<()> {
        self.done(Kind::Sync, || RealDisk.flush(words))
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        self.done(Kind::Sync, || Ok(()))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        self.done(Kind::Create, || RealDisk.create_directories(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.done(Kind::Rename, || RealDisk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.done(Kind::Remove, || RealDisk.remove_file(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.done(Kind::Remove, || RealDisk.remove_directory(path))
    }
}
