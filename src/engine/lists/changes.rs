//! Changes of a list since its set was written: which numbers are on it or off it, whatever the set says.

use std::collections::BTreeMap;

use crate::journal::record::ListRecord;
use crate::numbers::number::{Number, NumberRange};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Change {
    last: u64,
    on: bool,
    sequence: u64,
}

/// Disjoint ranges, each with its last change.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Changes(BTreeMap<u64, Change>);

fn range(first: u64, last: u64) -> Option<NumberRange> {
    NumberRange::new(Number::new(first).ok()?, Number::new(last).ok()?).ok()
}

impl Changes {
    /// How many ranges there are.
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Makes a change that is later than all others.
    pub(crate) fn apply(&mut self, range: NumberRange, on: bool, sequence: u64) {
        let (first, last) = (range.first().get(), range.last().get());
        // The one that begins before may reach into the range, and beyond it.
        let before = self.0.range(..first).next_back().map(|(at, change)| (*at, *change));
        if let Some((at, change)) = before
            && change.last >= first
        {
            self.0.insert(at, Change { last: first - 1, ..change });
            if change.last > last {
                self.0.insert(last + 1, change);
            }
        }
        let inside: Vec<u64> = self.0.range(first..=last).map(|(at, _)| *at).collect();
        for at in inside {
            if let Some(change) = self.0.remove(&at)
                && change.last > last
            {
                self.0.insert(last + 1, change);
            }
        }
        self.0.insert(first, Change { last, on, sequence });
    }

    /// Whether a number is on the list or off it by a change.
    pub(crate) fn get(&self, number: Number) -> Option<bool> {
        let (_, change) = self.0.range(..=number.get()).next_back()?;
        (change.last >= number.get()).then_some(change.on)
    }

    /// The changes inside a range, ascending.
    pub(crate) fn inside(&self, within: NumberRange) -> impl Iterator<Item = (NumberRange, bool)> {
        let (first, last) = (within.first().get(), within.last().get());
        let start = self.0.range(..=first).next_back().map_or(first, |(at, _)| *at);
        self.0.range(start..=last).filter_map(move |(at, change)| {
            Some((range((*at).max(first), change.last.min(last))?, change.on))
        })
    }

    /// All changes, ascending.
    pub(crate) fn all(&self) -> impl Iterator<Item = (NumberRange, bool)> {
        self.inside(NumberRange::ALL)
    }

    /// Forgets the changes up to a sequence: the set has them.
    pub(crate) fn forget(&mut self, folded: u64) {
        self.0.retain(|_, change| change.sequence > folded);
    }

    /// The changes as records, in ascending order.
    pub(crate) fn records(&self, list: u64) -> Vec<ListRecord> {
        let record = |(first, change): (&u64, &Change)| ListRecord {
            list,
            on: change.on,
            first: *first,
            // Ranges come from records, which are no longer.
            more: u32::try_from(change.last - first).unwrap_or(u32::MAX),
            sequence: change.sequence,
        };
        self.0.iter().map(record).collect()
    }
}

/// The numbers of a record; `None` if it has none that exist.
pub(crate) fn numbers_of(record: &ListRecord) -> Option<NumberRange> {
    range(record.first, record.first.checked_add(record.more.into())?)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behave_as_a_map(changes in prop::collection::vec((1_u64..60, 0_u64..20, any::<bool>()), 0..40), folded in 0_u64..40) {
            let (mut changed, mut model) = (Changes::default(), BTreeMap::new());
            for (sequence, (first, more, on)) in (1..).zip(&changes) {
                changed.apply(range(*first, first + more).unwrap(), *on, sequence);
                (*first..=first + more).for_each(|number| { model.insert(number, (*on, sequence)); });
            }
            let all: Vec<_> = changed.all().collect();
            prop_assert!(all.windows(2).all(|pair| pair[0].0.last() < pair[1].0.first()));
            let mut again = Changes::default();
            let mut records = changed.records(7);
            records.sort_by_key(|record| record.sequence);
            for record in &records {
                again.apply(numbers_of(record).unwrap(), record.on, record.sequence);
            }
            prop_assert_eq!(&again, &changed);
            changed.forget(folded);
            for number in 1..90 {
                let kept = model.get(&number).filter(|(_, sequence)| *sequence > folded).map(|(on, _)| *on);
                let number = Number::new(number).unwrap();
                prop_assert_eq!(changed.get(number), kept);
                let inside: Vec<_> = changed.inside(NumberRange::single(number)).map(|(_, on)| on).collect();
                prop_assert_eq!(inside, Vec::from_iter(kept));
            }
        }
    }
}
