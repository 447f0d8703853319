//! The states of an exported list, as the words of new numbers.

use crate::engine::segment::plausible::Plausible;
use crate::numbers::list::ReadStates;
use crate::numbers::list::states::{ListedState, MAX_LISTED_GENERATION, StateRow};
use crate::numbers::number::NumberRange;
use crate::state::time::{EPOCH_UNIX_SECONDS, Timestamp};
use crate::state::word::{MAX_GENERATION, NextWord, Word};
use crate::store::manifest::FIRST_ROUND;

const _: () = assert!(MAX_LISTED_GENERATION == MAX_GENERATION);

/// Reads the states of a list, if it has them.
pub(crate) fn read_states(now: Timestamp) -> ReadStates {
    let latest = Plausible::new(now, FIRST_ROUND).latest();
    // A timestamp is before 2088, which is before 2106.
    ReadStates::Yes { latest_unix_seconds: latest.unix_seconds() as u32 }
}

/// The word of a new number. What is done is done in `round`.
pub(crate) fn word(row: &StateRow, round: u32) -> Word {
    let state = match row.state() {
        ListedState::Available => NextWord::Available,
        ListedState::Resting(until) => {
            NextWord::Rest(Timestamp::new(until.saturating_sub(EPOCH_UNIX_SECONDS as u32)))
        }
        ListedState::Done => NextWord::Done(round),
        ListedState::Retired => NextWord::Retired,
    };
    Word::restored(row.generation(), state)
}

/// Those of ascending rows whose numbers are in ascending, disjoint ranges.
pub(crate) fn rows_in<'a>(
    rows: &'a [StateRow],
    ranges: &'a [NumberRange],
) -> impl Iterator<Item = &'a StateRow> {
    ranges.iter().flat_map(move |range| {
        let from = rows.partition_point(|row| row.number() < range.first());
        rows[from..].iter().take_while(|row| row.number() <= range.last())
    })
}
