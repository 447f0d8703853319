//! How many numbers a lease could choose from, and when the next one becomes available.

use crate::domain::counts::Counts;
use crate::engine::pool::Pool;
use crate::engine::segment::within::Within;
use crate::state::time::Timestamp;
use crate::state::word::ExpiryRule;

impl Pool {
    /// The earliest time at which a number can become available by itself, told by hints alone: no number is
    /// looked at. [`Self::next_available_at`] looks.
    pub fn earliest_available_at(&self) -> Option<Timestamp> {
        let segments = self.segments.load();
        let due = segments.list.iter().filter_map(|segment| segment.ranks.due.earliest()).min()?;
        match self.on_expiry() {
            _ if self.counts().resting > 0 => Some(due),
            ExpiryRule::Available => Some(due),
            ExpiryRule::Rest(seconds) => Some(due.after(seconds)),
            ExpiryRule::Done(_) | ExpiryRule::Retired => None,
        }
    }
}

/// Blocks looked at to say when the next number comes.
const MAX_NEXT_BLOCKS: usize = 64;

impl Pool {
    /// How many of the numbers that a lease could have chosen are in each state. Looks at every word
    /// of `within`: to be called off the threads that serve when that is many.
    pub fn counts_within(&self, within: Option<&Within>) -> Counts {
        let Some(within) = within else { return self.counts() };
        let segments = self.segments.load();
        let (now, on_expiry, round) = (self.shared.clock.now(), self.on_expiry(), self.round());
        let mut counts = Counts::default();
        for span in &within.spans {
            let words = &segments.list[span.segment as usize].ranks.words;
            span.ranks
                .clone()
                .for_each(|rank| counts.add(words.get(rank).seen(now, on_expiry, round).state()));
        }
        counts
    }

    /// When the next number of those that a lease could have chosen becomes available by itself; not
    /// known (`None`) also when too many leases end first in ways that make none available.
    pub fn next_available_at(&self, within: Option<&Within>) -> Option<Timestamp> {
        let segments = self.segments.load();
        let on_expiry = self.on_expiry();
        let mut next: Option<Timestamp> = None;
        for span in &within.unwrap_or(&segments.whole).spans {
            let segment = &segments.list[span.segment as usize];
            let mut seen = Vec::new();
            while let Some((block, hint)) = segment.ranks.due.earliest_block(span.ranks.clone(), &seen) {
                if seen.len() == MAX_NEXT_BLOCKS || next.is_some_and(|next| next <= hint) {
                    break;
                }
                seen.push(block);
                let ranks = segment.ranks.due.ranks_of(block);
                for rank in ranks.start.max(span.ranks.start)..ranks.end.min(span.ranks.end) {
                    let at = segment.ranks.words.get(rank).available_at(on_expiry);
                    next = [next, at].into_iter().flatten().min();
                }
            }
        }
        next
    }
}
