//! The primary: appends entries to the log under its epoch, one at a time, in order.
//!
//! One transaction is under way at a time. What gathers meanwhile is the next entry, so entries grow with the load, and
//! the log has no holes.

use std::collections::BTreeSet;
use std::fs::File;
use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tracing::warn;

use crate::journal::frame_time::FrameTime;
use crate::journal::record::RECORD_BYTES;
use crate::journal::replica::Replica;
use crate::sys::atomics::{AtomicBool, AtomicU64, Ordering};
use crate::sys::monotonic::boot_nanos;
use crate::sys::sync::{Instant, Mutex, MutexGuard, thread};

use super::entry::{Base64, Content, Entry, FileChange, FileReference};
use super::log::{Appended, Log, View};
use super::offered::Offered;

/// Pause before an append of unknown outcome is tried again.
const RETRY_PAUSE: Duration = Duration::from_millis(20);
/// How long a change of files waits for standbys to have them.
const STANDBY_PATIENCE: Duration = Duration::from_secs(60);
/// How often it looks.
const STANDBY_LOOK: Duration = Duration::from_millis(20);

/// What this member has appended.
#[derive(Debug)]
struct Appending {
    /// The sequence of the next entry.
    next: u64,
    /// Changes of files that are in the log and not yet on this disk.
    pending: BTreeSet<u64>,
}

/// The primary of a cluster.
#[derive(Debug)]
pub struct Primary {
    log: Arc<dyn Log>,
    epoch: u64,
    /// How long before the end of its keys this member stops, in nanoseconds.
    margin_nanos: u64,
    /// Held while an entry is appended: the log has an order, and this is it. Nothing that an append waits for takes it.
    appending: Mutex<Appending>,
    /// The last entry that is in the log.
    committed: AtomicU64,
    /// The last entry of records, and the last that is durable in the journal.
    records: AtomicU64,
    durable_records: AtomicU64,
    /// The last change of files that is on this disk.
    files: AtomicU64,
    /// Bytes of all entries.
    bytes: AtomicU64,
    /// Set once no change of files may begin any more, and once none may wait for standbys any more.
    refuses_files: AtomicBool,
    ends_waits: AtomicBool,
    /// Set once this member may not answer any more.
    has_ended: AtomicBool,
    /// The files that entries name.
    pub offered: Offered,
}

/// The error of an append that comes too late.
fn deposed() -> io::Error {
    io::Error::other(
        "another member is primary, or the log cannot be reached: nothing more is confirmed here",
    )
}

impl Primary {
    /// A primary that goes on after the entry `last`. It stops `margin` before its keys can have ended.
    pub fn new(log: Arc<dyn Log>, epoch: u64, last: u64, margin: Duration) -> Self {
        Self {
            log,
            epoch,
            margin_nanos: u64::try_from(margin.as_nanos()).unwrap_or(u64::MAX),
            appending: Mutex::new(Appending { next: last + 1, pending: BTreeSet::new() }),
            committed: AtomicU64::new(last),
            records: AtomicU64::new(last),
            durable_records: AtomicU64::new(last),
            files: AtomicU64::new(last),
            bytes: AtomicU64::new(0),
            refuses_files: AtomicBool::new(false),
            ends_waits: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            offered: Offered::default(),
        }
    }

    /// Its epoch.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn Log> {
        &self.log
    }

    /// The last entry that is in the log.
    pub fn committed(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }

    /// The last change of files that this directory has.
    pub fn files(&self) -> u64 {
        self.files.load(Ordering::SeqCst)
    }

    /// All entries up to this one are durable in this directory.
    pub fn position(&self) -> u64 {
        let appending = self.lock();
        let durable = self.durable_records.load(Ordering::SeqCst);
        let of_records =
            if durable >= self.records.load(Ordering::SeqCst) { self.committed() } else { durable };
        appending.pending.first().map_or(of_records, |first| of_records.min(first - 1))
    }

    /// Bytes of all entries that it has appended.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Whether its key stands for certain: it may answer.
    pub fn may_answer(&self) -> bool {
        !self.has_ended.load(Ordering::SeqCst) && self.left_nanos() > 0
    }

    /// How long it may still answer, in nanoseconds.
    pub fn left_nanos(&self) -> u64 {
        self.log.stands_until_nanos(self.epoch).saturating_sub(self.margin_nanos).saturating_sub(boot_nanos())
    }

    /// Refuses changes of files from now on: before this member stops to serve what its standbys have to fetch.
    pub fn stop_changing_files(&self) {
        self.refuses_files.store(true, Ordering::SeqCst);
    }

    /// Ends the waits for standbys. What waits is dropped by the next primary, and told to nobody.
    pub fn end_waits(&self) {
        self.ends_waits.store(true, Ordering::SeqCst);
    }

    /// Ends its answers for good.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
    }

    /// Appends the time, so that the standbys can measure it, and so that an ended epoch shows.
    pub fn tell_time(&self, time_nanos: u64) -> io::Result<u64> {
        let mut appending = self.lock();
        self.append(&mut appending, time_nanos, Content::Time, &|| ())
    }

    /// Commits a change of files, and waits until the standbys that are there have what it names. `files` are these
    /// files, in the order of the entry. [`Self::is_done`] must follow.
    pub(crate) fn change_files(
        &self,
        time_nanos: u64,
        change: FileChange,
        files: Vec<Arc<File>>,
    ) -> io::Result<u64> {
        let names_files = !files.is_empty();
        let mut appending = self.lock();
        if self.refuses_files.load(Ordering::SeqCst) {
            let what = "this member stops, or hands over: try again, at the next primary";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, what));
        }
        let sequence = appending.next;
        if names_files {
            self.offered.offer(sequence, files);
        }
        appending.pending.insert(sequence);
        let appended = self.append(&mut appending, time_nanos, Content::Files(change), &|| ());
        drop(appending);
        if let Err(error) = appended {
            self.offered.end(sequence);
            return Err(error);
        }
        if names_files {
            let waited = self.wait_for_standbys(sequence);
            self.offered.end(sequence);
            waited?;
        }
        Ok(sequence)
    }

    /// Sends a small file that this directory has to the standbys.
    pub fn send_file(&self, time_nanos: u64, path: &str, content: Vec<u8>) -> io::Result<()> {
        let (bytes, crc32c) = (content.len() as u64, crc32c::crc32c(&content));
        let file = FileReference { path: path.to_owned(), bytes, crc32c, content: Some(Base64(content)) };
        let sequence = self.change_files(time_nanos, FileChange::PutFile { file }, Vec::new())?;
        self.is_done(sequence);
        Ok(())
    }

    /// Has the standbys remove a directory that this one does not have.
    pub fn remove_directory(&self, time_nanos: u64, path: String) -> io::Result<()> {
        let sequence = self.change_files(time_nanos, FileChange::RemoveDirectory { path }, Vec::new())?;
        self.is_done(sequence);
        Ok(())
    }

    /// Whether a change of files is under way.
    pub fn is_changing_files(&self) -> bool {
        !self.lock().pending.is_empty()
    }

    /// Whether no change of files is under way, and none was done since [`Self::files`] was this.
    pub fn has_files_of(&self, files: u64) -> bool {
        let appending = self.lock();
        appending.pending.is_empty() && self.files() == files
    }

    /// A change of files is on this disk.
    pub(crate) fn is_done(&self, sequence: u64) {
        let mut appending = self.lock();
        appending.pending.remove(&sequence);
        self.files.fetch_max(sequence, Ordering::SeqCst);
    }

    /// Waits until all members that are there have applied an entry. One that takes too long is left behind: it is
    /// filled anew.
    fn wait_for_standbys(&self, sequence: u64) -> io::Result<()> {
        let begun = Instant::now();
        loop {
            let view = self.log.view();
            // One that takes a copy of all has what was there when that began.
            let able = self.standbys(&view).filter(|(id, _)| view.members.get(*id).is_some_and(|m| m.able));
            let late = able.into_iter().find(|(_, position)| *position < sequence);
            let Some((member, _)) = late else { return Ok(()) };
            if !self.may_answer() || self.ends_waits.load(Ordering::SeqCst) {
                return Err(deposed());
            }
            if begun.elapsed() >= STANDBY_PATIENCE {
                warn!(
                    event = "standby_behind",
                    member,
                    "a standby has not taken over new files in time and goes on without them: it is filled anew"
                );
                return Ok(());
            }
            self.log.wait(view.version, STANDBY_LOOK);
        }
    }

    /// The other members that are there, and how far they are.
    pub fn standbys<'a>(&'a self, view: &'a View) -> impl Iterator<Item = (&'a str, u64)> {
        let others = view.members.iter().filter(|(id, _)| id.as_str() != self.log.member());
        others.map(|(id, status)| (id.as_str(), status.position))
    }

    fn lock(&self) -> MutexGuard<'_, Appending> {
        self.appending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Appends an entry. An append of unknown outcome is repeated until it is known, or until this member may not answer
    /// any more.
    fn append(
        &self,
        appending: &mut Appending,
        time_nanos: u64,
        content: Content,
        turn: &dyn Fn(),
    ) -> io::Result<u64> {
        let sequence = appending.next;
        let bytes = Entry { epoch: self.epoch, time_nanos, content }.encode();
        loop {
            if !self.may_answer() {
                self.end();
                return Err(deposed());
            }
            match self.log.append(self.epoch, sequence, &bytes) {
                Ok(Appended::Done) => break,
                Ok(Appended::Deposed) => {
                    self.end();
                    return Err(deposed());
                }
                Ok(Appended::Taken) => match self.log.entry(sequence) {
                    // An earlier try that was not heard of.
                    Ok(Some(found)) if found == bytes => break,
                    Ok(_) => {
                        self.end();
                        return Err(deposed());
                    }
                    Err(_) => {}
                },
                Err(_) => {}
            }
            turn();
            thread::sleep(RETRY_PAUSE);
        }
        appending.next = sequence + 1;
        self.bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        self.committed.store(sequence, Ordering::SeqCst);
        Ok(sequence)
    }
}

impl Replica for Primary {
    fn may_answer(&self) -> bool {
        Self::may_answer(self)
    }

    fn commit(&self, records: &[[u8; RECORD_BYTES]], time: FrameTime, turn: &dyn Fn()) -> io::Result<()> {
        let mut appending = self.lock();
        let content = Content::Records(records.to_vec());
        let sequence = self.append(&mut appending, time.time_nanos, content, turn)?;
        self.records.store(sequence, Ordering::SeqCst);
        Ok(())
    }

    fn is_durable(&self) {
        // Only the journal's writer commits records and calls this.
        self.durable_records.store(self.records.load(Ordering::SeqCst), Ordering::SeqCst);
    }
}
