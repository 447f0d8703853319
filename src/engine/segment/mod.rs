//! A segment: an immutable set of numbers and, indexed by their ranks, their words, the free index and the
//! due hints.

pub(crate) mod opened;
pub(crate) mod plausible;
pub(crate) mod rebuild;
pub mod within;

use std::ops::Range;
use std::sync::Arc;

use crate::coordinates::{Rank, SegmentId};
use crate::disk::mapping::{MappedBytes, MappedWords};
use crate::disk::paced::Pacer;
use crate::numbers::number::{Number, NumberRange};
use crate::numbers::set::NumberSet;
use crate::numbers::set::run::LastRun;
use crate::state::segment_state::SegmentState;
use crate::store::table::TableFile;

use within::{SegmentIndex, Within};

/// An immutable set of numbers with their state.
pub(crate) struct Segment {
    pub(crate) id: SegmentId,
    pub(crate) set: NumberSet<MappedBytes>,
    pub(crate) state: SegmentState<MappedWords>,
    table: TableFile,
}

impl Segment {
    /// Writes all words that changed to their file, durably.
    pub(crate) fn checkpoint(&self, rest: &Pacer<'_>) -> std::io::Result<()> {
        self.table.checkpoint(&self.state.words, &self.state.dirty, rest)
    }

    /// Closes the files after the last checkpoint.
    pub(crate) fn close(&self) -> std::io::Result<()> {
        self.table.close(&self.state.words)
    }
}

/// The segments of a pool. Immutable: adding a segment creates a new value.
pub(crate) struct Segments {
    pub(crate) list: Vec<Arc<Segment>>,
    pub(crate) whole: Within,
}

impl Segments {
    /// The segment at a position.
    #[inline]
    pub(crate) fn get(&self, index: SegmentIndex) -> &Arc<Segment> {
        &self.list[index.0 as usize]
    }

    pub(crate) fn new(list: Vec<Arc<Segment>>) -> Self {
        let spans = list
            .iter()
            .enumerate()
            .map(|(i, segment)| (SegmentIndex(i as u32), Rank(0)..Rank(segment.state.free.len())));
        Self { whole: Within::new(spans), list }
    }

    /// Which segment a number is in, and its rank there.
    #[inline]
    pub(crate) fn locate(&self, number: Number, last: &mut LastRun) -> Option<(SegmentIndex, Rank)> {
        let rank_in = |(segment, i): (&Arc<Segment>, u32)| {
            Some((SegmentIndex(i), segment.set.rank_near(number, last)?))
        };
        self.list.iter().zip(0..).find_map(rank_in)
    }

    /// The ranks of all numbers in the ranges, each once.
    pub(crate) fn within(&self, ranges: &[NumberRange]) -> Within {
        let mut spans: Vec<(SegmentIndex, Range<Rank>)> = Vec::new();
        for (i, segment) in self.list.iter().enumerate() {
            let mut ranks: Vec<Range<Rank>> =
                ranges.iter().map(|range| segment.set.rank_range(*range)).collect();
            ranks.retain(|ranks| !ranks.is_empty());
            ranks.sort_unstable_by_key(|ranks| ranks.start);
            for ranks in ranks {
                match spans.last_mut() {
                    Some((last, before)) if last.0 == i as u32 && before.end >= ranks.start => {
                        before.end = before.end.max(ranks.end);
                    }
                    _ => spans.push((SegmentIndex(i as u32), ranks)),
                }
            }
        }
        Within::new(spans.into_iter())
    }
}

impl Segments {
    /// The parts of a range that no segment has.
    pub(crate) fn missing(&self, range: NumberRange) -> Vec<NumberRange> {
        let mut existing: Vec<NumberRange> = Vec::new();
        for segment in &self.list {
            let ranks = segment.set.rank_range(range);
            if !ranks.is_empty() {
                let runs = segment.set.ranges_from(ranks.start);
                existing.extend(runs.take_while(|run| run.first() <= range.last()));
            }
        }
        existing.sort_unstable_by_key(|run| run.first());
        let mut missing = Vec::new();
        let mut next = range.first().get();
        let mut gap = |next: u64, end: u64| {
            if let (Ok(first), Ok(last)) = (Number::new(next), Number::new(end)) {
                missing.extend(NumberRange::new(first, last));
            }
        };
        for run in existing {
            if run.first().get() > next {
                gap(next, run.first().get() - 1);
            }
            next = next.max(run.last().get() + 1);
        }
        if next <= range.last().get() {
            gap(next, range.last().get());
        }
        missing
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_and_places_in_spans() {
        let span = |segment, ranks: Range<u32>| (SegmentIndex(segment), Rank(ranks.start)..Rank(ranks.end));
        let within = Within::new([span(0, 5..8), span(0, 9..9), span(2, 0..2), span(2, 10..11)].into_iter());
        assert_eq!(within.len(), 6);
        let all: Vec<_> =
            (0..6).map(|position| within.at(position)).map(|(span, rank)| (span, rank.0)).collect();
        assert_eq!(all, [(0, 5), (0, 6), (0, 7), (1, 0), (1, 1), (2, 10)]);
        for (place, found) in [
            ((0, 0), (0, 5)),
            ((0, 7), (0, 7)),
            ((0, 8), (1, 0)),
            ((1, 3), (1, 0)),
            ((2, 1), (1, 1)),
            ((2, 2), (2, 10)),
            ((2, 11), (0, 5)),
            ((9, 9), (0, 5)),
        ] {
            assert_eq!(
                within.from(SegmentIndex(place.0), Rank(place.1)),
                (found.0, Rank(found.1)),
                "{place:?}"
            );
        }
    }
}
