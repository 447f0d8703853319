//! What is read of a list, as it is read.

use std::collections::BTreeMap;

use crate::numbers::number::{Number, NumberRange};
use crate::sys::parallel;

use super::fault::InvalidLine;
use super::merged::{Gathered, MAX_KEPT_INVALID, NumberList};
use super::options::ListOptions;
use super::states::StateRow;
use super::survey::Survey;

/// The numbers of a list, or of a part of it, and the lines that were left out.
#[derive(Debug, Default)]
pub(super) struct Collected {
    gathered: Gathered,
    states: Vec<StateRow>,
    invalid: u64,
    first_invalid: Vec<InvalidLine>,
    survey: Option<Survey>,
}

impl Collected {
    pub(super) fn new(options: &ListOptions) -> Self {
        Self { survey: options.survey.then(Survey::default), ..Self::default() }
    }

    /// Adds the numbers of a line. `line` gives its position and its text.
    #[inline]
    pub(super) fn push(&mut self, range: NumberRange, line: impl FnOnce() -> (u64, Vec<u8>)) {
        self.gathered.push(range);
        self.note(range, line);
    }

    /// Adds a number with its state.
    pub(super) fn push_state(&mut self, state: StateRow, line: impl FnOnce() -> (u64, Vec<u8>)) {
        self.states.push(state);
        self.note(NumberRange::single(state.number()), line);
    }

    #[inline]
    fn note(&mut self, range: NumberRange, line: impl FnOnce() -> (u64, Vec<u8>)) {
        if let Some(survey) = &mut self.survey {
            let (line, text) = line();
            survey.note(line, &text, range);
        }
    }

    /// Leaves a line out.
    pub(super) fn skip(&mut self, line: InvalidLine) {
        self.invalid += 1;
        if self.first_invalid.len() < MAX_KEPT_INVALID {
            self.first_invalid.push(line);
        }
    }

    /// Makes room for more lines with one number.
    pub(super) fn reserve(&mut self, singles: usize) {
        self.gathered.singles.reserve(singles);
    }

    /// Adds the number of a line.
    #[inline]
    pub(super) fn push_single(&mut self, number: Number, line: impl FnOnce() -> (u64, Vec<u8>)) {
        self.gathered.singles.push(number);
        self.note(NumberRange::single(number), line);
    }

    /// Merges repeated lines if the numbers take more memory than the text that they were read from.
    pub(super) fn compact(&mut self, text_bytes: usize) {
        self.gathered.compact(text_bytes);
    }

    /// The memory of what has been read.
    pub(super) fn bytes(&self) -> u64 {
        (self.gathered.bytes() + size_of_val(&*self.states)) as u64
    }

    /// How many lines were left out.
    pub(super) fn invalid(&self) -> u64 {
        self.invalid
    }

    /// The first lines that were left out.
    pub(super) fn first_invalid(&self) -> &[InvalidLine] {
        &self.first_invalid
    }

    /// Keeps the text of fewer of the lines that were left out.
    pub(super) fn keep_invalid(&mut self, most: usize) {
        self.first_invalid.truncate(most);
    }

    /// Adds a part of the same list that begins `lines_before` lines behind its start.
    fn append(&mut self, part: Self, lines_before: u64) {
        self.gathered.append(part.gathered);
        self.states.extend(part.states);
        self.invalid += part.invalid;
        for mut line in part.first_invalid {
            if self.first_invalid.len() < MAX_KEPT_INVALID {
                line.line += lines_before;
                self.first_invalid.push(line);
            }
        }
        if let (Some(survey), Some(later)) = (&mut self.survey, part.survey) {
            survey.append(later, lines_before);
        }
    }

    pub(super) fn into_list(self) -> NumberList {
        let threads = parallel::processors();
        let mut list = if self.states.is_empty() {
            NumberList::new(self.gathered, threads)
        } else {
            NumberList::with_states(self.states, threads)
        };
        list.survey = self.survey;
        list.with_invalid(self.invalid, self.first_invalid)
    }
}

/// The parts of a list, which are put together in the order of the list as they come.
#[derive(Debug)]
pub(super) struct Joined {
    all: Collected,
    /// How many lines, and parts, that is.
    lines: u64,
    parts: usize,
    /// Parts whose turn has not come, each with its count of lines.
    early: BTreeMap<usize, (Collected, u64)>,
}

impl Joined {
    pub(super) fn new(options: &ListOptions) -> Self {
        Self { all: Collected::new(options), lines: 0, parts: 0, early: BTreeMap::new() }
    }

    /// Adds the part with this place in the list, which has so many lines.
    pub(super) fn add(&mut self, place: usize, part: Collected, lines: u64) {
        self.early.insert(place, (part, lines));
        while let Some((part, lines)) = self.early.remove(&self.parts) {
            self.all.append(part, self.lines);
            self.lines += lines;
            self.parts += 1;
        }
    }

    /// All of them, once each has come.
    pub(super) fn whole(self) -> Collected {
        debug_assert!(self.early.is_empty(), "a part is missing");
        self.all
    }
}
