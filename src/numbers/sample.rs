//! Realistic numbers for the demo, tests and benchmarks.
//!
//! Drawn from `ru-mobile-ranges.csv`: ranges of Russian mobile numbers by carrier, some nested in others as
//! in the source. It is derived from the carrier metadata of libphonenumber (Apache-2.0), as packaged in
//! `phonenumbers` 9.0.43.

use thiserror::Error;

use crate::numbers::list::error::ListError;
use crate::numbers::list::read::read_list;

use super::list::{ListFormat, ListOptions};
use super::number::{Number, NumberRange};

const RU_MOBILE_RANGES: &str = include_str!("ru-mobile-ranges.csv");
/// Numbers that a carrier assigns together.
const BLOCK_NUMBERS: u64 = 1000;

/// How a sample is distributed over the numbering plan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Whole blocks of a thousand numbers: run and bitmap containers.
    Blocks,
    /// Single numbers, uniformly: array containers.
    Random,
}

/// Why a sample could not be drawn.
#[derive(Debug, Error)]
pub enum SampleError {
    /// The plan does not hold that many.
    #[error("the numbering plan holds only {available} numbers: choose a lower count")]
    TooMany {
        /// How many there are.
        available: u64,
    },
    /// The built-in ranges cannot be read.
    #[error("the built-in ranges cannot be read: {0}")]
    Ranges(#[from] ListError),
}

/// Draws exactly `count` Russian mobile numbers, as ascending disjoint ranges. The same arguments give the
/// same numbers on every machine.
pub fn ru_mobile_sample(
    count: u64,
    seed: u64,
    spread: Spread,
) -> Result<impl Iterator<Item = NumberRange>, SampleError> {
    let options = ListOptions { format: ListFormat::Csv, ..ListOptions::default() };
    let plan = read_list(RU_MOBILE_RANGES.as_bytes(), &options, &|_| {})?;
    if count > plan.numbers() {
        return Err(SampleError::TooMany { available: plan.numbers() });
    }
    let unit = match spread {
        Spread::Blocks => BLOCK_NUMBERS,
        Spread::Random => 1,
    };
    // The union of the plan is a multiple of a block; a part of one is drawn as a further block, cut short.
    let units = plan.numbers() / unit;
    let picked = pick(units, count.div_ceil(unit).min(units), seed);
    Ok(Sample { plan: plan.ranges().collect(), range: 0, range_start: 0, picked, unit, next: 0, left: count })
}

/// Picks `count` of `total` units uniformly. Each picked unit is a set bit of the words returned.
fn pick(total: u64, count: u64, seed: u64) -> Vec<u64> {
    // Above half it is faster to pick the units to leave out.
    let invert = count > total / 2;
    let mut words = vec![0_u64; (total / 64 + 1) as usize];
    let mut state = seed;
    let mut left = if invert { total - count } else { count };
    while left > 0 {
        let unit = (u128::from(split_mix(&mut state)) * u128::from(total)) >> 64;
        let (word, bit) = ((unit / 64) as usize, 1 << (unit % 64));
        left -= u64::from(words[word] & bit == 0);
        words[word] |= bit;
    }
    if invert {
        for word in &mut words {
            *word = !*word;
        }
        let beyond = total % 64;
        if let Some(last) = words.last_mut() {
            *last &= (1 << beyond) - 1;
        }
    }
    words
}

/// `SplitMix64` (Steele, Lea, Flood 2014): small, and the same on every machine.
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    mixed ^ (mixed >> 31)
}

/// Walks the picked units and the plan together.
struct Sample {
    plan: Vec<NumberRange>,
    /// The range of the plan that the walk is in, and how many numbers of the plan come before it.
    range: usize,
    range_start: u64,
    picked: Vec<u64>,
    unit: u64,
    /// The next place in the plan.
    next: u64,
    left: u64,
}

impl Iterator for Sample {
    type Item = NumberRange;

    fn next(&mut self) -> Option<NumberRange> {
        if self.left == 0 {
            return None;
        }
        // Continue within a unit that the end of a range cut. Otherwise find the next picked unit.
        if self.next.is_multiple_of(self.unit) {
            let unit = self.next / self.unit;
            let mut word = (unit / 64) as usize;
            let mut bits = self.picked.get(word)? & (u64::MAX << (unit % 64));
            while bits == 0 {
                word += 1;
                bits = *self.picked.get(word)?;
            }
            self.next = (word as u64 * 64 + u64::from(bits.trailing_zeros())) * self.unit;
        }
        let mut range = *self.plan.get(self.range)?;
        while self.next - self.range_start >= range.len() {
            self.range_start += range.len();
            self.range += 1;
            range = *self.plan.get(self.range)?;
        }
        let into = self.next - self.range_start;
        let len = (self.unit - self.next % self.unit).min(range.len() - into).min(self.left);
        self.next += len;
        self.left -= len;
        let first = range.first().get() + into;
        NumberRange::new(Number::new(first).ok()?, Number::new(first + len - 1).ok()?).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN_NUMBERS: u64 = 562_369_000;

    #[test]
    fn a_sample_has_exactly_the_count_and_ascends() {
        for spread in [Spread::Blocks, Spread::Random] {
            for count in [0, 1, 999, 1_000, 40_321] {
                let ranges: Vec<_> = ru_mobile_sample(count, 7, spread).unwrap().collect();
                assert_eq!(ranges.iter().map(|range| range.len()).sum::<u64>(), count, "{spread:?} {count}");
                assert!(ranges.is_sorted_by(|a, b| a.last() < b.first()), "{spread:?} {count}");
            }
        }
    }

    #[test]
    fn the_whole_plan_and_no_more_can_be_drawn() {
        let all: u64 = ru_mobile_sample(PLAN_NUMBERS, 1, Spread::Blocks).unwrap().map(NumberRange::len).sum();
        assert_eq!(all, PLAN_NUMBERS);
        let error = ru_mobile_sample(PLAN_NUMBERS + 1, 1, Spread::Blocks).err();
        assert!(matches!(error, Some(SampleError::TooMany { available: PLAN_NUMBERS })));
    }

    #[test]
    fn a_seed_decides_the_sample() {
        let draw = |seed| ru_mobile_sample(500, seed, Spread::Random).unwrap().collect::<Vec<_>>();
        assert_eq!(draw(1), draw(1));
        assert_ne!(draw(1), draw(2));
    }
}
