//! The state that a number is seen in.

use std::str::FromStr;

/// The state of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum State {
    /// It can be leased.
    Available,
    /// Someone holds it.
    Leased,
    /// It was returned and rests.
    Resting,
    /// It is done for this round.
    Done,
    /// It is never leased.
    Retired,
    /// It would be available, but is on a list that blocks it. No word says so.
    Blocked,
}

/// The text names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not a state: give available, leased, resting, done, retired or blocked")]
pub struct NotAState(String);

impl State {
    /// Every state, in display order.
    pub const ALL: [Self; 6] =
        [Self::Available, Self::Leased, Self::Resting, Self::Done, Self::Retired, Self::Blocked];

    /// The state as the API names it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Leased => "leased",
            Self::Resting => "resting",
            Self::Done => "done",
            Self::Retired => "retired",
            Self::Blocked => "blocked",
        }
    }
}

impl FromStr for State {
    type Err = NotAState;

    fn from_str(word: &str) -> Result<Self, NotAState> {
        Self::ALL
            .into_iter()
            .find(|s| s.as_str() == word)
            .ok_or_else(|| NotAState(word.chars().take(32).collect()))
    }
}
