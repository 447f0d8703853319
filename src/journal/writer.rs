//! The writer: one thread that takes what all queues hold, writes it as one group, and says so.
//!
//! While it writes, the next group gathers: groups grow by themselves with the load.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use crate::disk::device::{Access, Disk};
use crate::disk::files;
use crate::disk::mapping::PageBuffer;
use crate::sys::atomics::Ordering;
use crate::sys::slot::Slot;

use super::checkpointer::{Files, ROOM_RETRY_MS};
use super::durability::Durability;
use super::file::JournalFile;
use super::frame::{FrameHead, Head, MAX_FRAME_BYTES, MAX_FRAME_RECORDS, frame_bytes, put_record};
use super::handle::Journal;

/// The time stands in a frame at least this often, so that it never runs back by more across a restart.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// A group may gather for as long as so many writes take while threads have work to do,
const GATHER_WRITES: u32 = 3;
/// but not longer.
const MAX_GATHER_TIME: Duration = Duration::from_millis(1);
/// Frames that must fit before changes are refused for lack of room.
const RESERVE_FRAMES: u64 = 2;

/// The engine's time and the system's since its boot, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameTime {
    /// Since the beginning of 2020.
    pub time_nanos: u64,
    /// Since the boot.
    pub boot_nanos: u64,
}

/// Tells the time for a frame.
pub type TimeSource = Box<dyn Fn() -> FrameTime + Send>;
pub(super) struct Writer {
    pub(super) journal: Arc<Journal>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) files: Arc<Files>,
    pub(super) durability: Durability,
    pub(super) boot_id: [u8; 16],
    pub(super) time: TimeSource,
    pub(super) file: JournalFile,
    pub(super) next_frame: u64,
    /// All frames below this one are durable.
    pub(super) durable_below: u64,
    pub(super) buffer: PageBuffer,
    /// Records in the buffer.
    pub(super) records: usize,
    /// Records ever taken of each slot.
    pub(super) taken: Vec<u64>,
    pub(super) last_frame_at: Instant,
    /// How long the last frame took to write.
    pub(super) last_write: Duration,
    pub(super) last_sync_at: Instant,
    /// Set when the journal is to end.
    pub(super) stopped: Arc<AtomicBool>,
}

/// How a file is opened in a mode.
pub(super) fn access(durability: Durability) -> Access {
    match durability {
        Durability::Sync => Access::DirectSynced,
        Durability::Interval { .. } | Durability::None => Access::Buffered,
    }
}

/// A buffer for the largest frame.
pub(super) fn frame_buffer() -> io::Result<PageBuffer> {
    PageBuffer::new(MAX_FRAME_BYTES)
}

impl Writer {
    /// Writes until the journal ends or the disk fails. Answers with itself, for the last frame.
    pub(super) fn run(mut self) -> Self {
        loop {
            self.journal.stats.turn();
            // Looked at first: what was pushed before the stop is in this group.
            let last = self.stopped.load(Ordering::SeqCst);
            let group = self.journal.queues.begin_group();
            if let Err(error) = self.write_group(group) {
                self.journal.poison("the journal could not be written", &error);
            }
            if last || self.journal.is_poisoned() {
                return self;
            }
            // Ends at once if a thread ran out of work since the group began: it waits for this one.
            std::thread::park_timeout(self.pause());
        }
    }

    /// Whether the writer should not wait for anybody any more.
    fn is_stopping(&self) -> bool {
        self.stopped.load(Ordering::SeqCst) || self.journal.is_poisoned()
    }

    /// How long until the writer has something to do by itself. Threads that have work make more records for the
    /// next group meanwhile, and it is given time to gather them: a sync costs the processor as much as seven
    /// leases (52 µs). As long as one write makes 8 % more leases a second with 64 connections than none; three writes make
    /// not more of them, but 7 % more with 512, and the p99 at half of these rates is the same.
    fn pause(&self) -> Duration {
        if self.journal.queues.all_pending() > 0 {
            return (GATHER_WRITES * self.last_write).min(MAX_GATHER_TIME);
        }
        let clock = CLOCK_INTERVAL.saturating_sub(self.last_frame_at.elapsed());
        let sync = match self.durability {
            Durability::Interval { sync_interval_ms } if self.durable_below < self.next_frame => {
                Duration::from_millis(sync_interval_ms.into()).saturating_sub(self.last_sync_at.elapsed())
            }
            _ => clock,
        };
        clock.min(sync).max(Duration::from_millis(1))
    }

    /// Takes all that changed before the group began, writes it, and says so.
    fn write_group(&mut self, group: u64) -> io::Result<()> {
        let journal = Arc::clone(&self.journal);
        for slot in 0..journal.queues.slots() {
            journal.queues.take_changed(Slot(slot), || self.take(slot))?;
        }
        if self.records > 0 || self.last_frame_at.elapsed() >= CLOCK_INTERVAL {
            self.write_frame(false)?;
        }
        if self.is_sync_due() {
            self.sync()?;
        }
        self.check_free_space();
        if self.journal.is_poisoned() {
            return Ok(());
        }
        journal.queues.commit(group, &self.taken, |slot| journal.wake_slot(slot));
        Ok(())
    }

    fn take(&mut self, slot: usize) -> io::Result<()> {
        let mut taken = self.taken[slot];
        loop {
            let (journal, buffer, records) = (&self.journal, &mut self.buffer, &mut self.records);
            let free_bytes = (MAX_FRAME_RECORDS - *records) as u64;
            journal.queues.take(Slot(slot), free_bytes, &mut taken, |record| {
                put_record(buffer, *records, &record);
                *records += 1;
            });
            self.taken[slot] = taken;
            if self.records < MAX_FRAME_RECORDS {
                return Ok(());
            }
            self.write_frame(false)?;
        }
    }

    /// Writes the records in the buffer as a frame.
    fn write_frame(&mut self, clean: bool) -> io::Result<()> {
        if (frame_bytes(self.records) as u64) > self.file.free_bytes() {
            self.next_file()?;
        }
        self.seal_and_write(clean)
    }

    fn seal_and_write(&mut self, clean: bool) -> io::Result<()> {
        let time = (self.time)();
        let head = FrameHead {
            file_sequence: self.file.sequence,
            sequence: self.next_frame,
            durable_below: self.durable_below,
            epoch: 0,
            time_nanos: time.time_nanos,
            boot_nanos: time.boot_nanos,
            records: self.records as u32,
            clean,
        };
        let bytes = head.seal(&mut self.buffer);
        let started = Instant::now();
        let durable = loop {
            match self.file.append(&self.buffer[..bytes]) {
                Ok(durable) => break durable,
                // No block of the file is new, but a file system may still need one for an overwrite. Nobody
                // waits for that at the end: what is not written was not confirmed.
                Err(error) if files::is_storage_full(&error) && !self.is_stopping() => {
                    self.wait_for_room();
                }
                Err(error) => return Err(error),
            }
        };
        self.next_frame += 1;
        if durable {
            self.durable_below = self.next_frame;
            self.journal.stats.synced(started.elapsed());
        }
        self.journal.stats.wrote(bytes as u64, self.records as u64);
        self.records = 0;
        self.last_frame_at = Instant::now();
        self.last_write = self.last_frame_at.duration_since(started);
        Ok(())
    }

    fn wait_for_room(&self) {
        self.journal.set_full(true);
        self.journal.stats.turn();
        std::thread::sleep(Duration::from_millis(ROOM_RETRY_MS));
    }

    fn is_sync_due(&self) -> bool {
        if self.durable_below == self.next_frame {
            return false;
        }
        match self.durability {
            Durability::Sync => true,
            Durability::Interval { sync_interval_ms } => {
                self.last_sync_at.elapsed() >= Duration::from_millis(sync_interval_ms.into())
            }
            Durability::None => false,
        }
    }

    fn sync(&mut self) -> io::Result<()> {
        let started = Instant::now();
        self.file.sync()?;
        self.durable_below = self.next_frame;
        self.last_sync_at = Instant::now();
        self.journal.stats.synced(started.elapsed());
        Ok(())
    }

    /// Goes on in the next file. The records in the buffer are kept for it.
    fn next_file(&mut self) -> io::Result<()> {
        if self.durable_below < self.next_frame {
            // A file's beginning says that the one before it is whole.
            self.sync()?;
        }
        let Some(spare) = self.files.take_spare(&self.journal, &self.stopped) else {
            return Err(io::Error::other("the daemon ended before there was room for the last records"));
        };
        let closed = self.file.sequence;
        let head = Head {
            file_sequence: closed + 1,
            first_frame: self.next_frame,
            boot_id: self.boot_id,
            file_bytes: self.files.file_bytes,
        };
        self.file = self.start_file(&spare, &head)?;
        self.write_time()?;
        self.files.closed(closed);
        Ok(())
    }

    fn start_file(&self, spare: &Path, head: &Head) -> io::Result<JournalFile> {
        let access = access(self.durability);
        loop {
            match JournalFile::start(Arc::clone(&self.disk), &self.files.dir, spare, head, access) {
                // Nothing was renamed yet.
                Err(error) if files::is_storage_full(&error) && !self.is_stopping() => {
                    self.wait_for_room();
                }
                result => return result,
            }
        }
    }

    /// Begins a file with a frame of its own, durably: the time must outlive the files before. The records
    /// in the buffer are kept.
    pub(super) fn write_time(&mut self) -> io::Result<()> {
        let mut kept = PageBuffer::new(frame_bytes(0))?;
        std::mem::swap(&mut kept, &mut self.buffer);
        let kept_records = std::mem::take(&mut self.records);
        self.seal_and_write(false)?;
        self.buffer = kept;
        self.records = kept_records;
        if self.durable_below < self.next_frame { self.sync() } else { Ok(()) }
    }

    /// Writes the last frame: the tables hold every word.
    pub(super) fn close(mut self) -> io::Result<()> {
        self.write_frame(true)?;
        self.file.sync()
    }

    /// Refuses changes while there is room for little more than those under way; and lets what can wait know
    /// earlier.
    fn check_free_space(&self) {
        let free_bytes = self.file.free_bytes();
        let reserve = RESERVE_FRAMES * MAX_FRAME_BYTES as u64;
        self.journal.set_full(free_bytes < reserve && self.files.is_out_of_room());
        self.journal.scarce.store(self.files.is_running_low(free_bytes), Ordering::Relaxed);
    }
}
