//! The states of numbers in a CSV that an export wrote: its columns, and what its rows say.

use std::time::UNIX_EPOCH;

use csv::ByteRecord;

use crate::numbers::number::{Number, NumberRange};

use super::fault::LineFault;
use super::options::ReadStates;

/// The columns with the states. Only a list that has all of them has states: a list of addresses may well
/// have a column that is called state.
pub const STATE_COLUMNS: [&str; 3] = ["state", "generation", "until"];
/// The largest generation of a row.
pub const MAX_LISTED_GENERATION: u32 = (1 << GENERATION_BITS) - 1;
const GENERATION_BITS: u32 = 26;
const KIND_BITS: u32 = u32::BITS - GENERATION_BITS;

/// The state that a number comes back in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ListedState {
    /// It can be leased.
    Available,
    /// It rests until then, in seconds since the Unix epoch. A lease comes back as this.
    Resting(u32),
    /// It is done for the current round.
    Done,
    /// It is never leased.
    Retired,
}

/// A row with a state. The order is that of the numbers, and for one number that of its history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct StateRow {
    number: Number,
    /// The generation, then the kind of state.
    generation_and_kind: u32,
    until_unix_seconds: u32,
}

impl StateRow {
    fn new(number: Number, generation: u32, state: ListedState) -> Self {
        let (kind, until_unix_seconds) = match state {
            ListedState::Available => (0, 0),
            ListedState::Resting(until) => (1, until),
            ListedState::Done => (2, 0),
            ListedState::Retired => (3, 0),
        };
        Self { number, generation_and_kind: generation << KIND_BITS | kind, until_unix_seconds }
    }

    /// The number.
    pub fn number(&self) -> Number {
        self.number
    }

    /// How many times it was leased or reinstated, at most [`MAX_LISTED_GENERATION`].
    pub fn generation(&self) -> u32 {
        self.generation_and_kind >> KIND_BITS
    }

    /// Its state.
    pub fn state(&self) -> ListedState {
        match self.generation_and_kind & ((1 << KIND_BITS) - 1) {
            0 => ListedState::Available,
            1 => ListedState::Resting(self.until_unix_seconds),
            2 => ListedState::Done,
            _ => ListedState::Retired,
        }
    }
}

/// Where the states of a list are.
pub(super) struct StateColumns {
    columns: [usize; 3],
    latest_unix_seconds: u32,
}

impl StateColumns {
    /// The columns of a list that has states to be read.
    pub(super) fn find(find: impl Fn(&str) -> Option<usize>, read: ReadStates) -> Option<Self> {
        let ReadStates::Yes { latest_unix_seconds } = read else { return None };
        let [state, generation, until] = STATE_COLUMNS.map(find);
        Some(Self { columns: [state?, generation?, until?], latest_unix_seconds })
    }

    /// The state in a row for `numbers`.
    pub(super) fn parse(&self, row: &ByteRecord, numbers: NumberRange) -> Result<StateRow, LineFault> {
        if numbers.len() != 1 {
            return Err(LineFault::StateOfRange);
        }
        let [state, generation, until] =
            self.columns.map(|column| row.get(column).unwrap_or_default().trim_ascii());
        let generation = parse_generation(generation)?;
        let until = match state {
            b"leased" | b"resting" => Some(self.parse_until(until)?),
            _ if until.is_empty() => None,
            _ => return Err(LineFault::BadUntil),
        };
        let state = match (state, until) {
            (b"available", _) => ListedState::Available,
            (b"leased" | b"resting", Some(until)) => ListedState::Resting(until),
            (b"done", _) => ListedState::Done,
            // The list is not part of the file: the number must not become one that can be leased.
            (b"retired" | b"blocked", _) => ListedState::Retired,
            _ => return Err(LineFault::BadState),
        };
        if generation == 0 && matches!(state, ListedState::Resting(_) | ListedState::Done) {
            return Err(LineFault::BadGeneration);
        }
        Ok(StateRow::new(numbers.first(), generation, state))
    }

    fn parse_until(&self, text: &[u8]) -> Result<u32, LineFault> {
        let time = str::from_utf8(text).ok().and_then(|text| humantime::parse_rfc3339(text).ok());
        let seconds = time.and_then(|time| time.duration_since(UNIX_EPOCH).ok()).map(|since| since.as_secs());
        let seconds = seconds.and_then(|seconds| u32::try_from(seconds).ok());
        seconds.filter(|seconds| *seconds <= self.latest_unix_seconds).ok_or(LineFault::BadUntil)
    }
}

fn parse_generation(text: &[u8]) -> Result<u32, LineFault> {
    let is_plain = text.iter().all(u8::is_ascii_digit);
    let generation = str::from_utf8(text).ok().filter(|_| is_plain).and_then(|text| text.parse().ok());
    generation.filter(|generation| *generation <= MAX_LISTED_GENERATION).ok_or(LineFault::BadGeneration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_takes_16_bytes_and_orders_as_history_does() {
        assert_eq!(size_of::<StateRow>(), 16);
        let row = |number, generation, state| StateRow::new(Number::new(number).unwrap(), generation, state);
        let rows = [
            row(1, MAX_LISTED_GENERATION, ListedState::Retired),
            row(2, 0, ListedState::Available),
            row(2, 0, ListedState::Retired),
            row(2, 1, ListedState::Available),
            row(2, 1, ListedState::Resting(u32::MAX)),
            row(2, 1, ListedState::Done),
            row(2, 2, ListedState::Available),
        ];
        assert!(rows.is_sorted());
        assert_eq!((rows[0].generation(), rows[0].state()), (MAX_LISTED_GENERATION, ListedState::Retired));
        assert_eq!(rows[4].state(), ListedState::Resting(u32::MAX));
    }
}
