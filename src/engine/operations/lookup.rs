//! Looking up one number.

use crate::coordinates::Rank;
use crate::domain::list_name::ListName;
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::numbers::number::Number;
use crate::numbers::set::run::LastRun;
use crate::state::holder_column::HolderId;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::Word;

/// The state of one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NumberState {
    /// The number.
    pub number: Number,
    /// Its state as seen now.
    pub state: State,
    /// How many times it was leased, reinstated or released.
    pub generation: u32,
    /// When the lease or rest ends; `None` unless leased or resting.
    pub until: Option<Timestamp>,
    /// Who holds it; see [`Pool::holder_name`].
    pub holder: HolderId,
}

impl NumberState {
    pub(crate) fn new(number: Number, state: State, seen: Word, holder: HolderId) -> Self {
        Self { number, state, generation: seen.generation(), until: seen.due(), holder }
    }
}

impl Pool {
    /// The word as seen now.
    pub(crate) fn seen(&self, word: Word) -> Word {
        word.seen(self.shared.clock.now(), self.end_rules())
    }

    /// The word of a rank as it is seen at some instant during this call.
    pub(crate) fn look(&self, segment: &Segment, rank: Rank) -> Word {
        // Read the time before the word: if the lease is renewed in between, its old end must not be
        // compared with a time after the renewal.
        let now = self.shared.clock.now();
        segment.word(rank).seen(now, self.end_rules())
    }

    /// The state of one number, if it is in the pool.
    pub fn lookup(&self, number: Number) -> Option<NumberState> {
        let segments = self.segments.load();
        let (segment, rank) = segments.locate(number, &mut LastRun::default())?;
        Some(self.number_state(segments.get(segment), rank, number))
    }

    /// The state of a number whose rank is known.
    pub(crate) fn number_state(&self, segment: &Segment, rank: Rank, number: Number) -> NumberState {
        let seen = self.look(segment, rank);
        let holder = segment.holder_of(rank, seen);
        NumberState::new(number, segment.shown(rank, seen), seen, holder)
    }

    /// The names of the lists that block a number, which may be leased or resting.
    pub fn blocked_by(&self, number: Number) -> Vec<ListName> {
        self.blocking.lists_with(number)
    }
}
