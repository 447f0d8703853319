//! Two ascending sequences of ranges, cut into pieces: what is in one of them, in the other, or in both.

use super::number::{Number, NumberRange};

/// Consecutive numbers that are in the same of two sequences.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Piece<T> {
    /// The numbers.
    pub(crate) range: NumberRange,
    /// Whether the first sequence has them.
    pub(crate) in_first: bool,
    /// What the second sequence says of them, if it has them.
    pub(crate) in_second: Option<T>,
}

/// A part of a range that is not cut off yet.
type Rest<T> = Option<(u64, u64, T)>;

struct Pieces<A, B, T> {
    first: (A, Rest<()>),
    second: (B, Rest<T>),
}

/// Cuts two ascending sequences of disjoint ranges into pieces. `second` has a value with each range.
pub(crate) fn pieces<T: Copy>(
    first: impl Iterator<Item = NumberRange>,
    second: impl Iterator<Item = (NumberRange, T)>,
) -> impl Iterator<Item = Piece<T>> {
    Pieces { first: (first.map(|range| (range, ())), None), second: (second, None) }
}

/// The numbers of `base` with some changes: those that are on are added, those that are off are left out.
pub(crate) fn changed(
    base: impl Iterator<Item = NumberRange>,
    changes: impl Iterator<Item = (NumberRange, bool)>,
) -> impl Iterator<Item = NumberRange> {
    joined(
        pieces(base, changes)
            .filter(|piece| piece.in_second.unwrap_or(piece.in_first))
            .map(|piece| piece.range),
    )
}

/// What becomes of the numbers that are in one of two sets only: true if they are only in `after`.
pub(crate) fn differences(
    before: impl Iterator<Item = NumberRange>,
    after: impl Iterator<Item = NumberRange>,
) -> impl Iterator<Item = (NumberRange, bool)> {
    let before = before.map(|range| (range, ()));
    let mut pieces = Pieces { first: (before, None), second: (after.map(|range| (range, ())), None) };
    std::iter::from_fn(move || {
        loop {
            // Two versions of a set have most ranges in common.
            pieces.pass_equal();
            let piece = pieces.next()?;
            if piece.in_first != piece.in_second.is_some() {
                return Some((piece.range, !piece.in_first));
            }
        }
    })
}

/// The numbers that are in both.
pub(crate) fn common(
    first: impl Iterator<Item = NumberRange>,
    second: impl Iterator<Item = NumberRange>,
) -> impl Iterator<Item = NumberRange> {
    let pieces = pieces(first, second.map(|range| (range, ())));
    pieces.filter(|piece| piece.in_first && piece.in_second.is_some()).map(|piece| piece.range)
}

/// The same numbers with ranges that meet made one.
fn joined(ranges: impl Iterator<Item = NumberRange>) -> impl Iterator<Item = NumberRange> {
    let mut ranges = ranges.peekable();
    std::iter::from_fn(move || {
        let mut range = ranges.next()?;
        while let Some(next) = ranges.next_if(|next| next.first().get() == range.last().get() + 1) {
            range = NumberRange::new(range.first(), next.last()).unwrap_or(next);
        }
        Some(range)
    })
}

/// The part of a sequence's next range that is not cut off yet.
fn rest<T: Copy>(sequence: &mut (impl Iterator<Item = (NumberRange, T)>, Rest<T>)) -> Rest<T> {
    if sequence.1.is_none() {
        sequence.1 = sequence.0.next().map(|(range, value)| (range.first().get(), range.last().get(), value));
    }
    sequence.1
}

/// Where a piece that begins at `start` must end because of a range.
fn end<T>(start: u64, rest: Option<&(u64, u64, T)>) -> u64 {
    match rest {
        None => u64::MAX,
        Some((first, last, _)) => {
            if *first == start {
                *last
            } else {
                *first - 1
            }
        }
    }
}

/// Cuts off what is up to `end`.
fn cut<T: Copy>(end: u64, rest: &mut Rest<T>) {
    if let Some((first, last, value)) = *rest
        && first <= end
    {
        *rest = (last > end).then_some((end + 1, last, value));
    }
}

impl<A, B> Pieces<A, B, ()>
where
    A: Iterator<Item = (NumberRange, ())>,
    B: Iterator<Item = (NumberRange, ())>,
{
    /// Passes over the ranges that come next in both sequences and are the same.
    fn pass_equal(&mut self) {
        let ends = |range: Option<(NumberRange, ())>| {
            range.map(|(range, ())| (range.first().get(), range.last().get(), ()))
        };
        while self.first.1.is_none() && self.second.1.is_none() {
            let (first, second) = (ends(self.first.0.next()), ends(self.second.0.next()));
            if first.is_none() || first != second {
                (self.first.1, self.second.1) = (first, second);
                return;
            }
        }
    }
}

impl<T, A, B> Iterator for Pieces<A, B, T>
where
    T: Copy,
    A: Iterator<Item = (NumberRange, ())>,
    B: Iterator<Item = (NumberRange, T)>,
{
    type Item = Piece<T>;

    fn next(&mut self) -> Option<Piece<T>> {
        let (first, second) = (rest(&mut self.first), rest(&mut self.second));
        let starts = [first.map(|rest| rest.0), second.map(|rest| rest.0)];
        let start = starts.into_iter().flatten().min()?;
        let end = end(start, first.as_ref()).min(end(start, second.as_ref()));
        let range = NumberRange::new(Number::new(start).ok()?, Number::new(end).ok()?).ok()?;
        let in_first = first.is_some_and(|rest| rest.0 == start);
        let in_second = second.filter(|rest| rest.0 == start).map(|rest| rest.2);
        cut(end, &mut self.first.1);
        cut(end, &mut self.second.1);
        Some(Piece { range, in_first, in_second })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    /// Disjoint ranges with gaps or without, and what they hold.
    fn ranges() -> impl Strategy<Value = Vec<(NumberRange, bool)>> {
        prop::collection::vec((0_u64..4, 1_u64..5, any::<bool>()), 0..12).prop_map(|parts| {
            let mut next = 1;
            let range = |(gap, len, on)| {
                let first = next + gap;
                next = first + len;
                let number = |number| Number::new(number).unwrap();
                (NumberRange::new(number(first), number(next - 1)).unwrap(), on)
            };
            parts.into_iter().map(range).collect()
        })
    }

    fn each(ranges: impl Iterator<Item = (NumberRange, bool)>) -> BTreeMap<u64, bool> {
        ranges
            .flat_map(|(range, on)| (range.first().get()..=range.last().get()).map(move |n| (n, on)))
            .collect()
    }

    proptest! {
        #[test]
        fn behave_as_sets(first in ranges(), second in ranges()) {
            let plain = |of: &[(NumberRange, bool)]| of.iter().map(|(range, _)| *range).collect::<Vec<_>>();
            let (firsts, seconds) = (plain(&first), plain(&second));
            let all = |of: &[NumberRange]| each(of.iter().map(|range| (*range, true)));
            let (in_first, in_second) = (all(&firsts), all(&seconds));

            let mut expected = in_first.clone();
            for (number, on) in each(second.iter().copied()) {
                if on { expected.insert(number, true); } else { expected.remove(&number); }
            }
            let result: Vec<_> = changed(firsts.iter().copied(), second.iter().copied()).collect();
            prop_assert!(result.windows(2).all(|pair| pair[0].last().get() + 1 < pair[1].first().get()));
            prop_assert_eq!(all(&result), expected);

            let both: Vec<_> = common(firsts.iter().copied(), seconds.iter().copied()).collect();
            let expected: BTreeMap<_, _> =
                in_first.iter().filter(|(n, _)| in_second.contains_key(n)).map(|(n, on)| (*n, *on)).collect();
            prop_assert_eq!(all(&both), expected);

            let differ = each(differences(firsts.iter().copied(), seconds.iter().copied()));
            let one_only = in_first.keys().chain(in_second.keys()).filter(|n| in_first.contains_key(n) != in_second.contains_key(n));
            let expected: BTreeMap<_, _> = one_only.map(|n| (*n, in_second.contains_key(n))).collect();
            prop_assert_eq!(differ, expected);
        }
    }
}
