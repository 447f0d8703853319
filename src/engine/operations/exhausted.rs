//! Proving that no number is available.

use std::time::Duration;

use crate::engine::counters::Total;
use crate::engine::pool::Pool;
use crate::engine::segment::Segments;
use crate::engine::segment::choice::Choice;
use crate::engine::transition::Transition;
use crate::engine::worker::{Patience, Worker};
use crate::state::mutations::Mutations;
use crate::state::time::Timestamp;
use crate::sys::slot::Slot;
use crate::sys::sync::{Instant, thread};

use super::lease_error::LeaseError;
use super::pick_by_order::{Picker, Search};

/// How long a lease searches in vain before it gives up.
const MAX_SEARCH_TIME: Duration = Duration::from_millis(20);
/// Most due blocks that one lease sweeps.
const MAX_HELPED_BLOCKS: u32 = if cfg!(allotd_shuttle) { 2 } else { 64 };
/// Most words that a lease reads twice to prove that none is available.
const MAX_READ_TWICE: u64 = if cfg!(allotd_shuttle) { 6 } else { 4_096 };
/// Searches through the tree before a search scans every leaf.
const TREE_SEARCHES: u32 = 4;
/// Searches between two yields of the processor.
const SEARCHES_PER_TURN: u32 = 16;

impl Pool {
    /// Whether numbers can have moved to a segment that is not among these.
    ///
    /// A merge makes its segment known before it moves a number, and an available number is gone from its old
    /// place only during a mutation there. So a search that missed it sees the mutation or the new list.
    pub(super) fn has_begun_merge_since(&self, segments: &Segments) -> bool {
        self.segments.load().merges_begun != segments.merges_begun
    }

    pub(super) fn count_exhausted(&self, worker: &Worker) {
        if worker.patience == Patience::None {
            self.counters.count(worker.slot, Total::Exhausted, 1);
        }
    }

    /// Counts a call that has waited and found nothing.
    pub fn gave_up(&self, worker: &Worker) {
        self.counters.count(worker.slot, Total::Exhausted, 1);
    }

    /// Claims ranks, sweeping first if something is due. Or proves that at some instant during this call
    /// nothing was available.
    ///
    /// Whoever makes a number unavailable holds its bit. So if no index has a bit, none is changing, and
    /// nothing is due, then each available word is about to be leased by another call that has claimed it.
    #[cold]
    pub(super) fn pick_or_prove_none(
        &self,
        picker: &Picker<'_, impl Choice>,
        worker: &mut Worker,
        want: usize,
    ) -> Result<Transition<'_>, LeaseError> {
        let started = Instant::now();
        let mut helped = 0;
        for search in 0_u32.. {
            let finished = picker.sum_of_mutations(Mutations::finished);
            let how = if search < TREE_SEARCHES { Search::Tree } else { Search::Scan };
            let transition = self.begin_claims(worker.slot, want);
            picker.pick(worker, want, how);
            if !worker.claims.is_empty() {
                return Ok(transition);
            }
            drop(transition);
            // A full journal takes no records of a sweep, and without one nothing can be proved.
            self.shared.journal.check()?;
            let now = self.shared.clock.now();
            if self.help_sweep(picker, now, worker.slot) {
                helped += 1;
                if helped == MAX_HELPED_BLOCKS {
                    break;
                }
                continue;
            }
            let is_proved = picker.sum_of_mutations(Mutations::begun) == finished
                || (picker.within.positions() <= MAX_READ_TWICE
                    && picker.is_none_available(&mut worker.words, now));
            if is_proved {
                return Err(LeaseError::Exhausted);
            }
            if search % SEARCHES_PER_TURN == SEARCHES_PER_TURN - 1 {
                if started.elapsed() > MAX_SEARCH_TIME {
                    break;
                }
                thread::yield_now();
            }
        }
        Err(LeaseError::Busy)
    }

    /// Sweeps one due block among the numbers that the call can choose from.
    fn help_sweep(&self, picker: &Picker<'_, impl Choice>, now: Timestamp, slot: Slot) -> bool {
        let mut spans = picker.within.iter();
        spans.any(|(segment, ranks)| self.sweep_one(picker.segment(segment), &ranks, now, &mut 0, slot))
    }
}
