//! Normalises the numbers of all countries by libphonenumber's rules: what digits mean as dialled in a region, or
//! after a plus sign.

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumberFormat, ValidationError};
use thiserror::Error;

use crate::numbers::number::{MAX_NUMBER_DIGITS, Number};

use super::numbering_blocks::{Blocks, Key};
use super::region::Dialled;

/// Most digits that a text for the plan may have: a number with an international prefix before it.
pub(super) const MAX_DIALLED_DIGITS: usize = 24;
/// Why a plan has no such number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum PlanFault {
    /// No country has a code that the digits begin with.
    #[error("no country has a code that it begins with")]
    NoCountry,
    /// Too few digits, or as many as are dialled within one area only.
    #[error("it has too few digits")]
    TooShort,
    /// Too many digits.
    #[error("it has too many digits")]
    TooLong,
    /// As many digits as no number there has.
    #[error("no number there has that count of digits")]
    WrongLength,
}

/// Reads numbers by their plans, and remembers blocks of numbers that mean the same.
#[derive(Debug, Default)]
pub struct Plan {
    blocks: Blocks,
}

impl Plan {
    /// The number that `digits` mean. Its length is possible in its plan; whether it is allocated is not asked.
    pub fn read(&mut self, dialled: Dialled, digits: &[u8]) -> Result<Number, PlanFault> {
        let key = Key::of(dialled, digits);
        if let Some(number) = key.and_then(|key| self.blocks.find(key)) {
            return Ok(number);
        }
        let number = read_uncached(dialled, digits)?;
        if let Some(key) = key {
            self.blocks.learn(key, dialled, digits, number);
        }
        Ok(number)
    }

    /// What [`Self::read`] says of `count` digits that are worth `value`, if it is known from another number of their
    /// block.
    #[inline]
    pub(super) fn known(&self, dialled: Dialled, value: u64, count: usize) -> Option<Number> {
        self.blocks.find(Key::new(dialled, value, count)?)
    }
}

/// [`Plan::read`] without what is remembered.
pub fn read_uncached(dialled: Dialled, digits: &[u8]) -> Result<Number, PlanFault> {
    if digits.len() > MAX_DIALLED_DIGITS {
        return Err(PlanFault::TooLong);
    }
    let mut text = String::with_capacity(digits.len() + 1);
    let region = match dialled {
        Dialled::International => {
            text.push('+');
            None
        }
        Dialled::In(region) => Some(region.plan()),
    };
    text.extend(digits.iter().map(|digit| char::from(*digit)));
    let parsed = PHONE_NUMBER_UTIL.parse(&text, region).map_err(|error| match error {
        ParseError::InvalidCountryCode => PlanFault::NoCountry,
        ParseError::TooLongNsn => PlanFault::TooLong,
        _ => PlanFault::TooShort,
    })?;
    match PHONE_NUMBER_UTIL.is_possible_number_with_reason(&parsed) {
        Ok(NumberLengthType::IsPossible) => {}
        // Some are dialled from abroad all the same: Canada's 310 numbers.
        Ok(NumberLengthType::IsPossibleLocalOnly) if is_valid(&parsed) => {}
        Ok(NumberLengthType::IsPossibleLocalOnly) | Err(ValidationError::TooShort) => {
            return Err(PlanFault::TooShort);
        }
        Err(ValidationError::TooLong) => return Err(PlanFault::TooLong),
        Err(ValidationError::InvalidCountryCode) => return Err(PlanFault::NoCountry),
        Err(_) => return Err(PlanFault::WrongLength),
    }
    let international = PHONE_NUMBER_UTIL.format(&parsed, PhoneNumberFormat::E164);
    let digits = international.strip_prefix('+').unwrap_or(&international);
    Number::parse_digits(digits.as_bytes()).map_err(|_| PlanFault::TooLong)
}

fn is_valid(parsed: &rlibphonenumber::PhoneNumber) -> bool {
    PHONE_NUMBER_UTIL.is_valid_number(parsed)
}

/// Whether the plan has numbers like this one: it does not only have a possible length, its digits are given out.
pub(super) fn is_allocated(number: Number) -> bool {
    PHONE_NUMBER_UTIL.parse(format!("+{number}"), None).is_ok_and(|parsed| is_valid(&parsed))
}

/// The numbers that `digits`, which may begin with a trunk zero, are prefixes of. `length` is that of whole
/// numbers. `None` if the plan has no such numbers, or if the digits could mean two prefixes.
pub(super) fn read_prefix(dialled: Dialled, digits: &[u8], length: usize) -> Option<Vec<u8>> {
    let mut found: Vec<(Vec<u8>, bool)> = Vec::new();
    for missing in (0..=MAX_NUMBER_DIGITS).rev() {
        // Without a missing digit it is a whole number; it is one only if it cannot be a prefix.
        if missing == 0 && !found.is_empty() {
            break;
        }
        let stems = [b'0', b'5', b'2'].map(|filler| filled_prefix(dialled, digits, length, missing, filler));
        let Some((stem, _)) = stems.iter().flatten().next() else { continue };
        let is_allocated = stems.iter().flatten().any(|(_, allocated)| *allocated);
        if stems.iter().flatten().all(|(other, _)| other == stem) {
            found.push((stem.clone(), is_allocated));
        }
    }
    let only = |allocated: bool| {
        let mut stems = found.iter().filter(|(_, is)| *is || !allocated).map(|(stem, _)| stem);
        let first = stems.next()?;
        stems.all(|stem| stem == first).then(|| first.clone())
    };
    only(true).or_else(|| if found.iter().any(|(_, is)| *is) { None } else { only(false) })
}

/// The digits of a prefix as the plan reads them with `missing` digits more, and whether such a number is
/// given out.
fn filled_prefix(
    dialled: Dialled,
    digits: &[u8],
    length: usize,
    missing: usize,
    filler: u8,
) -> Option<(Vec<u8>, bool)> {
    let whole = [digits, &vec![filler; missing]].concat();
    let number = read_uncached(dialled, &whole).ok()?;
    let text = number.to_string().into_bytes();
    if text.len() != length || text.len() < missing || !text.ends_with(&whole[digits.len()..]) {
        return None;
    }
    Some((text[..text.len() - missing].to_vec(), is_allocated(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(region: &str, digits: &str) -> Result<u64, PlanFault> {
        let dialled = Dialled::In(region.parse().unwrap());
        Plan::default().read(dialled, digits.as_bytes()).map(Number::get)
    }

    #[test]
    fn national_forms_become_international() {
        for (region, digits, expected) in [
            ("RU", "89123456789", 79_123_456_789),
            ("RU", "9123456789", 79_123_456_789),
            ("RU", "79123456789", 79_123_456_789),
            ("RU", "88001234567", 78_001_234_567),
            ("BY", "88011234567", 3_758_011_234_567),
            ("GB", "02079460018", 442_079_460_018),
            ("DE", "030123456", 4_930_123_456),
            ("US", "2125552368", 12_125_552_368),
            ("US", "12125552368", 12_125_552_368),
            ("IT", "0669823456", 390_669_823_456),
            ("DE", "00442079460018", 442_079_460_018),
            ("CA", "3101234", 13_101_234),
        ] {
            assert_eq!(read(region, digits), Ok(expected), "{region} {digits}");
        }
    }

    #[test]
    fn what_no_plan_has_is_refused() {
        for (digits, fault) in [
            ("", PlanFault::TooShort),
            ("8", PlanFault::TooShort),
            ("112", PlanFault::TooShort),
            ("891234567890", PlanFault::WrongLength),
            ("8912345678901234567890123456", PlanFault::TooLong),
        ] {
            assert_eq!(read("RU", digits), Err(fault), "{digits}");
        }
        assert_eq!(read("US", "5550101"), Err(PlanFault::TooShort), "a local number");
        let international = |digits: &str| read_uncached(Dialled::International, digits.as_bytes());
        assert_eq!(international("999123456789"), Err(PlanFault::NoCountry));
        assert_eq!(international("4402079460018").unwrap().get(), 442_079_460_018);
    }

    #[test]
    fn prefixes_lose_their_trunk_digits() {
        let ru = Dialled::In("RU".parse().unwrap());
        let gb = Dialled::In("GB".parse().unwrap());
        for (dialled, digits, length, expected) in [
            (ru, "8912000000", 11, "7912000000"),
            (ru, "8912", 11, "7912"),
            (ru, "7912", 11, "7912"),
            (ru, "912", 11, "7912"),
            (gb, "07911", 12, "447911"),
            (Dialled::International, "7912", 11, "7912"),
            (Dialled::International, "44020", 12, "4420"),
        ] {
            let read = read_prefix(dialled, digits.as_bytes(), length);
            assert_eq!(read.as_deref(), Some(expected.as_bytes()), "{digits}");
        }
        assert_eq!(read_prefix(ru, b"8912", 15), None);
    }
}
