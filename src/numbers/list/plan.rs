//! The numbering plans of all countries, by libphonenumber's rules: what digits mean as dialled in a region,
//! or after a plus sign.

use std::fmt;
use std::str::FromStr;

use rlibphonenumber::{NumberLengthType, PHONE_NUMBER_UTIL, ParseError, PhoneNumberFormat, ValidationError};
use thiserror::Error;

use crate::numbers::number::{MAX_NUMBER_DIGITS, Number, NumberRange};

use super::plan_blocks::{Blocks, Key};

/// Most digits that a text for the plan may have: a number with an international prefix before it.
pub(super) const MAX_DIALLED_DIGITS: usize = 24;
/// Most digits of a country code.
const MAX_COUNTRY_DIGITS: usize = 3;

/// A region whose numbering plan gives national forms their meaning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region(rlibphonenumber::Region);

/// Not a region that libphonenumber knows.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("there is no region {0}: give a two-letter ISO 3166 code such as RU")]
pub struct UnknownRegion(String);

impl FromStr for Region {
    type Err = UnknownRegion;

    /// Reads a two-letter ISO 3166 code in either case.
    fn from_str(code: &str) -> Result<Region, UnknownRegion> {
        let unknown = || UnknownRegion(code.chars().filter(|c| !c.is_control()).take(16).collect());
        if code.len() != 2 {
            return Err(unknown());
        }
        let region = code.to_ascii_uppercase().parse().map_err(|_| unknown())?;
        let has_plan = PHONE_NUMBER_UTIL.get_country_code_for_region(region).is_some();
        has_plan.then_some(Region(region)).ok_or_else(unknown)
    }
}

impl Region {
    /// The two letters of its code.
    pub(super) fn code(self) -> [u8; 2] {
        self.0.as_region_str().as_str().as_bytes().first_chunk().copied().unwrap_or_default()
    }
}

impl fmt::Display for Region {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.0.as_region_str().as_str())
    }
}

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

/// How digits are dialled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialled {
    /// After a plus sign: the country code first.
    International,
    /// As in the region.
    In(Region),
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
            self.blocks.learn(key, digits, number);
        }
        Ok(number)
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
        Dialled::In(region) => Some(region.0),
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
    fn regions_are_checked() {
        assert_eq!("ru".parse::<Region>().unwrap().to_string(), "RU");
        for code in ["", "R", "ZZ", "RUS", "7", "\u{444}", "001", "UN"] {
            assert!(code.parse::<Region>().is_err(), "{code}");
        }
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
            ("891234567890", PlanFault::TooLong),
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
