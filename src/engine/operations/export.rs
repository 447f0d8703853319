//! Exporting the numbers of a pool by state, in ascending order, one block at a time.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::coordinates::{self, Rank};
use crate::engine::operations::lookup::NumberState;
use crate::engine::pool::Pool;
use crate::engine::segment::spans::SegmentIndex;
use crate::engine::segment::within::Within;
use crate::engine::segment::{Segment, Segments};
use crate::state::state_set::StateSet;

/// Maximum numbers per block.
pub const EXPORT_BLOCK_NUMBERS: usize = 8_192;

/// The ranks of one segment that remain to be exported.
struct Part {
    segment: SegmentIndex,
    spans: std::vec::IntoIter<Range<Rank>>,
    ranks: Range<Rank>,
    next: Option<crate::numbers::number::Number>,
}

/// An export in progress. Each number's state is the one seen when its block is built.
pub struct Export {
    pool: Arc<Pool>,
    segments: Arc<Segments>,
    states: StateSet,
    parts: Vec<Part>,
}

impl Export {
    /// An export of the numbers in `states`, from the whole pool or from `within`.
    pub fn new(pool: Arc<Pool>, states: StateSet, within: Option<&Within>) -> Self {
        let segments =
            within.map_or_else(|| pool.segments.load_full(), |within| Arc::clone(&within.segments));
        let chosen = within.map_or(&segments.whole, |within| &within.spans);
        let part = |segment: SegmentIndex| {
            let spans = chosen.list.iter().filter(|span| span.segment == segment);
            let spans = in_order(segments.get(segment), spans.map(|span| span.ranks.clone()).collect());
            let mut part = Part { segment, spans: spans.into_iter(), ranks: Rank(0)..Rank(0), next: None };
            part.advance(&segments);
            part
        };
        let parts = segments.visible().map(|(index, _)| part(index)).collect();
        Self { pool, segments, states, parts }
    }

    /// Replaces `rows` with the next block. Returns `false` when there is none. A block can be empty.
    pub fn next_block(&mut self, rows: &mut Vec<NumberState>) -> bool {
        rows.clear();
        for looked_at in 0..EXPORT_BLOCK_NUMBERS {
            let parts = self.parts.iter_mut().filter(|part| part.next.is_some());
            let Some(part) = parts.min_by_key(|part| part.next) else { return looked_at > 0 };
            let Some(number) = part.next else { return looked_at > 0 };
            let (segment, rank) = (self.segments.get(part.segment), part.ranks.start);
            let row = self.pool.number_state(segment, rank, number);
            if self.states.contains(row.state) {
                rows.push(row);
            }
            part.ranks.start.0 += 1;
            part.advance(&self.segments);
        }
        true
    }
}

impl Export {
    /// Waits until every state exported so far is committed, so that none of them can be undone.
    pub fn settle(&self) -> io::Result<()> {
        self.pool.settle().map_err(io::Error::other)
    }
}

/// The ranks in the order of their numbers.
fn in_order(segment: &Segment, spans: Vec<Range<Rank>>) -> Vec<Range<Rank>> {
    if segment.set.as_sorted().is_some() {
        return spans;
    }
    let ranks = spans.iter().flat_map(coordinates::each);
    let mut numbers: Vec<_> = ranks.filter_map(|rank| Some((segment.set.select(rank)?, rank))).collect();
    numbers.sort_unstable();
    numbers.into_iter().map(|(_, rank)| rank..Rank(rank.0 + 1)).collect()
}

impl Part {
    /// Sets `next` to the number of the next rank.
    fn advance(&mut self, segments: &Segments) {
        while self.ranks.is_empty() {
            let Some(ranks) = self.spans.next() else {
                self.next = None;
                return;
            };
            self.ranks = ranks;
        }
        self.next = segments.get(self.segment).set.select(self.ranks.start);
    }
}
