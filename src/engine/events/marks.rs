//! What happens to numbers beside their words, for those who follow the changes: additions, and what lists block. It is in
//! the journal only if events are kept.

use std::ops::Range;
use std::sync::Arc;

use tracing::warn;

use crate::coordinates::{self, Rank};
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::engine::shared::{BURST_RECORDS, SWEEPER_SLOT, Shared};
use crate::journal::cause::Cause;
use crate::journal::handle::Changing;
use crate::journal::marks::MarkKind;
use crate::journal::record::{MarksRecord, Record, WordRecord};
use crate::state::free_index::Taken;
use crate::sys::atomics::Ordering;

use super::Events;

/// Ranks of one mark.
const MARK_RANKS: u32 = u64::BITS;

/// Changes of many numbers are under way, of which a kill may leave some untold: the next start then begins the events
/// anew. It ends once the journal has all of them.
pub(crate) struct Bulk<'a> {
    shared: &'a Shared,
    events: &'a Events,
}

impl Drop for Bulk<'_> {
    fn drop(&mut self) {
        if self.shared.journal.settle(SWEEPER_SLOT).is_ok() {
            self.events.log.end_unfinished();
        }
    }
}

impl Shared {
    /// Begins changes of many numbers.
    pub(crate) fn begin_bulk(&self) -> Option<Bulk<'_>> {
        let events = self.events.as_deref()?;
        match events.log.begin_unfinished() {
            Ok(()) => Some(Bulk { shared: self, events }),
            Err(error) => {
                warn!(event = "events_not_kept", %error, "a kill during this change may leave it out of the events");
                None
            }
        }
    }
}

impl Pool {
    /// The record that lists block ranks of a leaf, or do not any more; `None` if events are not kept. To be made while
    /// nobody else can change that, and recorded before the thread comes to rest.
    pub(crate) fn list_mark(&self, segment: &Segment, ranks: Taken, is_blocked: bool) -> Option<MarksRecord> {
        let events = self.shared.events.as_ref()?;
        let kind = if is_blocked { MarkKind::Blocked } else { MarkKind::Unblocked };
        let sequence = events.next_mark.fetch_add(1, Ordering::Relaxed);
        let (pool, segment) = (self.id, segment.id);
        Some(MarksRecord { pool, segment, kind, base: ranks.base, bits: ranks.bits, sequence })
    }

    /// Records at once what [`Self::list_mark`] makes.
    pub(crate) fn record_mark(
        &self,
        segment: &Segment,
        ranks: Taken,
        is_blocked: bool,
        changing: &Changing<'_>,
    ) {
        if let Some(mark) = self.list_mark(segment, ranks, is_blocked) {
            changing.record_marks(mark);
        }
    }

    /// Tells that numbers have come to the pool. Before any of them can be leased or blocked; `is_coming` if the segment
    /// is not among the pool's yet.
    pub(crate) fn tell_added(&self, segment: &Arc<Segment>, ranks: Range<Rank>, is_coming: bool) {
        let Some(events) = &self.shared.events else { return };
        if is_coming {
            events.is_coming(self.id, segment);
        }
        let mut records = Vec::with_capacity(BURST_RECORDS as usize);
        for start in (ranks.start.0..ranks.end.0).step_by(MARK_RANKS as usize) {
            let part = Rank(start)..Rank(start.saturating_add(MARK_RANKS).min(ranks.end.0));
            self.added_records(segment, &part, &mut records);
        }
        self.record_all(&mut records);
    }

    /// Adds the records of at most [`MARK_RANKS`] ranks: one of those that were never leased, and one for each other
    /// number.
    fn added_records(&self, segment: &Segment, ranks: &Range<Rank>, records: &mut Vec<Record>) {
        let (pool, id, base) = (self.id, segment.id, ranks.start);
        let mut bits = 0;
        for rank in coordinates::each(ranks) {
            let word = segment.state.words.get(rank);
            if word.bits() == 0 {
                bits |= 1 << (rank.0 - base.0);
                continue;
            }
            self.record_if_full(records);
            let cause = Cause::ADDED;
            records.push(Record::Word(WordRecord { pool, segment: id, rank, word, holder: 0, cause }));
        }
        if bits != 0 {
            self.record_if_full(records);
            let kind = MarkKind::Added;
            records.push(Record::Marks(MarksRecord { pool, segment: id, kind, base, bits, sequence: 0 }));
        }
    }

    fn record_if_full(&self, records: &mut Vec<Record>) {
        if records.len() >= BURST_RECORDS as usize {
            self.record_all(records);
        }
    }

    fn record_all(&self, records: &mut Vec<Record>) {
        if records.is_empty() {
            return;
        }
        self.shared.operate(|slot| {
            let changing = self.shared.journal.change(slot);
            records.drain(..).for_each(|record| changing.record(|| record));
        });
    }
}
