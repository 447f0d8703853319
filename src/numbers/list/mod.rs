//! The lines of a number list: what each form means, and why a line is refused.

pub mod csv;
pub mod error;
pub(crate) mod merged;
pub mod national;
pub mod read;
pub mod states;
mod text;

use thiserror::Error;

use super::number::{MAX_NUMBER_DIGITS, Number, NumberError, NumberRange, prefix_range};
use national::{Region, is_separator};

/// Longest line, without its line end. Longer lines are refused.
pub const MAX_LINE_BYTES: usize = 1024;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListFormat {
    /// One number, range or prefix per line.
    #[default]
    Text,
    /// Comma-separated values under a header row.
    Csv,
}

/// What to do with a line that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum OnInvalid {
    /// Refuse the whole list.
    #[default]
    Refuse,
    /// Leave the line out and count it.
    Skip,
}

/// Whether a list's states are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ReadStates {
    /// All numbers are new.
    #[default]
    No,
    /// The states are read, if the list has them.
    Yes {
        /// The last time that `until` may have, in seconds since the Unix epoch.
        latest_unix_seconds: u32,
    },
}

/// How to read a list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Text or CSV.
    pub format: ListFormat,
    /// Region of national forms. With it, lines without a plus sign are read by its numbering plan.
    pub region: Option<Region>,
    /// The length in digits of the numbers of a prefix line.
    pub length: Option<u8>,
    /// Name of the CSV column with the numbers; `number` by default.
    pub column: Option<String>,
    /// What to do with a bad line.
    pub on_invalid: OnInvalid,
    /// Whether the states of an exported CSV are read too.
    pub states: ReadStates,
}

/// Why a line is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum LineFault {
    /// Not a number, range or prefix in itself.
    #[error("{0}")]
    Number(#[from] NumberError),
    /// Over [`MAX_LINE_BYTES`].
    #[error("the line is longer than 1024 bytes: write one number per line")]
    LineTooLong,
    /// A character that no form of a number contains.
    #[error(
        "it holds a character that no number has: write digits, a range 79000000000-79000061999, or a prefix 7900*"
    )]
    BadCharacter,
    /// Digits with separators, without plus sign and region.
    #[error(
        "national forms need region=: give it (such as RU), or write the number with + and its country code"
    )]
    NeedsRegion,
    /// The region's plan has no such number.
    #[error("it is not a valid number in the region: correct it, or write it with + and its country code")]
    NotInRegion,
    /// A prefix without the length of its numbers.
    #[error("a prefix needs length=: give the number of digits of its numbers, such as length=11")]
    NeedsLength,
    /// A length that does not suit the prefix.
    #[error("length= must be at most 15 and not less than the digits of the prefix")]
    BadLength,
    /// A CSV row without a value in a column that must have one.
    #[error("the row has no value in the column: fill it in or remove the row")]
    NoValue,
    /// A state for more than one number.
    #[error("a row with a state holds one number: write a row per number, or leave out the state columns")]
    StateOfRange,
    /// A state that is none.
    #[error("its state is none of available, leased, resting, done and retired: correct it")]
    BadState,
    /// A generation that no number in this state has.
    #[error(
        "its generation must be a whole number up to 1073741823, and not 0 if leased, resting or done: correct it"
    )]
    BadGeneration,
    /// A time that does not suit the state.
    #[error(
        "its until must be a time such as 2026-11-23T22:05:00Z, as soon as a lease and a rest can end, if \
         leased or resting, else empty: correct it"
    )]
    BadUntil,
}

/// A refused line, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidLine {
    /// Counted from 1.
    pub line: u64,
    /// Its text, without control characters and cut to [`InvalidLine::MAX_TEXT_CHARS`].
    pub text: String,
    /// Why it is refused, and what to do about it.
    pub reason: LineFault,
}

impl InvalidLine {
    /// Most characters of [`InvalidLine::text`].
    pub const MAX_TEXT_CHARS: usize = 60;

    /// A refused line with `text` made printable.
    pub(super) fn new(line: u64, text: &[u8], reason: LineFault) -> InvalidLine {
        let text = String::from_utf8_lossy(&text[..text.len().min(MAX_LINE_BYTES)]);
        let printable = |c: char| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c };
        let mut text: String = text.trim().chars().map(printable).take(Self::MAX_TEXT_CHARS + 1).collect();
        if let Some((cut, _)) = text.char_indices().nth(Self::MAX_TEXT_CHARS) {
            text.truncate(cut);
            text.push('…');
        }
        InvalidLine { line, text, reason }
    }
}

impl std::fmt::Display for InvalidLine {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "line {} ({}): {}", self.line, self.text, self.reason)
    }
}

/// Reads one line without its line end. `None` if it is blank or a comment.
pub fn parse_line(line: &[u8], options: &ListOptions) -> Result<Option<NumberRange>, LineFault> {
    if line.len() > MAX_LINE_BYTES {
        return Err(LineFault::LineTooLong);
    }
    let line = line.trim_ascii();
    if line.is_empty() || line[0] == b'#' {
        return Ok(None);
    }
    if let Some(digits) = line.strip_prefix(b"+") {
        return parse_international(digits).map(NumberRange::single).map(Some);
    }
    if let Some(stem) = line.strip_suffix(b"*") {
        return parse_prefix(stem, options.length).map(Some);
    }
    if let Some((first, last)) = split_range(line) {
        let range = NumberRange::new(Number::parse_digits(first)?, Number::parse_digits(last)?)?;
        return Ok(Some(range));
    }
    parse_number(line, options.region).map(NumberRange::single).map(Some)
}

/// Reads a number with or without plus sign. With a region, one without plus sign is a national form.
pub(super) fn parse_number(text: &[u8], region: Option<Region>) -> Result<Number, LineFault> {
    if let Some(digits) = text.strip_prefix(b"+") {
        return parse_international(digits);
    }
    if let Some(byte) = text.iter().find(|byte| !byte.is_ascii_digit()) {
        if !text.iter().all(|byte| byte.is_ascii_digit() || is_separator(*byte)) {
            return Err(LineFault::BadCharacter);
        }
        if region.is_none() && is_separator(*byte) {
            return Err(LineFault::NeedsRegion);
        }
    }
    match region {
        Some(region) => region.read(text).ok_or(LineFault::NotInRegion),
        None => Ok(Number::parse_digits(text)?),
    }
}

/// The digits after a plus sign, with separators between them.
fn parse_international(text: &[u8]) -> Result<Number, LineFault> {
    let mut digits = [0; MAX_NUMBER_DIGITS];
    let mut count = 0;
    for byte in text {
        if byte.is_ascii_digit() {
            *digits.get_mut(count).ok_or(NumberError::TooLong)? = *byte;
            count += 1;
        } else if !is_separator(*byte) {
            return Err(LineFault::BadCharacter);
        }
    }
    let at_digits = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_digit);
    if count > 0 && !(at_digits(text.first()) && at_digits(text.last())) {
        return Err(LineFault::BadCharacter);
    }
    Ok(Number::parse_digits(&digits[..count])?)
}

fn parse_prefix(stem: &[u8], length: Option<u8>) -> Result<NumberRange, LineFault> {
    let number = Number::parse_digits(stem)?;
    let length = usize::from(length.ok_or(LineFault::NeedsLength)?);
    if length > MAX_NUMBER_DIGITS {
        return Err(LineFault::BadLength);
    }
    let more_digits = length.checked_sub(stem.len()).ok_or(LineFault::BadLength)?;
    Ok(prefix_range(number, more_digits)?)
}

/// The two ends of a range line: exactly one hyphen between two plain digit runs, spaces around it allowed.
fn split_range(line: &[u8]) -> Option<(&[u8], &[u8])> {
    let hyphen = line.iter().position(|byte| *byte == b'-')?;
    let (first, last) = (line[..hyphen].trim_ascii_end(), line[hyphen + 1..].trim_ascii_start());
    let is_plain = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    (is_plain(first) && is_plain(last)).then_some((first, last))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str, options: &ListOptions) -> Result<Option<(u64, u64)>, LineFault> {
        let range = parse_line(line.as_bytes(), options)?;
        Ok(range.map(|range| (range.first().get(), range.last().get())))
    }

    #[test]
    fn every_form_is_read() {
        let options = ListOptions { length: Some(11), ..ListOptions::default() };
        for (line, expected) in [
            ("79123456789", Some((79_123_456_789, 79_123_456_789))),
            ("  79123456789\t\r", Some((79_123_456_789, 79_123_456_789))),
            ("+7 (912) 345-67-89", Some((79_123_456_789, 79_123_456_789))),
            ("+7.912.345/67.89", Some((79_123_456_789, 79_123_456_789))),
            ("79000000000-79000061999", Some((79_000_000_000, 79_000_061_999))),
            ("79000000000 - 79000061999", Some((79_000_000_000, 79_000_061_999))),
            ("912-3456789", Some((912, 3_456_789))),
            ("7900*", Some((79_000_000_000, 79_009_999_999))),
            ("79123456789*", Some((79_123_456_789, 79_123_456_789))),
            ("999999999999999", Some((999_999_999_999_999, 999_999_999_999_999))),
            ("", None),
            (" \r", None),
            ("# 79123456789", None),
        ] {
            assert_eq!(parse(line, &options), Ok(expected), "{line:?}");
        }
    }

    #[test]
    fn every_fault_has_its_reason() {
        let options = ListOptions::default();
        let long = "7".repeat(MAX_LINE_BYTES + 1);
        for (line, expected) in [
            ("089123456789", LineFault::Number(NumberError::LeadingZero)),
            ("1234567890123456", LineFault::Number(NumberError::TooLong)),
            ("+1234567890123456", LineFault::Number(NumberError::TooLong)),
            ("+", LineFault::Number(NumberError::Empty)),
            ("+-", LineFault::Number(NumberError::Empty)),
            ("+ 7912", LineFault::BadCharacter),
            ("+7912-", LineFault::BadCharacter),
            ("+7912x", LineFault::BadCharacter),
            ("79a", LineFault::BadCharacter),
            ("79;80", LineFault::BadCharacter),
            ("8 912 345-67-89", LineFault::NeedsRegion),
            ("7912-7913-7914", LineFault::NeedsRegion),
            ("79000061999-79000000000", LineFault::Number(NumberError::Reversed)),
            ("07-08", LineFault::Number(NumberError::LeadingZero)),
            ("7900*", LineFault::NeedsLength),
            ("79 00*", LineFault::Number(NumberError::NotDigit)),
            ("*", LineFault::Number(NumberError::Empty)),
            ("٧٩", LineFault::BadCharacter),
            (long.as_str(), LineFault::LineTooLong),
        ] {
            assert_eq!(parse(line, &options), Err(expected), "{line:?}");
        }
        for length in [0, 3, 16, 255] {
            let options = ListOptions { length: Some(length), ..ListOptions::default() };
            assert_eq!(parse("7900*", &options), Err(LineFault::BadLength), "{length}");
        }
    }

    #[test]
    fn with_a_region_lines_without_plus_are_national() {
        let options = ListOptions { region: Some("RU".parse().unwrap()), ..ListOptions::default() };
        for line in ["8 912 345-67-89", "89123456789", "+7 912 345-67-89"] {
            assert_eq!(parse(line, &options), Ok(Some((79_123_456_789, 79_123_456_789))), "{line}");
        }
        assert_eq!(parse("79000000000-79000061999", &options), Ok(Some((79_000_000_000, 79_000_061_999))));
        assert_eq!(parse("8 912 345-67-8", &options), Err(LineFault::NotInRegion));
        assert_eq!(parse("call me", &options), Err(LineFault::BadCharacter));
    }

    #[test]
    fn a_refused_text_is_cut_and_printable() {
        let invalid = InvalidLine::new(3, "\u{1b}[31m тест \u{0}".as_bytes(), LineFault::BadCharacter);
        assert_eq!(invalid.text, "\u{fffd}[31m тест \u{fffd}");
        let long = InvalidLine::new(4, "й".repeat(5_000).as_bytes(), LineFault::LineTooLong);
        assert_eq!(long.text.chars().count(), InvalidLine::MAX_TEXT_CHARS + 1);
        assert!(long.to_string().starts_with("line 4 ("));
    }
}
