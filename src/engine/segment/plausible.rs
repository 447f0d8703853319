//! Detects words that no history can explain: a second line of defense behind the checksums.

use crate::domain::settings::{MAX_REST_SECONDS, MAX_TTL_SECONDS};
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::Word;

/// The limits of a plausible word of a pool.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plausible {
    latest: Timestamp,
    round: u32,
}

impl Plausible {
    /// The limits for a pool in this round, at this time.
    pub(crate) fn new(now: Timestamp, round: u32) -> Self {
        Self { latest: now.after(MAX_TTL_SECONDS.max(MAX_REST_SECONDS) + MAX_TTL_SECONDS), round }
    }

    /// The latest end of a lease or a rest.
    pub(crate) fn latest(self) -> Timestamp {
        self.latest
    }

    /// What is implausible about the word, if anything. `max_generation` is the largest generation ever
    /// written, if known.
    #[inline]
    pub(crate) fn fault(self, word: Word, max_generation: Option<u32>) -> Option<String> {
        if word == Word::NEW {
            return None;
        }
        if let Some(max) = max_generation.filter(|max| word.generation() > *max) {
            return Some(format!("generation {}, but the largest ever written is {max}", word.generation()));
        }
        match word.state() {
            State::Leased | State::Resting if word.due().is_some_and(|due| due > self.latest) => {
                Some(format!("ends at {}, later than any lease or rest can end", word.due()?))
            }
            State::Done if word.done_in_round().is_some_and(|done| done > self.round) => Some(format!(
                "done in round {}, but the pool is in round {}",
                word.done_in_round()?,
                self.round
            )),
            State::Leased | State::Resting | State::Done if word.generation() == 0 => {
                Some("in use, but never leased".to_owned())
            }
            _ => None,
        }
    }
}
