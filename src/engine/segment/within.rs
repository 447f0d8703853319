//! The part of a pool that a call may choose from, as rank ranges of its segments.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::coordinates::{self, Rank};
use crate::numbers::number::NumberRange;

use super::Segments;

/// The position of a segment in the list of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentIndex(pub(crate) u32);

/// Some of a pool's numbers, as rank ranges of its segments.
#[derive(Clone)]
pub struct Within {
    pub(crate) spans: Vec<Span>,
    len: u64,
    numbers: u64,
    /// What the ranks belong to, and the ranges that they stand for. `None` in the segments' own value.
    of: Option<(Arc<Segments>, Box<[NumberRange]>)>,
}

/// A rank range of one segment.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) segment: SegmentIndex,
    pub(crate) ranks: Range<Rank>,
    /// How many ranks the preceding spans contain.
    offset: u64,
}

impl fmt::Debug for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.spans).finish()
    }
}

impl Within {
    /// The numbers of these spans; those of the segment `receiving` are counted in others.
    pub(super) fn new(
        spans: impl Iterator<Item = (SegmentIndex, Range<Rank>)>,
        receiving: Option<SegmentIndex>,
    ) -> Self {
        let (mut len, mut numbers) = (0, 0);
        let spans = spans
            .filter(|(_, ranks)| !ranks.is_empty())
            .map(|(segment, ranks)| {
                let (offset, count) = (len, u64::from(coordinates::count(&ranks)));
                len += count;
                numbers += if receiving == Some(segment) { 0 } else { count };
                Span { segment, ranks, offset }
            })
            .collect();
        Self { spans, len, numbers, of: None }
    }

    /// The same, as the ranks of these ranges in these segments.
    pub(super) fn of(self, segments: Arc<Segments>, ranges: &[NumberRange]) -> Self {
        Self { of: Some((segments, ranges.into())), ..self }
    }

    /// The segments that the ranks belong to; `current` unless it has its own.
    #[inline]
    pub(crate) fn segments<'a>(&'a self, current: &'a Segments) -> &'a Segments {
        self.of.as_ref().map_or(current, |(segments, _)| segments)
    }

    /// The segments that the ranks belong to, if it has its own.
    pub(crate) fn own_segments(&self) -> Option<Arc<Segments>> {
        self.of.as_ref().map(|(segments, _)| Arc::clone(segments))
    }

    /// The ranges that it was made of.
    pub(crate) fn ranges(&self) -> &[NumberRange] {
        self.of.as_ref().map_or(&[NumberRange::ALL], |(_, ranges)| ranges)
    }

    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.numbers
    }

    /// How many positions there are. During a merge a number can have two.
    #[inline]
    pub(crate) fn positions(&self) -> u64 {
        self.len
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The span (its index) and the rank at a position below [`Self::positions`].
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
