//! A set of states, as `state=available,resting` names it.

use super::number_state::State;

/// A set of states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StateSet(u8);

impl StateSet {
    /// Every state.
    pub fn all() -> Self {
        State::ALL.into_iter().fold(Self::default(), Self::with)
    }

    /// This set with one more state.
    #[must_use]
    pub fn with(self, state: State) -> Self {
        Self(self.0 | 1 << state as u8)
    }

    /// Whether the set contains a state.
    pub fn contains(self, state: State) -> bool {
        self.0 & 1 << state as u8 != 0
    }
}
