//! The files of a log, as they are known in memory.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;

use crate::store::event_batch::Section;

/// Bytes of a file after which the place of a pool's next event is noted again.
const MARK_BYTES: u64 = 32 << 10;
/// The unit of the first sequence number, in nanoseconds, as a shift.
pub(super) const FIRST_SHIFT: u32 = 7;

/// Where a pool's events from `seq` on begin, at the latest.
pub(super) struct Mark {
    pub(super) pool: u64,
    pub(super) seq: u64,
    pub(super) offset: u64,
}

pub(super) struct LogFile {
    pub(super) sequence: u64,
    pub(super) path: PathBuf,
    pub(super) file: Arc<File>,
    /// Whole batches.
    pub(super) bytes: u64,
    /// When its first and its last event happened.
    pub(super) first_at: Option<u32>,
    pub(super) last_at: u32,
    pub(super) marks: Vec<Mark>,
    /// By pool: the first event in the file, that after the last one, and the offset of its last mark.
    pub(super) pools: HashMap<u64, (u64, u64, u64)>,
}

impl LogFile {
    pub(super) fn new(sequence: u64, path: PathBuf, file: Arc<File>) -> Self {
        Self {
            sequence,
            path,
            file,
            bytes: 0,
            first_at: None,
            last_at: 0,
            marks: Vec::new(),
            pools: HashMap::new(),
        }
    }

    /// Takes a batch into the index.
    pub(super) fn index(&mut self, offset: u64, section: &Section<'_>) {
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
        let (first_at, last_at) = section.times();
        self.first_at = self.first_at.or(first_at);
        self.last_at = self.last_at.max(last_at);
    }
}

#[derive(Default)]
pub(super) struct Inner {
    pub(super) files: VecDeque<LogFile>,
    /// The next sequence number of each pool.
    pub(super) next: HashMap<u64, u64>,
    /// No sequence number below this one is given out.
    pub(super) used: u64,
    /// The time of the last frame of the journal that is known, in nanoseconds since 2020.
    pub(super) frame_nanos: u64,
    /// All frames of the journal up to this one are in the log.
    pub(super) covered: u64,
    /// What the last batch says of that.
    pub(super) written: u64,
    /// What a start found in the last batch, by pool and key ([`crate::store::event_batch::order_key`]).
    pub(super) last_words: HashMap<(u64, u64), u64>,
    /// Files of an earlier log may be there: they go before the first of this one is made.
    pub(super) is_anew: bool,
}

impl Inner {
    /// The next sequence number of a pool.
    pub(super) fn next_of(&self, pool: u64) -> u64 {
        // Not one that was given out before the log began anew.
        let first = (self.frame_nanos >> FIRST_SHIFT).max(self.used);
        self.next.get(&pool).copied().unwrap_or(first)
    }

    /// A sequence number after all that were given out.
    pub(super) fn after_all(&self) -> u64 {
        self.next.values().map(|next| next + 1).fold(self.used, u64::max)
    }
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
    pub(super) place: Option<(u64, Arc<File>, u64)>,
    pub(super) buffer: Vec<u8>,
}

impl Cursor {
    /// A reader of a pool's events from this one on.
    pub fn new(pool: u64, next: u64) -> Self {
        Self { pool, next, place: None, buffer: Vec::new() }
    }
}
