//! Exporting the numbers of a pool by state, block by block and in ascending order.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::engine::pool::{NumberState, Pool};
use crate::engine::segment::Segments;
use crate::engine::segment::within::Within;
use crate::numbers::number::Rank;
use crate::state::state_set::StateSet;

/// Most numbers of one block.
pub const EXPORT_BLOCK_NUMBERS: usize = 8_192;

/// The ranks of one segment that are still to be exported.
struct Part {
    segment: usize,
    spans: std::vec::IntoIter<Range<u32>>,
    ranks: Range<u32>,
    next: Option<crate::numbers::number::Number>,
}

/// An export in progress. Numbers are in the state that they are seen in when their block is made.
pub struct Export {
    pool: Arc<Pool>,
    segments: Arc<Segments>,
    states: StateSet,
    parts: Vec<Part>,
}

impl Export {
    /// An export of the numbers in these states, of all the pool or of some of it.
    pub fn new(pool: Arc<Pool>, states: StateSet, within: Option<&Within>) -> Self {
        let segments = pool.segments.load_full();
        let within = within.unwrap_or(&segments.whole);
        let part = |segment: usize| {
            let spans = within.spans.iter().filter(|span| span.segment as usize == segment);
            let spans: Vec<Range<u32>> = spans.map(|span| span.ranks.clone()).collect();
            let mut part = Part { segment, spans: spans.into_iter(), ranks: 0..0, next: None };
            part.advance(&segments);
            part
        };
        let parts = (0..segments.list.len()).map(part).collect();
        Self { pool, segments, states, parts }
    }

    /// Replaces `rows` by the next block; `false` when there is none. A block can be empty.
    pub fn next_block(&mut self, rows: &mut Vec<NumberState>) -> bool {
        rows.clear();
        for looked_at in 0..EXPORT_BLOCK_NUMBERS {
            let parts = self.parts.iter_mut().filter(|part| part.next.is_some());
            let Some(part) = parts.min_by_key(|part| part.next) else { return looked_at > 0 };
            let Some(number) = part.next else { return looked_at > 0 };
            let seen = self.pool.look(&self.segments.list[part.segment], part.ranks.start);
            let row = NumberState::new(number, seen);
            if self.states.contains(row.state) {
                rows.push(row);
            }
            part.ranks.start += 1;
            part.advance(&self.segments);
        }
        true
    }
}

impl Export {
    /// Waits until all that the blocks so far told of is committed: nothing that was seen is ever undone.
    pub fn settle(&self) -> io::Result<()> {
        self.pool.settle().map_err(io::Error::other)
    }
}

impl Part {
    /// Finds the number of the next rank.
    fn advance(&mut self, segments: &Segments) {
        while self.ranks.is_empty() {
            let Some(ranks) = self.spans.next() else {
                self.next = None;
                return;
            };
            self.ranks = ranks;
        }
        self.next = segments.list[self.segment].set.select(Rank(self.ranks.start));
    }
}
