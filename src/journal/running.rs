//! Starts a journal after the recovered files, and stops it.

use std::io;
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use crate::disk::device::Disk;
use crate::disk::mapping::PAGE_BYTES;
use crate::sys::atomics::Ordering;
use crate::sys::background;
use crate::sys::sync::thread::{self, JoinHandle};
use crate::sys::sync::{Instant, Mutex};

use super::checkpointer::{Checkpoint, Files};
use super::durability::Durability;
use super::file::{self, JournalFile};
use super::frame::{Head, MAX_FRAME_BYTES};
use super::group_commit::{self, TimeSource, Writer};
use super::handle::Journal;
use super::pin::Pin;
use super::recovery::Recovered;
use super::replica::Replica;

/// The smallest journal file: the largest frame fits several times.
pub const MIN_FILE_BYTES: u64 = 4 * MAX_FRAME_BYTES as u64;

/// The settings of a journal.
pub struct JournalConfig {
    /// The directory of its files.
    pub dir: PathBuf,
    /// What a reply promises.
    pub durability: Durability,
    /// Length of its files, in bytes; at least [`MIN_FILE_BYTES`].
    pub file_bytes: u64,
    /// The id of the system's boot.
    pub boot_id: [u8; 16],
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Where records stand before they are written here.
    pub replica: Option<Arc<dyn Replica>>,
}

/// What the journal calls in the engine.
pub struct Callbacks {
    /// The time.
    pub time: TimeSource,
    /// Durably writes everything for which the older files are needed: changed words and live keys.
    pub checkpoint: Checkpoint,
    /// The engine's time in seconds, for the stats.
    pub now_seconds: Box<dyn Fn() -> u64 + Send>,
}

/// Why the journal could not be started.
#[derive(Debug, thiserror::Error)]
#[error("the journal in {dir} could not be started: {error}")]
pub struct StartError {
    /// Its directory.
    pub dir: PathBuf,
    /// The error of the system.
    #[source]
    pub error: io::Error,
}

/// A journal whose threads run.
pub struct Running {
    journal: Arc<Journal>,
    files: Arc<Files>,
    stopped: Arc<AtomicBool>,
    threads: Mutex<Option<Threads>>,
}

struct Threads {
    writer: JoinHandle<Writer>,
    checkpointer: JoinHandle<()>,
    spare_maker: JoinHandle<()>,
}

impl Running {
    /// Begins a new file after the recovered ones and starts the threads. The recovered files remain until
    /// the first checkpoint.
    pub fn start(
        journal: &Arc<Journal>,
        config: JournalConfig,
        recovered: &Recovered,
        callbacks: Callbacks,
    ) -> Result<Self, StartError> {
        let dir = config.dir.clone();
        Self::try_start(journal, config, recovered, callbacks).map_err(|error| StartError { dir, error })
    }

    fn try_start(
        journal: &Arc<Journal>,
        config: JournalConfig,
        recovered: &Recovered,
        callbacks: Callbacks,
    ) -> io::Result<Self> {
        let JournalConfig { dir, durability, file_bytes, boot_id, disk, replica } = config;
        let slots = journal.queues.slots();
        // With room for more than the reserve, however many threads there are.
        let smallest_bytes =
            MIN_FILE_BYTES.max(group_commit::least_reserve_bytes(slots) + MAX_FRAME_BYTES as u64);
        let file_bytes = file_bytes.max(smallest_bytes).next_multiple_of(PAGE_BYTES as u64);
        let closed = recovered.files.clone();
        file::sync_all(&*disk, &dir, &closed)?;
        let file_sequence = closed.last().map_or(1, |last| last + 1);
        let next_frame = recovered.next_frame.max(1);
        let files = Arc::new(Files::new(Arc::clone(&disk), &dir, file_bytes, closed)?);
        let spare = files.first_spare()?;
        let head = Head { file_sequence, first_frame: next_frame, boot_id, file_bytes };
        let access = group_commit::access(durability);
        let file = JournalFile::start(Arc::clone(&disk), &dir, &spare, &head, access)?;
        let stopped = Arc::new(AtomicBool::new(false));
        let mut writer = Writer {
            journal: Arc::clone(journal),
            disk,
            files: Arc::clone(&files),
            durability,
            boot_id,
            time: callbacks.time,
            replica: replica.clone(),
            reserve_bytes: group_commit::reserve_bytes(slots, file_bytes),
            file,
            last_is_time: false,
            next_frame,
            last_with_records: 0,
            durable_below: next_frame,
            buffer: group_commit::frame_buffer()?,
            records: 0,
            taken: vec![0; slots],
            last_frame_at: Instant::now(),
            last_write: Duration::ZERO,
            last_sync_at: Instant::now(),
            stopped: Arc::clone(&stopped),
        };
        writer.write_time()?;
        let writer = thread::Builder::new().name("journal-writer".to_owned()).spawn(move || writer.run())?;
        if let Some(replica) = replica {
            let _ = journal.replica.set(replica);
        }
        // Set before anyone else has the journal.
        let _ = journal.writer.set(writer.thread().clone());
        let (thread_files, thread_journal) = (Arc::clone(&files), Arc::clone(journal));
        let Callbacks { checkpoint, now_seconds, .. } = callbacks;
        let checkpointer = background::spawn("checkpoint", move || {
            thread_files.run(&thread_journal, &checkpoint, &*now_seconds);
        })?;
        let (thread_files, thread_journal) = (Arc::clone(&files), Arc::clone(journal));
        let spare_maker =
            background::spawn("journal-spares", move || thread_files.run_spare_maker(&thread_journal))?;
        if files.are_many() {
            // Each start adds a file: starts in quick succession must not fill the disk.
            files.checkpoint_and_wait(journal)?;
        }
        let threads = Mutex::new(Some(Threads { writer, checkpointer, spare_maker }));
        Ok(Self { journal: Arc::clone(journal), files, stopped, threads })
    }

    /// The journal.
    pub fn journal(&self) -> &Arc<Journal> {
        &self.journal
    }

    /// The directory of the journal's files.
    pub fn dir(&self) -> &std::path::Path {
        &self.files.dir
    }

    /// Keeps the file being written and all after it; `None` while there is another pin.
    pub fn pin(&self) -> Option<Pin> {
        self.files.pin()
    }

    /// Writes what is queued, makes a last checkpoint, and marks the journal as closed cleanly. No thread may
    /// push records any more. A second call does nothing.
    pub fn close(&self) -> io::Result<()> {
        let checkpointed = self.files.checkpoint_and_wait(&self.journal);
        let Some(writer) = self.stop_threads() else { return Ok(()) };
        match self.journal.poisoned_by() {
            Some(why) => Err(io::Error::other(why)),
            None => checkpointed.and_then(|()| writer.close()),
        }
    }

    /// Stops the threads without a checkpoint, as after a failure.
    pub fn abandon(&self) {
        drop(self.stop_threads());
    }

    fn stop_threads(&self) -> Option<Writer> {
        let threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        self.stopped.store(true, Ordering::SeqCst);
        self.journal.wake_writer();
        // A thread that panicked has already reported it.
        let writer = threads.writer.join();
        // A checkpoint that is under way must not wait for the writer.
        self.journal.end();
        self.files.stop();
        drop(threads.checkpointer.join());
        drop(threads.spare_maker.join());
        writer.ok()
    }
}
