//! What a call chooses from: some spans, or what is at some positions of them. So a call among a part of what the hours leave
//! open copies none of the spans, however many there are.

use std::ops::Range;

use crate::coordinates::{self, Rank};

use super::spans::{SegmentIndex, Spans};

/// Spans, or parts of them.
pub(crate) struct Choice<'a> {
    spans: &'a Spans,
    /// `None` for all of the spans.
    parts: Option<Parts>,
}

struct Parts {
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

impl<'a> Choice<'a> {
    /// All of some spans.
    #[inline]
    pub(crate) fn whole(spans: &'a Spans) -> Self {
        Self { spans, parts: None }
    }

    /// What is both in `spans` and in `others`, which ascend. A number of spans costs as little as one.
    pub(crate) fn common(spans: &'a Spans, others: &Spans) -> Self {
        let mut parts = Parts { list: Vec::with_capacity(others.list.len()), positions: 0, len: 0 };
        for other in &others.list {
            let at = |rank| spans.positions_before(other.segment, rank);
            parts.add(spans, at(other.ranks.start)..at(other.ranks.end));
        }
        Self { spans, parts: Some(parts) }
    }

    /// How many positions there are. During a merge a number can have two.
    #[inline]
    pub(crate) fn positions(&self) -> u64 {
        self.parts.as_ref().map_or(self.spans.positions(), |parts| parts.positions)
    }

    /// Whether there are none.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.positions() == 0
    }

    /// How many spans there are.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.parts.as_ref().map_or(self.spans.list.len(), |parts| parts.len)
    }

    /// The segment and the ranks of a span.
    #[inline]
    pub(crate) fn span(&self, index: usize) -> (SegmentIndex, Range<Rank>) {
        match &self.parts {
            None => {
                let span = &self.spans.list[index];
                (span.segment, span.ranks.clone())
            }
            Some(parts) => parts.span(self.spans, index),
        }
    }

    /// All spans.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (SegmentIndex, Range<Rank>)> {
        (0..self.len()).map(|index| self.span(index))
    }

    /// The span (its index) and the rank at a position below [`Self::positions`].
    #[inline]
    pub(crate) fn at(&self, position: u64) -> (usize, Rank) {
        match &self.parts {
            None => self.spans.at(position),
            Some(parts) => parts.at(self.spans, position),
        }
    }

    /// The first span and rank at or after a place; wraps around to the very first ones.
    #[inline]
    pub(crate) fn from(&self, segment: SegmentIndex, rank: Rank) -> (usize, Rank) {
        match &self.parts {
            None => self.spans.from(segment, rank),
            Some(parts) => parts.from(self.spans, segment, rank),
        }
    }
}

impl Parts {
    fn add(&mut self, spans: &Spans, positions: Range<u64>) {
        if positions.is_empty() {
            return;
        }
        let of = spans.at(positions.start).0..spans.at(positions.end - 1).0 + 1;
        match self.list.last_mut() {
            Some(last) if last.positions.end == positions.start => {
                last.positions.end = positions.end;
                last.spans.end = of.end;
            }
            last => {
                let (offset, index) = last.map_or((0, 0), |last| (last.next_offset(), last.next_index()));
                self.list.push(Part { positions, offset, spans: of, index });
            }
        }
        (self.positions, self.len) =
            self.list.last().map_or((0, 0), |last| (last.next_offset(), last.next_index()));
    }

    fn span(&self, spans: &Spans, index: usize) -> (SegmentIndex, Range<Rank>) {
        let part = &self.list[self.list.partition_point(|part| part.index <= index) - 1];
        let span = &spans.list[part.spans.start + (index - part.index)];
        let ranks = &span.ranks;
        let rank_at = |position: u64| Rank(ranks.start.0 + (position - span.offset()) as u32);
        let first = rank_at(part.positions.start.max(span.offset()));
        let count = u64::from(coordinates::count(ranks));
        (span.segment, first..rank_at(part.positions.end.min(span.offset() + count)))
    }

    fn at(&self, spans: &Spans, position: u64) -> (usize, Rank) {
        let part = &self.list[self.list.partition_point(|part| part.offset <= position) - 1];
        let (span, rank) = spans.at(part.positions.start + (position - part.offset));
        (part.index + (span - part.spans.start), rank)
    }

    fn from(&self, spans: &Spans, segment: SegmentIndex, rank: Rank) -> (usize, Rank) {
        let before = spans.positions_before(segment, rank);
        let part = self.list.partition_point(|part| part.positions.end <= before);
        let position =
            self.list.get(part).map_or(0, |part| part.offset + before.saturating_sub(part.positions.start));
        self.at(spans, position)
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
            let choice = Choice::common(&open, &within);
            let others = all(&within);
            let expected: Vec<_> = all(&open).into_iter().filter(|place| others.contains(place)).collect();
            let found: Vec<_> = choice
                .iter()
                .flat_map(|(segment, ranks)| coordinates::each(&ranks).map(|rank| (segment, rank)).collect::<Vec<_>>())
                .collect();
            prop_assert_eq!(&found, &expected);
            prop_assert_eq!(choice.positions(), expected.len() as u64);
            prop_assert_eq!(choice.is_empty(), expected.is_empty());
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
