//! Rank ranges of a pool's segments.

use std::ops::Range;

use crate::coordinates::{self, Rank};

/// The position of a segment in the list of its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SegmentIndex(pub(crate) u32);

/// Steps of a search for a span before it becomes a binary one.
const MAX_STEPS: usize = 8;

/// Some of a pool's numbers, as rank ranges of its segments.
#[derive(Debug, Clone)]
pub(crate) struct Spans {
    pub(crate) list: Vec<Span>,
    positions: u64,
    numbers: u64,
}

/// A rank range of one segment.
#[derive(Debug, Clone)]
pub(crate) struct Span {
    pub(crate) segment: SegmentIndex,
    pub(crate) ranks: Range<Rank>,
    /// How many ranks the preceding spans contain.
    offset: u64,
}

impl Span {
    /// How many ranks the preceding spans contain.
    #[inline]
    pub(super) fn offset(&self) -> u64 {
        self.offset
    }
}

impl Spans {
    /// The numbers of these ranks; those of the segment `receiving` are counted in others.
    pub(super) fn new(
        spans: impl Iterator<Item = (SegmentIndex, Range<Rank>)>,
        receiving: Option<SegmentIndex>,
    ) -> Self {
        let (mut positions, mut numbers) = (0, 0);
        let list = spans
            .filter(|(_, ranks)| !ranks.is_empty())
            .map(|(segment, ranks)| {
                let (offset, count) = (positions, u64::from(coordinates::count(&ranks)));
                positions += count;
                numbers += if receiving == Some(segment) { 0 } else { count };
                Span { segment, ranks, offset }
            })
            .collect();
        Self { list, positions, numbers }
    }

    /// The ranks that are also in `others`. Those of the segment `receiving` are counted in others.
    pub(super) fn common(&self, others: &Self, receiving: Option<SegmentIndex>) -> Self {
        let common = self.list.iter().flat_map(|span| {
            others.inside(span.segment, span.ranks.clone()).map(|ranks| (span.segment, ranks))
        });
        Self::new(common, receiving)
    }

    /// The parts of some ranks of a segment that are among these.
    pub(crate) fn inside(
        &self,
        segment: SegmentIndex,
        ranks: Range<Rank>,
    ) -> impl Iterator<Item = Range<Rank>> + '_ {
        let first =
            self.list.partition_point(|span| (span.segment, span.ranks.end) <= (segment, ranks.start));
        let end = ranks.end;
        let overlapping = self.list[first..]
            .iter()
            .take_while(move |span| span.segment == segment && span.ranks.start < end);
        overlapping.map(move |span| ranks.start.max(span.ranks.start)..ranks.end.min(span.ranks.end))
    }

    /// How many numbers there are.
    pub(crate) fn numbers(&self) -> u64 {
        self.numbers
    }

    /// How many positions there are. During a merge a number can have two.
    #[inline]
    pub(crate) fn positions(&self) -> u64 {
        self.positions
    }

    /// Whether there are none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.positions == 0
    }

    /// The span (its index) and the rank at a position below [`Self::positions`].
    #[inline]
    pub(crate) fn at(&self, position: u64) -> (usize, Rank) {
        let span = if self.list.len() == 1 { 0 } else { self.span_at(position) };
        let found = &self.list[span];
        (span, Rank(found.ranks.start.0 + (position - found.offset) as u32))
    }

    /// The span that has a position. Spans are mostly of similar lengths: the search begins at the position's share
    /// of the list.
    #[inline]
    fn span_at(&self, position: u64) -> usize {
        // Numbers and spans of a pool, multiplied, stay far below 64 bits.
        let guess = position * self.list.len() as u64 / self.positions;
        let mut span = (guess as usize).min(self.list.len() - 1);
        for _ in 0..MAX_STEPS {
            if self.list[span].offset > position {
                span -= 1;
            } else if self.list.get(span + 1).is_some_and(|next| next.offset <= position) {
                span += 1;
            } else {
                return span;
            }
        }
        self.list.partition_point(|span| span.offset <= position) - 1
    }

    /// How many positions are before a place.
    pub(super) fn positions_before(&self, segment: SegmentIndex, rank: Rank) -> u64 {
        let found = self.list.partition_point(|span| (span.segment, span.ranks.end) <= (segment, rank));
        match self.list.get(found) {
            Some(span) if span.segment == segment => {
                span.offset + u64::from(rank.0.saturating_sub(span.ranks.start.0))
            }
            Some(span) => span.offset,
            None => self.positions,
        }
    }

    /// The first span and rank at or after a place; wraps around to the very first ones.
    #[inline]
    pub(crate) fn from(&self, segment: SegmentIndex, rank: Rank) -> (usize, Rank) {
        let found = self.list.partition_point(|span| (span.segment, span.ranks.end) <= (segment, rank));
        match self.list.get(found) {
            Some(span) if span.segment == segment => (found, span.ranks.start.max(rank)),
            Some(span) => (found, span.ranks.start),
            None => (0, self.list.first().map_or(Rank(0), |span| span.ranks.start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_found_however_long_the_spans_are() {
        let lengths: [fn(u32) -> u32; 3] =
            [|_| 7, |span| 1 + span * span, |span| if span == 3 { 100_000 } else { 1 }];
        for length in lengths {
            let mut next = 0;
            let ranges: Vec<_> = (0..40)
                .map(|span| {
                    let start = next + 5;
                    next = start + length(span);
                    (SegmentIndex(span / 30), Rank(start)..Rank(next))
                })
                .collect();
            let spans = Spans::new(ranges.iter().cloned(), None);
            let mut position = 0;
            for (index, (_, ranks)) in ranges.iter().enumerate() {
                for rank in [ranks.start.0, ranks.end.0 - 1] {
                    let at = position + u64::from(rank - ranks.start.0);
                    assert_eq!(spans.at(at), (index, Rank(rank)));
                }
                position += u64::from(coordinates::count(ranks));
            }
            assert_eq!(position, spans.positions());
        }
    }
}
