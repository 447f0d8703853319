//! When the next number becomes available.

use crate::coordinates;
use crate::engine::pool::Pool;
use crate::engine::segment::Segments;
use crate::engine::segment::within::Within;
use crate::state::time::Timestamp;

/// Maximum blocks searched for the next number.
const MAX_NEXT_BLOCKS: usize = 64;

impl Pool {
    /// When the next number that a lease can choose becomes available without a call. `None` if there is no
    /// such number, or if the search gives up because too many leases end before it without making one
    /// available. Numbers that the hours close at present are left out: see [`Self::closed`].
    pub fn next_available_at(&self, within: Option<&Within>) -> Option<Timestamp> {
        let current = self.segments.load();
        let among = within.map(|within| &within.spans);
        let (segments, within): (&Segments, _) = match within {
            None => (&current, &current.whole),
            Some(within) => (&within.segments, &within.spans),
        };
        let rules = self.end_rules();
        let open = segments.open_among(among, self.shared.clock.now());
        let within = match &open {
            None => within,
            Some(Ok(open)) => open,
            Some(Err(_)) => return None,
        };
        let mut next: Option<Timestamp> = None;
        for span in &within.list {
            let segment = &segments.get(span.segment);
            let mut seen = Vec::new();
            while let Some((block, hint)) = segment.state.due.earliest_block(&span.ranks, &seen) {
                if seen.len() == MAX_NEXT_BLOCKS || next.is_some_and(|next| next <= hint) {
                    break;
                }
                seen.push(block);
                let ranks = segment.state.due.ranks_of(block);
                let ranks = ranks.start.max(span.ranks.start)..ranks.end.min(span.ranks.end);
                let blocked = segment.state.free.blocked();
                for rank in coordinates::each(&ranks).filter(|rank| !blocked.contains(*rank)) {
                    let at = segment.state.words.get(rank).available_at(rules);
                    next = [next, at].into_iter().flatten().min();
                }
            }
        }
        next
    }
}
