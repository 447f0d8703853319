//! Retiring and reinstating lists of numbers, and the way of any list through a pool.

use std::ops::Range;
use std::sync::Arc;

use crate::coordinates::{self, Rank};
use crate::engine::pool::Pool;
use crate::engine::pool_error::ChangeError;
use crate::engine::pool_mode::Mode;
use crate::engine::segment::Segment;
use crate::engine::shared::BURST_RECORDS;
use crate::journal::cause::ChangeKind;
use crate::state::number_state::State;
use crate::state::state_set::StateSet;
use crate::state::word::Word;
use crate::sys::slot::Slot;

use super::import::{ImportError, ImportReport, NumberSource, Numbers};

/// The result of retiring, reinstating or releasing a list.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RetireReport {
    /// How many numbers changed, or would change in a dry run.
    pub changed: u64,
    /// How many already were in the requested state (for reinstate: were not retired; for release: were neither
    /// leased nor resting).
    pub already: u64,
    /// How many are not in the pool.
    pub unknown: u64,
    /// How many of the changed numbers were leased; those leases are over.
    pub leased: u64,
    /// What the list contained.
    pub loaded: ImportReport,
}

/// What happens to each number.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Retire,
    Reinstate,
    /// Of numbers that are in these states.
    Release(StateSet),
    /// Of a lease: that of this generation.
    ReleaseLease(u32),
}

impl Pool {
    /// Retires the numbers of the source: they are not handed out until they are reinstated. `dry_run` only
    /// counts.
    pub fn retire(&self, source: NumberSource<'_>, dry_run: bool) -> Result<RetireReport, ImportError> {
        self.change_list(Change::Retire, source, dry_run)
    }

    /// Makes the retired numbers of the source available again. `dry_run` only counts.
    pub fn reinstate(&self, source: NumberSource<'_>, dry_run: bool) -> Result<RetireReport, ImportError> {
        self.change_list(Change::Reinstate, source, dry_run)
    }

    pub(super) fn change_list(
        &self,
        change_list: Change,
        source: NumberSource<'_>,
        dry_run: bool,
    ) -> Result<RetireReport, ImportError> {
        let numbers = Numbers::read(source, &self.shared)?;
        self.shared.journal.check().map_err(ChangeError::from)?;
        if self.mode() == Mode::Deleted {
            return Err(ImportError::Deleted);
        }
        let segments = self.segments.load();
        let (mut marked, mut found) = (RetireReport::default(), 0);
        for range in numbers.ranges() {
            let of = |segment: &Arc<Segment>| segment.set.rank_ranges(range);
            let ranks = segments.visible().flat_map(|(_, segment)| of(segment).map(move |r| (segment, r)));
            for (segment, mut ranks) in ranks {
                found += u64::from(coordinates::count(&ranks));
                while !ranks.is_empty() {
                    let end = ranks.end.min(Rank(ranks.start.0 + BURST_RECORDS));
                    let burst = ranks.start..end;
                    if dry_run {
                        self.count_list(change_list, segment, &burst, &mut marked);
                    } else {
                        let change =
                            |slot| self.change_ranks(change_list, segment, &burst, slot, &mut marked);
                        self.shared.operate(change);
                    }
                    ranks.start = end;
                }
            }
        }
        marked.loaded = numbers.loaded();
        marked.unknown = marked.loaded.numbers - found;
        if !dry_run {
            self.settle().map_err(ChangeError::from)?;
            if self.mode() == Mode::Deleted {
                return Err(ImportError::Deleted);
            }
        }
        Ok(marked)
    }

    fn count_list(&self, list: Change, segment: &Segment, ranks: &Range<Rank>, marked: &mut RetireReport) {
        for rank in coordinates::each(ranks) {
            let before = segment.word(rank);
            self.mark(list, before, self.apply(list, before).is_some(), marked);
        }
    }

    fn change_ranks(
        &self,
        list: Change,
        segment: &Segment,
        ranks: &Range<Rank>,
        slot: Slot,
        marked: &mut RetireReport,
    ) {
        for rank in coordinates::each(ranks) {
            match self.change_rank(list, segment, rank, slot) {
                Some(before) => self.mark(list, before, true, marked),
                None => marked.already += 1,
            }
        }
    }

    /// Changes one number, and returns the word that it had if it changes.
    pub(super) fn change_rank(
        &self,
        list: Change,
        segment: &Segment,
        rank: Rank,
        slot: Slot,
    ) -> Option<Word> {
        // One transition per number: the journal's writer waits for each to end.
        let transition = self.begin_transition(slot);
        let (segment, rank, changed) = segment.change(rank, slot, |word| self.apply(list, word).ok_or(()));
        let changed = changed.ok()?;
        let kind = match list {
            Change::Retire => ChangeKind::Retired,
            Change::Reinstate => ChangeKind::Reinstated,
            Change::Release(_) | Change::ReleaseLease(_) => ChangeKind::Released,
        };
        transition.changed(segment, rank, changed, kind);
        Some(changed.before)
    }

    fn apply(&self, list: Change, word: Word) -> Option<Word> {
        match list {
            Change::Retire => word.retire(),
            Change::Reinstate => word.reinstate(self.floors()),
            Change::Release(states) => {
                // A lease that is due is what the pool's rule makes of it.
                let is_meant = states.contains(self.seen(word).state());
                word.release(self.floors()).filter(|_| is_meant)
            }
            Change::ReleaseLease(generation) => {
                let is_meant = word.generation() == generation && self.seen(word).state() == State::Leased;
                word.release(self.floors()).filter(|_| is_meant)
            }
        }
    }

    pub(super) fn mark(&self, list: Change, before: Word, changes: bool, marked: &mut RetireReport) {
        let seen = self.seen(before).state();
        // Of a lease that has ended a release takes only the late renewal.
        if changes && !(matches!(list, Change::Release(_)) && seen == State::Available) {
            marked.changed += 1;
            marked.leased += u64::from(seen == State::Leased);
        } else {
            marked.already += 1;
        }
    }
}
