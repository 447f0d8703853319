//! The records that one thread has pushed and the writer has not taken: a ring of one producer and one consumer.
//!
//! The ring only holds the cells. The producer writes a cell, then publishes its count of pushed records; the
//! consumer reads the cell, then publishes its count of taken ones. Each count is written by one side, with
//! `Release`, and read by the other with `Acquire`: so no cell is read before it is written, and none is written
//! again before it is read. The cells are atomics that need no order of their own, so the ring needs no unsafe
//! code.

use std::ops::Range;

use crate::sys::atomics::{AtomicU64, Ordering};

use super::record::RECORD_BYTES;

/// Records that fit into the ring. With a full one the thread waits for the writer.
pub(crate) const QUEUE_RECORDS: usize = if cfg!(allotd_loom) {
    2
} else if cfg!(allotd_shuttle) {
    8
} else {
    8_192
};

const WORD_BYTES: usize = size_of::<u64>();
/// The words of a record that the ring keeps: all, or under loom that of the number alone, because each atomic
/// multiplies the states that a model explores.
const KEPT_WORDS: Range<usize> = if cfg!(allotd_loom) { 2..3 } else { 0..RECORD_BYTES / WORD_BYTES };

type Cell = [AtomicU64; KEPT_WORDS.end - KEPT_WORDS.start];

/// The cells of a ring.
pub(super) struct Ring {
    cells: Box<[Cell]>,
}

impl Ring {
    pub(super) fn new() -> Self {
        Self { cells: (0..QUEUE_RECORDS).map(|_| std::array::from_fn(|_| AtomicU64::new(0))).collect() }
    }

    #[inline]
    fn cell(&self, position: u64) -> &Cell {
        &self.cells[position as usize % QUEUE_RECORDS]
    }

    /// Writes the record at a position, which the consumer has taken since it was last written.
    #[inline]
    pub(super) fn put(&self, position: u64, record: &[u8; RECORD_BYTES]) {
        let (words, _) = record.as_chunks::<WORD_BYTES>();
        for (cell, word) in self.cell(position).iter().zip(&words[KEPT_WORDS]) {
            // Relaxed: the count of pushed records publishes it.
            cell.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
    }

    /// The record at a position, which the producer has published.
    #[inline]
    pub(super) fn get(&self, position: u64) -> [u8; RECORD_BYTES] {
        let mut record = [0; RECORD_BYTES];
        let (words, _) = record.as_chunks_mut::<WORD_BYTES>();
        for (cell, word) in self.cell(position).iter().zip(&mut words[KEPT_WORDS]) {
            *word = cell.load(Ordering::Relaxed).to_ne_bytes();
        }
        record
    }
}
