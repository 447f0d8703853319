//! The country codes that numbers begin with.

use rlibphonenumber::PHONE_NUMBER_UTIL;

use crate::numbers::number::{Number, NumberRange};

/// Most digits of a country code.
const MAX_COUNTRY_DIGITS: usize = 3;

/// The country code that a number begins with.
pub fn country_code(number: Number) -> Option<u16> {
    let digits = number.to_string();
    (1..=MAX_COUNTRY_DIGITS.min(digits.len())).find_map(|length| {
        let code: u16 = digits[..length].parse().ok()?;
        PHONE_NUMBER_UTIL.get_region_for_country_code(code.into()).map(|_| code)
    })
}

/// The parts of a range by the country code that their numbers begin with; `None` for those that begin with
/// none.
pub fn countries(range: NumberRange) -> impl Iterator<Item = (Option<u16>, NumberRange)> {
    let mut next = Some(range.first());
    std::iter::from_fn(move || {
        let first = next?;
        let code = country_code(first);
        // All numbers with the same digits up to the end of the longest code share the code.
        let digits = first.get().checked_ilog10().map_or(1, |log| log as usize + 1);
        let block = 10_u64.pow(digits.saturating_sub(MAX_COUNTRY_DIGITS) as u32);
        let end = Number::new(first.get() / block * block + (block - 1)).unwrap_or(Number::MAX);
        let last = end.min(range.last());
        next = Number::new(last.get() + 1).ok().filter(|number| *number <= range.last());
        Some((code, NumberRange::new(first, last).ok()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_begins_with_its_country() {
        for (number, code) in [(79_123_456_789, Some(7)), (3_758_011_234_567, Some(375)), (5, None)] {
            assert_eq!(country_code(Number::new(number).unwrap()), code);
        }
        let all = NumberRange::new(Number::new(0).unwrap(), Number::new(1_000_000).unwrap()).unwrap();
        let parts: Vec<_> = countries(all).collect();
        assert_eq!(parts.iter().map(|(_, part)| part.len()).sum::<u64>(), 1_000_001);
        for (code, part) in parts {
            assert_eq!((country_code(part.first()), country_code(part.last())), (code, code), "{part:?}");
        }
    }
}
