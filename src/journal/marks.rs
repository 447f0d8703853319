//! Records of what happened to numbers of one leaf of ranks beside their words: they came to the pool, a list began to
//! block them, or none does any more. Nothing is restored from them: they are for those who follow the changes.
//!
//! ```text
//!      0  pool's id  u64      8  segment    u16     10  kind = 9  u8     11  what happened  u8
//!     12  base       u32     16  which ranks from the base on, a bit each  u64     24  sequence  u64
//! ```

use crate::coordinates::{Rank, SegmentId};

/// The kind of the records.
pub(super) const KIND_MARKS: u16 = 9;

/// What happened to numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum MarkKind {
    /// They came to the pool, never leased.
    Added = 1,
    /// A list began to block them.
    Blocked = 2,
    /// No list blocks them any more.
    Unblocked = 3,
}

impl MarkKind {
    pub(super) const ALL: [Self; 3] = [Self::Added, Self::Blocked, Self::Unblocked];
}

/// What happened to numbers of one leaf.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MarksRecord {
    /// The pool's id.
    pub pool: u64,
    /// The segment of the pool.
    pub segment: SegmentId,
    /// What happened.
    pub kind: MarkKind,
    /// The first rank of the leaf.
    pub base: Rank,
    /// The ranks, as bits from the base on.
    pub bits: u64,
    /// Its place among what happened to the numbers. Only changes of one number are compared by it.
    pub sequence: u64,
}

impl MarksRecord {
    /// The ranks, ascending.
    pub fn ranks(&self) -> impl Iterator<Item = Rank> + use<> {
        let (base, mut bits) = (self.base.0, self.bits);
        std::iter::from_fn(move || {
            let bit = (bits != 0).then(|| bits.trailing_zeros())?;
            bits &= bits - 1;
            Some(Rank(base.wrapping_add(bit)))
        })
    }

    /// Writes the bytes of a record.
    pub(super) fn encode(&self, bytes: &mut [u8]) {
        bytes[..8].copy_from_slice(&self.pool.to_le_bytes());
        bytes[8..10].copy_from_slice(&self.segment.0.to_le_bytes());
        bytes[10..12].copy_from_slice(&[KIND_MARKS as u8, self.kind as u8]);
        bytes[12..16].copy_from_slice(&self.base.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.bits.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.sequence.to_le_bytes());
    }

    /// Reads the bytes of a record; `None` if they are of another kind.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let kind = MarkKind::ALL.into_iter().find(|kind| *kind as u8 == bytes[11])?;
        (u16::from(bytes[10]) == KIND_MARKS).then(|| Self {
            pool: u64_at(0),
            segment: SegmentId(u16::from_le_bytes([bytes[8], bytes[9]])),
            kind,
            base: Rank(u32::from_le_bytes(std::array::from_fn(|i| bytes[12 + i]))),
            bits: u64_at(16),
            sequence: u64_at(24),
        })
    }
}
