//! What is read of a list, as it is read.

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

    /// Puts together the parts of a list, each with its count of lines, in the order of the list.
    pub(super) fn join(parts: Vec<(Collected, u64)>, options: &ListOptions) -> Self {
        let mut all = Collected::new(options);
        all.gathered.singles.reserve_exact(parts.iter().map(|(part, _)| part.gathered.singles.len()).sum());
        let mut lines_before = 0;
        for (part, lines) in parts {
            all.gathered.append(part.gathered);
            all.states.extend(part.states);
            all.invalid += part.invalid;
            for mut line in part.first_invalid {
                if all.first_invalid.len() < MAX_KEPT_INVALID {
                    line.line += lines_before;
                    all.first_invalid.push(line);
                }
            }
            if let (Some(survey), Some(later)) = (&mut all.survey, part.survey) {
                survey.append(later, lines_before);
            }
            lines_before += lines;
        }
        all
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
