//! The records of the journal, each of [`RECORD_BYTES`] bytes.
//!
//! ```text
//! offset  word                      key                        lease of a key
//!      0  pool's id        u64      checksum of the body u64   pool's id              u64
//!      8  segment          u16      how many, less one   u16   second it ends in, low u16
//!     10  kind = 7         u8       kind = 2             u16   kind = 4               u16
//!     11  cause, low byte  u8
//!     12  rank             u32      second they end in   u32   generation             u32
//!     16  word             u64      key, hashed          16    key's first half       u64
//!     24  holder, cause    u64                                 number                 u64
//! ```
//!
//! Bits 48 to 62 of the holder's field are the other bits of the [`Cause`]. Before format 5 a cause is 0: unknown.
//!
//! Kind 8 is the opening of a round: the pool's id (0, u64), kind (10, u16), and the round (12, u32).
//!
//! Kind 5 is a change of a list:
//!
//! ```text
//!      0  list's id           u64     8  1 if on it, 0 if off    u16    10  kind = 5  u16
//!     12  how many, less one  u32    16  first number            u64    24  sequence  u64
//! ```
//!
//! Kind 6 is a part of the name of a holder, or says which ids of holders are in use:
//!
//! ```text
//!      0  pool's id            u64     8  part, from 0            u8     9  bytes of the name, less one; top bit: returned  u8
//!     10  kind = 6             u16    12  id, low half            u32   16  id, high bits  u16
//!     18  bytes of the name    14
//! ```
//!
//! Part 255 has no name: ids below this one have been given out. The holder of a word is 0 for none; its top bit
//! says that the holder returned the lease, bit 47 that it had the number only until this change.
//!
//! Kind 9 is what happened to numbers of one leaf of ranks beside their words ([`super::marks`]).
//!
//! Kind 3, of format 1, is a lease of a key by segment (8, u16) and rank (12, u32), with the key's first half
//! (16, u64) and the generation (24, u32).
//!
//! Kind 1, of formats 1 to 3, is a word as kind 7 has it, but without attempts: its generation begins where they do.
//! It is read as the word that it is now.
//!
//! All little-endian. A key record states how many lease records follow it, not always next to it. Together
//! they are the leases made under an `Idempotency-Key`. Each of these numbers has its word record too. Of two
//! changes of a list at one number, the one with the larger sequence counts, whatever their order is.
//!
//! To add a kind: take the next number, raise [`super::frame::FORMAT`], and keep reading the earlier kinds.

use crate::coordinates::{Rank, SegmentId};
use crate::state::holder_column::HolderId;
use crate::state::word::Word;

pub use super::cause::Cause;
use super::cause::ChangeKind;
pub use super::marks::MarksRecord;

/// Bytes of one record.
pub const RECORD_BYTES: usize = 32;
const KIND_WORD_WITHOUT_ATTEMPTS: u16 = 1;
const KIND_KEY: u16 = 2;
const KIND_OLD_KEY_LEASE: u16 = 3;
const KIND_KEY_LEASE: u16 = 4;
const KIND_LIST: u16 = 5;
const KIND_HOLDER: u16 = 6;
const KIND_WORD: u16 = 7;
/// Bytes of a holder's name in one record.
pub const HOLDER_PART_BYTES: usize = 14;
/// The part of a record that has no name.
const NO_PART: u8 = u8::MAX;
/// The bit of [`HolderRecord::shape`] that says that the holder has returned something.
const HAS_RETURNED: u8 = 1 << 7;
/// The bit of [`WordRecord::holder`] that says that the holder returned the lease.
pub const RETURNED_BY_HOLDER: u64 = 1 << 63;
/// The bit of [`WordRecord::holder`] that says that the holder had the number until this change: the word after it has
/// no holder.
pub const HELD_UNTIL_CHANGE: u64 = 1 << 47;
const KIND_ROUND: u16 = 8;

/// Where the high bits of a cause begin in a holder's field,
const CAUSE_SHIFT: u32 = 48;
/// and their mask.
const CAUSE_BITS: u64 = ((1 << super::cause::HIGH_BITS) - 1) << CAUSE_SHIFT;

/// The word of a number after a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WordRecord {
    /// The pool's id. It also differs from that of a deleted pool of the same name.
    pub pool: u64,
    /// The segment of the pool.
    pub segment: SegmentId,
    /// The number's rank in the segment.
    pub rank: Rank,
    /// The word after the change.
    pub word: Word,
    /// The id of who holds the number or held it last, with [`RETURNED_BY_HOLDER`] and [`HELD_UNTIL_CHANGE`]; 0 for
    /// nobody.
    pub holder: u64,
    /// What happened.
    pub cause: Cause,
}

/// Leases made under an `Idempotency-Key`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyRecord {
    /// Hash of pool and key.
    pub key: [u8; 16],
    /// Hash of the request's body.
    pub body: u64,
    /// The number of leases, 1 to 65,536.
    pub leases: u32,
    /// Second since 2020 at which the leases end.
    pub until_seconds: u32,
}

/// One of the leases of a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KeyLeaseRecord {
    /// The pool's id.
    pub pool: u64,
    /// The number.
    pub number: u64,
    /// First half of the hash of pool and key.
    pub key_start: [u8; 8],
    /// The number's generation under the lease.
    pub generation: u32,
    /// Low half of the second at which the leases end, which tells two uses of a key apart.
    pub until_tag: u16,
}

/// One of the leases of a key, as format 1 has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OldKeyLeaseRecord {
    /// The pool's id.
    pub pool: u64,
    /// The segment of the pool.
    pub segment: SegmentId,
    /// The number's rank in the segment.
    pub rank: Rank,
    /// First half of the hash of pool and key.
    pub key_start: [u8; 8],
    /// The number's generation under the lease.
    pub generation: u32,
}

/// Consecutive numbers that were put on a list, or taken off it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListRecord {
    /// The list's id. It also differs from that of a deleted list of the same name.
    pub list: u64,
    /// Whether the numbers are on the list from now on.
    pub on: bool,
    /// The first number.
    pub first: u64,
    /// How many numbers follow it.
    pub more: u32,
    /// The place of the change among those of the list.
    pub sequence: u64,
}

/// A part of a holder's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HolderRecord {
    /// The pool's id.
    pub pool: u64,
    /// The holder's id.
    pub holder: HolderId,
    /// Which part of the name it is, from 0.
    part: u8,
    /// How long the whole name is, less one, and [`HAS_RETURNED`].
    shape: u8,
    text: [u8; HOLDER_PART_BYTES],
}

impl HolderRecord {
    /// The records of a name of 1 to 128 bytes.
    pub fn of(pool: u64, holder: HolderId, name: &str, has_returned: bool) -> impl Iterator<Item = Self> {
        let shape =
            (name.len().wrapping_sub(1) as u8 & !HAS_RETURNED) | if has_returned { HAS_RETURNED } else { 0 };
        name.as_bytes().chunks(HOLDER_PART_BYTES).zip(0..).map(move |(bytes, part)| {
            let mut text = [0; HOLDER_PART_BYTES];
            text[..bytes.len()].copy_from_slice(bytes);
            Self { pool, holder, part, shape, text }
        })
    }

    /// Says that the ids below `next` have been given out.
    pub fn given_out(pool: u64, next: HolderId) -> Self {
        Self { pool, holder: next, part: NO_PART, shape: 0, text: [0; HOLDER_PART_BYTES] }
    }

    /// Whether it has a part of a name.
    pub fn is_name(&self) -> bool {
        self.part != NO_PART
    }

    /// Whether the holder has returned something.
    pub fn has_returned(&self) -> bool {
        self.shape & HAS_RETURNED != 0
    }

    /// The length of the whole name.
    pub fn name_bytes(&self) -> usize {
        usize::from(self.shape & !HAS_RETURNED) + 1
    }

    /// Where the part begins in the name, and its bytes.
    pub fn text(&self) -> (usize, &[u8]) {
        let start = usize::from(self.part) * HOLDER_PART_BYTES;
        (start, &self.text[..self.name_bytes().saturating_sub(start).min(HOLDER_PART_BYTES)])
    }
}

/// The opening of a round of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundRecord {
    /// The pool's id.
    pub pool: u64,
    /// The round that begins.
    pub round: u32,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record {
    /// The state of a number.
    Word(WordRecord),
    /// The leases made under a key.
    Key(KeyRecord),
    /// One of the leases of a key.
    KeyLease(KeyLeaseRecord),
    /// The same in format 1. Read, never written.
    OldKeyLease(OldKeyLeaseRecord),
    /// A change of a list.
    List(ListRecord),
    /// A part of a holder's name.
    Holder(HolderRecord),
    /// The opening of a round. The manifest has it too: this one is for those who follow the changes.
    Round(RoundRecord),
    /// What happened to numbers beside their words, for those who follow the changes.
    Marks(MarksRecord),
}

/// The bytes are not those of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a record of unknown kind {0}")]
pub struct UnknownKind(pub u16);

impl Record {
    /// The record's bytes.
    #[inline]
    pub fn encode(&self) -> [u8; RECORD_BYTES] {
        let mut bytes = [0; RECORD_BYTES];
        match self {
            Self::Word(record) => {
                bytes[..8].copy_from_slice(&record.pool.to_le_bytes());
                bytes[8..10].copy_from_slice(&record.segment.0.to_le_bytes());
                let (low, high) = record.cause.parts();
                bytes[10] = KIND_WORD as u8;
                bytes[11] = low;
                bytes[12..16].copy_from_slice(&record.rank.0.to_le_bytes());
                bytes[16..24].copy_from_slice(&record.word.bits().to_le_bytes());
                bytes[24..]
                    .copy_from_slice(&(record.holder & !CAUSE_BITS | high << CAUSE_SHIFT).to_le_bytes());
            }
            Self::Key(record) => {
                bytes[..8].copy_from_slice(&record.body.to_le_bytes());
                bytes[8..10].copy_from_slice(&(record.leases.wrapping_sub(1) as u16).to_le_bytes());
                bytes[10..12].copy_from_slice(&KIND_KEY.to_le_bytes());
                bytes[12..16].copy_from_slice(&record.until_seconds.to_le_bytes());
                bytes[16..].copy_from_slice(&record.key);
            }
            Self::KeyLease(record) => {
                bytes[..8].copy_from_slice(&record.pool.to_le_bytes());
                bytes[8..10].copy_from_slice(&record.until_tag.to_le_bytes());
                bytes[10..12].copy_from_slice(&KIND_KEY_LEASE.to_le_bytes());
                bytes[12..16].copy_from_slice(&record.generation.to_le_bytes());
                bytes[16..24].copy_from_slice(&record.key_start);
                bytes[24..].copy_from_slice(&record.number.to_le_bytes());
            }
            Self::OldKeyLease(record) => {
                bytes[..8].copy_from_slice(&record.pool.to_le_bytes());
                bytes[8..10].copy_from_slice(&record.segment.0.to_le_bytes());
                bytes[10..12].copy_from_slice(&KIND_OLD_KEY_LEASE.to_le_bytes());
                bytes[12..16].copy_from_slice(&record.rank.0.to_le_bytes());
                bytes[16..24].copy_from_slice(&record.key_start);
                bytes[24..28].copy_from_slice(&record.generation.to_le_bytes());
            }
            Self::List(record) => {
                bytes[..8].copy_from_slice(&record.list.to_le_bytes());
                bytes[8..10].copy_from_slice(&u16::from(record.on).to_le_bytes());
                bytes[10..12].copy_from_slice(&KIND_LIST.to_le_bytes());
                bytes[12..16].copy_from_slice(&record.more.to_le_bytes());
                bytes[16..24].copy_from_slice(&record.first.to_le_bytes());
                bytes[24..].copy_from_slice(&record.sequence.to_le_bytes());
            }
            Self::Holder(record) => {
                let id = record.holder.0.to_le_bytes();
                bytes[..8].copy_from_slice(&record.pool.to_le_bytes());
                bytes[8] = record.part;
                bytes[9] = record.shape;
                bytes[10..12].copy_from_slice(&KIND_HOLDER.to_le_bytes());
                bytes[12..18].copy_from_slice(&id[..6]);
                bytes[18..].copy_from_slice(&record.text);
            }
            Self::Round(record) => {
                bytes[..8].copy_from_slice(&record.pool.to_le_bytes());
                bytes[10..12].copy_from_slice(&KIND_ROUND.to_le_bytes());
                bytes[12..16].copy_from_slice(&record.round.to_le_bytes());
            }
            Self::Marks(record) => record.encode(&mut bytes),
        }
        bytes
    }

    /// Reads a record's bytes.
    #[inline]
    pub fn decode(bytes: &[u8; RECORD_BYTES]) -> Result<Self, UnknownKind> {
        let u64_at = |at: usize| u64::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u32_at = |at: usize| u32::from_le_bytes(std::array::from_fn(|i| bytes[at + i]));
        let u16_at = |at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
        match u16_at(10) {
            KIND_WORD_WITHOUT_ATTEMPTS => Ok(Self::Word(WordRecord {
                pool: u64_at(0),
                segment: SegmentId(u16_at(8)),
                rank: Rank(u32_at(12)),
                word: Word::from_bits_without_attempts(u64_at(16)),
                holder: u64_at(24) & !CAUSE_BITS,
                cause: Cause::of(ChangeKind::Other),
            })),
            kind if kind & 0xFF == KIND_WORD => Ok(Self::Word(WordRecord {
                pool: u64_at(0),
                segment: SegmentId(u16_at(8)),
                rank: Rank(u32_at(12)),
                word: Word::from_bits(u64_at(16)),
                holder: u64_at(24) & !CAUSE_BITS,
                cause: Cause::of_parts(bytes[11], (u64_at(24) & CAUSE_BITS) >> CAUSE_SHIFT),
            })),
            KIND_ROUND => Ok(Self::Round(RoundRecord { pool: u64_at(0), round: u32_at(12) })),
            KIND_KEY => Ok(Self::Key(KeyRecord {
                key: std::array::from_fn(|i| bytes[16 + i]),
                body: u64_at(0),
                leases: u32::from(u16_at(8)) + 1,
                until_seconds: u32_at(12),
            })),
            KIND_KEY_LEASE => Ok(Self::KeyLease(KeyLeaseRecord {
                pool: u64_at(0),
                until_tag: u16_at(8),
                generation: u32_at(12),
                key_start: std::array::from_fn(|i| bytes[16 + i]),
                number: u64_at(24),
            })),
            KIND_OLD_KEY_LEASE => Ok(Self::OldKeyLease(OldKeyLeaseRecord {
                pool: u64_at(0),
                segment: SegmentId(u16_at(8)),
                rank: Rank(u32_at(12)),
                key_start: std::array::from_fn(|i| bytes[16 + i]),
                generation: u32_at(24),
            })),
            KIND_LIST => Ok(Self::List(ListRecord {
                list: u64_at(0),
                on: u16_at(8) != 0,
                more: u32_at(12),
                first: u64_at(16),
                sequence: u64_at(24),
            })),
            KIND_HOLDER => Ok(Self::Holder(HolderRecord {
                pool: u64_at(0),
                holder: HolderId(u64::from(u32_at(12)) | u64::from(u16_at(16)) << 32),
                part: bytes[8],
                shape: bytes[9],
                text: std::array::from_fn(|i| bytes[18 + i]),
            })),
            other => MarksRecord::decode(bytes).map(Self::Marks).ok_or(UnknownKind(other)),
        }
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests;
