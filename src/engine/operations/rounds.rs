//! Rounds: a new round makes every done number available again, and counts attempts anew.

use crate::coordinates::{self, Rank};
use crate::engine::pool::Pool;
use crate::engine::pool_error::ChangeError;
use crate::engine::segment::Segment;
use crate::journal::record::RoundRecord;
use crate::state::block::BlockIndex;
use crate::state::segment_state::Changed;
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
        let mut counted = None;
        let round = self.change_manifest(
            |manifest| -> Result<(), ChangeError> {
                if manifest.round == MAX_ROUND {
                    return Err(ChangeError::NoMoreRounds);
                }
                manifest.round += 1;
                if manifest.settings.attempts.is_some() {
                    let largest = self.find_largest();
                    self.raise_floor(manifest, &largest)?;
                    counted = Some(largest);
                }
                Ok(())
            },
            |manifest| {
                // Before the scan: a thread that marks a number done in the old round from here on also
                // makes it available (see `Pool::count_change`).
                self.set_round(manifest.round, manifest.attempts_floor);
                manifest.round
            },
        )?;
        self.shared.operate(|slot| {
            self.shared.journal.change(slot).record_round(RoundRecord { pool: self.id, round });
        });
        if let Some(largest) = counted {
            self.count_anew(&largest)?;
        }
        Ok(RoundStarted { round, available: self.open_round(round) })
    }

    /// Completes a [`Self::start_round`] that an earlier process did not finish.
    pub(crate) fn finish_round(&self) {
        if self.counts().done > 0 {
            self.open_round(self.round());
        }
    }

    fn open_round(&self, round: u32) -> u64 {
        let mut available = 0;
        for (_, segment) in self.segments.load().visible() {
            let len = segment.set.len();
            for block in (0..BlockIndex::count(len)).map(BlockIndex) {
                let ranks = block.ranks(len);
                let is_done = |rank: &Rank| segment.word(*rank).open_round(round).is_some();
                let mut done = coordinates::each(&ranks).filter(is_done).peekable();
                if done.peek().is_some() {
                    let opened =
                        |slot| done.filter(|rank| self.open_one(segment, *rank, round, slot)).count();
                    available += self.shared.operate(opened) as u64;
                }
            }
        }
        available
    }

    fn open_one(&self, segment: &Segment, rank: Rank, round: u32, slot: Slot) -> bool {
        let _changing = self.shared.journal.change(slot);
        let (segment, rank, opened) = segment.change(rank, slot, |word| word.open_round(round).ok_or(()));
        if let Ok(Changed { before, after, .. }) = opened {
            self.count_change(segment, slot, rank, before, after);
        }
        opened.is_ok()
    }
}
