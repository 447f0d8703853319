//! Where the word of a number is: in which segment of its pool, at which rank.

use std::fmt;
use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A number's position in its segment's sorted set, from 0: the index of its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Rank(pub u32);

impl Rank {
    /// As an index into memory.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// Every rank of a range.
#[inline]
pub fn each(ranks: &Range<Rank>) -> impl Iterator<Item = Rank> + use<> {
    (ranks.start.0..ranks.end.0).map(Rank)
}

/// The range of one rank.
#[inline]
pub fn one(rank: Rank) -> Range<Rank> {
    rank..Rank(rank.0 + 1)
}

/// How many ranks a range has.
#[inline]
pub fn count(ranks: &Range<Rank>) -> u32 {
    ranks.end.0.saturating_sub(ranks.start.0)
}

/// Names a segment within its pool, on disk and in the journal. Never used twice in one pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SegmentId(pub u16);

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Display for SegmentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
