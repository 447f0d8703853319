//! Rebuilds the data derived from the words at startup: leaves of the free index, due hints, counts.

use std::ops::Range;

use crate::coordinates::Rank;
use crate::disk::mapping::MappedWords;
use crate::domain::counts::Counts;
use crate::state::block::BLOCK_WORDS;
use crate::state::block_counts::{self, BlockCounts};
use crate::state::due_hints::DueHints;
use crate::state::word::Word;
use crate::state::word_table::WordTable;
use crate::sys::parallel;

/// Ranks per leaf of the free index.
pub(crate) const LEAF_RANKS: u32 = 64;
/// Minimum words per thread of a rebuild.
const MIN_WORDS_PER_THREAD: u32 = 1 << 20;

/// The result of a scan.
pub(crate) struct Scanned {
    pub(crate) leaves: Vec<u64>,
    pub(crate) counts: Counts,
}

/// The first `len` ranks, in one part per processor.
pub(crate) fn parts(len: u32) -> impl Iterator<Item = Range<u32>> {
    parallel::parts(len, MIN_WORDS_PER_THREAD, BLOCK_WORDS)
}

/// Derived data that a scan fills, besides the leaves of the free index.
pub(crate) struct Derived {
    pub(crate) due: DueHints,
    pub(crate) blocks: BlockCounts,
}

impl Derived {
    pub(crate) fn new(len: u32) -> Self {
        Self { due: DueHints::new(len), blocks: BlockCounts::new(len) }
    }
}

/// Scans the words of some ranks and fills the data derived from them.
pub(crate) fn scan(words: &WordTable<MappedWords>, derived: &Derived, ranks: Range<u32>) -> Scanned {
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
            let word = words.get(Rank(rank));
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
            derived.due.note(Rank(start), until);
        }
        if in_states > 0 {
            derived.blocks.found(Rank(start), in_states);
        }
        scanned.leaves.push(leaf);
        start = end;
    }
    let new = ranks.len() as u64 - scanned.counts.numbers;
    scanned.counts.merge(Counts { numbers: new, available: new, ..Counts::default() });
    scanned
}
