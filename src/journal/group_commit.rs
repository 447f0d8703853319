//! The writer: one thread that takes what all queues hold, writes it as one group, and commits the group.
//!
//! While it writes, the next group gathers. So groups grow with the load.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use crate::disk::device::{Access, Disk};
use crate::disk::files;
use crate::disk::mapping::{PAGE_BYTES, PageBuffer};
use crate::sys::atomics::Ordering;
use crate::sys::slot::Slot;
use crate::sys::sync::{Instant, thread};

use super::checkpointer::{Files, ROOM_RETRY_MS};
use super::durability::Durability;
use super::file::JournalFile;
use super::frame::{
    FrameHead, Head, MAX_FRAME_BYTES, MAX_FRAME_RECORDS, encoded_records, frame_bytes, put_encoded,
};
use super::frame_time::FrameTime;
use super::handle::Journal;
use super::replica::Replica;
use super::ring::QUEUE_RECORDS;

/// A frame records the time at least this often. It bounds how far the time can run back across a restart.
const CLOCK_INTERVAL: Duration = Duration::from_secs(1);
/// While threads have work to do, a group gathers for as long as this many writes take,
const GATHER_WRITES: u32 = 3;
/// but no longer than this.
const MAX_GATHER_TIME: Duration = Duration::from_millis(1);
/// The most records that one call makes, in a single batch.
const LARGEST_BATCH_RECORDS: usize = 65_536;
/// The part of a file that the reserve may take for the largest batches.
const BATCHES_FILE_SHARE: u64 = 4;

/// Returns the time for a frame.
pub type TimeSource = Box<dyn Fn() -> FrameTime + Send>;
pub(super) struct Writer {
    pub(super) journal: Arc<Journal>,
    pub(super) disk: Arc<dyn Disk>,
    pub(super) files: Arc<Files>,
    pub(super) durability: Durability,
    pub(super) boot_id: [u8; 16],
    pub(super) time: TimeSource,
    /// Where records stand before they are written here.
    pub(super) replica: Option<Arc<dyn Replica>>,
    /// See [`reserve_bytes`].
    pub(super) reserve_bytes: u64,
    pub(super) file: JournalFile,
    /// Whether the last frame of the file has no records: a later time is written over it.
    pub(super) last_is_time: bool,
    pub(super) next_frame: u64,
    /// The last frame with records.
    pub(super) last_with_records: u64,
    /// All frames below this one are durable.
    pub(super) durable_below: u64,
    pub(super) buffer: PageBuffer,
    /// Records in the buffer.
    pub(super) records: usize,
    /// Records taken from each slot so far.
    pub(super) taken: Vec<u64>,
    pub(super) last_frame_at: Instant,
    /// How long the last frame took to write.
    pub(super) last_write: Duration,
    pub(super) last_sync_at: Instant,
    /// Set when the journal must stop.
    pub(super) stopped: Arc<AtomicBool>,
}

/// How the file is opened in a durability mode.
pub(super) fn access(durability: Durability) -> Access {
    match durability {
        Durability::Sync => Access::DirectSynced,
        Durability::Interval { .. } | Durability::None => Access::Buffered,
    }
}

/// Bytes of the frames that hold this many records.
fn frames_bytes(records: usize) -> u64 {
    (frame_bytes(records) + records.div_ceil(MAX_FRAME_RECORDS) * PAGE_BYTES) as u64
}

/// The least [`reserve_bytes`]: what all queues can hold, and a frame of what the writer has taken already and
/// of what calls under way still change.
pub(super) fn least_reserve_bytes(slots: usize) -> u64 {
    frames_bytes(slots * QUEUE_RECORDS) + MAX_FRAME_BYTES as u64
}

/// With fewer free bytes than this, and no other file nor space for one, changes are refused. All that was
/// changed until then can be written, so that reads of it get their answers. If the files are large, that
/// includes the rest of the largest batches.
pub(super) fn reserve_bytes(slots: usize, file_bytes: u64) -> u64 {
    let least = least_reserve_bytes(slots);
    let with_batches = least + frames_bytes(slots * LARGEST_BATCH_RECORDS);
    least.max(with_batches.min(file_bytes / BATCHES_FILE_SHARE))
}

/// A buffer for the largest frame.
pub(super) fn frame_buffer() -> io::Result<PageBuffer> {
    PageBuffer::new(MAX_FRAME_BYTES)
}

impl Writer {
    /// Writes until the journal stops or the disk fails. Returns itself for the last frame.
    pub(super) fn run(mut self) -> Self {
        loop {
            self.journal.stats.turn();
            // Read first, so that this group has all that was pushed before the stop.
            let last = self.stopped.load(Ordering::SeqCst);
            let group = self.journal.queues.begin_group();
            self.journal.stats.begin_write();
            if let Err(error) = self.write_group(group) {
                self.journal.poison("the journal could not be written", &error);
            }
            self.journal.stats.end_write();
            if last || self.journal.is_poisoned() {
                return self;
            }
            if self.journal.queues.is_later_wanted(group) {
                continue;
            }
            // Returns at once if a thread ran out of work since the group began: it waits for the next one.
            thread::park_timeout(self.pause());
        }
    }

    /// Whether the writer must not wait any more.
    fn is_stopping(&self) -> bool {
        self.stopped.load(Ordering::SeqCst) || self.journal.is_ending() || self.journal.is_poisoned()
    }

    /// How long the writer sleeps unless a thread wakes it. While threads have work, the next group gets time
    /// to gather their records: a sync costs the processor as much as several leases, so larger groups make
    /// more leases per second. A gathering time of a few writes does not raise the p99 at moderate load.
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

    /// Takes all that changed before the group began, writes it, and commits the group.
    fn write_group(&mut self, group: u64) -> io::Result<()> {
        let journal = Arc::clone(&self.journal);
        for slot in 0..journal.queues.slots() {
            journal.queues.take_changed(Slot(slot), || self.take(slot))?;
        }
        if self.records > 0 {
            self.write_frame(false)?;
        } else if self.last_frame_at.elapsed() >= CLOCK_INTERVAL {
            self.record_time()?;
        }
        if self.is_sync_due() {
            self.sync()?;
        }
        self.check_free_space();
        if self.journal.is_poisoned() {
            return Ok(());
        }
        // First, so that who sees the group sees its frames.
        journal.publish(self.last_with_records);
        journal.queues.commit(group, &self.taken, |slot| journal.wake_slot(slot));
        journal.wake_follower();
        Ok(())
    }

    fn take(&mut self, slot: usize) -> io::Result<()> {
        let mut taken = self.taken[slot];
        loop {
            let (journal, buffer, records) = (&self.journal, &mut self.buffer, &mut self.records);
            let free_bytes = (MAX_FRAME_RECORDS - *records) as u64;
            journal.queues.take(Slot(slot), free_bytes, &mut taken, |record| {
                put_encoded(buffer, *records, record);
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
        self.seal_and_write(clean)?;
        // Within the group, so that changes are refused before a large one takes the reserve.
        self.check_free_space();
        Ok(())
    }

    /// Records the time. It takes no space beyond one frame: the next time is written over it. The two differ
    /// in one sector, so a torn write leaves one of them.
    fn record_time(&mut self) -> io::Result<()> {
        if self.last_is_time {
            return self.put_frame(false, true);
        }
        if (frame_bytes(0) as u64) > self.file.free_bytes() && !self.files.has_spare() {
            // No space and nothing to confirm. The next file begins with the time.
            self.last_frame_at = Instant::now();
            return Ok(());
        }
        self.write_frame(false)
    }

    fn seal_and_write(&mut self, clean: bool) -> io::Result<()> {
        self.put_frame(clean, false)
    }

    /// Writes the records in the buffer as the next frame, or the time over the last frame.
    fn put_frame(&mut self, clean: bool, over_last: bool) -> io::Result<()> {
        let time = (self.time)();
        self.replicate(time)?;
        let sequence = self.next_frame - u64::from(over_last);
        let head = FrameHead {
            file_sequence: self.file.sequence,
            sequence,
            durable_below: self.durable_below.min(sequence),
            epoch: 0,
            time_nanos: time.time_nanos,
            boot_nanos: time.boot_nanos,
            records: self.records as u32,
            clean,
        };
        let bytes = head.seal(&mut self.buffer);
        let started = Instant::now();
        let durable = loop {
            let frame = &self.buffer[..bytes];
            let written = if over_last { self.file.rewrite_last(frame) } else { self.file.append(frame) };
            match written {
                Ok(durable) => break durable,
                // The file's blocks exist, but a file system may still need a new one for an overwrite. At
                // the stop there is no waiting: what is not written was not confirmed.
                Err(error) if files::is_shortage(&error) && !self.is_stopping() => {
                    self.wait_for_room(&error);
                }
                Err(error) => return Err(error),
            }
        };
        self.next_frame = sequence + 1;
        self.last_is_time = self.records == 0;
        if self.records > 0 {
            self.last_with_records = sequence;
        }
        if durable {
            self.durable_below = self.next_frame;
            self.journal.stats.synced(started.elapsed());
            self.tell_durable();
        } else {
            self.durable_below = self.durable_below.min(sequence);
        }
        self.journal.stats.wrote(bytes as u64, self.records as u64);
        self.records = 0;
        self.last_frame_at = Instant::now();
        self.last_write = self.last_frame_at.duration_since(started);
        Ok(())
    }

    /// Commits the records in the buffer to the log of other machines, if there is one.
    fn replicate(&self, time: FrameTime) -> io::Result<()> {
        match &self.replica {
            Some(replica) if self.records > 0 => {
                let records = encoded_records(&self.buffer, self.records);
                replica.commit(&records, time, &|| self.journal.stats.turn())
            }
            _ => Ok(()),
        }
    }

    fn wait_for_room(&self, error: &io::Error) {
        if files::is_storage_full(error) {
            self.files.has_no_room_for_frame();
            self.journal.set_full(true);
        }
        self.journal.stats.turn();
        thread::sleep(Duration::from_millis(ROOM_RETRY_MS));
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
        self.tell_durable();
        Ok(())
    }

    fn tell_durable(&self) {
        if let Some(replica) = &self.replica {
            replica.is_durable();
        }
    }

    /// Switches to the next file. The records in the buffer are kept for it.
    fn next_file(&mut self) -> io::Result<()> {
        if self.durable_below < self.next_frame {
            // A file that is begun implies that the one before it is whole.
            self.sync()?;
        }
        let Some(spare) = self.files.take_spare(&self.journal, &self.stopped) else {
            return Err(io::Error::other("the daemon stopped before there was space for the last records"));
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
        // All of it is durable. A checkpoint waits for who follows it.
        self.journal.publish(self.last_with_records);
        self.journal.wake_follower();
        self.files.closed(closed);
        Ok(())
    }

    fn start_file(&self, spare: &Path, head: &Head) -> io::Result<JournalFile> {
        let access = access(self.durability);
        loop {
            match JournalFile::start(Arc::clone(&self.disk), &self.files.dir, spare, head, access) {
                // Nothing is renamed yet, so the start can be retried.
                Err(error) if files::is_shortage(&error) && !self.is_stopping() => {
                    self.wait_for_room(&error);
                }
                result => return result,
            }
        }
    }

    /// Writes the first frame of a file, durably and without records: the time must outlive the older files.
    /// The records in the buffer are kept.
    pub(super) fn write_time(&mut self) -> io::Result<()> {
        let mut kept = PageBuffer::new(frame_bytes(0))?;
        std::mem::swap(&mut kept, &mut self.buffer);
        let kept_records = std::mem::take(&mut self.records);
        self.seal_and_write(false)?;
        self.buffer = kept;
        self.records = kept_records;
        if self.durable_below < self.next_frame { self.sync() } else { Ok(()) }
    }

    /// Writes the last frame, which says that the tables hold every word.
    pub(super) fn close(mut self) -> io::Result<()> {
        if frame_bytes(self.records) as u64 > self.file.free_bytes() {
            self.files.ensure_spare()?;
        }
        self.write_frame(true)?;
        self.file.sync()
    }

    /// Refuses changes while there is space for little more than those under way. Sets the low-space flag
    /// earlier, so that work that can wait does.
    fn check_free_space(&self) {
        let free_bytes = self.file.free_bytes();
        let is_low = free_bytes < self.reserve_bytes;
        if is_low || self.journal.is_full() {
            self.journal.set_full(self.files.refuses(is_low));
        }
        self.journal.scarce.store(self.files.is_running_low(free_bytes), Ordering::Relaxed);
    }
}
