//! The disk of a simulated machine: a directory in memory. Each call is a place to switch threads, and can
//! fail, find no space, or be the last before the power goes off.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allotd::disk::MappedWords;
use allotd::disk::device::{Access, Disk, RealDisk};
use allotd::sys::simulation::atomics::{AtomicU64, Ordering};
use allotd::sys::simulation::{thread, world};

use super::power::PowerDisk;
use super::replay::{Event, Replay};

/// What is wrong with a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// One call fails as a broken disk does, at most once.
    Broken,
    /// There is no space for some calls.
    Full { calls: u64 },
    /// The process has no descriptors left for some calls.
    NoDescriptors { calls: u64 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Space,
    Sync,
    Name,
}

#[derive(Debug, Default)]
struct State {
    calls: u64,
    /// How long a call may take, in microseconds.
    slow_micros: u64,
    off: bool,
    off_at: Option<u64>,
    fault: Option<(u64, Fault)>,
    /// Whether a call failed in a way that may end the daemon.
    broke: bool,
}

/// The disk of one life of a simulated daemon.
#[derive(Debug)]
pub(crate) struct SimulatedDisk {
    /// Remembers everything, if the power is to be lost.
    power: Option<PowerDisk>,
    root: PathBuf,
    state: Mutex<State>,
}

impl SimulatedDisk {
    pub(crate) fn over(root: &Path, loses_power: bool) -> Self {
        let power = loses_power.then(|| PowerDisk::over(root));
        Self { power, root: root.to_owned(), state: Mutex::default() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets all calls fail, as for a process that has ended.
    pub(crate) fn set_off(&self, off: bool) {
        let mut state = self.lock();
        (state.off, state.off_at) = (off, None);
    }

    /// Goes off after some more calls.
    pub(crate) fn set_off_after(&self, calls: u64) {
        let mut state = self.lock();
        state.off_at = Some(state.calls + calls);
    }

    pub(crate) fn is_off(&self) -> bool {
        let state = self.lock();
        state.off || state.off_at.is_some_and(|at| state.calls >= at)
    }

    /// Makes some calls take up to so long.
    pub(crate) fn set_slow(&self, micros: u64) {
        self.lock().slow_micros = micros;
    }

    /// Has a fault after some more calls.
    pub(crate) fn set_fault(&self, calls: u64, fault: Fault) {
        let mut state = self.lock();
        state.fault = Some((state.calls + calls, fault));
    }

    /// Has no fault any more.
    pub(crate) fn heal(&self) {
        self.lock().fault = None;
    }

    /// Whether the disk did what may end the daemon.
    pub(crate) fn may_end_the_daemon(&self) -> bool {
        self.lock().broke || self.is_off()
    }

    /// What the disk held at the beginning, and all that happened.
    pub(crate) fn trace(&self) -> Option<(Replay, Vec<Event>)> {
        self.power.as_ref().map(PowerDisk::trace)
    }

    fn call<T>(
        &self,
        kind: Kind,
        what: impl FnOnce() -> String,
        act: impl FnOnce(&dyn Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        world::point();
        self.take_time(kind);
        let refused = self.refusal(kind);
        // The last events are kept: without those of the disk they go back further.
        if std::env::var_os("ALLOTD_QUIET_DISK").is_none() {
            world::note(|| {
                format!("disk: {}{}", what(), refused.as_ref().map_or(String::new(), |e| format!(": {e}")))
            });
        }
        if let Some(error) = refused {
            return Err(error);
        }
        match &self.power {
            Some(power) => act(power),
            None => act(&Buffered),
        }
    }

    fn take_time(&self, kind: Kind) {
        let state = self.lock();
        let (most, call) = (state.slow_micros, state.calls);
        drop(state);
        if most > 0 && matches!(kind, Kind::Sync | Kind::Space) && call % 3 != 0 {
            let micros = call.wrapping_mul(0x9E37_79B9_7F4A_7C15) % most;
            thread::sleep(Duration::from_micros(micros));
        }
    }

    fn refusal(&self, kind: Kind) -> Option<io::Error> {
        let mut state = self.lock();
        let call = state.calls;
        state.calls += 1;
        if state.off || state.off_at.is_some_and(|at| call >= at) {
            return Some(io::Error::other("the power is off"));
        }
        let (from, fault) = state.fault.filter(|(from, _)| call >= *from)?;
        let (number, calls, fits) = match fault {
            Fault::Broken => (5, u64::MAX, kind != Kind::Open),
            Fault::Full { calls } => (28, calls, kind == Kind::Space),
            Fault::NoDescriptors { calls } => (24, calls, kind == Kind::Open),
        };
        if call >= from.saturating_add(calls) {
            state.fault = None;
            return None;
        }
        if !fits {
            return None;
        }
        if fault == Fault::Broken {
            state.broke = true;
            state.fault = None;
        }
        Some(io::Error::from_raw_os_error(number))
    }

    /// Writes the words of a shared mapping to their file once more, as the memory did past the disk.
    fn write_what_is_mapped(&self, disk: &dyn Disk, words: &MappedWords) -> io::Result<()> {
        let words: &[AtomicU64] = words.as_ref();
        let content: Vec<u8> = world::quietly(|| {
            words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_le_bytes()).collect()
        });
        for pool in std::fs::read_dir(self.root.join("pools"))? {
            for file in std::fs::read_dir(pool?.path())? {
                let path = file?.path();
                if path.extension().is_some_and(|end| end == "words") && std::fs::read(&path)? == content {
                    let file = disk.open(&path, Access::Buffered)?;
                    disk.write_at(&file, &content, 0)?;
                    disk.sync(&file)?;
                }
            }
        }
        Ok(())
    }

    fn short<'a>(&self, path: &'a Path) -> std::path::Display<'a> {
        path.strip_prefix(&self.root).unwrap_or(path).display()
    }
}

/// The real disk, on a file system in memory: nothing there has to be synced.
#[derive(Debug)]
struct Buffered;

impl Disk for Buffered {
    fn open(&self, path: &Path, _: Access) -> io::Result<File> {
        RealDisk.open(path, Access::Buffered)
    }

    fn sync(&self, _: &File) -> io::Result<()> {
        Ok(())
    }

    fn flush(&self, _: &MappedWords) -> io::Result<()> {
        Ok(())
    }

    fn sync_directory(&self, _: &Path) -> io::Result<()> {
        Ok(())
    }
}

impl Disk for SimulatedDisk {
    fn create(&self, path: &Path) -> io::Result<File> {
        self.call(Kind::Open, || format!("create {}", self.short(path)), |disk| disk.create(path))
    }

    fn open(&self, path: &Path, access: Access) -> io::Result<File> {
        self.call(Kind::Open, || format!("open {}", self.short(path)), |disk| disk.open(path, access))
    }

    fn allocate(&self, file: &File, bytes: u64) -> io::Result<()> {
        self.call(Kind::Space, || format!("allocate {bytes}"), |disk| disk.allocate(file, bytes))
    }

    fn write_at(&self, file: &File, bytes: &[u8], offset: u64) -> io::Result<()> {
        let what = || format!("write {} at {offset}", bytes.len());
        self.call(Kind::Space, what, |disk| disk.write_at(file, bytes, offset))
    }

    fn sync(&self, file: &File) -> io::Result<()> {
        self.call(Kind::Sync, || "sync".to_owned(), |disk| disk.sync(file))
    }

    fn flush(&self, words: &MappedWords) -> io::Result<()> {
        self.call(
            Kind::Sync,
            || "flush words".to_owned(),
            |disk| {
                if self.power.is_some() { self.write_what_is_mapped(disk, words) } else { Ok(()) }
            },
        )
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let what = || format!("sync directory {}", self.short(directory));
        self.call(Kind::Open, what, |disk| disk.sync_directory(directory))
    }

    fn open_directory(&self, directory: &Path) -> io::Result<File> {
        let what = || format!("open directory {}", self.short(directory));
        self.call(Kind::Open, what, |disk| disk.open_directory(directory))
    }

    fn sync_opened(&self, opened: &File, directory: &Path) -> io::Result<()> {
        let what = || format!("sync directory {}", self.short(directory));
        self.call(Kind::Sync, what, |disk| disk.sync_opened(opened, directory))
    }

    fn create_directories(&self, path: &Path) -> io::Result<()> {
        let what = || format!("create directory {}", self.short(path));
        self.call(Kind::Name, what, |disk| disk.create_directories(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let what = || format!("rename {} to {}", self.short(from), self.short(to));
        self.call(Kind::Name, what, |disk| disk.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.call(Kind::Name, || format!("remove {}", self.short(path)), |disk| disk.remove_file(path))
    }

    fn remove_directory(&self, path: &Path) -> io::Result<()> {
        self.call(Kind::Name, || format!("remove {}", self.short(path)), |disk| disk.remove_directory(path))
    }
}
