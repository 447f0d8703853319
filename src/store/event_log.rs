//! The files of the changes that are kept for those who follow them.
//!
//! ```text
//! events/0000000000000001.events    batches, one after another; the newest file is the one being written
//! ```
//!
//! `event_batch` has the format. Each pool's events have sequence numbers of their own, without a hole. Those of a
//! pool without any begin at the current second times 2^20: so a position of an earlier log, as of a restored
//! data directory, is never taken for one of this log. Nothing is synced before the daemon ends: after a loss of power
//! the log begins anew, which a reader learns from its position being gone.

use std::collections::{HashMap, VecDeque};
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::event_batch::{self, BATCH_HEAD_BYTES, BatchHead, RawEvent, Section};

/// The parts that what is kept is removed in.
const PARTS: u64 = 16;
/// The least that can be kept, in bytes.
pub const MIN_KEPT_BYTES: u64 = 64 << 10;
/// The longest that can be kept, in hours.
pub const MAX_KEPT_HOURS: u64 = 24 * 366;
/// Bytes of a file after which the place of a pool's next event is noted again.
const MARK_BYTES: u64 = 32 << 10;
/// Bytes that a reader takes at once, unless a batch is larger.
const READ_BYTES: usize = 16 << 10;
const FIRST_SHIFT: u32 = 20;
const SUFFIX: &str = ".events";

/// How much is kept: whatever is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of all files.
    pub bytes: u64,
    /// How long, in seconds.
    pub seconds: u32,
}

/// The text is not what is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give bytes and hours, such as 64MiB,24h: at least 64KiB, and 1h to {MAX_KEPT_HOURS}h")]
pub struct NotAKeep;

impl FromStr for Keep {
    type Err = NotAKeep;

    fn from_str(text: &str) -> Result<Self, NotAKeep> {
        let (bytes, hours) = text.split_once(',').ok_or(NotAKeep)?;
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)];
        let (digits, shift) = units
            .iter()
            .find_map(|(unit, shift)| Some((bytes.strip_suffix(unit)?, *shift)))
            .ok_or(NotAKeep)?;
        let number = |digits: &str| digits.trim().parse::<u64>().map_err(|_| NotAKeep);
        let bytes = number(digits)?.checked_mul(1 << shift).ok_or(NotAKeep)?;
        let hours = number(hours.trim().strip_suffix('h').ok_or(NotAKeep)?)?;
        if bytes < MIN_KEPT_BYTES || !(1..=MAX_KEPT_HOURS).contains(&hours) {
            return Err(NotAKeep);
        }
        Ok(Self { bytes, seconds: hours as u32 * 3_600 })
    }
}

/// Where a pool's events from `seq` on begin, at the latest.
struct Mark {
    pool: u64,
    seq: u64,
    offset: u64,
}

struct LogFile {
    sequence: u64,
    path: PathBuf,
    file: Arc<File>,
    /// Whole batches.
    bytes: u64,
    /// When its first and its last event happened.
    first_at: Option<u32>,
    last_at: u32,
    marks: Vec<Mark>,
    /// By pool: the first event in the file, that after the last one, and the offset of its last mark.
    pools: HashMap<u64, (u64, u64, u64)>,
}

impl LogFile {
    /// Takes a batch into the index.
    fn index(&mut self, offset: u64, section: &Section<'_>) {
        let count = section.events().len() as u64;
        if count == 0 {
            return;
        }
        let (first, end) = (section.first_seq, section.first_seq + count);
        let known = self.pools.get(&section.pool).copied();
        if known.is_none_or(|(_, _, mark)| offset >= mark + MARK_BYTES) {
            self.marks.push(Mark { pool: section.pool, seq: first, offset });
            self.pools.insert(section.pool, (known.map_or(first, |(first, ..)| first), end, offset));
        } else if let Some((_, known_end, _)) = self.pools.get_mut(&section.pool) {
            *known_end = end;
        }
        for event in section.events() {
            self.first_at = self.first_at.or(Some(event.at_seconds));
            self.last_at = self.last_at.max(event.at_seconds);
        }
    }
}

struct Inner {
    files: VecDeque<LogFile>,
    /// The next sequence number of each pool.
    next: HashMap<u64, u64>,
    /// All frames of the journal up to this one are in the log.
    covered: u64,
    /// What the last batch says of that.
    written: u64,
    /// What a start found in the last batch.
    last_words: HashMap<(u64, u64), u64>,
}

/// What is kept of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// The oldest event; the next one if none is kept.
    pub oldest: u64,
    /// The next event.
    pub next: u64,
}

/// A reader's place.
#[derive(Debug)]
pub struct Cursor {
    /// The pool's id.
    pub pool: u64,
    /// The next event.
    pub next: u64,
    place: Option<(u64, Arc<File>, u64)>,
}

impl Cursor {
    /// A reader of a pool's events from this one on.
    pub fn new(pool: u64, next: u64) -> Self {
        Self { pool, next, place: None }
    }
}

/// The log.
pub struct EventLog {
    dir: PathBuf,
    keep: Keep,
    boot_id: [u8; 16],
    /// Held while the files change, with a buffer for batches.
    writing: Mutex<Vec<u8>>,
    /// Held for short: never while a file is written, made or removed, as readers wait for it.
    inner: Mutex<Inner>,
}

impl EventLog {
    /// Opens the log of a data directory, without what a loss of power may have torn.
    pub fn open(dir: &Path, keep: Keep, boot_id: [u8; 16]) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        let inner = Inner {
            files: VecDeque::new(),
            next: HashMap::new(),
            covered: 0,
            written: 0,
            last_words: HashMap::new(),
        };
        let (writing, inner) = (Mutex::default(), Mutex::new(inner));
        let log = Self { dir: dir.to_owned(), keep, boot_id, writing, inner };
        if !log.load()? {
            log.remove_all()?;
        }
        Ok(log)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn writing(&self) -> MutexGuard<'_, Vec<u8>> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listed(&self) -> io::Result<Vec<(u64, PathBuf)>> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let path = entry?.path();
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            if let Some(sequence) = name.strip_suffix(SUFFIX).and_then(|digits| digits.parse().ok()) {
                files.push((sequence, path));
            }
        }
        files.sort_unstable();
        Ok(files)
    }

    fn remove_all(&self) -> io::Result<()> {
        let mut inner = self.inner();
        inner.files.clear();
        inner.next.clear();
        inner.last_words.clear();
        (inner.covered, inner.written) = (0, 0);
        self.listed()?.iter().try_for_each(|(_, path)| fs::remove_file(path))
    }

    /// Reads all files. Returns whether they are to be used.
    fn load(&self) -> io::Result<bool> {
        let mut inner = self.inner();
        let (mut last, mut is_whole) = (None, true);
        for (sequence, path) in self.listed()? {
            let bytes = fs::read(&path)?;
            let file = Arc::new(File::open(&path)?);
            let mut known = LogFile {
                sequence,
                path,
                file,
                bytes: 0,
                first_at: None,
                last_at: 0,
                marks: Vec::new(),
                pools: HashMap::new(),
            };
            while let Some((head, sections)) = event_batch::decode(&bytes[known.bytes as usize..]) {
                if head.covered != inner.covered {
                    inner.last_words.clear();
                }
                for section in sections {
                    for event in section.events().filter(|event| event.number != 0) {
                        let word = inner.last_words.entry((section.pool, event.number)).or_default();
                        *word = event.word.max(*word);
                    }
                    known.index(known.bytes, &section);
                    // Something is missing before it.
                    is_whole &= inner.next.get(&section.pool).is_none_or(|next| *next == section.first_seq);
                    inner.next.insert(section.pool, section.first_seq + section.events().len() as u64);
                }
                (inner.covered, inner.written) = (head.covered, head.covered);
                known.bytes += u64::from(head.length);
                last = Some(head);
            }
            // Only the last file can have a torn end, which a killed process leaves.
            is_whole &= inner.files.back().is_none_or(|before| before.sequence + 1 == sequence);
            is_whole &= known.bytes > 0;
            inner.files.push_back(known);
        }
        let survived = last
            .is_none_or(|head| head.is_clean || (head.boot_id == self.boot_id && self.boot_id != [0; 16]));
        Ok(is_whole && survived)
    }

    /// All frames of the journal up to this one are in the log; 0 for none.
    pub fn covered(&self) -> u64 {
        self.inner().covered
    }

    /// Begins anew after a frame of the journal: what came before is gone.
    pub fn reset(&self, covered: u64) -> io::Result<()> {
        self.remove_all()?;
        self.inner().covered = covered;
        Ok(())
    }

    /// The words of the last batch, the largest of each pool and number: some of them may stand in frames after those
    /// that are covered.
    pub fn take_last_words(&self) -> HashMap<(u64, u64), u64> {
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

    /// Appends a batch: the events of each pool, which bring the log up to a frame of the journal. `exists` tells
    /// whether there is such a pool.
    pub fn append(
        &self,
        covered: u64,
        pools: &[(u64, Vec<String>, Vec<RawEvent>)],
        now_seconds: u32,
        exists: &dyn Fn(u64) -> bool,
    ) -> io::Result<()> {
        let mut buffer = self.writing();
        self.maintain(&mut buffer, now_seconds, exists)?;
        event_batch::begin(&mut buffer);
        for (pool, names, events) in pools {
            let next = self.kept(*pool, now_seconds).next;
            event_batch::put(&mut buffer, *pool, next, names, events);
        }
        self.write(&mut buffer, covered, false)
    }

    /// Completes the batch in the buffer, appends it to the newest file, and shows it to readers.
    fn write(&self, buffer: &mut [u8], covered: u64, is_clean: bool) -> io::Result<()> {
        event_batch::seal(buffer, BatchHead { length: 0, is_clean, covered, boot_id: self.boot_id });
        let newest = self.inner().files.back().map(|newest| (Arc::clone(&newest.file), newest.bytes));
        let Some((file, offset)) = newest else { return Ok(()) };
        file.write_all_at(buffer, offset)?;
        let mut inner = self.inner();
        let Inner { files, next, covered: known, written, .. } = &mut *inner;
        if let (Some(newest), Some((_, sections))) = (files.back_mut(), event_batch::decode(buffer)) {
            for section in sections {
                newest.index(offset, &section);
                next.insert(section.pool, section.first_seq + section.events().len() as u64);
            }
            newest.bytes = offset + buffer.len() as u64;
        }
        (*known, *written) = (covered, covered);
        Ok(())
    }

    /// Begins the next file if it is time, and removes what is over the bounds.
    fn maintain(
        &self,
        buffer: &mut Vec<u8>,
        now_seconds: u32,
        exists: &dyn Fn(u64) -> bool,
    ) -> io::Result<()> {
        let file_bytes = self.keep.bytes / PARTS;
        let file_seconds = u64::from(self.keep.seconds) / PARTS;
        let is_over = self.inner().files.back().is_none_or(|newest| {
            let is_old = |at| u64::from(now_seconds) > u64::from(at) + file_seconds;
            newest.bytes >= file_bytes || newest.first_at.is_some_and(is_old)
        });
        if is_over {
            self.begin_file(buffer, exists)?;
        }
        loop {
            let removed = {
                let mut inner = self.inner();
                let bytes: u64 = inner.files.iter().map(|file| file.bytes).sum();
                let is_old = |at: u32| u64::from(now_seconds) > u64::from(at) + u64::from(self.keep.seconds);
                // The file being written grows by its part.
                let is_over = bytes + file_bytes > self.keep.bytes
                    || inner.files.front().is_some_and(|oldest| is_old(oldest.last_at));
                if is_over && inner.files.len() > 1 { inner.files.pop_front() } else { None }
            };
            match removed {
                Some(file) => fs::remove_file(file.path)?,
                None => return Ok(()),
            }
        }
    }

    /// Begins a file, with the next sequence number of each pool.
    fn begin_file(&self, buffer: &mut Vec<u8>, exists: &dyn Fn(u64) -> bool) -> io::Result<()> {
        let sequence = self.inner().files.back().map_or(1, |newest| newest.sequence + 1);
        let path = self.dir.join(format!("{sequence:016}{SUFFIX}"));
        let file = fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path)?;
        event_batch::begin(buffer);
        let covered = {
            let mut inner = self.inner();
            inner.files.push_back(LogFile {
                sequence,
                path,
                file: Arc::new(file),
                bytes: 0,
                first_at: None,
                last_at: 0,
                marks: Vec::new(),
                pools: HashMap::new(),
            });
            inner.next.retain(|pool, _| exists(*pool));
            for (pool, next) in &inner.next {
                event_batch::put(buffer, *pool, *next, &[], &[]);
            }
            inner.covered
        };
        self.write(buffer, covered, false)
    }

    /// Removes what is too old.
    pub fn tidy(&self, now_seconds: u32, exists: &dyn Fn(u64) -> bool) -> io::Result<()> {
        let mut buffer = self.writing();
        if self.inner().files.iter().all(|file| file.first_at.is_none()) {
            return Ok(());
        }
        self.maintain(&mut buffer, now_seconds, exists)
    }

    /// Begins a file of this process: what an earlier one left is not written over.
    pub fn begin(&self, exists: &dyn Fn(u64) -> bool) -> io::Result<()> {
        self.begin_file(&mut self.writing(), exists)
    }

    /// Makes the log durable. Nothing is appended after it.
    pub fn close(&self) -> io::Result<()> {
        let mut buffer = self.writing();
        let files: Vec<_> = self.inner().files.iter().map(|file| Arc::clone(&file.file)).collect();
        files.iter().try_for_each(|file| file.sync_data())?;
        event_batch::begin(&mut buffer);
        self.write(&mut buffer, self.covered(), true)?;
        files.last().map_or(Ok(()), |newest| newest.sync_all())?;
        File::open(&self.dir)?.sync_all()
    }

    /// What is kept of a pool.
    pub fn kept(&self, pool: u64, now_seconds: u32) -> Kept {
        let mut inner = self.inner();
        let next = *inner.next.entry(pool).or_insert_with(|| first(now_seconds));
        let oldest = inner.files.iter().find_map(|file| file.pools.get(&pool)).map_or(next, |found| found.0);
        Kept { oldest, next }
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        self.inner().files.iter().map(|file| file.bytes).sum()
    }

    /// Where the event that a reader wants stands, or shortly before it; `None` if there is none yet.
    fn find(&self, cursor: &Cursor) -> io::Result<Option<(u64, Arc<File>, u64)>> {
        let inner = self.inner();
        for file in &inner.files {
            let Some((first, end, _)) = file.pools.get(&cursor.pool) else { continue };
            if *end <= cursor.next {
                continue;
            }
            if *first > cursor.next {
                return Err(io::Error::new(io::ErrorKind::NotFound, "the next event is not kept any more"));
            }
            let before = |mark: &&Mark| mark.pool == cursor.pool && mark.seq <= cursor.next;
            let offset = file.marks.iter().rev().find(before).map_or(0, |mark| mark.offset);
            return Ok(Some((file.sequence, Arc::clone(&file.file), offset)));
        }
        Ok(None)
    }

    /// Calls `take` with each of the next events and the names of its batch until it returns false, for a part of
    /// what there is. Returns false if there is nothing more.
    pub fn read(
        &self,
        cursor: &mut Cursor,
        take: &mut dyn FnMut(u64, &RawEvent, &[&str]) -> bool,
    ) -> io::Result<bool> {
        if cursor.place.is_none() {
            cursor.place = self.find(cursor)?;
        }
        let Some((sequence, file, offset)) = cursor.place.take() else { return Ok(false) };
        let end = {
            let inner = self.inner();
            let known = inner.files.iter().find(|known| known.sequence == sequence);
            // A file that is removed has its full length.
            known.map_or_else(|| file.metadata().map(|metadata| metadata.len()), |known| Ok(known.bytes))?
        };
        if offset >= end {
            // The next event is in a later file, or does not exist yet.
            cursor.place = self.find(cursor)?.filter(|(found, ..)| *found != sequence);
            return Ok(cursor.place.is_some());
        }
        let mut bytes = vec![0; READ_BYTES.min((end - offset) as usize)];
        file.read_exact_at(&mut bytes, offset)?;
        let length = event_batch::length(&bytes).unwrap_or(BATCH_HEAD_BYTES);
        if length > bytes.len() {
            bytes.resize(length.min((end - offset) as usize), 0);
            file.read_exact_at(&mut bytes, offset)?;
        }
        let mut at = 0;
        let mut goes_on = true;
        while goes_on && let Some((head, sections)) = event_batch::decode(&bytes[at..]) {
            for section in sections.filter(|section| section.pool == cursor.pool) {
                let names = section.names();
                for (seq, event) in (section.first_seq..).zip(section.events()) {
                    if goes_on && seq == cursor.next {
                        cursor.next += 1;
                        goes_on = take(seq, &event, &names);
                    }
                }
            }
            at += head.length as usize;
        }
        if at == 0 {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a batch of events is damaged"));
        }
        cursor.place = Some((sequence, file, offset + at as u64));
        Ok(goes_on)
    }
}

/// The first sequence number of a pool.
fn first(now_seconds: u32) -> u64 {
    u64::from(now_seconds) << FIRST_SHIFT
}
