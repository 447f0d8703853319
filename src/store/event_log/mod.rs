//! The files of the changes that are kept for those who follow them.
//!
//! ```text
//! events/0000000000000001.events    batches, one after another; the newest file is the one being written
//! events/unfinished                 there while changes are made of which some may not be in the journal
//! ```
//!
//! `event_batch` has the format. Each pool's events have sequence numbers of their own, without a hole. Those of a
//! pool without any begin at the time of the journal's last frame since 2020, in units of 128 ns, which is less than
//! an event takes. Those of a log that begins anew begin a second after that time. The time of a frame never runs
//! back, whatever the wall clock does: so a position of an earlier log, as of a restored data directory, is never taken
//! for one of this log. That holds only for times that a durable frame has, so the first file is made after the frame
//! that each start of the journal writes. The log itself is not synced before the daemon ends: after a loss of power
//! it begins anew, which a reader learns from its position being gone.
//!
//! Nothing that a reply confirms depends on the log. So it is on the plain disk: what cannot be written is tried again,
//! and what cannot be used is forgotten.
//!
//! * `keep`: how much is kept. `files`: what is known of the files. `load`: reads those of an earlier process.
//! * `read`: one reader's place.

mod files;
mod load;
mod read;
mod retention;
mod unusable;

use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use crate::disk::device::Disk;
use crate::sys::sync::{Mutex, MutexGuard};

use super::event_batch::{self, BatchHead, NO_POOL, RawEvent};
use files::{FIRST_SHIFT, Inner, LogFile};

pub use files::{Cursor, Kept};
pub use retention::{Keep, MAX_KEPT_HOURS, MIN_KEPT_BYTES, NotAKeep};
pub use unusable::Unusable;

/// The parts that what is kept is removed in.
const PARTS: u64 = 16;
const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// How much later than all before it a log begins anew: one frame may have more events than its time has units.
const ANEW_NANOS: u64 = NANOS_PER_SECOND;
/// Most events of a batch.
const MAX_BATCH_EVENTS: u64 = 4_096;
const SUFFIX: &str = ".events";
const UNFINISHED: &str = "unfinished";

/// The events of one pool in a batch: its id, the names, and the events.
pub type PoolBatch = (u64, Vec<String>, Vec<RawEvent>);

/// The log.
pub struct EventLog {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    keep: Keep,
    boot_id: [u8; 16],
    /// Held while the files change, with a buffer for batches.
    writing: Mutex<Vec<u8>>,
    /// Held for short: never while a file is written, made or removed, as readers wait for it.
    inner: Mutex<Inner>,
    /// How many changes of many numbers are under way.
    unfinished: Mutex<u64>,
}

impl EventLog {
    /// The log of a data directory, empty: see [`Self::load`].
    pub fn new(disk: &Arc<dyn Disk>, dir: &Path, keep: Keep, boot_id: [u8; 16]) -> Self {
        let inner = Inner { is_anew: true, ..Inner::default() };
        Self {
            disk: Arc::clone(disk),
            dir: dir.to_owned(),
            keep,
            boot_id,
            writing: Mutex::default(),
            inner: Mutex::new(inner),
            unfinished: Mutex::default(),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, Vec<u8>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unfinished(&self) -> MutexGuard<'_, u64> {
        self.unfinished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// All frames of the journal up to this one are in the log; 0 for none.
    pub fn covered(&self) -> u64 {
        self.inner().covered
    }

    /// Begins anew after a frame of the journal: what came before is gone.
    pub fn reset(&self, covered: u64) {
        let mut inner = self.inner();
        let frame_nanos = inner.frame_nanos;
        let used = inner.after_all().max(frame_nanos.saturating_add(ANEW_NANOS) >> FIRST_SHIFT);
        *inner = Inner { covered, used, frame_nanos, is_anew: true, ..Inner::default() };
    }

    /// Notes the time of a frame, in nanoseconds since 2020. It is durable before a file of the log is made and before
    /// a position is told.
    pub fn note_frame_time(&self, frame_nanos: u64) {
        let mut inner = self.inner();
        inner.frame_nanos = inner.frame_nanos.max(frame_nanos);
    }

    /// The words of the last batch, the largest of each pool and key: some of them may stand in frames after those
    /// that are covered.
    pub fn take_last_words(&self) -> std::collections::HashMap<(u64, u64), u64> {
        std::mem::take(&mut self.inner().last_words)
    }

    /// The frames up to this one have nothing to keep that is not in the log.
    pub fn cover(&self, frame: u64) {
        self.inner().covered = frame;
    }

    /// Writes down up to which frame the log has everything.
    pub fn settle(&self) -> io::Result<()> {
        let mut buffer = self.writing();
        let (covered, is_written) = {
            let inner = self.inner();
            (inner.covered, inner.covered == inner.written)
        };
        if is_written {
            return Ok(());
        }
        event_batch::begin(&mut buffer);
        self.write(&mut buffer, covered, false)
    }

    /// Most events that are to be appended at once: what a reader takes at once, and no more than a file has.
    pub fn events_per_batch(&self) -> usize {
        (self.keep.bytes / PARTS / event_batch::EVENT_BYTES as u64).min(MAX_BATCH_EVENTS) as usize
    }

    /// Appends a batch: the events of each pool, which bring the log up to a frame of the journal. `exists` tells
    /// whether there is such a pool.
    pub fn append(
        &self,
        covered: u64,
        pools: &[PoolBatch],
        now_nanos: u64,
        exists: &dyn Fn(u64) -> bool,
    ) -> io::Result<()> {
        let mut buffer = self.writing();
        self.maintain(&mut buffer, now_nanos, exists)?;
        event_batch::begin(&mut buffer);
        for (pool, names, events) in pools {
            let next = self.kept(*pool).next;
            event_batch::put(&mut buffer, *pool, next, names, events);
        }
        self.write(&mut buffer, covered, false)
    }

    /// Completes the batch in the buffer, appends it to the newest file, and shows it to readers.
    fn write(&self, buffer: &mut [u8], covered: u64, is_clean: bool) -> io::Result<()> {
        let newest = self.inner().files.back().map(|newest| (Arc::clone(&newest.file), newest.bytes));
        let Some((file, offset)) = newest else { return Ok(()) };
        self.seal(buffer, covered, is_clean);
        self.disk.write_at(&file, buffer, offset)?;
        self.show(buffer, covered, |inner| inner.files.back_mut());
        Ok(())
    }

    fn seal(&self, buffer: &mut [u8], covered: u64, is_clean: bool) {
        event_batch::seal(buffer, BatchHead { length: 0, is_clean, covered, boot_id: self.boot_id });
    }

    /// Shows a batch that is written to readers.
    fn show(&self, buffer: &[u8], covered: u64, file: impl FnOnce(&mut Inner) -> Option<&mut LogFile>) {
        let mut inner = self.inner();
        (inner.covered, inner.written) = (covered, covered);
        let sections: Vec<_> =
            event_batch::sections(buffer).filter(|section| section.pool != NO_POOL).collect();
        for section in &sections {
            inner.next.insert(section.pool, section.first_seq + section.events().len() as u64);
        }
        if let Some(file) = file(&mut inner) {
            for section in &sections {
                file.index(file.bytes, section);
            }
            file.bytes += buffer.len() as u64;
        }
    }

    /// Begins the next file if it is time, and removes what is over the bounds.
    fn maintain(&self, buffer: &mut Vec<u8>, now_nanos: u64, exists: &dyn Fn(u64) -> bool) -> io::Result<()> {
        let file_bytes = self.keep.bytes / PARTS;
        let file_seconds = u64::from(self.keep.seconds) / PARTS;
        let now_seconds = now_nanos / NANOS_PER_SECOND;
        let is_over = self.inner().files.back().is_none_or(|newest| {
            let is_old = |at| now_seconds > u64::from(at) + file_seconds;
            newest.bytes >= file_bytes || newest.first_at.is_some_and(is_old)
        });
        if is_over {
            self.begin_file(buffer, exists)?;
        }
        loop {
            let oldest = {
                let inner = self.inner();
                let bytes: u64 = inner.files.iter().map(|file| file.bytes).sum();
                let is_old = |at: u32| now_seconds > u64::from(at) + u64::from(self.keep.seconds);
                // The file being written grows by its part.
                let is_over = bytes + file_bytes > self.keep.bytes
                    || inner.files.front().is_some_and(|oldest| is_old(oldest.last_at));
                let oldest = inner.files.front().filter(|_| is_over && inner.files.len() > 1);
                oldest.map(|oldest| oldest.path.clone())
            };
            let Some(path) = oldest else { return Ok(()) };
            self.remove(&path)?;
            // Only once it is removed: what is kept on the disk is bounded.
            self.inner().files.pop_front();
        }
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        match self.disk.remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Begins a file, with the next sequence number of each pool.
    fn begin_file(&self, buffer: &mut Vec<u8>, exists: &dyn Fn(u64) -> bool) -> io::Result<()> {
        let is_anew = self.inner().is_anew;
        if is_anew {
            self.disk.create_directories(&self.dir)?;
            self.listed()?.iter().try_for_each(|(_, path)| self.remove(path))?;
            if *self.unfinished() == 0 {
                self.remove(&self.dir.join(UNFINISHED))?;
            }
        }
        event_batch::begin(buffer);
        let (sequence, covered) = {
            let mut inner = self.inner();
            inner.is_anew = false;
            inner.next.retain(|pool, _| exists(*pool));
            // A log that began anew may end before it has an event.
            event_batch::put(buffer, NO_POOL, inner.used, &[], &[]);
            for (pool, next) in &inner.next {
                event_batch::put(buffer, *pool, *next, &[], &[]);
            }
            (inner.files.back().map_or(1, |newest| newest.sequence + 1), inner.covered)
        };
        let path = self.dir.join(format!("{sequence:016}{SUFFIX}"));
        // One whose first batch could not be written.
        self.remove(&path)?;
        let file = Arc::new(self.disk.create(&path)?);
        self.seal(buffer, covered, false);
        self.disk.write_at(&file, buffer, 0)?;
        self.show(buffer, covered, |inner| {
            inner.files.push_back(LogFile::new(sequence, path, file));
            inner.files.back_mut()
        });
        Ok(())
    }

    /// Removes what is too old.
    pub fn tidy(&self, now_nanos: u64, exists: &dyn Fn(u64) -> bool) -> io::Result<()> {
        let mut buffer = self.writing();
        if self.inner().files.iter().all(|file| file.first_at.is_none()) {
            return Ok(());
        }
        self.maintain(&mut buffer, now_nanos, exists)
    }

    /// Begins a file of this process: what an earlier one left is not written over.
    pub fn begin(&self, exists: &dyn Fn(u64) -> bool) -> io::Result<()> {
        self.begin_file(&mut self.writing(), exists)
    }

    /// Notes that changes begin of which a kill may leave some out of the journal: the next start then begins anew.
    pub fn begin_unfinished(&self) -> io::Result<()> {
        let mut unfinished = self.unfinished();
        if *unfinished == 0 {
            match self.disk.create(&self.dir.join(UNFINISHED)) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
                _ => {}
            }
        }
        *unfinished += 1;
        Ok(())
    }

    /// Notes that all of them are in the journal, or that they were not made.
    pub fn end_unfinished(&self) {
        let mut unfinished = self.unfinished();
        *unfinished -= 1;
        if *unfinished == 0 {
            // If it stays, the next start begins anew.
            let _ = self.remove(&self.dir.join(UNFINISHED));
        }
    }

    /// Makes the log durable. Nothing is appended after it.
    pub fn close(&self) -> io::Result<()> {
        let mut buffer = self.writing();
        let files: Vec<_> = self.inner().files.iter().map(|file| Arc::clone(&file.file)).collect();
        files.iter().try_for_each(|file| self.disk.sync(file))?;
        event_batch::begin(&mut buffer);
        self.write(&mut buffer, self.covered(), true)?;
        files.last().map_or(Ok(()), |newest| self.disk.sync(newest))?;
        self.disk.sync_directory(&self.dir)
    }

    /// What is kept of a pool.
    pub fn kept(&self, pool: u64) -> Kept {
        let mut inner = self.inner();
        let next = inner.next_of(pool);
        inner.next.insert(pool, next);
        let oldest = inner.files.iter().find_map(|file| file.pools.get(&pool)).map_or(next, |found| found.0);
        Kept { oldest, next }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.inner().files.iter().map(|file| file.bytes).sum()
    }
}

#[cfg(test)]
mod tests {
    use crate::disk::device::RealDisk;

    use super::*;

    const POOL: u64 = 1;

    fn log(dir: &Path, boot: u8) -> EventLog {
        let disk: Arc<dyn Disk> = Arc::new(RealDisk);
        EventLog::new(&disk, dir, Keep { bytes: MIN_KEPT_BYTES, seconds: 3600 }, [boot; 16])
    }

    /// Appends events of a pool. Returns the position after them.
    fn append(log: &EventLog, count: usize) -> u64 {
        let event = RawEvent {
            number: 1,
            word: 1,
            at_seconds: 1,
            kind: event_batch::ROUND_KIND,
            outcome: 0,
            holder: 0,
        };
        let events = (0..count).map(|_| event).collect();
        log.append(1, &[(POOL, Vec::new(), events)], NANOS_PER_SECOND, &|_| true).unwrap();
        log.kept(POOL).next
    }

    #[test]
    fn a_position_is_not_given_out_again_though_the_clock_was_set_back() {
        let dir = tempfile::tempdir().unwrap();
        let before = log(dir.path(), 1);
        before.note_frame_time(100 * NANOS_PER_SECOND);
        let next = append(&before, 1_000);

        // The files are there.
        let after = log(dir.path(), 2);
        assert!(matches!(after.load(), Err(Unusable::PowerLost)));
        after.reset(1);
        assert!(after.kept(POOL).oldest > next);

        // Only the journal is.
        let after = log(&dir.path().join("empty"), 2);
        assert!(matches!(after.load(), Err(Unusable::Empty)));
        after.note_frame_time(100 * NANOS_PER_SECOND);
        after.reset(1);
        assert!(after.kept(POOL).oldest > next);
        let again = append(&after, 1);
        after.reset(1);
        assert!(after.kept(POOL).oldest > again, "it begins anew while it runs");
    }

    #[test]
    fn a_reader_of_before_is_told_that_the_log_has_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let log = log(dir.path(), 1);
        let mut behind = Cursor::new(POOL, log.kept(POOL).oldest);
        let mut at_end = Cursor::new(POOL, append(&log, 3));
        let read = |cursor: &mut Cursor| log.read(cursor, &mut |_, _, _| true).map_err(|error| error.kind());
        assert_eq!(read(&mut behind), Ok(true));
        assert_eq!((read(&mut behind), read(&mut at_end)), (Ok(false), Ok(false)), "nothing yet");

        log.reset(1);
        let gone = Err(io::ErrorKind::NotFound);
        assert_eq!((read(&mut behind), read(&mut at_end)), (gone, gone));
        let mut from_now_on = Cursor::new(POOL, log.kept(POOL).oldest);
        assert_eq!(read(&mut from_now_on), Ok(false));
    }

    #[test]
    fn a_log_that_ended_without_an_event_keeps_where_it_began() {
        let dir = tempfile::tempdir().unwrap();
        let before = log(dir.path(), 1);
        before.note_frame_time(100 * NANOS_PER_SECOND);
        before.reset(1);
        let begins = before.kept(POOL).oldest;
        before.begin(&|_| true).unwrap();
        before.close().unwrap();

        // The clock was set back, and no frame is known.
        let after = log(dir.path(), 2);
        after.load().unwrap();
        assert!(after.kept(POOL).oldest >= begins);
        after.begin(&|_| true).unwrap();
        assert_eq!(append(&after, 1), begins + 1);
    }
}
