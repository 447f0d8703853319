//! A set of numbers that grows up to a fixed capacity. A number's rank is its position in the order of
//! addition, so no rank ever changes.
//!
//! One thread adds at a time, any number of threads look up meanwhile. A number is written first, then its
//! place in the hash table, then the length: whoever finds a rank finds its number.

use std::ops::Range;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crate::coordinates::{self, Rank};
use crate::numbers::number::{Number, NumberRange};

use super::run::SetId;

/// Slots of the hash table per number: half of them stay free, so that searches are short.
const SLOTS_PER_NUMBER: usize = 2;
/// 2^64 divided by the golden ratio: multiplying by it spreads consecutive numbers over the table.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
/// Ranges up to this length are looked up number by number, longer ones by reading all numbers.
const MAX_LOOKED_UP: u64 = 16;

/// Stands in the place of a lost number. No number is as high.
const LOST: u64 = u64::MAX;

/// A set of numbers in the order of their addition.
#[derive(Debug)]
pub struct GrowingSet {
    pub(crate) id: SetId,
    /// [`LOST`] where a number is lost.
    numbers: Box<[AtomicU64]>,
    /// Open addressing: the rank of a number plus 1, or 0 for none.
    slots: Box<[AtomicU32]>,
    len: AtomicU32,
}

impl GrowingSet {
    /// An empty set for up to `capacity` numbers.
    pub fn new(capacity: u32) -> Self {
        let slots = (capacity as usize * SLOTS_PER_NUMBER).next_power_of_two();
        Self {
            id: SetId::new(),
            numbers: (0..capacity).map(|_| AtomicU64::new(LOST)).collect(),
            slots: (0..slots).map(|_| AtomicU32::new(0)).collect(),
            len: AtomicU32::new(0),
        }
    }

    /// How many numbers it has, those that are lost included.
    pub fn len(&self) -> u32 {
        self.len.load(Ordering::Acquire)
    }

    /// Whether it has no number.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many numbers can still be added.
    pub fn room(&self) -> u32 {
        self.numbers.len() as u32 - self.len()
    }

    /// Adds a number that the set does not have; `None` stands for a lost one. Returns its rank, or `None` if
    /// the set is full. Call it from one thread at a time.
    pub fn push(&self, number: Option<Number>) -> Option<Rank> {
        let rank = self.len.load(Ordering::Relaxed);
        let place = self.numbers.get(rank as usize)?;
        if let Some(number) = number {
            place.store(number.get(), Ordering::Relaxed);
            let free = self.probe(number).find(|slot| slot.load(Ordering::Relaxed) == 0)?;
            free.store(rank + 1, Ordering::Release);
        }
        self.len.store(rank + 1, Ordering::Release);
        Some(Rank(rank))
    }

    /// The slots in which a number can be, in the order of the search.
    fn probe(&self, number: Number) -> impl Iterator<Item = &AtomicU32> {
        let mask = self.slots.len() - 1;
        let shift = u64::BITS - self.slots.len().trailing_zeros().max(1);
        let start = (number.get().wrapping_mul(GOLDEN) >> shift) as usize;
        (0..=mask).map(move |step| &self.slots[(start + step) & mask])
    }

    /// The rank of a number.
    pub fn rank(&self, number: Number) -> Option<Rank> {
        for slot in self.probe(number) {
            let rank = Rank(slot.load(Ordering::Acquire).checked_sub(1)?);
            if self.select(rank) == Some(number) {
                return Some(rank);
            }
        }
        None
    }

    /// The number at a rank. `None` also if it is lost.
    pub fn select(&self, rank: Rank) -> Option<Number> {
        Number::new(self.numbers.get(rank.index())?.load(Ordering::Relaxed)).ok()
    }

    /// The ranks of all its numbers inside `range`, ascending.
    pub fn rank_ranges(&self, range: NumberRange) -> Vec<Range<Rank>> {
        let mut ranks: Vec<Rank> = if range.len() <= MAX_LOOKED_UP {
            let numbers = (range.first().get()..=range.last().get()).filter_map(|n| Number::new(n).ok());
            numbers.filter_map(|number| self.rank(number)).collect()
        } else {
            let all = coordinates::each(&(Rank(0)..Rank(self.len())));
            all.filter(|rank| self.select(*rank).is_some_and(|number| range.contains(number))).collect()
        };
        ranks.sort_unstable();
        let mut ranges: Vec<Range<Rank>> = Vec::new();
        for rank in ranks {
            match ranges.last_mut() {
                Some(last) if last.end == rank => last.end.0 += 1,
                _ => ranges.push(rank..Rank(rank.0 + 1)),
            }
        }
        ranges
    }

    /// All its numbers in ascending order, with their ranks.
    pub fn sorted(&self) -> Vec<(Number, Rank)> {
        let all = coordinates::each(&(Rank(0)..Rank(self.len())));
        let mut sorted: Vec<_> = all.filter_map(|rank| Some((self.select(rank)?, rank))).collect();
        sorted.sort_unstable();
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(value: u64) -> Number {
        Number::new(value).unwrap()
    }

    #[test]
    fn finds_what_was_added_in_the_order_of_addition() {
        let set = GrowingSet::new(1_000);
        let value = |i: u64| (i * 7_919) % 1_000 * 3 + 5;
        for i in 0..999 {
            assert_eq!(set.rank(number(value(i))), None);
            assert_eq!(set.push(Some(number(value(i)))), Some(Rank(i as u32)));
        }
        assert_eq!((set.len(), set.room()), (999, 1));
        for i in 0..999 {
            assert_eq!(set.rank(number(value(i))), Some(Rank(i as u32)));
            assert_eq!(set.select(Rank(i as u32)), Some(number(value(i))));
            assert_eq!(set.rank(number(value(i) + 1)), None);
        }
        assert_eq!(set.push(None), Some(Rank(999)));
        assert_eq!((set.select(Rank(999)), set.push(Some(number(1)))), (None, None));
        assert!(set.sorted().is_sorted() && set.sorted().len() == 999);
    }

    #[test]
    fn the_ranks_of_a_range_are_those_of_its_numbers() {
        let set = GrowingSet::new(64);
        for value in [50, 51, 90, 52, 10, 49, 1_000] {
            set.push(Some(number(value)));
        }
        let ranks = |first, last| {
            let range = NumberRange::new(number(first), number(last)).unwrap();
            set.rank_ranges(range).into_iter().map(|ranks| (ranks.start.0, ranks.end.0)).collect::<Vec<_>>()
        };
        assert_eq!(ranks(49, 52), [(0, 2), (3, 4), (5, 6)]);
        assert_eq!(ranks(1, 99), [(0, 6)]);
        assert_eq!(ranks(53, 60), []);
        assert_eq!(ranks(1_000, 1_000), [(6, 7)]);
    }
}
