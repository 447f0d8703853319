//! A segment: an immutable set of numbers and, by their ranks, their words, the free index and the
//! due hints.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::mapping::{self, MappedBytes, MappedWords, Sharing, WORD_BYTES};
use crate::disk::paced::Rest;
use crate::numbers::number::{Number, NumberRange};
use crate::numbers::set::NumberSet;
use crate::numbers::set::error::SetError;
use crate::numbers::set::run::LastRun;
use crate::state::block_counts::{self, BlockCounts};
use crate::state::dirty_blocks::DirtyBlocks;
use crate::state::due_hints::BLOCK_WORDS;
use crate::state::due_hints::DueHints;
use crate::state::free_index::FreeIndex;
use crate::state::segment_state::Ranks;
use crate::state::word::Word;
use crate::state::word_table::WordTable;
use crate::sys::parallel;

use super::counters::Counts;
use super::manifest::SegmentEntry;
use super::plausible::Plausible;
use super::table_file::{TableFile, TablePaths};

/// Ranks a leaf of the free index.
const LEAF_RANKS: u32 = 64;
/// A rebuild gives each thread at least this many words.
const MIN_WORDS_PER_THREAD: u32 = 1 << 20;

/// Why the files of a segment cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// A file cannot be read.
    #[error("{0}: {1}")]
    Io(PathBuf, #[source] std::io::Error),
    /// The number set is damaged.
    #[error("{0} is damaged: {1}")]
    Set(PathBuf, #[source] SetError),
    /// The number set is not the one that the pool's manifest names.
    #[error("{0} holds {1} numbers, the pool's manifest says {2}")]
    OtherSet(PathBuf, u64, u64),
    /// Something is not as it was written.
    #[error(
        "{path} is damaged at byte {offset}: {what}; restore a backup, or start with --recover-damaged, which \
         says what it gives up"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it, in bytes.
        offset: u64,
        /// What is wrong.
        what: String,
    },
}

/// See the module.
pub(crate) struct Segment {
    pub(crate) id: u32,
    pub(crate) set: NumberSet<MappedBytes>,
    pub(crate) ranks: Ranks<MappedWords>,
    table: TableFile,
}

/// Where the files of a segment are.
#[derive(Debug, Clone)]
pub(crate) struct SegmentPaths {
    pub(crate) set: PathBuf,
    pub(crate) table: TablePaths,
}

impl SegmentPaths {
    /// The files of segment `id` in a pool's directory.
    pub(crate) fn new(pool_dir: &Path, id: u32) -> Self {
        let path = |kind: &str| pool_dir.join(format!("{id:04}.{kind}"));
        Self { set: path("numbers"), table: TablePaths { words: path("words"), sums: path("sums") } }
    }

    /// All of them.
    pub(crate) fn all(&self) -> [&PathBuf; 3] {
        [&self.set, &self.table.words, &self.table.sums]
    }
}

/// Maps the number set of segment `id`.
pub(crate) fn open_set(path: &Path, numbers: u64) -> Result<NumberSet<MappedBytes>, SegmentError> {
    let bytes = MappedBytes::open(path).map_err(|e| SegmentError::Io(path.to_owned(), e))?;
    let set = NumberSet::open(bytes).map_err(|e| SegmentError::Set(path.to_owned(), e))?;
    if set.len() != numbers {
        return Err(SegmentError::OtherSet(path.to_owned(), set.len(), numbers));
    }
    Ok(set)
}

/// What a scan of some words found.
struct Scanned {
    leaves: Vec<u64>,
    counts: Counts,
}

/// A segment whose files are open and verified, but which may still have changes to take from the journal.
pub(crate) struct RawSegment {
    pub(crate) id: u32,
    set: NumberSet<MappedBytes>,
    words: WordTable<MappedWords>,
    table: TableFile,
    dirty: DirtyBlocks,
    /// The largest generation a word can have by the table alone; `None` if not known.
    max_generation: Option<u32>,
    /// Ranks whose words were damaged, and are zero until the journal says better.
    damaged: Vec<Range<u32>>,
    /// What is wrong with the checksums: then nothing is known of the words but what they say themselves.
    sums_damage: Option<SegmentError>,
}

/// What became of words that were damaged.
pub(crate) struct Settled {
    /// So many numbers are retired.
    pub(crate) given_up: u64,
    /// So many are as the journal says.
    pub(crate) repaired: u64,
}

/// Whether a damaged table may be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum OnDamage {
    Refuse,
    /// The numbers that are damaged and that the journal does not repair are retired.
    GiveUp,
}

impl RawSegment {
    /// Opens the files of a segment and verifies them.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        pool_dir: &Path,
        entry: &SegmentEntry,
        sharing: Sharing,
        on_damage: OnDamage,
    ) -> Result<Self, SegmentError> {
        let paths = SegmentPaths::new(pool_dir, entry.id);
        let set = open_set(&paths.set, entry.numbers)?;
        if files::crc32c_of(set.as_bytes()) != (entry.numbers_crc32c, entry.numbers_bytes) {
            let what = "its checksum is not the one in the pool's manifest".to_owned();
            return Err(SegmentError::Damaged { path: paths.set, offset: 0, what });
        }
        let len = set.len() as u32;
        let opened = TableFile::open(disk, &paths.table, len, sharing, on_damage)?;
        if let (Some(ranks), OnDamage::Refuse) = (opened.damaged.first(), on_damage) {
            let what = format!(
                "the checksum of its sector is wrong; {} of the table's sectors are damaged",
                opened.damaged.len()
            );
            let offset = u64::from(ranks.start) * WORD_BYTES;
            return Err(SegmentError::Damaged { path: paths.table.words, offset, what });
        }
        let raw = Self {
            id: entry.id,
            set,
            words: opened.words,
            table: opened.file,
            dirty: DirtyBlocks::new(len),
            max_generation: opened.max_generation,
            damaged: opened.damaged,
            sums_damage: opened.sums_damage,
        };
        for rank in raw.damaged.iter().cloned().flatten() {
            raw.words.reset(rank);
            raw.dirty.mark(rank);
        }
        Ok(raw)
    }

    /// Asks the processor to fetch a word that will be needed soon.
    #[inline]
    pub(crate) fn prefetch(&self, rank: u32) {
        self.words.prefetch(rank);
    }

    /// Takes a word from the journal: the larger one stays. Answers whether it changed the table, or
    /// `None` if the word does not fit the segment.
    #[inline]
    pub(crate) fn apply(&self, rank: u32, word: Word, plausible: Plausible) -> Option<bool> {
        if rank >= self.words.len() || plausible.fault(word, None).is_some() {
            return None;
        }
        let (before, after) = self.words.update(rank, |before| Ok::<_, ()>(before.max(word))).ok()?;
        if before != after {
            self.dirty.mark(rank);
        }
        Some(before != after)
    }

    /// Looks at every word, and makes of those that nothing explains retired ones, if that is allowed.
    pub(crate) fn settle(
        &self,
        pool_dir: &Path,
        plausible: Plausible,
        journaled_generation: u32,
        on_damage: OnDamage,
    ) -> Result<Settled, SegmentError> {
        // What the checksums vouch for, and the journal's records, which were looked at, need no look.
        let implausible = if self.max_generation.is_some() {
            Vec::new()
        } else {
            self.implausible(plausible, journaled_generation)
        };
        if let (Some((rank, what)), OnDamage::Refuse) = (implausible.first(), on_damage) {
            let path = SegmentPaths::new(pool_dir, self.id).table.words;
            let (offset, what) = (u64::from(*rank) * WORD_BYTES, what.clone());
            return Err(SegmentError::Damaged { path, offset, what });
        }
        let lost = self.damaged.iter().cloned().flatten().filter(|rank| self.words.get(*rank) == Word::NEW);
        let lost: Vec<u32> = lost.collect();
        let repaired = self.damaged.iter().map(ExactSizeIterator::len).sum::<usize>() - lost.len();
        let lost: Vec<u32> = lost.into_iter().chain(implausible.iter().map(|(rank, _)| *rank)).collect();
        let settled = Settled { given_up: lost.len() as u64, repaired: repaired as u64 };
        if lost.is_empty() {
            return Ok(settled);
        }
        for rank in &lost {
            self.words.reset(*rank);
        }
        // No token that was ever given out may fit such a number, should it be reinstated.
        let generation = self.max_generation.map_or_else(
            || (0..self.words.len()).map(|rank| self.words.get(rank).generation()).max().unwrap_or(0),
            |generation| generation.max(journaled_generation),
        );
        for rank in &lost {
            self.give_up(*rank, generation);
        }
        Ok(settled)
    }

    /// The words that nothing explains.
    pub(crate) fn implausible(&self, plausible: Plausible, journaled_generation: u32) -> Vec<(u32, String)> {
        let max_generation = self.max_generation.map(|generation| generation.max(journaled_generation));
        let parts = parallel::for_each(parts(&self.words), |ranks| {
            let fault = |rank| Some((rank, plausible.fault(self.words.get(rank), max_generation)?));
            ranks.filter_map(fault).collect::<Vec<_>>()
        });
        parts.concat()
    }

    /// Ranks whose words were not what was written.
    pub(crate) fn damaged(&self) -> &[Range<u32>] {
        &self.damaged
    }

    /// Why the checksums could not be used.
    pub(crate) fn sums_damage(&self) -> Option<&SegmentError> {
        self.sums_damage.as_ref()
    }

    /// How many ranks the free index would have, and the counts by state.
    pub(crate) fn rebuilt(&self) -> (u64, Counts) {
        let derived = Derived::new(self.words.len());
        let (mut free, mut counts) = (0, Counts::default());
        for part in parallel::for_each(parts(&self.words), |ranks| scan(&self.words, &derived, ranks)) {
            free += part.leaves.iter().map(|leaf| u64::from(leaf.count_ones())).sum::<u64>();
            counts.merge(part.counts);
        }
        (free, counts)
    }

    fn give_up(&self, rank: u32, generation: u32) {
        let retired = Word::given_up(generation);
        let _ = self.words.update(rank, |_| Ok::<_, ()>(retired));
        self.dirty.mark(rank);
    }

    /// The segment in use: rebuilds what is derived from its words. `slots` is how many threads will
    /// change it.
    pub(crate) fn begin(self, slots: usize) -> std::io::Result<(Segment, Counts)> {
        let Self { id, set, words, mut table, dirty, .. } = self;
        table.begin(&words, &dirty)?;
        let len = words.len();
        let derived = Derived::new(len);
        let mut counts = Counts::default();
        let mut leaves = mapping::huge_page_vec(len.div_ceil(LEAF_RANKS) as usize);
        for part in parallel::for_each(parts(&words), |ranks| scan(&words, &derived, ranks)) {
            leaves.extend(part.leaves);
            counts.merge(part.counts);
        }
        let free = FreeIndex::build(len, slots, leaves);
        let Derived { due, blocks } = derived;
        Ok((Segment { id, set, ranks: Ranks { words, free, due, dirty, blocks }, table }, counts))
    }
}

impl Segment {
    /// Writes all words that changed to their file, durably.
    pub(crate) fn checkpoint(&self, rest: &Rest<'_>) -> std::io::Result<()> {
        self.table.checkpoint(&self.ranks.words, &self.ranks.dirty, rest)
    }

    /// Ends the use of the files, after the last checkpoint.
    pub(crate) fn close(&self) -> std::io::Result<()> {
        self.table.close(&self.ranks.words)
    }
}

/// The ranks of all words, a part per processor.
fn parts(words: &WordTable<MappedWords>) -> impl Iterator<Item = Range<u32>> {
    parallel::parts(words.len(), MIN_WORDS_PER_THREAD, BLOCK_WORDS)
}

/// What a scan of the words fills beside the free index.
struct Derived {
    due: DueHints,
    blocks: BlockCounts,
}

impl Derived {
    fn new(len: u32) -> Self {
        Self { due: DueHints::new(len), blocks: BlockCounts::new(len) }
    }
}

fn scan(words: &WordTable<MappedWords>, derived: &Derived, ranks: Range<u32>) -> Scanned {
    let mut scanned = Scanned {
        leaves: Vec::with_capacity((ranks.len()).div_ceil(LEAF_RANKS as usize)),
        counts: Counts::default(),
    };
    let mut start = ranks.start;
    while start < ranks.end {
        let end = (start + LEAF_RANKS).min(ranks.end);
        let (mut leaf, mut in_states) = (0, 0);
        let mut earliest = None;
        for rank in start..end {
            let word = words.get(rank);
            if word == Word::NEW {
                leaf |= 1 << (rank - start);
                continue;
            }
            scanned.counts.add(word.state());
            in_states += block_counts::one(word.state());
            leaf |= u64::from(word.is_available()) << (rank - start);
            earliest = match (earliest, word.due()) {
                (Some(a), Some(b)) => Some(std::cmp::min(a, b)),
                (a, b) => a.or(b),
            };
        }
        if let Some(until) = earliest {
            derived.due.note(start, until);
        }
        if in_states > 0 {
            derived.blocks.found(start, in_states);
        }
        scanned.leaves.push(leaf);
        start = end;
    }
    let new = ranks.len() as u64 - scanned.counts.numbers;
    scanned.counts.merge(Counts { numbers: new, available: new, ..Counts::default() });
    scanned
}

/// The segments of a pool; adding one makes a new value of this.
pub(crate) struct Segments {
    pub(crate) list: Vec<Arc<Segment>>,
    pub(crate) whole: Within,
}

impl Segments {
    pub(crate) fn new(list: Vec<Arc<Segment>>) -> Self {
        let spans = list.iter().enumerate().map(|(i, segment)| (i as u32, 0..segment.ranks.free.len()));
        Self { whole: Within::new(spans), list }
    }

    /// Which segment a number is in, and its rank there.
    #[inline]
    pub(crate) fn locate(&self, number: Number, last: &mut LastRun) -> Option<(u32, u32)> {
        self.list.iter().zip(0..).find_map(|(segment, i)| Some((i, segment.set.rank_near(number, last)?.0)))
    }

    /// The ranks of all members of the number ranges, each once.
    pub(crate) fn within(&self, ranges: &[NumberRange]) -> Within {
        let mut spans: Vec<(u32, Range<u32>)> = Vec::new();
        for (i, segment) in self.list.iter().enumerate() {
            let mut ranks: Vec<Range<u32>> =
                ranges.iter().map(|range| segment.set.rank_range(*range)).collect();
            ranks.retain(|ranks| !ranks.is_empty());
            ranks.sort_unstable_by_key(|ranks| ranks.start);
            for ranks in ranks {
                match spans.last_mut() {
                    Some((last, before)) if *last == i as u32 && before.end >= ranks.start => {
                        before.end = before.end.max(ranks.end);
                    }
                    _ => spans.push((i as u32, ranks)),
                }
            }
        }
        Within::new(spans.into_iter())
    }
}

/// Some of a pool's numbers, as rank ranges of its segments.
#[derive(Debug, Clone)]
pub struct Within {
    pub(crate) spans: Vec<Span>,
    len: u64,
}

/// A rank range of one segment.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) segment: u32,
    pub(crate) ranks: Range<u32>,
    /// How many ranks the spans before this one hold.
    offset: u64,
}

impl Within {
    fn new(spans: impl Iterator<Item = (u32, Range<u32>)>) -> Self {
        let mut len = 0;
        let spans = spans
            .filter(|(_, ranks)| !ranks.is_empty())
            .map(|(segment, ranks)| {
                let offset = len;
                len += u64::from(ranks.end - ranks.start);
                Span { segment, ranks, offset }
            })
            .collect();
        Self { spans, len }
    }

    /// How many numbers these are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether these are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The span and the rank at a position below [`Self::len`].
    #[inline]
    pub(crate) fn at(&self, position: u64) -> (usize, u32) {
        let span = if self.spans.len() == 1 {
            0
        } else {
            self.spans.partition_point(|span| span.offset <= position) - 1
        };
        let found = &self.spans[span];
        (span, found.ranks.start + (position - found.offset) as u32)
    }

    /// The first span and rank at or after a place, or the very first ones.
    #[inline]
    pub(crate) fn from(&self, segment: u32, rank: u32) -> (usize, u32) {
        let found = self.spans.partition_point(|span| (span.segment, span.ranks.end) <= (segment, rank));
        match self.spans.get(found) {
            Some(span) if span.segment == segment => (found, span.ranks.start.max(rank)),
            Some(span) => (found, span.ranks.start),
            None => (0, self.spans.first().map_or(0, |span| span.ranks.start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_places_in_spans() {
        let within = Within::new([(0, 5..8), (0, 9..9), (2, 0..2), (2, 10..11)].into_iter());
        assert_eq!(within.len(), 6);
        let all: Vec<_> = (0..6).map(|position| within.at(position)).collect();
        assert_eq!(all, [(0, 5), (0, 6), (0, 7), (1, 0), (1, 1), (2, 10)]);
        for (place, found) in [
            ((0, 0), (0, 5)),
            ((0, 7), (0, 7)),
            ((0, 8), (1, 0)),
            ((1, 3), (1, 0)),
            ((2, 1), (1, 1)),
            ((2, 2), (2, 10)),
            ((2, 11), (0, 5)),
            ((9, 9), (0, 5)),
        ] {
            assert_eq!(within.from(place.0, place.1), found, "{place:?}");
        }
    }
}
