//! Ending leases and rests before their time: numbers become available now, and the tokens of their leases are
//! stale.
//!
//! That no token of an earlier lease fits a released number is argued at [`Word::release`].
//!
//! [`Word::release`]: crate::state::word::Word::release

use crate::coordinates::{self, Rank};
use crate::engine::pool::Pool;
use crate::engine::pool_error::ChangeError;
use crate::engine::pool_mode::Mode;
use crate::engine::segment::within::Within;
use crate::engine::segment::{Segment, Segments};
use crate::engine::shared::BURST_RECORDS;
use crate::state::number_state::State;
use crate::state::state_set::StateSet;

use super::import::{ImportError, NumberSource};
use super::retire::{Change, RetireReport};

/// What can be released.
pub const RELEASED_STATES: [State; 2] = [State::Leased, State::Resting];

impl Pool {
    /// Releases the numbers of the source. A lease that has ended and could still be renewed no longer can.
    /// `dry_run` only counts.
    pub fn release(&self, source: NumberSource<'_>, dry_run: bool) -> Result<RetireReport, ImportError> {
        let all = RELEASED_STATES.into_iter().fold(StateSet::default(), StateSet::with);
        self.change_list(Change::Release(all.with(State::Available)), source, dry_run)
    }

    /// Releases the numbers that are in these states, all of them or those within. A number that enters one of
    /// them during the call may be left out. `dry_run` only counts.
    pub fn release_states(
        &self,
        states: StateSet,
        within: Option<&Within>,
        dry_run: bool,
    ) -> Result<RetireReport, ChangeError> {
        self.shared.journal.check()?;
        let current = self.segments.load();
        let (segments, spans): (&Segments, _) = match within {
            None => (&current, &current.whole),
            Some(within) => (&within.segments, &within.spans),
        };
        let release = Change::Release(states);
        let (mut report, mut burst) = (RetireReport::default(), Vec::with_capacity(BURST_RECORDS as usize));
        for span in spans.list.iter().filter(|span| segments.is_visible(span.segment)) {
            let segment = &**segments.get(span.segment);
            for rank in coordinates::each(&span.ranks) {
                // Most words are in no state that ends: they are not worth a look at the time.
                if segment.word(rank).due().is_none() {
                    continue;
                }
                let seen = self.look(segment, rank).state();
                if !states.contains(seen) {
                    continue;
                }
                if dry_run {
                    report.changed += 1;
                    report.leased += u64::from(seen == State::Leased);
                    continue;
                }
                burst.push((segment, rank));
                if burst.len() == BURST_RECORDS as usize {
                    self.release_burst(release, &mut burst, &mut report);
                }
            }
        }
        self.release_burst(release, &mut burst, &mut report);
        if !dry_run {
            self.settle()?;
        }
        if self.mode() == Mode::Deleted { Err(ChangeError::Deleted) } else { Ok(report) }
    }

    /// Releases the numbers at these places. One that has left its state since is left alone.
    fn release_burst(&self, release: Change, burst: &mut Vec<(&Segment, Rank)>, report: &mut RetireReport) {
        if burst.is_empty() {
            return;
        }
        self.shared.operate(|slot| {
            for (segment, rank) in burst.drain(..) {
                if let Some(before) = self.change_rank(release, segment, rank, slot) {
                    self.mark(release, before, true, report);
                }
            }
        });
    }
}
