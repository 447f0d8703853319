//! Which blocks of words changed since they were last written to their file.
//!
//! A change writes its word, then marks the block; the checkpoint takes the mark, then reads the words.
//! All of these are `SeqCst`, so in their single order a change that found the mark set, and left it,
//! came before it was taken, and its word is read; one that came later sets it again.

use std::ops::Range;

use crate::sys::atomics::{AtomicU64, Ordering, total_order_for_loom};

use super::due_hints::BLOCK_WORDS;

/// See the module.
pub struct DirtyBlocks {
    len: u32,
    marks: Box<[AtomicU64]>,
}

impl DirtyBlocks {
    /// Marks for `len` words, none set.
    pub fn new(len: u32) -> Self {
        let marks = len.div_ceil(BLOCK_WORDS).div_ceil(u64::BITS);
        Self { len, marks: (0..marks).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Says that a word changed. To be called after it was written.
    #[inline]
    pub fn mark(&self, rank: u32) {
        let block = rank / BLOCK_WORDS;
        let (mark, bit) = (&self.marks[(block / u64::BITS) as usize], 1 << (block % u64::BITS));
        total_order_for_loom();
        if mark.load(Ordering::SeqCst) & bit == 0 {
            mark.fetch_or(bit, Ordering::SeqCst);
        }
    }

    /// How many blocks there are.
    pub fn blocks(&self) -> u32 {
        self.len.div_ceil(BLOCK_WORDS)
    }

    /// Takes the marks of the blocks of a range, which begins and ends at a multiple of 64 or at the end: the
    /// ranks of each block that has changed, ascending.
    pub fn take(&self, blocks: Range<u32>) -> Vec<Range<u32>> {
        let mut taken = Vec::new();
        for index in blocks.start / u64::BITS..blocks.end.div_ceil(u64::BITS) {
            let mark = &self.marks[index as usize];
            let mut bits = mark.load(Ordering::SeqCst);
            while bits != 0 {
                let bit = bits & bits.wrapping_neg();
                bits ^= bit;
                mark.fetch_and(!bit, Ordering::SeqCst);
                total_order_for_loom();
                let start = (index * u64::BITS + bit.trailing_zeros()) * BLOCK_WORDS;
                taken.push(start..start.saturating_add(BLOCK_WORDS).min(self.len));
            }
        }
        taken
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;

    #[test]
    fn marks_are_taken_once_in_order_and_in_parts() {
        let dirty = DirtyBlocks::new(BLOCK_WORDS * 200 + 3);
        for block in [199, 0, 64, 200, 63, 0] {
            dirty.mark(block * BLOCK_WORDS + 2);
        }
        let starts = |blocks: &[Range<u32>]| -> Vec<_> {
            blocks.iter().map(|ranks| ranks.start / BLOCK_WORDS).collect()
        };
        assert_eq!(starts(&dirty.take(0..64)), [0, 63]);
        let rest = dirty.take(64..dirty.blocks());
        assert_eq!(starts(&rest), [64, 199, 200]);
        assert_eq!(rest.last(), Some(&(BLOCK_WORDS * 200..BLOCK_WORDS * 200 + 3)));
        assert!(dirty.take(0..dirty.blocks()).is_empty());
    }
}
