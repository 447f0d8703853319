//! The part of a pool that a call may choose from.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use crate::coordinates::Rank;
use crate::numbers::list::merged::merge;
use crate::numbers::number::NumberRange;

use super::Segments;
use super::spans::{SegmentIndex, Spans};

/// The numbers of a pool in some ranges, as ranks of the segments that it had at one moment.
#[derive(Clone)]
pub struct Within {
    pub(crate) segments: Arc<Segments>,
    pub(crate) spans: Spans,
    pub(crate) ranges: Box<[NumberRange]>,
}

impl fmt::Debug for Within {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.ranges.fmt(f)
    }
}

impl Within {
    /// The ranks of all numbers in the ranges, each once.
    pub(crate) fn new(segments: Arc<Segments>, ranges: &[NumberRange]) -> Self {
        let ranges = &*merge(ranges.to_vec());
        let mut spans: Vec<(SegmentIndex, Range<Rank>)> = Vec::new();
        for (index, segment) in (0..).map(SegmentIndex).zip(&segments.list) {
            let end = segments.end(index);
            let known = |ranks: Range<Rank>| ranks.start..ranks.end.min(end);
            let ranks = ranges.iter().flat_map(|range| segment.set.rank_ranges(*range)).map(known);
            let mut ranks: Vec<Range<Rank>> = ranks.filter(|ranks| !ranks.is_empty()).collect();
            ranks.sort_unstable_by_key(|ranks| ranks.start);
            for ranks in ranks {
                match spans.last_mut() {
                    Some((last, before)) if *last == index && before.end >= ranks.start => {
                        before.end = before.end.max(ranks.end);
                    }
                    _ => spans.push((index, ranks)),
                }
            }
        }
        let spans = segments.spans(spans.into_iter());
        Self { segments, spans, ranges: ranges.into() }
    }

    /// How many numbers there are.
    pub fn len(&self) -> u64 {
        self.spans.numbers()
    }

    /// The ranges, ascending and apart.
    pub fn ranges(&self) -> &[NumberRange] {
        &self.ranges
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.spans.is_empty()
    }
}
