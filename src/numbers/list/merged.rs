//! The numbers of a list: sorted, merged and counted.

use std::thread;

use crate::numbers::number::{Number, NumberRange};

use super::fault::InvalidLine;
use super::states::StateRow;
use super::survey::Survey;

/// With fewer numbers a second thread costs more than it saves.
const MIN_PARALLEL_NUMBERS: usize = 1 << 16;
/// Most refused lines that are reported with their text.
pub const MAX_KEPT_INVALID: usize = 10;

/// The numbers of a list, in ascending order without duplicates.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct NumberList {
    /// Lines with one number: ascending, distinct.
    singles: Vec<Number>,
    /// Lines with a range: ascending, disjoint, not adjacent.
    ranges: Vec<NumberRange>,
    /// Lines with a state: ascending, of distinct numbers. With them there are no other lines.
    states: Vec<StateRow>,
    numbers: u64,
    /// How many numbers of the lines repeat others.
    pub duplicates: u64,
    /// How many lines were left out.
    pub invalid: u64,
    /// The first [`MAX_KEPT_INVALID`] of them.
    pub first_invalid: Vec<InvalidLine>,
    /// What its lines look like, if that was asked for.
    pub survey: Option<Survey>,
}

impl NumberList {
    /// Sorts and merges what was read, on up to `threads` threads.
    pub(crate) fn new(gathered: Gathered, threads: usize) -> NumberList {
        let is_ascending = gathered.is_ascending();
        let Gathered { mut singles, mut ranges, merged, .. } = gathered;
        let read =
            ranges.iter().fold(singles.len() as u64 + merged, |sum, range| sum.saturating_add(range.len()));
        if !is_ascending {
            if !singles.is_sorted() {
                sort_parallel(&mut singles, threads);
            }
            singles.dedup();
        }
        ranges = merge(ranges);
        let mut list = NumberList { singles, ranges, ..NumberList::default() };
        list.numbers = if list.ranges.is_empty() {
            list.singles.len() as u64
        } else {
            list.ranges().map(NumberRange::len).sum()
        };
        list.duplicates = read - list.numbers;
        list
    }

    /// A list with states. Of several lines of one number the last in its history counts.
    pub(crate) fn with_states(mut states: Vec<StateRow>, threads: usize) -> NumberList {
        let read = states.len();
        if !states.is_sorted() {
            sort_parallel(&mut states, threads);
        }
        states.dedup_by(|later, earlier| {
            let same = later.number() == earlier.number();
            if same {
                *earlier = *later;
            }
            same
        });
        let duplicates = (read - states.len()) as u64;
        NumberList { numbers: states.len() as u64, states, duplicates, ..NumberList::default() }
    }

    /// The same list, with the lines that were left out of it.
    pub(crate) fn with_invalid(self, invalid: u64, first_invalid: Vec<InvalidLine>) -> NumberList {
        NumberList { invalid, first_invalid, ..self }
    }

    /// How many distinct numbers the list holds.
    pub fn numbers(&self) -> u64 {
        self.numbers
    }

    /// The numbers as ascending disjoint ranges, each as long as can be.
    pub fn ranges(&self) -> impl Iterator<Item = NumberRange> {
        let states = Merged { singles: &self.states, ranges: &[] };
        Merged { singles: &self.singles, ranges: &self.ranges }.chain(states)
    }

    /// The states of all numbers in ascending order; none if the list has no states.
    pub fn states(&self) -> &[StateRow] {
        &self.states
    }
}

/// What has been read of a list so far.
#[derive(Debug, Default)]
pub(crate) struct Gathered {
    pub(crate) singles: Vec<Number>,
    pub(crate) ranges: Vec<NumberRange>,
    /// Numbers of lines that were merged into others.
    merged: u64,
    /// How many of `singles`, from the first one on, are known to ascend without a repetition.
    ascending: usize,
}

impl Gathered {
    pub(crate) fn push(&mut self, range: NumberRange) {
        if range.len() == 1 { self.singles.push(range.first()) } else { self.ranges.push(range) }
    }

    /// The memory of what has been read.
    pub(crate) fn bytes(&self) -> usize {
        size_of_val(&*self.singles) + size_of_val(&*self.ranges)
    }

    /// Whether all of `singles` are known to ascend without a repetition.
    fn is_ascending(&self) -> bool {
        self.ascending == self.singles.len()
    }

    /// Adds what was read behind this.
    pub(crate) fn append(&mut self, more: Self) {
        if self.is_ascending()
            && more.singles.first().is_none_or(|first| self.singles.last().is_none_or(|last| last < first))
            && more.singles.is_sorted_by(|one, next| one < next)
        {
            self.ascending += more.singles.len();
        }
        self.singles.extend(more.singles);
        self.ranges.extend(more.ranges);
        self.merged = self.merged.saturating_add(more.merged);
    }

    /// Merges repeated lines if this takes more memory than `text_bytes`, the text that it was read from: usual
    /// lines are longer than what is kept of them, and are merged at the end, all at once.
    pub(crate) fn compact(&mut self, text_bytes: usize) {
        if self.bytes() > text_bytes {
            let before = self.singles.len();
            if !self.singles.is_sorted() {
                self.singles.sort_unstable();
            }
            self.singles.dedup();
            self.ascending = self.singles.len();
            self.merged += (before - self.singles.len()) as u64;
            let numbers = |ranges: &[NumberRange]| {
                ranges.iter().fold(0, |sum: u64, range| sum.saturating_add(range.len()))
            };
            let read = numbers(&self.ranges);
            self.ranges = merge(std::mem::take(&mut self.ranges));
            self.merged = self.merged.saturating_add(read.saturating_sub(numbers(&self.ranges)));
        }
        if self.singles.len() < self.singles.capacity() / 2 {
            self.singles.shrink_to_fit();
        }
        if self.ranges.len() < self.ranges.capacity() / 2 {
            self.ranges.shrink_to_fit();
        }
    }
}

/// Sorts ranges and merges those that overlap or are adjacent.
pub(crate) fn merge(mut ranges: Vec<NumberRange>) -> Vec<NumberRange> {
    if !ranges.is_sorted() {
        ranges.sort_unstable();
    }
    Merged::<Number> { singles: &[], ranges: &ranges }.collect()
}

/// A line with one number.
trait Single {
    fn number(&self) -> Number;
}

impl Single for Number {
    fn number(&self) -> Number {
        *self
    }
}

impl Single for StateRow {
    fn number(&self) -> Number {
        self.number()
    }
}

/// Merges ascending numbers and ascending, possibly overlapping ranges.
struct Merged<'a, S> {
    singles: &'a [S],
    ranges: &'a [NumberRange],
}

impl<S: Single> Merged<'_, S> {
    /// The lowest range that starts at or below `limit`.
    fn take_until(&mut self, limit: u64) -> Option<NumberRange> {
        let single = self.singles.first().map(Single::number).filter(|number| number.get() <= limit);
        let range = self.ranges.first().filter(|range| range.first().get() <= limit);
        match (single, range) {
            (Some(single), None) => {
                self.singles = &self.singles[1..];
                Some(NumberRange::single(single))
            }
            (Some(single), Some(range)) if single < range.first() => {
                self.singles = &self.singles[1..];
                Some(NumberRange::single(single))
            }
            (_, Some(range)) => {
                self.ranges = &self.ranges[1..];
                Some(*range)
            }
            (None, None) => None,
        }
    }
}

impl<S: Single> Iterator for Merged<'_, S> {
    type Item = NumberRange;

    fn next(&mut self) -> Option<NumberRange> {
        let mut merged = self.take_until(u64::MAX)?;
        while let Some(more) = self.take_until(merged.last().get() + 1) {
            merged = NumberRange::new(merged.first(), merged.last().max(more.last())).unwrap_or(merged);
        }
        Some(merged)
    }
}

/// Splits at the median until each thread has a part to sort.
fn sort_parallel<T: Ord + Send>(numbers: &mut [T], threads: usize) {
    if threads < 2 || numbers.len() < MIN_PARALLEL_NUMBERS {
        numbers.sort_unstable();
        return;
    }
    let middle = numbers.len() / 2;
    let (low, _, high) = numbers.select_nth_unstable(middle);
    thread::scope(|scope| {
        scope.spawn(|| sort_parallel(low, threads / 2));
        sort_parallel(high, threads - threads / 2);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u64) -> Number {
        Number::new(value).unwrap()
    }

    fn range(first: u64, last: u64) -> NumberRange {
        NumberRange::new(number(first), number(last)).unwrap()
    }

    #[test]
    fn nested_overlapping_and_adjacent_ranges_merge() {
        for compacts in [false, true] {
            let mut gathered = Gathered {
                singles: vec![number(30), number(5), number(5), number(14), number(21)],
                ranges: vec![
                    range(10, 20),
                    range(1, 3),
                    range(12, 13),
                    range(18, 20),
                    range(4, 4),
                    range(22, 22),
                ],
                ..Gathered::default()
            };
            if compacts {
                gathered.compact(0);
                assert_eq!((gathered.singles.len(), gathered.ranges.len()), (4, 3));
            }
            let list = NumberList::new(gathered, 2);
            assert_eq!(list.ranges().collect::<Vec<_>>(), [range(1, 5), range(10, 22), range(30, 30)]);
            assert_eq!((list.numbers(), list.duplicates), (19, 7));
        }
    }

    #[test]
    fn the_whole_number_space_costs_no_memory() {
        let (singles, ranges) = (vec![number(7)], vec![NumberRange::ALL, NumberRange::ALL]);
        let list = NumberList::new(Gathered { singles, ranges, ..Gathered::default() }, 2);
        assert_eq!(list.numbers(), Number::MAX.get() + 1);
        assert_eq!(list.duplicates, Number::MAX.get() + 2);
        assert_eq!(list.ranges().collect::<Vec<_>>(), [NumberRange::ALL]);
    }

    #[test]
    fn sorting_on_several_threads_sorts() {
        let mut numbers: Vec<Number> =
            (1..200_000_u64).map(|i| number(i * 0x9E37_79B9 % 1_000_003 + 1)).collect();
        let mut expected = numbers.clone();
        expected.sort();
        sort_parallel(&mut numbers, 5);
        assert_eq!(numbers, expected);
    }
}
