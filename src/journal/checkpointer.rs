//! The journal's files other than the one being written: those that wait for a checkpoint, and the spare
//! ones. When a file is full, a checkpoint is made on a thread of its own, so that nobody waits for it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::paced::Pacer;
use crate::log::limit;
use crate::sys::atomics::Ordering;
use crate::sys::sync::{Condvar, Mutex, MutexGuard};

use super::file;
use super::handle::Journal;

/// The most files: the one being written, two that wait for their checkpoint, a spare one.
pub const MAX_FILES: usize = 4;
/// Pause before a retry on a full disk, in milliseconds.
pub(crate) const ROOM_RETRY_MS: u64 = 200;

/// Longest pause between two writes of a checkpoint or of a new file.
const MAX_REST: Duration = Duration::from_millis(50);

/// Durably writes all changed words to their tables.
pub type Checkpoint = Box<dyn Fn(&Pacer<'_>) -> io::Result<()> + Send>;

#[derive(Default)]
struct State {
    spares: Vec<PathBuf>,
    /// Files older than the one being written, oldest first.
    closed: Vec<u64>,
    /// The newest file that is full.
    last_closed: u64,
    /// Files from this one on are kept for a backup that reads them.
    kept_from: Option<u64>,
    no_room: bool,
    stopped: bool,
    checkpoint_asked: bool,
    /// The number of checkpoints begun.
    begun: u64,
    /// The last checkpoint that completed: all that changed before it began is durable.
    done: u64,
    /// The number of checkpoints for which the disk had no space.
    refused_checkpoints: u64,
}

/// The closed and spare files of a journal, and the requests for checkpoints.
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) file_bytes: u64,
    /// Whether a thread waits for the checkpoint. Changed only under the lock of `state`.
    hurry: AtomicBool,
    state: Mutex<State>,
    changed: Condvar,
}

impl Files {
    /// The files of a directory; `closed` are those that recovery read.
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        dir: &Path,
        file_bytes: u64,
        closed: Vec<u64>,
    ) -> io::Result<Self> {
        let spares = file::spares(&*disk, dir, file_bytes)?;
        let checkpoint_asked = !closed.is_empty();
        let last_closed = closed.last().copied().unwrap_or(0);
        let state = State { spares, closed, last_closed, checkpoint_asked, ..State::default() };
        let (state, hurry) = (Mutex::new(state), AtomicBool::new(false));
        Ok(Self { disk, dir: dir.to_owned(), file_bytes, hurry, state, changed: Condvar::new() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a spare file before the writer runs, or makes one.
    pub(crate) fn first_spare(&self) -> io::Result<PathBuf> {
        if let Some(spare) = self.lock().spares.pop() {
            return Ok(spare);
        }
        self.make_spare(&|_| ())
    }

    fn make_spare(&self, rest: &Pacer<'_>) -> io::Result<PathBuf> {
        file::make_spare(&*self.disk, &self.dir, self.file_bytes, rest)
    }

    /// Whether there is no spare file and the disk had no space for one.
    pub(crate) fn is_out_of_room(&self) -> bool {
        let state = self.lock();
        state.spares.is_empty() && state.no_room
    }

    /// Takes a spare file, and waits for one if needed. `None` if the journal fails, or if it stops on a full
    /// disk.
    pub(crate) fn take_spare(&self, journal: &Journal, ends: &AtomicBool) -> Option<PathBuf> {
        let mut state = self.lock();
        loop {
            if let Some(spare) = state.spares.pop() {
                self.changed.notify_all();
                return Some(spare);
            }
            if journal.is_poisoned() || state.stopped || (state.no_room && ends.load(Ordering::SeqCst)) {
                return None;
            }
            journal.set_full(state.no_room);
            journal.stats.turn();
            self.hurry.store(true, Ordering::Relaxed);
            self.changed.notify_all();
            let pause = Duration::from_millis(ROOM_RETRY_MS);
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    /// Marks a file as full, once the next one has begun, and requests a checkpoint.
    pub(crate) fn closed(&self, file_sequence: u64) {
        let mut state = self.lock();
        state.closed.push(file_sequence);
        state.last_closed = file_sequence;
        state.checkpoint_asked = true;
        self.changed.notify_all();
    }

    /// Stops [`Self::run`].
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Keeps the file being written and all after it until the pin releases them. `None` while there is
    /// another pin.
    pub(crate) fn pin(self: &Arc<Self>) -> Option<Pin> {
        let mut state = self.lock();
        if state.kept_from.is_some() {
            return None;
        }
        let first = state.last_closed + 1;
        state.kept_from = Some(first);
        Some(Pin { files: Arc::clone(self), first })
    }

    /// Makes checkpoints and spare files until [`Self::stop`].
    pub(crate) fn run(&self, journal: &Journal, checkpoint: &Checkpoint, now_seconds: &dyn Fn() -> u64) {
        loop {
            let mut state = self.lock();
            let used = state.closed.len() + state.spares.len() + 1;
            let pause = Duration::from_millis(ROOM_RETRY_MS);
            if state.stopped || journal.is_poisoned() {
                return;
            }
            if std::mem::take(&mut state.checkpoint_asked) {
                let closed = state.closed.clone();
                state.begun += 1;
                let number = state.begun;
                drop(state);
                if let Err(error) = self.checkpoint(journal, checkpoint, &closed) {
                    if journal.has_ended() {
                        return;
                    }
                    if files::is_storage_full(&error) {
                        log_refused(&error);
                        let mut state = self.lock();
                        (state.checkpoint_asked, state.no_room) = (true, true);
                        state.refused_checkpoints += 1;
                        self.changed.notify_all();
                        drop(self.changed.wait_timeout(state, pause));
                        continue;
                    }
                    return journal.poison("the tables could not be written at a checkpoint", &error);
                }
                let mut state = self.lock();
                state.no_room = false;
                self.hurry.store(false, Ordering::Relaxed);
                state.done = number;
                drop(state);
                self.changed.notify_all();
                journal.stats.checkpoints.fetch_add(1, Ordering::Relaxed);
                journal.stats.checkpoint_at_seconds.store(now_seconds(), Ordering::Relaxed);
            } else if state.spares.is_empty() && used < MAX_FILES {
                drop(state);
                let made = self.make_spare(&|took| self.rest(journal, took));
                match made {
                    Ok(spare) => {
                        let mut state = self.lock();
                        state.spares.push(spare);
                        state.no_room = false;
                        self.changed.notify_all();
                    }
                    Err(error) if files::is_storage_full(&error) => {
                        let mut state = self.lock();
                        state.no_room = true;
                        drop(self.changed.wait_timeout(state, pause));
                    }
                    Err(error) => return journal.poison("a journal file could not be made", &error),
                }
            } else {
                let _ = self.changed.wait_timeout(state, pause);
            }
            journal.stats.files.store(self.count() as u64, Ordering::Relaxed);
        }
    }

    fn rest(&self, journal: &Journal, took: Duration) {
        let state = self.lock();
        if !(journal.is_running_low() || self.hurry.load(Ordering::Relaxed) || state.stopped) {
            drop(self.changed.wait_timeout(state, took.min(MAX_REST)));
        }
    }

    /// Whether the file being written, with `free_bytes` bytes free, is half full and there is no spare one.
    pub(crate) fn is_running_low(&self, free_bytes: u64) -> bool {
        free_bytes < self.file_bytes / 2 && self.lock().spares.is_empty()
    }

    fn count(&self) -> usize {
        let state = self.lock();
        state.closed.len() + state.spares.len() + 1
    }

    /// Makes the words durable in their tables, then reuses or removes the closed files.
    fn checkpoint(&self, journal: &Journal, checkpoint: &Checkpoint, closed: &[u64]) -> io::Result<()> {
        checkpoint(&|took| self.rest(journal, took))?;
        let mut state = self.lock();
        let is_kept =
            |state: &State| closed.iter().any(|file| state.kept_from.is_some_and(|from| *file >= from));
        while is_kept(&state) && !state.stopped && !journal.is_poisoned() {
            let pause = Duration::from_millis(ROOM_RETRY_MS);
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        if journal.is_poisoned() {
            return Ok(());
        }
        for sequence in closed {
            let path = file::path_of(&self.dir, *sequence);
            let keep = state.spares.len() + 2 < MAX_FILES
                && std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == self.file_bytes);
            if keep {
                let spare = file::to_spare(&*self.disk, &self.dir, *sequence)?;
                state.spares.push(spare);
            } else {
                self.disk.remove_file(&path)?;
                self.disk.sync_directory(&self.dir)?;
            }
            state.closed.retain(|other| other != sequence);
        }
        self.changed.notify_all();
        Ok(())
    }

    /// Requests a checkpoint and waits for its end. Fails if the disk is full.
    pub(crate) fn checkpoint_and_wait(&self, journal: &Journal) -> io::Result<()> {
        let mut state = self.lock();
        // A checkpoint that is under way may have begun before the changes that this call must cover.
        let wanted = state.begun + 1;
        let refused = state.refused_checkpoints;
        state.checkpoint_asked = true;
        self.hurry.store(true, Ordering::Relaxed);
        self.changed.notify_all();
        while state.done < wanted && !state.stopped && !journal.is_poisoned() {
            self.hurry.store(true, Ordering::Relaxed);
            if state.refused_checkpoints != refused {
                return Err(io::ErrorKind::StorageFull.into());
            }
            let pause = Duration::from_millis(ROOM_RETRY_MS);
            state = self.changed.wait_timeout(state, pause).unwrap_or_else(PoisonError::into_inner).0;
        }
        Ok(())
    }

    /// Whether there are [`MAX_FILES`] files.
    pub(crate) fn are_many(&self) -> bool {
        self.lock().closed.len() + 1 >= MAX_FILES
    }
}

/// Keeps journal files from reuse while a backup reads them. The reader must release each file soon after it
/// is full: the writer waits when there are [`MAX_FILES`].
pub struct Pin {
    files: Arc<Files>,
    first: u64,
}

impl Pin {
    /// The oldest file kept. It and those after it hold all that was recorded since the pin was made.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Whether a file is full: nothing more is written to it.
    pub fn is_closed(&self, file_sequence: u64) -> bool {
        self.files.lock().last_closed >= file_sequence
    }

    /// Whether the journal stops. Then the pin keeps no file.
    pub fn is_stopped(&self) -> bool {
        self.files.lock().stopped
    }

    /// Releases all files before this one.
    pub fn keep_from(&self, file_sequence: u64) {
        self.files.lock().kept_from = Some(file_sequence);
        self.files.changed.notify_all();
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.files.lock().kept_from = None;
        self.files.changed.notify_all();
    }
}

fn log_refused(error: &io::Error) {
    if let Some(suppressed) = limit::CHECKPOINT_FAILED.admit() {
        warn!(
            event = "checkpoint_failed",
            %error,
            suppressed,
            "the disk has no space for a checkpoint: free some space; it is then retried without a restart"
        );
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use std::sync::mpsc;

    use super::*;
    use crate::journal::durability::Durability;

    /// A checkpoint that is under way began before the last changes, even when another is already requested.
    #[test]
    fn the_last_checkpoint_is_one_that_begins_after_it_was_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let files = Arc::new(Files::new(files::real(), dir.path(), 64 << 10, Vec::new()).unwrap());
        let journal = Arc::new(Journal::new(1, Durability::None));
        let (begun, begins) = mpsc::channel();
        let (release, released) = mpsc::channel::<()>();
        let checkpoint: Checkpoint = Box::new(move |_| {
            begun.send(()).unwrap();
            released.recv().unwrap();
            Ok(())
        });
        let (files, journal) = (&files, &journal);
        std::thread::scope(|scope| {
            // Dropped here if this fails, so that the threads end.
            let release = release;
            let thread = scope.spawn(move || files.run(journal, &checkpoint, &|| 0));
            files.lock().checkpoint_asked = true;
            files.changed.notify_all();
            begins.recv().unwrap();
            files.lock().checkpoint_asked = true;
            let waiter = scope.spawn(|| files.checkpoint_and_wait(journal));
            // The waiter sets this under the same lock under which it decides what to wait for.
            while !files.hurry.load(Ordering::Relaxed) {
                std::thread::yield_now();
            }
            release.send(()).unwrap();
            begins.recv().unwrap();
            let pause = Duration::from_millis(3 * ROOM_RETRY_MS);
            std::thread::sleep(pause);
            assert!(!waiter.is_finished(), "the checkpoint that it asked for has not ended");
            release.send(()).unwrap();
            waiter.join().unwrap().unwrap();
            files.stop();
            thread.join().unwrap();
        });
    }
}
