//! Retiring and reinstating lists of numbers.

use crate::coordinates;
use crate::engine::pool::{ChangeError, Pool};
use crate::state::number_state::State;
use crate::state::word::Word;

use super::import::{ImportError, NumberSource, Numbers};

/// The result of retiring or reinstating a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RetireReport {
    /// How many numbers changed, or would change in a dry run.
    pub changed: u64,
    /// How many already were in the requested state (for reinstate: were not retired).
    pub already: u64,
    /// How many are not in the pool.
    pub unknown: u64,
    /// How many of the changed numbers were leased; those leases are over.
    pub leased: u64,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Retire,
    Reinstate,
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

    fn change_list(
        &self,
        change_list: Change,
        source: NumberSource<'_>,
        dry_run: bool,
    ) -> Result<RetireReport, ImportError> {
        let numbers = Numbers::read(source, &self.shared)?;
        self.shared.journal.check().map_err(ChangeError::from)?;
        let operator = self.operator();
        let slot = operator.slot;
        let segments = self.segments.load();
        let mut marked = RetireReport::default();
        let mut found = 0;
        for range in numbers.ranges() {
            for (_, segment) in segments.visible() {
                for rank in segment.set.rank_ranges(range).flat_map(|ranks| coordinates::each(&ranks)) {
                    found += 1;
                    let change = |word: Word| {
                        match change_list {
                            Change::Retire => word.retire(),
                            Change::Reinstate => word.reinstate(),
                        }
                        .ok_or(())
                    };
                    // One transition per number: the journal's writer waits for each to end.
                    let transition = self.begin_transition(slot);
                    let (segment, rank, changed) = if dry_run {
                        let word = segment.word(rank);
                        (&**segment, rank, change(word).map(|after| (word, after)))
                    } else {
                        segment.change(rank, slot, change)
                    };
                    let Ok((before, after)) = changed else {
                        marked.already += 1;
                        continue;
                    };
                    marked.changed += 1;
                    marked.leased += u64::from(self.seen(before).state() == State::Leased);
                    if !dry_run {
                        transition.changed(segment, rank, before, after);
                    }
                }
            }
        }
        marked.unknown = numbers.loaded().numbers - found;
        if !dry_run {
            self.shared.journal.settle(slot).map_err(ChangeError::from)?;
        }
        Ok(marked)
    }
}
