//! Which blocks of words changed since they were last written to their file.
//!
//! A change writes its word, then marks the block; the checkpoint takes the mark, then reads the words.
//! All of these are `SeqCst`, so in their single order a change that found the mark set, and left it,
//! came before it was taken, and its word is read; one that came later sets it again.

use std::ops::Range;

use super::due::BLOCK_WORDS;
use crate::sync::{AtomicU64, Ordering, total_order_for_loom};

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

    /// Takes the marks of up to `most` blocks from block `from` on: the ranks of each block, ascending.
    /// Fewer than `most` means that there are no more.
    pub fn take(&self, from: u32, most: usize) -> Vec<Range<u32>> {
        let mut blocks = Vec::new();
        for index in from / u64::BITS..self.marks.len() as u32 {
            let mark = &self.marks[index as usize];
            let mut bits = mark.load(Ordering::SeqCst);
            while bits != 0 && blocks.len() < most {
                let bit = bits & bits.wrapping_neg();
                bits ^= bit;
                mark.fetch_and(!bit, Ordering::SeqCst);
                total_order_for_loom();
                let start = (index * u64::BITS + bit.trailing_zeros()) * BLOCK_WORDS;
                blocks.push(start..start.saturating_add(BLOCK_WORDS).min(self.len));
            }
            if blocks.len() == most {
                break;
            }
        }
        blocks
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
        let first = dirty.take(0, 3);
        let starts: Vec<_> = first.iter().map(|ranks| ranks.start / BLOCK_WORDS).collect();
        assert_eq!(starts, [0, 63, 64]);
        let rest = dirty.take(starts[2], 10);
        assert_eq!(rest.last(), Some(&(BLOCK_WORDS * 200..BLOCK_WORDS * 200 + 3)));
        assert_eq!(rest.len(), 2);
        assert!(dirty.take(0, 10).is_empty());
    }
}
