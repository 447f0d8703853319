//! The journal's files other than the one being written: those that wait for a checkpoint, and the spare
//! ones. When a file is full, a checkpoint is made on a thread of its own, so that nobody waits for it. Another
//! thread makes spare files ([`super::spare_maker`]), also while a checkpoint runs.

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
use crate::sys::sync::{Condvar, Instant, Mutex, MutexGuard};

use super::file;
use super::handle::Journal;

/// The most files: the one being written, two that wait for their checkpoint, a spare one.
pub const MAX_FILES: usize = 4;
/// Most spare files that a checkpoint keeps.
const MAX_SPARES: usize = MAX_FILES - 2;
/// Pause before a retry on a full disk, in milliseconds.
pub(crate) const ROOM_RETRY_MS: u64 = 200;
pub(super) const ROOM_RETRY: Duration = Duration::from_millis(ROOM_RETRY_MS);
/// How long changes are refused once they had to be on a full disk, unless it has space again before: with the
/// files that it has, the journal could accept some for a moment, and that again and again.
const REFUSAL: Duration = Duration::from_secs(60);

/// Longest pause between two writes of a checkpoint or of a new file.
const MAX_REST: Duration = Duration::from_millis(50);
/// How long the journal may lack a file that a backup keeps, before the backup has to fail.
const PIN_GRACE: Duration = Duration::from_millis(500);

/// Durably writes all changed words to their tables.
pub type Checkpoint = Box<dyn Fn(&Pacer<'_>) -> io::Result<()> + Send>;

/// What the disk had no space for when it was tried last.
#[derive(Default)]
pub(super) struct NoRoom {
    pub(super) spare: bool,
    checkpoint: bool,
}

/// What a backup keeps ([`super::pin::Pin`]).
#[derive(Debug, Clone, Copy)]
pub(super) struct Pinned {
    /// The number of the pin.
    pub(super) id: u64,
    /// Files from this one on are kept.
    pub(super) from: u64,
}

#[derive(Default)]
pub(super) struct State {
    pub(super) spares: Vec<PathBuf>,
    /// Spare files that are being made.
    pub(super) in_making: usize,
    /// Files older than the one being written, oldest first.
    closed: Vec<u64>,
    /// The newest file that is full.
    pub(super) last_closed: u64,
    /// What a backup keeps.
    pub(super) pinned: Option<Pinned>,
    /// The number of pins so far.
    pub(super) pins: u64,
    pub(super) no_room_for: NoRoom,
    /// Whether the writer waits for a spare file.
    writer_waits: bool,
    /// Until when changes are refused, on a full disk.
    refuses_until: Option<Instant>,
    pub(super) stopped: bool,
    checkpoint_asked: bool,
    /// The number of checkpoints begun.
    begun: u64,
    /// The last checkpoint that completed: all that changed before it began is durable.
    done: u64,
    /// The number of checkpoints that were refused for lack of space or of something else.
    refused_checkpoints: u64,
    /// The system's code of the last refusal.
    refused_by: Option<i32>,
}

impl State {
    /// The number of files, with the one being written and one being made.
    pub(super) fn files(&self) -> usize {
        1 + self.closed.len() + self.spares.len() + self.in_making
    }

    /// Whether the disk had no space for what was tried last, and would have to have it.
    fn lacks_room(&self) -> bool {
        (self.no_room_for.spare && self.files() < MAX_FILES) || self.no_room_for.checkpoint
    }

    fn is_out_of_room(&self) -> bool {
        self.spares.is_empty() && self.lacks_room()
    }

    /// Whether a spare file is to be made: there is none, or it would show that the disk has space again.
    pub(super) fn wants_spare(&self) -> bool {
        let shows_room = self.refuses_until.is_some() && self.no_room_for.spare;
        (self.spares.is_empty() || shows_room) && self.files() < MAX_FILES
    }

    /// Whether changes are refused. They have to be now if `is_short`; then they are until the disk has space, or
    /// until [`REFUSAL`] has passed.
    fn refuses(&mut self, is_short: bool) -> bool {
        let now = Instant::now();
        if is_short {
            self.refuses_until = Some(now + REFUSAL);
        } else if self.refuses_until.is_some_and(|until| now >= until) || !self.lacks_room() {
            self.refuses_until = None;
        }
        self.refuses_until.is_some()
    }
}

/// The closed and spare files of a journal, and the requests for checkpoints.
pub(crate) struct Files {
    disk: Arc<dyn Disk>,
    pub(crate) dir: PathBuf,
    pub(crate) file_bytes: u64,
    /// Whether a thread waits for the checkpoint. Changed only under the lock of `state`.
    hurry: AtomicBool,
    /// Held for short: never while a file is written, renamed or removed, as the writer waits for it.
    state: Mutex<State>,
    pub(super) changed: Condvar,
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

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change of the state, or until `timeout` has passed.
    pub(super) fn wait<'a>(&self, state: MutexGuard<'a, State>, timeout: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Pauses before a retry, whatever changes meanwhile, but not beyond the stop.
    pub(super) fn pause_before_retry(&self, mut state: MutexGuard<'_, State>) {
        let began = Instant::now();
        while !state.stopped && began.elapsed() < ROOM_RETRY {
            state = self.wait(state, ROOM_RETRY.saturating_sub(began.elapsed()));
        }
    }

    /// Takes a spare file before the writer runs, or makes one.
    pub(crate) fn first_spare(&self) -> io::Result<PathBuf> {
        if let Some(spare) = self.lock().spares.pop() {
            return Ok(spare);
        }
        self.make_spare(&|_| ())
    }

    pub(super) fn make_spare(&self, rest: &Pacer<'_>) -> io::Result<PathBuf> {
        file::make_spare(&*self.disk, &self.dir, self.file_bytes, rest)
    }

    /// Whether changes are refused, with little space left in the file being written if `is_low`: they are if
    /// there is no spare file and the disk had no space for one, or for the checkpoint that makes one.
    pub(super) fn refuses(&self, is_low: bool) -> bool {
        let mut state = self.lock();
        let is_short = is_low && state.is_out_of_room();
        state.refuses(is_short)
    }

    /// Notes that the disk has no space for a frame, not even over written blocks. Changes are refused until it has
    /// space for a file.
    pub(super) fn has_no_room_for_frame(&self) {
        let mut state = self.lock();
        state.no_room_for.spare = true;
        state.refuses(true);
        self.changed.notify_all();
    }

    /// Whether there is a spare file.
    pub(crate) fn has_spare(&self) -> bool {
        !self.lock().spares.is_empty()
    }

    /// Takes a spare file, and waits for one if needed. `None` if the journal fails, or if it ends on a full
    /// disk.
    pub(crate) fn take_spare(&self, journal: &Journal, stopped: &AtomicBool) -> Option<PathBuf> {
        let mut state = self.lock();
        loop {
            if let Some(spare) = state.spares.pop() {
                state.writer_waits = false;
                self.changed.notify_all();
                return Some(spare);
            }
            let is_ending = stopped.load(Ordering::SeqCst) || journal.is_ending();
            if journal.is_poisoned() || state.stopped || (state.is_out_of_room() && is_ending) {
                return None;
            }
            let is_short = state.is_out_of_room();
            journal.set_full(state.refuses(is_short));
            journal.stats.turn();
            if !state.writer_waits {
                state.writer_waits = true;
                self.hurry.store(true, Ordering::Relaxed);
                self.changed.notify_all();
            }
            state = self.wait(state, ROOM_RETRY);
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

    /// Stops [`Self::run`] and the maker of spare files.
    pub(crate) fn stop(&self) {
        self.lock().stopped = true;
        self.changed.notify_all();
    }

    /// Makes checkpoints until [`Self::stop`].
    pub(crate) fn run(&self, journal: &Journal, checkpoint: &Checkpoint, now_seconds: &dyn Fn() -> u64) {
        loop {
            let mut state = self.lock();
            if state.stopped || journal.is_poisoned() {
                return;
            }
            if !std::mem::take(&mut state.checkpoint_asked) {
                drop(self.wait(state, ROOM_RETRY));
                continue;
            }
            let closed = state.closed.clone();
            state.begun += 1;
            let number = state.begun;
            drop(state);
            match self.checkpoint(journal, checkpoint, &closed) {
                Ok(()) => {
                    self.checkpointed(number);
                    journal.stats.checkpoints.fetch_add(1, Ordering::Relaxed);
                    journal.stats.checkpoint_at_seconds.store(now_seconds(), Ordering::Relaxed);
                }
                Err(_) if journal.has_ended() => return,
                Err(error) if files::is_shortage(&error) => self.refused(&error),
                Err(error) => {
                    return journal.poison("the tables could not be written at a checkpoint", &error);
                }
            }
            journal.stats.files.store(self.lock().files() as u64, Ordering::Relaxed);
        }
    }

    fn checkpointed(&self, number: u64) {
        let mut state = self.lock();
        state.no_room_for.checkpoint = false;
        self.hurry.store(false, Ordering::Relaxed);
        state.done = number;
        self.changed.notify_all();
    }

    /// Requests the checkpoint again, after a pause.
    fn refused(&self, error: &io::Error) {
        log_refused(error);
        let mut state = self.lock();
        state.checkpoint_asked = true;
        state.no_room_for.checkpoint = files::is_storage_full(error);
        state.refused_checkpoints += 1;
        state.refused_by = error.raw_os_error();
        self.changed.notify_all();
        self.pause_before_retry(state);
    }

    pub(super) fn rest(&self, journal: &Journal, took: Duration) {
        let state = self.lock();
        if !(journal.is_running_low() || self.hurry.load(Ordering::Relaxed) || state.stopped) {
            drop(self.wait(state, took.min(MAX_REST)));
        }
    }

    /// Whether the file being written, with `free_bytes` bytes free, is half full and there is no spare one.
    pub(crate) fn is_running_low(&self, free_bytes: u64) -> bool {
        free_bytes < self.file_bytes / 2 && self.lock().spares.is_empty()
    }

    /// Makes the words durable in their tables, then reuses or removes the closed files.
    fn checkpoint(&self, journal: &Journal, checkpoint: &Checkpoint, closed: &[u64]) -> io::Result<()> {
        checkpoint(&|took| self.rest(journal, took))?;
        self.wait_for_pin(journal, closed);
        if journal.is_poisoned() {
            return Ok(());
        }
        for sequence in closed {
            let path = file::path_of(&self.dir, *sequence);
            let keep = self.lock().spares.len() < MAX_SPARES
                && std::fs::metadata(&path).is_ok_and(|metadata| metadata.len() == self.file_bytes);
            let spare = if keep {
                Some(file::to_spare(&*self.disk, &self.dir, *sequence)?)
            } else {
                // Opened before, so that a lack of descriptors shows while the file is still there.
                let directory = self.disk.open_directory(&self.dir)?;
                self.disk.remove_file(&path)?;
                self.disk.sync_opened(&directory, &self.dir)?;
                None
            };
            let mut state = self.lock();
            state.closed.retain(|other| other != sequence);
            state.spares.extend(spare);
            self.changed.notify_all();
        }
        Ok(())
    }

    /// Waits while a backup keeps one of these files. A backup that is so slow that the writer has no file left
    /// loses its pin: it fails, and the leases go on.
    fn wait_for_pin(&self, journal: &Journal, closed: &[u64]) {
        let mut state = self.lock();
        let mut starved_since = None;
        loop {
            let is_kept = state.pinned.is_some_and(|pin| closed.iter().any(|file| *file >= pin.from));
            if !is_kept || state.stopped || journal.is_poisoned() {
                return;
            }
            let starves = state.spares.is_empty() && (state.writer_waits || state.is_out_of_room());
            let since = *starved_since.get_or_insert_with(Instant::now);
            if !starves {
                starved_since = None;
            } else if since.elapsed() >= PIN_GRACE {
                state.pinned = None;
                return;
            }
            state = self.wait(state, ROOM_RETRY);
        }
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
                return Err(match state.refused_by {
                    Some(code) => io::Error::from_raw_os_error(code),
                    None => io::ErrorKind::StorageFull.into(),
                });
            }
            state = self.wait(state, ROOM_RETRY);
        }
        Ok(())
    }

    /// Whether there are [`MAX_FILES`] files.
    pub(crate) fn are_many(&self) -> bool {
        self.lock().closed.len() + 1 >= MAX_FILES
    }
}

fn log_refused(error: &io::Error) {
    if let Some(suppressed) = limit::CHECKPOINT_FAILED.admit() {
        warn!(
            event = "checkpoint_failed",
            %error,
            suppressed,
            "the system has no space or no resources for a checkpoint: free some; it is then retried without a \
             restart"
        );
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests;
