//! The words that a checkpoint writes together: their ranks, bytes and checksums.

use std::fs::File;
use std::io;
use std::ops::Range;

use crate::coordinates::{self, Rank};
use crate::disk::device::Disk;
use crate::disk::mapping::{MappedWords, WORD_BYTES};
use crate::disk::paced::{self, PART_BYTES, Pacer};
use crate::state::block::{BLOCK_WORDS, BlockIndex};
use crate::state::dirty_blocks::DirtyBlocks;
use crate::state::word_table::WordTable;
use crate::sys::sync::Instant;

use super::word_checksums::{SECTOR_BYTES, SECTOR_WORDS};

/// Blocks that a batch covers: 4 MiB of words, 64 KiB of checksums. A multiple of 64.
const BATCH_BLOCKS: u32 = 1024;
/// Maximum gap, in unchanged blocks, that is written too: cheaper than separate writes.
const BRIDGED_BLOCKS: u32 = 32;
/// Words per part. A thread that wakes up on a busy processor may wait until a part is copied and summed, so
/// parts are small.
const PART_WORDS: u32 = (PART_BYTES as u64 / WORD_BYTES) as u32;

/// Consecutive words.
struct Part {
    ranks: Range<Rank>,
    bytes: Vec<u8>,
    sums: Vec<u32>,
}

/// Words that are written together.
pub(crate) struct Batch {
    parts: Vec<Part>,
    /// The largest generation of its words.
    pub(crate) max_generation: u32,
}

/// All blocks of a table, in one range per batch.
pub(crate) fn ranges(dirty: &DirtyBlocks) -> impl Iterator<Item = Range<BlockIndex>> + use<> {
    let blocks = dirty.blocks();
    let ends = move |start: u32| BlockIndex(start)..BlockIndex(blocks.min(start + BATCH_BLOCKS));
    (0..blocks).step_by(BATCH_BLOCKS as usize).map(ends)
}

impl Batch {
    /// The current words of some blocks, and of the bridged blocks between them.
    pub(crate) fn of(words: &WordTable<MappedWords>, blocks: &[Range<Rank>], rest: &Pacer<'_>) -> Self {
        let mut batch = Self { parts: Vec::new(), max_generation: 0 };
        for ranks in runs(blocks) {
            for start in coordinates::each(&ranks).step_by(PART_WORDS as usize) {
                let started = Instant::now();
                batch.add(words, start..ranks.end.min(Rank(start.0.saturating_add(PART_WORDS))));
                rest(started.elapsed());
            }
        }
        batch
    }

    fn add(&mut self, words: &WordTable<MappedWords>, ranks: Range<Rank>) {
        let mut bytes = Vec::with_capacity(coordinates::count(&ranks) as usize * WORD_BYTES as usize);
        for rank in coordinates::each(&ranks) {
            let word = words.get(rank);
            self.max_generation = self.max_generation.max(word.generation());
            bytes.extend_from_slice(&word.bits().to_le_bytes());
        }
        let sums = bytes.chunks(SECTOR_BYTES).map(crc32c::crc32c).collect();
        self.parts.push(Part { ranks, bytes, sums });
    }

    /// The first sector and the checksums of each run of consecutive sectors.
    pub(crate) fn sums(&self) -> impl Iterator<Item = (u32, &[u32])> {
        self.parts.iter().map(|part| (part.ranks.start.0 / SECTOR_WORDS, &part.sums[..]))
    }

    /// Writes the words to their file, durably.
    pub(crate) fn write(&self, disk: &dyn Disk, file: &File, rest: &Pacer<'_>) -> io::Result<()> {
        self.parts.iter().try_for_each(|part| {
            let offset = u64::from(part.ranks.start.0) * WORD_BYTES;
            paced::write_in_parts(disk, file, &part.bytes, offset, rest)
        })
    }
}

/// Joins blocks that have at most [`BRIDGED_BLOCKS`] between them.
fn runs(blocks: &[Range<Rank>]) -> Vec<Range<Rank>> {
    let mut runs: Vec<Range<Rank>> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if block.start.0 - run.end.0 <= BRIDGED_BLOCKS * BLOCK_WORDS => run.end = block.end,
            _ => runs.push(block.clone()),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_bridges_few_blocks_and_no_more() {
        let block = |index: u32| Rank(index * BLOCK_WORDS)..Rank((index + 1) * BLOCK_WORDS);
        let far = 2 + BRIDGED_BLOCKS;
        let blocks = [block(0), block(1), block(far), block(far + BRIDGED_BLOCKS + 2)];
        assert_eq!(runs(&blocks), [Rank(0)..Rank((far + 1) * BLOCK_WORDS), block(far + BRIDGED_BLOCKS + 2)]);
    }
}
