//! How many of the numbers that a lease can choose from are in each state.

use crate::coordinates;
use crate::domain::counts::Counts;
use crate::engine::pool::Pool;
use crate::engine::segment::within::Within;

impl Pool {
    /// How many of the numbers that a lease can choose from are in each state. Reads every word of `within`:
    /// if that is large, do not call it on a serving thread.
    pub fn counts_within(&self, within: Option<&Within>) -> Counts {
        let Some(within) = within else { return self.counts() };
        let segments = &within.segments;
        let (now, rules) = (self.shared.clock.now(), self.end_rules());
        let mut counts = Counts::default();
        for span in within.spans.list.iter().filter(|span| segments.is_visible(span.segment)) {
            let segment = segments.get(span.segment);
            coordinates::each(&span.ranks)
                .for_each(|rank| counts.add(segment.shown(rank, segment.word(rank).seen(now, rules))));
        }
        counts
    }
}
