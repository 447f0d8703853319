//! The pools and numbers by the names that the journal has for them.

use std::collections::HashMap;
use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::coordinates::{Rank, SegmentId};
use crate::engine::pool::{Pool, Pools};
use crate::engine::segment::{Segment, Segments};
use crate::numbers::number::Number;

use super::{Events, lock};

/// What the records of the journal name.
pub(super) struct Known {
    pools: Arc<ArcSwap<Pools>>,
    seen: Arc<Pools>,
    by_id: HashMap<u64, Arc<Pool>>,
    /// The segments of pools, looked up for one turn.
    segments: HashMap<u64, Arc<Segments>>,
    last: Option<((u64, SegmentId), Arc<Segment>)>,
}

fn by_id(pools: &Pools) -> HashMap<u64, Arc<Pool>> {
    pools.values().map(|pool| (pool.id(), Arc::clone(pool))).collect()
}

impl Known {
    pub(super) fn new(pools: &Arc<ArcSwap<Pools>>) -> Self {
        let seen = pools.load_full();
        let by_id = by_id(&seen);
        Self { pools: Arc::clone(pools), seen, by_id, segments: HashMap::new(), last: None }
    }

    /// Begins a turn: what was removed meanwhile is not kept in memory.
    pub(super) fn begin(&mut self) {
        self.segments.clear();
        self.last = None;
        let pools = self.pools.load_full();
        if !Arc::ptr_eq(&pools, &self.seen) {
            self.by_id = by_id(&pools);
            self.seen = pools;
        }
    }

    /// Whether there is such a pool.
    pub(super) fn has(&self, pool: u64) -> bool {
        self.by_id.contains_key(&pool)
    }

    pub(super) fn pool(&mut self, id: u64) -> Option<&Arc<Pool>> {
        if !self.by_id.contains_key(&id) {
            self.begin();
        }
        self.by_id.get(&id)
    }

    /// The number of a rank. `None` if its pool is deleted.
    pub(super) fn number(&mut self, events: &Events, id: (u64, SegmentId), rank: Rank) -> Option<u64> {
        if self.last.as_ref().is_none_or(|(last, _)| *last != id) {
            self.last = Some((id, self.segment(events, id)?));
        }
        self.last.as_ref()?.1.set.select(rank).map(Number::get)
    }

    fn segment(&mut self, events: &Events, (pool, segment): (u64, SegmentId)) -> Option<Arc<Segment>> {
        let found = |segments: &Segments| segments.list.iter().find(|known| known.id == segment).cloned();
        let beside = || lock(&events.segments).get(&(pool, segment)).map(|kept| Arc::clone(&kept.segment));
        if let Some(known) = self.segments.get(&pool).and_then(|segments| found(segments)).or_else(beside) {
            return Some(known);
        }
        // One that comes is among the pool's before it is not kept beside them any more; with one that goes it is the
        // other way round.
        let segments = self.pool(pool)?.segments.load_full();
        let known = found(&segments);
        self.segments.insert(pool, segments);
        known.or_else(beside)
    }
}
