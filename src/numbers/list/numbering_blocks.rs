//! What a numbering plan said of blocks of numbers.
//!
//! A plan looks at the first digits of a number and at their count, never at the last. So what it made of one
//! number holds for all that differ from it in the last digits only, and most numbers of a list need no
//! question to the plan.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use crate::numbers::number::Number;

use super::country::country_code;
use super::region::Dialled;

/// Most blocks that are remembered: 4 MiB.
const MAX_BLOCKS: usize = 1 << 17;
/// Longest number that a key can hold.
const MAX_KEYED_DIGITS: usize = 18;
/// How many digits after the country code the plans of most countries look at. Measured over all plans by
/// `tests/plans/examined_digits.py`.
const USUAL_EXAMINED_DIGITS: usize = 6;
/// The same for the plans in [`DEEP_REGIONS`].
const MOST_EXAMINED_DIGITS: usize = 8;
/// Most last digits of a block.
const MAX_FREE_DIGITS: usize = 4;
/// Regions whose plans, or international prefixes, look at more digits than others do.
const DEEP_REGIONS: [[u8; 2]; 15] = [
    *b"AU", *b"BR", *b"CC", *b"CN", *b"CR", *b"CX", *b"FO", *b"GB", *b"GG", *b"GR", *b"HU", *b"IM", *b"LI",
    *b"LU", *b"PE",
];
/// Their country codes.
const DEEP_CODES: [u16; 11] = [61, 55, 86, 506, 298, 44, 30, 36, 423, 352, 51];

/// The digits before the last ones of a block, their count, and the way they are dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Key {
    /// The letters of the region; 0 for international.
    region: u16,
    count: u8,
    /// How many last digits are left out of the value.
    free: u8,
    value: u64,
}

impl Key {
    /// `None` for what is too long to be remembered.
    pub(super) fn of(dialled: Dialled, digits: &[u8]) -> Option<Key> {
        if digits.len() > MAX_KEYED_DIGITS {
            return None;
        }
        let value = digits.iter().fold(0, |value, digit| value * 10 + u64::from(digit - b'0'));
        Self::new(dialled, value, digits.len())
    }

    /// The key of `count` digits that are worth `value`.
    #[inline]
    pub(super) fn new(dialled: Dialled, value: u64, count: usize) -> Option<Key> {
        if count > MAX_KEYED_DIGITS {
            return None;
        }
        let region = match dialled {
            Dialled::International => 0,
            Dialled::In(region) => u16::from_le_bytes(region.code()),
        };
        Some(Key { region, count: count as u8, free: 0, value })
    }

    /// The key of the block of all numbers that differ in the last `free` digits.
    fn block(self, free: usize) -> Key {
        Key { free: free as u8, value: self.value / POWERS[free], ..self }
    }
}

const POWERS: [u64; MAX_FREE_DIGITS + 1] = [1, 10, 100, 1_000, 10_000];

/// What became of the first digits of a block: the digits in their place, as the value of a number that ends
/// with zeros.
type Lead = u64;

/// Multiplies the parts of a key: they are spread already.
#[derive(Debug, Default)]
pub(super) struct KeyHasher(u64);

impl KeyHasher {
    fn add(&mut self, part: u64) {
        self.0 = (self.0.rotate_left(5) ^ part).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    }
}

impl Hasher for KeyHasher {
    fn finish(&self) -> u64 {
        self.0 ^ (self.0 >> 32)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.add(u64::from(*byte));
        }
    }

    fn write_u8(&mut self, value: u8) {
        self.add(value.into());
    }

    fn write_u16(&mut self, value: u16) {
        self.add(value.into());
    }

    fn write_u64(&mut self, value: u64) {
        self.add(value);
    }
}

/// Blocks of numbers and what they mean.
#[derive(Debug, Default)]
pub(super) struct Blocks {
    leads: HashMap<Key, Lead, BuildHasherDefault<KeyHasher>>,
    /// Whether there are blocks with that many last digits.
    used: [bool; MAX_FREE_DIGITS + 1],
}

impl Blocks {
    /// The number that `digits` mean, if it is known from another number of their block.
    #[inline]
    pub(super) fn find(&self, key: Key) -> Option<Number> {
        (1..=MAX_FREE_DIGITS).rev().filter(|free| self.used[*free]).find_map(|free| {
            let lead = self.leads.get(&key.block(free))?;
            Number::new(lead + key.value % POWERS[free]).ok()
        })
    }

    /// Remembers what became of `digits`.
    pub(super) fn learn(&mut self, key: Key, dialled: Dialled, digits: &[u8], number: Number) {
        let Some(code) = country_code(number) else { return };
        let text = number.to_string();
        let national_digits = text.len() - code.to_string().len();
        let same = digits.iter().rev().zip(text.bytes().rev()).take_while(|(given, read)| **given == *read);
        let is_deep =
            DEEP_CODES.contains(&code) || DEEP_REGIONS.map(u16::from_le_bytes).contains(&key.region);
        let examined = if is_deep { MOST_EXAMINED_DIGITS } else { USUAL_EXAMINED_DIGITS };
        let free = same
            .count()
            .min(national_digits)
            .min(after_own_code(dialled, digits))
            .saturating_sub(examined)
            .min(MAX_FREE_DIGITS);
        if free == 0 {
            return;
        }
        if self.leads.len() >= MAX_BLOCKS {
            self.leads.clear();
        }
        self.used[free] = true;
        self.leads.insert(key.block(free), number.get() - key.value % POWERS[free]);
    }
}

/// How many digits follow the country code of the region, if they begin with it. The plan looks at them as at
/// a national number too, even if it then takes all digits for one.
fn after_own_code(dialled: Dialled, digits: &[u8]) -> usize {
    let code = match dialled {
        Dialled::In(region) => region.country_code().map(|code| code.to_string()).unwrap_or_default(),
        Dialled::International => String::new(),
    };
    digits.strip_prefix(code.as_bytes()).unwrap_or(digits).len()
}
