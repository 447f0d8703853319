//! What a call chooses from: some spans, or what is at some positions of them. So a call among a part of what the hours leave
//! open copies none of the spans, however many there are.

use std::ops::Range;

use crate::coordinates::{self, Rank};

use super::spans::{SegmentIndex, Spans};

/// Spans of a pool, ascending, and the positions of their ranks.
pub(crate) trait Choice {
    /// How many positions there are. During a merge a number can have two.
    fn positions(&self) -> u64;

    /// How many spans there are.
    fn len(&self) -> usize;

    /// The segment and the ranks of a span.
    fn span(&self, index: usize) -> (SegmentIndex, Range<Rank>);

    /// The span (its index) and the rank at a position below [`Self::positions`].
    fn at(&self, position: u64) -> (usize, Rank);

    /// The first span and rank at or after a place; wraps around to the very first ones.
    fn from(&self, segment: SegmentIndex, rank: Rank) -> (usize, Rank);

    /// All spans.
    fn iter(&self) -> impl Iterator<Item = (SegmentIndex, Range<Rank>)> {
        (0..self.len()).map(|index| self.span(index))
    }
}

impl Choice for Spans {
    #[inline]
    fn positions(&self) -> u64 {
        self.positions()
    }

    #[inline]
    fn len(&self) -> usize {
        self.list.len()
    }

    #[inline]
    fn span(&self, index: usize) -> (SegmentIndex, Range<Rank>) {
        let span = &self.list[index];
        (span.segment, span.ranks.clone())
    }

    #[inline]
    fn at(&self, position: u64) -> (usize, Rank) {
        self.at(position)
    }

    #[inline]
    fn from(&self, segment: SegmentIndex, rank: Rank) -> (usize, Rank) {
        self.from(segment, rank)
    }
}

/// Parts of some spans.
pub(crate) struct Parts<'a> {
    of: &'a Spans,
    /// Ascending, apart.
    list: Vec<Part>,
    positions: u64,
    len: usize,
}

/// Adjacent positions of the spans.
struct Part {
    positions: Range<u64>,
    /// How many positions the preceding parts have.
    offset: u64,
    /// The spans that have some of them.
    spans: Range<usize>,
    /// How many spans the preceding parts have.
    index: usize,
}

impl<'a> Parts<'a> {
    /// What is both in `of` and in `others`, which ascend.
    pub(crate) fn common(of: &'a Spans, others: &Spans) -> Self {
        let mut parts = Self { of, list: Vec::with_capacity(others.list.len()), positions: 0, len: 0 };
        for other in &others.list {
            let at = |rank| of.positions_before(other.segment, rank);
            parts.add(at(other.ranks.start)..at(other.ranks.end));
        }
        parts
    }

    fn add(&mut self, positions: Range<u64>) {
        if positions.is_empty() {
            return;
        }
        let spans = self.of.at(positions.start).0..self.of.at(positions.end - 1).0 + 1;
        match self.list.last_mut() {
            Some(last) if last.positions.end == positions.start => {
                last.positions.end = positions.end;
                last.spans.end = spans.end;
            }
            last => {
                let (offset, index) = last.map_or((0, 0), |last| (last.next_offset(), last.next_index()));
                self.list.push(Part { positions, offset, spans, index });
            }
        }
        (self.positions, self.len) =
            self.list.last().map_or((0, 0), |last| (last.next_offset(), last.next_index()));
    }
}

impl Choice for Parts<'_> {
    fn positions(&self) -> u64 {
        self.positions
    }

    fn len(&self) -> usize {
        self.len
    }

    fn span(&self, index: usize) -> (SegmentIndex, Range<Rank>) {
        let part = &self.list[self.list.partition_point(|part| part.index <= index) - 1];
        let span = &self.of.list[part.spans.start + (index - part.index)];
        let ranks = &span.ranks;
        let rank_at = |position: u64| Rank(ranks.start.0 + (position - span.offset()) as u32);
        let first = rank_at(part.positions.start.max(span.offset()));
        let count = u64::from(coordinates::count(ranks));
        (span.segment, first..rank_at(part.positions.end.min(span.offset() + count)))
    }

    fn at(&self, position: u64) -> (usize, Rank) {
        let part = &self.list[self.list.partition_point(|part| part.offset <= position) - 1];
        let (span, rank) = self.of.at(part.positions.start + (position - part.offset));
        (part.index + (span - part.spans.start), rank)
    }

    fn from(&self, segment: SegmentIndex, rank: Rank) -> (usize, Rank) {
        let before = self.of.positions_before(segment, rank);
        let part = self.list.partition_point(|part| part.positions.end <= before);
        let position =
            self.list.get(part).map_or(0, |part| part.offset + before.saturating_sub(part.positions.start));
        self.at(position)
    }
}

impl Part {
    fn next_offset(&self) -> u64 {
        self.offset + (self.positions.end - self.positions.start)
    }

    fn next_index(&self) -> usize {
        self.index + self.spans.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::spans::Span;
    use super::*;

    const RANKS: u32 = 60;

    fn spans() -> impl Strategy<Value = Spans> {
        let of_segment = prop::collection::vec(0..RANKS, 0..12).prop_map(|mut ends| {
            ends.sort_unstable();
            ends.dedup();
            ends.chunks_exact(2).map(|ends| Rank(ends[0])..Rank(ends[1])).collect::<Vec<_>>()
        });
        prop::collection::vec(of_segment, 1..4).prop_map(|segments| {
            let of = |(index, ranks): (u32, Vec<Range<Rank>>)| {
                ranks.into_iter().map(move |ranks| (SegmentIndex(index), ranks))
            };
            Spans::new((0..).zip(segments).flat_map(of), None)
        })
    }

    fn all(spans: &Spans) -> Vec<(SegmentIndex, Rank)> {
        let of = |span: &Span| coordinates::each(&span.ranks).map(|rank| (span.segment, rank)).collect();
        spans.list.iter().flat_map(|span| -> Vec<_> { of(span) }).collect()
    }

    proptest! {
        #[test]
        fn a_choice_is_what_is_common(open in spans(), within in spans()) {
            let choice = Parts::common(&open, &within);
            let others = all(&within);
            let expected: Vec<_> = all(&open).into_iter().filter(|place| others.contains(place)).collect();
            let found: Vec<_> = choice
                .iter()
                .flat_map(|(segment, ranks)| coordinates::each(&ranks).map(|rank| (segment, rank)).collect::<Vec<_>>())
                .collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(choice.positions(), expected.len() as u64);
            let place = |(span, rank): (usize, Rank)| {
                let (segment, ranks) = choice.span(span);
                prop_assert!(ranks.contains(&rank));
                Ok((segment, rank))
            };
            for (position, expected) in (0..).zip(&expected) {
                prop_assert_eq!(place(choice.at(position))?, *expected);
            }
            if let Some(first) = expected.first() {
                for from in (0..4).flat_map(|segment| (0..=RANKS).map(move |rank| (SegmentIndex(segment), Rank(rank)))) {
                    let next = expected.iter().find(|place| **place >= from).unwrap_or(first);
                    prop_assert_eq!(place(choice.from(from.0, from.1))?, *next, "from {:?}", from);
                }
            }
        }
    }
}
