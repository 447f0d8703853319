//! Rounds: all that is done becomes available again.

use crate::engine::pool::{ChangeError, Pool};
use crate::state::word::MAX_ROUND;
use crate::sys::slot::Slot;

/// What opening a round came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoundStarted {
    /// The round now.
    pub round: u32,
    /// How many numbers came back.
    pub available: u64,
}

impl Pool {
    /// Opens the next round: all that is done becomes available.
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
                // Before the scan: a number that is marked done in the old round from here on is made
                // available by the one who marks it.
                self.set_round(manifest.round);
                manifest.round
            },
        )?;
        Ok(RoundStarted { round, available: self.open_round(slot, round) })
    }

    /// Does what a process that ended in the middle of [`Self::start_round`] left undone.
    pub(crate) fn finish_round(&self) {
        let operator = self.operator();
        if self.counts().done > 0 {
            self.open_round(operator.slot, self.round());
        }
    }

    fn open_round(&self, slot: Slot, round: u32) -> u64 {
        let mut available = 0;
        for segment in &self.segments.load().list {
            for rank in 0..segment.ranks.words.len() {
                if segment.ranks.words.get(rank).open_round(round).is_none() {
                    continue;
                }
                let opened = segment.ranks.change(rank, slot, |word| word.open_round(round).ok_or(()));
                if let Ok((before, after)) = opened {
                    available += 1;
                    self.count_change(segment, slot, rank, before, after);
                }
            }
        }
        available
    }
}
