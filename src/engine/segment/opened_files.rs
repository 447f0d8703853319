//! A segment that is opened but not in use yet: its words can change freely, nothing is derived from them.

use std::ops::Range;
use std::path::Path;
use std::sync::{Arc, OnceLock, Weak};

use crate::coordinates::{self, Rank, SegmentId};
use crate::disk::device::Disk;
use crate::disk::files;
use crate::disk::mapping::{self, MappedBytes, MappedWords, Sharing, WORD_BYTES};
use crate::domain::counts::Counts;
use crate::engine::segment::Segment;
use crate::journal::on_damage::OnDamage;
use crate::numbers::number::Number;
use crate::numbers::set::NumberSet;
use crate::numbers::set::growing::GrowingSet;
use crate::state::dirty_blocks::DirtyBlocks;
use crate::state::free_index::FreeIndex;
use crate::state::holder_column::HolderId;
use crate::state::number_state::State;
use crate::state::segment_state::SegmentState;
use crate::state::word::Word;
use crate::state::word_table::WordTable;
use crate::store::damage::SegmentError;
use crate::store::growing_file::{self, GrowingFile};
use crate::store::manifest::SegmentEntry;
use crate::store::pool_dir::SegmentPaths;
use crate::store::table::TableFile;
use crate::store::table::word_checksums::Layout;
use crate::sys::parallel;

use super::holders::OpenedHolders;
use super::numbers::SegmentNumbers;
use super::plausible::Plausible;
use super::rebuild::{Derived, LEAF_RANKS, parts, scan};

/// Maps a number set, which must hold `numbers` numbers.
pub(crate) fn open_set(path: &Path, numbers: u64) -> Result<NumberSet<MappedBytes>, SegmentError> {
    let bytes = MappedBytes::open(path).map_err(|error| SegmentError::from_io(path, error))?;
    let set = NumberSet::open(bytes).map_err(|e| SegmentError::Set(path.to_owned(), e))?;
    if set.len() != numbers {
        return Err(SegmentError::OtherSet(path.to_owned(), set.len(), numbers));
    }
    Ok(set)
}

/// Opens the numbers of a segment and verifies their checksums.
pub(crate) fn open_numbers(
    disk: &Arc<dyn Disk>,
    path: &Path,
    entry: &SegmentEntry,
    on_damage: OnDamage,
) -> Result<SegmentNumbers, SegmentError> {
    if entry.capacity > 0 { open_growing(disk, path, entry, on_damage) } else { open_sorted(path, entry) }
}

/// Opens the sorted set of a segment and verifies its checksum.
fn open_sorted(path: &Path, entry: &SegmentEntry) -> Result<SegmentNumbers, SegmentError> {
    let set = open_set(path, entry.numbers)?;
    if files::crc32c_of(set.as_bytes()) != (entry.numbers_crc32c, entry.numbers_bytes) {
        let what = "its checksum is not the one in the pool's manifest".to_owned();
        return Err(SegmentError::Damaged { path: path.to_owned(), offset: 0, what });
    }
    Ok(SegmentNumbers::sorted(set))
}

/// Opens the set of a segment that grows.
fn open_growing(
    disk: &Arc<dyn Disk>,
    path: &Path,
    entry: &SegmentEntry,
    on_damage: OnDamage,
) -> Result<SegmentNumbers, SegmentError> {
    let read = growing_file::read(path, entry.id, entry.capacity, on_damage)?;
    let file = GrowingFile::open(disk, path, entry.id, &read)
        .map_err(|error| SegmentError::Io(path.to_owned(), error))?;
    let set = GrowingSet::new(entry.capacity);
    for number in &read.numbers {
        set.push(*number);
    }
    Ok(SegmentNumbers::growing(set, file))
}

/// A segment whose files are open and verified, and to which the journal may still be replayed.
pub(crate) struct OpenedSegment {
    pub(crate) id: SegmentId,
    pub(crate) set: SegmentNumbers,
    words: WordTable<MappedWords>,
    table: TableFile,
    dirty: DirtyBlocks,
    /// The largest generation that the table allows a word to have; `None` if unknown.
    max_generation: Option<u32>,
    /// Ranks whose words were damaged. They are zero unless the journal restores them.
    damaged: Vec<Range<Rank>>,
    /// The damage of the checksums, if any. The words are then unverified.
    sums_damage: Option<SegmentError>,
    holders: Option<OpenedHolders>,
}

/// What happened to damaged words.
pub(crate) struct Settled {
    /// The numbers that are retired.
    pub(crate) given_up: Vec<Rank>,
    /// How many the journal restored.
    pub(crate) repaired: u64,
}

/// What the files of a pool's segments have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Columns {
    /// The layout of the words if their checksums do not tell.
    pub(crate) layout: Layout,
    /// Whether the pool tracks holders.
    pub(crate) has_holders: bool,
}

impl OpenedSegment {
    /// Opens the files of a segment and verifies them.
    pub(crate) fn open(
        disk: &Arc<dyn Disk>,
        pool_dir: &Path,
        entry: &SegmentEntry,
        sharing: Sharing,
        on_damage: OnDamage,
        columns: Columns,
    ) -> Result<Self, SegmentError> {
        let paths = SegmentPaths::of(pool_dir, entry);
        let set = open_numbers(disk, &paths.set, entry, on_damage)?;
        let len = entry.words();
        let opened = TableFile::open(disk, &paths.table, len, sharing, on_damage, columns.layout)?;
        if let (Some(ranks), OnDamage::Refuse) = (opened.damaged.first(), on_damage) {
            let what = format!(
                "the checksum of its sector is wrong; {} of the table's sectors are damaged",
                opened.damaged.len()
            );
            let offset = u64::from(ranks.start.0) * WORD_BYTES;
            return Err(SegmentError::Damaged { path: paths.table.words, offset, what });
        }
        let open_holders = || OpenedHolders::open(disk, &paths.holders, len, sharing, on_damage);
        let holders = columns.has_holders.then(open_holders).transpose()?;
        let raw = Self {
            id: entry.id,
            set,
            words: opened.words,
            table: opened.file,
            dirty: DirtyBlocks::new(len),
            max_generation: opened.max_generation,
            damaged: opened.damaged,
            sums_damage: opened.sums_damage,
            holders,
        };
        for rank in raw.damaged.iter().flat_map(coordinates::each) {
            raw.words.reset(rank);
            raw.dirty.mark(rank);
        }
        Ok(raw)
    }

    /// The number of a rank.
    pub(crate) fn number(&self, rank: Rank) -> Option<Number> {
        self.set.select(rank)
    }

    /// The word of a rank.
    pub(crate) fn word(&self, rank: Rank) -> Word {
        self.words.get(rank)
    }

    /// The largest generation that any number had, as far as the table and the journal tell.
    pub(crate) fn largest_generation(&self, journaled: u32) -> u32 {
        let read = || {
            let of = |ranks: Range<u32>| ranks.map(|rank| self.words.get(Rank(rank)).generation()).max();
            parallel::for_each(parts(self.words.len()), of).into_iter().flatten().max().unwrap_or(0)
        };
        self.max_generation.unwrap_or_else(read).max(journaled)
    }

    /// How many words it has.
    pub(crate) fn len(&self) -> u32 {
        self.words.len()
    }

    /// Makes the memory of some words writable.
    pub(crate) fn prefault(&self, ranks: &Range<Rank>) {
        self.words.memory().prefault(ranks.start.index()..ranks.end.index());
    }

    /// Brings all words into memory.
    pub(crate) fn populate(&self) {
        self.words.memory().populate();
    }

    /// Prefetches a word that will be needed soon.
    #[inline]
    pub(crate) fn prefetch(&self, rank: Rank) {
        self.words.prefetch(rank);
    }

    /// Applies a word from the journal: the larger of the two stays. Returns whether that changed the table,
    /// or `None` if the word does not fit the segment.
    #[inline]
    pub(crate) fn apply(
        &self,
        rank: Rank,
        word: Word,
        holder: HolderId,
        plausible: Plausible,
    ) -> Option<bool> {
        if rank.0 >= self.set.len() || plausible.fault(word, None).is_some() {
            return None;
        }
        if holder != HolderId::NOBODY
            && let Some(holders) = &self.holders
        {
            holders.column.put(rank, word.generation(), holder);
        }
        let (before, after) = self.words.update(rank, |before| Ok::<_, ()>(before.max(word))).ok()?;
        if before != after {
            self.dirty.mark(rank);
        }
        Some(before != after)
    }

    /// Checks the words. Retires the numbers whose words are lost or implausible, if `on_damage` allows it.
    pub(crate) fn resolve_damage(
        &self,
        pool_dir: &Path,
        plausible: Plausible,
        journaled_generation: u32,
        on_damage: OnDamage,
    ) -> Result<Settled, SegmentError> {
        // Words verified by checksums and records checked during replay need no second check.
        let implausible = if self.max_generation.is_some() {
            Vec::new()
        } else {
            self.implausible(plausible, journaled_generation)
        };
        if let (Some((rank, what)), OnDamage::Refuse) = (implausible.first(), on_damage) {
            let path = SegmentPaths::new(pool_dir, self.id).table.words;
            let (offset, what) = (u64::from(rank.0) * WORD_BYTES, what.clone());
            return Err(SegmentError::Damaged { path, offset, what });
        }
        let lost =
            self.damaged.iter().flat_map(coordinates::each).filter(|rank| self.words.get(*rank) == Word::NEW);
        let lost: Vec<Rank> = lost.collect();
        let repaired = self.damaged.iter().map(coordinates::count).sum::<u32>() as usize - lost.len();
        let lost: Vec<Rank> = lost
            .into_iter()
            .chain(implausible.iter().map(|(rank, _)| *rank))
            .chain(self.without_numbers())
            .collect();
        if lost.is_empty() {
            return Ok(Settled { given_up: lost, repaired: repaired as u64 });
        }
        for rank in &lost {
            self.words.reset(*rank);
        }
        // If such a number is reinstated, no token that was ever issued may be valid for it.
        let generation = self.max_generation.map_or_else(
            || (0..self.words.len()).map(|rank| self.words.get(Rank(rank)).generation()).max().unwrap_or(0),
            |generation| generation.max(journaled_generation),
        );
        // A rank that no number has yet is new.
        for rank in lost.iter().filter(|rank| rank.0 < self.set.len()) {
            self.give_up(*rank, generation);
        }
        Ok(Settled { given_up: lost, repaired: repaired as u64 })
    }

    /// Ranks of a set that grows whose numbers are lost, unless they are retired already.
    fn without_numbers(&self) -> impl Iterator<Item = Rank> {
        let ranks = (0..self.set.as_growing().map_or(0, |(set, _)| set.len())).map(Rank);
        ranks.filter(|rank| {
            self.set.select(*rank).is_none() && self.words.get(*rank).state() != State::Retired
        })
    }

    /// The ranks of implausible words, and what is wrong with them.
    pub(crate) fn implausible(&self, plausible: Plausible, journaled_generation: u32) -> Vec<(Rank, String)> {
        let max_generation = self.max_generation.map(|generation| generation.max(journaled_generation));
        let parts = parallel::for_each(parts(self.words.len()), |ranks| {
            let fault = |rank| Some((rank, plausible.fault(self.words.get(rank), max_generation)?));
            ranks.map(Rank).filter_map(fault).collect::<Vec<_>>()
        });
        parts.concat()
    }

    /// Ranks whose words differ from what was written.
    pub(crate) fn damaged(&self) -> &[Range<Rank>] {
        &self.damaged
    }

    /// Why the checksums could not be used.
    pub(crate) fn sums_damage(&self) -> Option<&SegmentError> {
        self.sums_damage.as_ref()
    }

    /// How many free ranks a rebuilt index would have, and the counts by state.
    pub(crate) fn rebuilt(&self) -> (u64, Counts) {
        let derived = Derived::new(self.words.len());
        let (mut free, mut counts) = (0, Counts::default());
        for part in parallel::for_each(parts(self.set.len()), |ranks| scan(&self.words, &derived, ranks)) {
            free += part.leaves.iter().map(|leaf| u64::from(leaf.count_ones())).sum::<u64>();
            counts.merge(part.counts);
        }
        (free, counts)
    }

    /// Completes a merge: takes over the words of `source` whose numbers this segment has, where they are
    /// larger and have not moved here earlier.
    pub(crate) fn take_over(&self, source: &Self) {
        for rank in (0..source.set.len()).map(Rank) {
            let word = source.words.get(rank);
            if word.is_moved() || word == Word::NEW {
                continue;
            }
            let Some(place) = source.set.select(rank).and_then(|number| self.set.rank(number)) else {
                continue;
            };
            let taken = self.words.update(place, |own| Ok::<_, ()>(own.max(word)));
            if taken.is_ok_and(|(before, after)| before != after) {
                self.dirty.mark(place);
            }
            if let (Some(own), Some(other)) = (&self.holders, &source.holders) {
                own.column.raise(place, other.column.entries.get(rank));
            }
        }
    }

    /// Who holds the number of a word that is leased; nobody if the word is not.
    pub(crate) fn holder_of(&self, rank: Rank, word: Word) -> HolderId {
        match &self.holders {
            Some(holders) if word.state() == State::Leased => holders.column.holder(rank, word),
            _ => HolderId::NOBODY,
        }
    }

    /// The column of holders, if the pool tracks them.
    pub(crate) fn holders(&self) -> Option<&OpenedHolders> {
        self.holders.as_ref()
    }

    fn give_up(&self, rank: Rank, generation: u32) {
        let retired = Word::given_up(generation);
        let _ = self.words.update(rank, |_| Ok::<_, ()>(retired));
        self.dirty.mark(rank);
    }

    /// Makes the segment ready for use: rebuilds the data derived from its words. `slots` is the number of
    /// threads that change it.
    pub(crate) fn activate(self, slots: usize) -> std::io::Result<(Segment, Counts)> {
        let used = self.set.len();
        self.activate_ranks(used, slots, Vec::new())
    }

    /// Makes a new segment ready to receive the words of `sources`. Nothing is derived from its own words.
    pub(crate) fn activate_for_merge(
        self,
        slots: usize,
        sources: Vec<Weak<Segment>>,
    ) -> std::io::Result<Segment> {
        Ok(self.activate_ranks(0, slots, sources)?.0)
    }

    fn activate_ranks(
        self,
        used: u32,
        slots: usize,
        sources: Vec<Weak<Segment>>,
    ) -> std::io::Result<(Segment, Counts)> {
        let Self { id, set, words, mut table, dirty, holders, .. } = self;
        if let Some((_, file)) = set.as_growing() {
            file.repair()?;
        }
        let words = table.activate(words, &dirty)?;
        let len = words.len();
        let derived = Derived::new(len);
        let mut counts = Counts::default();
        let mut leaves = mapping::huge_page_vec(len.div_ceil(LEAF_RANKS) as usize);
        for part in parallel::for_each(parts(used), |ranks| scan(&words, &derived, ranks)) {
            leaves.extend(part.leaves);
            counts.merge(part.counts);
        }
        let free = FreeIndex::build(len, slots, leaves);
        let Derived { due, blocks } = derived;
        let state = SegmentState { words, free, due, dirty, blocks, holders: OnceLock::new() };
        let segment = Segment::new(id, set, state, table, sources);
        if let Some(holders) = holders {
            let (column, file) = holders.activate()?;
            let words = &segment.state.words;
            parallel::for_each(parts(used), |ranks| column.forget_unleased(words, ranks));
            segment.use_holders(column, file);
        }
        Ok((segment, counts))
    }
}
