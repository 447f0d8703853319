//! The part of a pool that a call may choose from, as rank ranges of its segments.

use std::ops::Range;

use crate::coordinates::{self, Rank};

/// The position of a segment in the list of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentIndex(pub(crate) u32);

/// Some of a pool's numbers, as rank ranges of its segments.
#[derive(Debug, Clone)]
pub struct Within {
    pub(crate) spans: Vec<Span>,
    len: u64,
}

/// A rank range of one segment.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) segment: SegmentIndex,
    pub(crate) ranks: Range<Rank>,
    /// How many ranks the preceding spans contain.
    offset: u64,
}

impl Within {
    pub(crate) fn new(spans: impl Iterator<Item = (SegmentIndex, Range<Rank>)>) -> Self {
        let mut len = 0;
        let spans = spans
            .filter(|(_, ranks)| !ranks.is_empty())
            .map(|(segment, ranks)| {
                let offset = len;
                len += u64::from(coordinates::count(&ranks));
                Span { segment, ranks, offset }
            })
            .collect();
        Self { spans, len }
    }

    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The span (its index) and the rank at a position below [`Self::len`].
    #[inline]
    pub(crate) fn at(&self, position: u64) -> (usize, Rank) {
        let span = if self.spans.len() == 1 {
            0
        } else {
            self.spans.partition_point(|span| span.offset <= position) - 1
        };
        let found = &self.spans[span];
        (span, Rank(found.ranks.start.0 + (position - found.offset) as u32))
    }

    /// The first span and rank at or after a place; wraps around to the very first ones.
    #[inline]
    pub(crate) fn from(&self, segment: SegmentIndex, rank: Rank) -> (usize, Rank) {
        let found = self.spans.partition_point(|span| (span.segment, span.ranks.end) <= (segment, rank));
        match self.spans.get(found) {
            Some(span) if span.segment == segment => (found, span.ranks.start.max(rank)),
            Some(span) => (found, span.ranks.start),
            None => (0, self.spans.first().map_or(Rank(0), |span| span.ranks.start)),
        }
    }
}
