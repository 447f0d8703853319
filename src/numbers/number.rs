//! Numbers and ranges of numbers.

use std::fmt;

use thiserror::Error;

/// Most digits of a number: E.164 allows 15, country code included.
pub const MAX_NUMBER_DIGITS: usize = 15;

/// Most numbers of one set: ranks are `u32`.
pub const MAX_SET_NUMBERS: u64 = 4_000_000_000;

/// Why something is not a number, a range or a prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NumberError {
    /// There is no digit at all.
    #[error("it is empty: give 1 to 15 digits")]
    Empty,
    /// It holds something other than 0 to 9.
    #[error("it holds a character that is not a digit: write the digits only, without separators")]
    NotDigit,
    /// Numbers other than 0 do not start with zero.
    #[error("it starts with zero: write it in international form, country code first")]
    LeadingZero,
    /// More than [`MAX_NUMBER_DIGITS`].
    #[error("it is longer than 15 digits")]
    TooLong,
    /// Above [`Number::MAX`].
    #[error("it must be from 0 to 999999999999999")]
    OutOfBounds,
    /// The last number of a range is below its first.
    #[error("the range ends before it starts: write the lower number first")]
    Reversed,
}

/// A number of at most 15 digits: E.164 without the plus sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Number(u64);

impl Number {
    /// The smallest number.
    pub const MIN: Number = Number(0);
    /// The largest number: fifteen nines.
    pub const MAX: Number = Number(999_999_999_999_999);

    /// Checks that `value` is at most [`Number::MAX`].
    pub const fn new(value: u64) -> Result<Number, NumberError> {
        if value > Number::MAX.0 {
            return Err(NumberError::OutOfBounds);
        }
        Ok(Number(value))
    }

    /// The number as an integer.
    pub const fn get(self) -> u64 {
        self.0
    }

    /// Reads plain ASCII digits: no sign, no separators, no leading zero.
    pub fn parse_digits(digits: &[u8]) -> Result<Number, NumberError> {
        let (mut value, mut are_digits) = (0_u64, true);
        for byte in digits {
            let digit = byte.wrapping_sub(b'0');
            are_digits &= digit <= 9;
            // What is too long is refused below.
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        match digits {
            [] => Err(NumberError::Empty),
            _ if !are_digits => Err(NumberError::NotDigit),
            [b'0', _, ..] => Err(NumberError::LeadingZero),
            _ if digits.len() > MAX_NUMBER_DIGITS => Err(NumberError::TooLong),
            _ => Ok(Number(value)),
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(out)
    }
}

/// All numbers from `first` to `last`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NumberRange {
    first: Number,
    last: Number,
}

impl NumberRange {
    /// Every number there is.
    pub const ALL: NumberRange = NumberRange { first: Number::MIN, last: Number::MAX };

    /// A range of at least one number.
    pub fn new(first: Number, last: Number) -> Result<NumberRange, NumberError> {
        if last < first {
            return Err(NumberError::Reversed);
        }
        Ok(NumberRange { first, last })
    }

    /// The range that holds one number.
    pub fn single(number: Number) -> NumberRange {
        NumberRange { first: number, last: number }
    }

    /// The lowest number of the range.
    pub fn first(self) -> Number {
        self.first
    }

    /// The highest number of the range, which is part of it.
    pub fn last(self) -> Number {
        self.last
    }

    /// The count of its numbers: at least one.
    #[expect(clippy::len_without_is_empty, reason = "a range is never empty")]
    pub fn len(self) -> u64 {
        self.last.0 - self.first.0 + 1
    }

    /// The numbers that both hold.
    pub fn intersection(self, other: NumberRange) -> Option<NumberRange> {
        NumberRange::new(self.first.max(other.first), self.last.min(other.last)).ok()
    }

    /// The same numbers in ranges that neither meet nor overlap, ascending.
    pub fn disjoint(mut ranges: Vec<NumberRange>) -> Vec<NumberRange> {
        ranges.sort_unstable();
        ranges.dedup_by(|range, before| {
            let joins = range.first.0 <= before.last.0 + 1;
            if joins {
                before.last = before.last.max(range.last);
            }
            joins
        });
        ranges
    }

    /// Whether `number` is in it.
    pub fn contains(self, number: Number) -> bool {
        self.first <= number && number <= self.last
    }
}

/// All numbers, of the prefix' own length up to 15 digits, whose decimal form starts with `prefix`:
/// one range per length, ascending and disjoint.
pub fn prefix_ranges(prefix: &str) -> Result<Vec<NumberRange>, NumberError> {
    let stem = Number::parse_digits(prefix.as_bytes())?;
    if stem == Number::MIN {
        return Ok(vec![NumberRange::single(stem)]);
    }
    (prefix.len()..=MAX_NUMBER_DIGITS).map(|length| prefix_range(stem, length - prefix.len())).collect()
}

/// The numbers made of `stem` and `more_digits` further digits.
pub(crate) fn prefix_range(stem: Number, more_digits: usize) -> Result<NumberRange, NumberError> {
    let more_digits = u32::try_from(more_digits).map_err(|_| NumberError::TooLong)?;
    let count = 10_u64.checked_pow(more_digits).ok_or(NumberError::TooLong)?;
    let first = stem.0.checked_mul(count).ok_or(NumberError::TooLong)?;
    let last = first.checked_add(count - 1).ok_or(NumberError::TooLong)?;
    NumberRange::new(Number::new(first)?, Number::new(last)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_one_to_fifteen_digits() {
        assert_eq!(Number::new(0), Ok(Number::MIN));
        assert_eq!(Number::new(999_999_999_999_999), Ok(Number::MAX));
        assert_eq!(Number::new(1_000_000_000_000_000), Err(NumberError::OutOfBounds));
        assert_eq!(Number::new(79_123_456_789).unwrap().to_string(), "79123456789");
    }

    #[test]
    fn digits_are_read_strictly() {
        let cases: [(&[u8], Result<u64, NumberError>); 10] = [
            (b"79123456789", Ok(79_123_456_789)),
            (b"999999999999999", Ok(999_999_999_999_999)),
            (b"1", Ok(1)),
            (b"", Err(NumberError::Empty)),
            (b"0", Ok(0)),
            (b"00", Err(NumberError::LeadingZero)),
            (b"0123", Err(NumberError::LeadingZero)),
            (b"1000000000000000", Err(NumberError::TooLong)),
            (b"79 12", Err(NumberError::NotDigit)),
            ("٧٩".as_bytes(), Err(NumberError::NotDigit)),
        ];
        for (digits, expected) in cases {
            assert_eq!(Number::parse_digits(digits).map(Number::get), expected, "{digits:?}");
        }
    }

    #[test]
    fn a_range_includes_both_ends() {
        let number = |value| Number::new(value).unwrap();
        let range = NumberRange::new(number(10), number(12)).unwrap();
        assert_eq!(range.len(), 3);
        assert!(range.contains(number(10)) && range.contains(number(12)));
        assert!(!range.contains(number(9)) && !range.contains(number(13)));
        assert_eq!(NumberRange::new(number(12), number(10)), Err(NumberError::Reversed));
        assert_eq!(NumberRange::ALL.len(), Number::MAX.get() + 1);
    }

    #[test]
    fn a_prefix_is_one_range_a_length() {
        let ranges = prefix_ranges("79").unwrap();
        assert_eq!(ranges.len(), 14);
        assert_eq!(ranges[0], NumberRange::single(Number(79)));
        assert_eq!((ranges[1].first().get(), ranges[1].last().get()), (790, 799));
        assert_eq!(prefix_ranges("0").unwrap(), [NumberRange::single(Number::MIN)]);
        assert_eq!(ranges[13].last().get(), 799_999_999_999_999);
        assert_eq!(prefix_ranges("999999999999999").unwrap(), [NumberRange::single(Number::MAX)]);
        for (prefix, error) in [
            ("", NumberError::Empty),
            ("07", NumberError::LeadingZero),
            ("00", NumberError::LeadingZero),
            ("7x", NumberError::NotDigit),
            ("1234567890123456", NumberError::TooLong),
        ] {
            assert_eq!(prefix_ranges(prefix), Err(error), "{prefix}");
        }
    }

    #[test]
    fn a_prefix_holds_exactly_what_starts_with_it() {
        let ranges = prefix_ranges("12").unwrap();
        for value in 0..20_000 {
            let number = Number(value);
            let inside = ranges.iter().any(|range| range.contains(number));
            assert_eq!(inside, value.to_string().starts_with("12"), "{value}");
        }
    }
}
