//! Rounds: a new round makes every done number available again.

use crate::coordinates;
use crate::engine::pool::{ChangeError, Pool};
use crate::state::word::MAX_ROUND;
use crate::sys::slot::Slot;

/// The result of opening a round.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundStarted {
    /// The new round.
    pub round: u32,
    /// How many numbers became available.
    pub available: u64,
}

impl Pool {
    /// Opens the next round: every done number becomes available.
    pub fn start_round(&self) -> Result<RoundStarted, ChangeError> {
        let operator = self.operator();
        let slot = operator.slot;
        let round = self.change_manifest(
            |manifest| {
                if manifest.round == MAX_ROUND {
                    return Err(ChangeError::NoMoreRounds);
                }
                manifest.round += 1;
                Ok(())
            },
            |manifest| {
                // Before the scan: a thread that marks a number done in the old round from here on also
                // makes it available (see `Pool::count_change`).
                self.set_round(manifest.round);
                manifest.round
            },
        )?;
        Ok(RoundStarted { round, available: self.open_round(slot, round) })
    }

    /// Completes a [`Self::start_round`] that an earlier process did not finish.
    pub(crate) fn finish_round(&self) {
        let operator = self.operator();
        if self.counts().done > 0 {
            self.open_round(operator.slot, self.round());
        }
    }

    fn open_round(&self, slot: Slot, round: u32) -> u64 {
        let mut available = 0;
        for (_, segment) in self.segments.load().visible() {
            for rank in coordinates::each(&segment.ranks()) {
                if segment.word(rank).open_round(round).is_none() {
                    continue;
                }
                let (segment, rank, opened) =
                    segment.change(rank, slot, |word| word.open_round(round).ok_or(()));
                if let Ok((before, after)) = opened {
                    available += 1;
                    self.count_change(segment, slot, rank, before, after);
                }
            }
        }
        available
    }
}
