//! Why a line or a cell is refused, in words that say what to do.

use std::fmt;

use crate::numbers::number::{Number, NumberError};

use super::invisible::is_invisible;
use super::numbering_plan::PlanFault;
use super::wording::Wording;

/// Longest line, without its line end. Longer lines are refused.
pub const MAX_LINE_BYTES: usize = 1024;

/// Why a line is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineFault {
    /// Not a number, range or prefix in itself.
    Number(NumberError),
    /// Over [`MAX_LINE_BYTES`].
    LineTooLong,
    /// A character that no form of a number contains.
    BadCharacter(char),
    /// A byte that is not UTF-8.
    NotUtf8(u8),
    /// A decimal number.
    Decimal,
    /// A number with an exponent.
    Exponent,
    /// Two numbers, or one with the end of another.
    MoreThanOne,
    /// Several values with separators between them, in a list that is text.
    LooksLikeCsv,
    /// Digits with separators, without plus sign and region.
    NeedsRegion,
    /// Digits on both sides of a hyphen that are no two numbers.
    NotARange,
    /// A hyphen that makes a range, or stands within one number.
    EitherReading {
        /// The first number of the range.
        first: Number,
        /// Its last number.
        last: Number,
        /// The single number.
        single: Number,
    },
    /// The ends of a range differ in their counts of digits.
    UnequalEnds,
    /// The region's plan has no such number.
    NotInRegion(PlanFault),
    /// The plan of the country has no such number.
    NotInPlan(PlanFault),
    /// With the country code before it, it is another number in the country's plan.
    TrunkPrefix {
        /// What it would be as written.
        written: Number,
        /// What the plan makes of it.
        planned: Number,
    },
    /// It has a plus sign, and all numbers are given a country code.
    HasCountryCode,
    /// Zeros at its start that no plan explains.
    LeadingZeros,
    /// A prefix without the length of its numbers.
    NeedsLength,
    /// A length that does not suit the prefix.
    BadLength,
    /// The plan has no numbers of that length with the prefix, or with two.
    BadPrefix,
    /// A CSV row without a value in a column that must have one.
    NoValue,
    /// A cell with more characters than its column.
    TooWide,
    /// A state for more than one number.
    StateOfRange,
    /// A state that is none.
    BadState,
    /// A generation that no number in this state has.
    BadGeneration,
    /// A time that does not suit the state.
    BadUntil,
}

impl From<NumberError> for LineFault {
    fn from(error: NumberError) -> Self {
        Self::Number(error)
    }
}

impl fmt::Display for LineFault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.describe(Wording::Parameters))
    }
}

impl std::error::Error for LineFault {}

impl LineFault {
    /// The reason, with options named as their reader gives them.
    pub fn describe(self, wording: Wording) -> String {
        let option = |name: &str, value: &str| wording.option(name, value);
        match self {
            Self::Number(error) => error.to_string(),
            Self::LineTooLong => "the line is longer than 1024 bytes: write one number per line".to_owned(),
            Self::BadCharacter(character) => format!(
                "it holds {}, which no number has: write digits, a range 79000000000-79000061999, or a prefix 7900*",
                named(character)
            ),
            Self::NotUtf8(byte) => format!(
                "its byte 0x{byte:02X} is not UTF-8: save the file as UTF-8, or give its encoding, such as {}",
                option("encoding", "windows-1252")
            ),
            Self::Decimal => {
                "it is a decimal: the column was exported as a number. Format it as text, or as a number \
                 without decimals, and export it again"
                    .to_owned()
            }
            Self::Exponent => {
                "digits are lost: the column was exported as a number with an exponent. Format it as \
                 text and export it again"
                    .to_owned()
            }
            Self::MoreThanOne => "it holds more than one number: write one per line or cell".to_owned(),
            Self::LooksLikeCsv => format!(
                "it holds several values: give {} if this is CSV, or write one number per line",
                option("format", "csv")
            ),
            Self::NeedsRegion => format!(
                "national forms need a region: give {}, or write the number with + and its country code",
                option("region", "RU")
            ),
            Self::NotARange => format!(
                "a hyphen makes a range only between two numbers of the same count of digits, at least 5: give {} if \
                 it is one number, or write ranges as CSV with the columns first and last",
                option("region", "RU")
            ),
            Self::EitherReading { first, last, single } => format!(
                "it could be the range {first} to {last} or the number {single}: write the number without the hyphen, \
                 or the range as CSV with the columns first and last"
            ),
            Self::UnequalEnds => {
                "the two ends of the range differ in their count of digits: correct them".to_owned()
            }
            Self::NotInRegion(fault) => format!(
                "it is not a number of the region ({fault}): correct it, or write it with + and its country code"
            ),
            Self::NotInPlan(fault) => {
                format!("it is not a number of the country that it names ({fault}): correct it")
            }
            Self::TrunkPrefix { written, planned } => format!(
                "with the country code before it, it is {written}, but that country's plan makes {planned} of it: give \
                 {} instead of the country code, or write the number without its trunk prefix",
                option("region", "RU")
            ),
            Self::HasCountryCode => format!(
                "it has + and a country code of its own: leave out {}, or give a region instead",
                option("country_code", "…")
            ),
            Self::LeadingZeros => format!(
                "it has leading zeros: give {} to read it without them, or {} if it is a national form",
                option("leading_zeros", "drop"),
                option("region", "DE")
            ),
            Self::NeedsLength => format!(
                "a prefix needs the count of digits of its numbers: give it, such as {}",
                option("length", "11")
            ),
            Self::BadLength => format!(
                "{} must be at most 15 and not less than the digits of the prefix",
                option("length", "…")
            ),
            Self::BadPrefix => format!(
                "no numbers of the region have this prefix and {} digits, or it could be two prefixes: write it with + \
                 and its country code",
                option("length", "…")
            ),
            Self::NoValue => "the row has no value in the column: fill it in or remove the row".to_owned(),
            Self::TooWide => {
                "the value is longer than the width given for its column: correct it, or give a larger width"
                    .to_owned()
            }
            Self::StateOfRange => {
                "a row with a state holds one number: write a row per number, or leave out the state \
                 columns"
                    .to_owned()
            }
            Self::BadState => {
                "its state is none of available, leased, resting, done and retired: correct it".to_owned()
            }
            Self::BadGeneration => {
                "its generation must be a whole number up to 67108863, and not 0 if leased, \
                 resting or done: correct it"
                    .to_owned()
            }
            Self::BadUntil => {
                "its until must be a time such as 2026-11-23T22:05:00Z, as soon as a lease and a rest \
                 can end, if leased or resting, else empty: correct it"
                    .to_owned()
            }
        }
    }
}

/// A character with its code point.
pub(super) fn named(character: char) -> String {
    let code = u32::from(character);
    if character.is_control() || !is_visible(character) {
        format!("U+{code:04X}")
    } else {
        format!("\"{character}\" (U+{code:04X})")
    }
}

/// Whether a reader sees a character.
fn is_visible(character: char) -> bool {
    !character.is_whitespace() && !is_invisible(character)
}

/// A refused line, for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidLine {
    /// Counted from 1.
    pub line: u64,
    /// The column of a CSV row, by its name or its position.
    pub column: Option<Box<str>>,
    /// Its text, without control characters and cut to [`InvalidLine::MAX_TEXT_CHARS`].
    pub text: String,
    /// Why it is refused, and what to do about it.
    pub reason: LineFault,
    /// Who reads the reason.
    pub wording: Wording,
}

impl InvalidLine {
    /// Most characters of [`InvalidLine::text`].
    pub const MAX_TEXT_CHARS: usize = 60;

    /// A refused line with `text` made printable.
    pub(super) fn new(line: u64, text: &[u8], reason: LineFault, wording: Wording) -> InvalidLine {
        InvalidLine { line, column: None, text: printable(text), reason, wording }
    }

    /// The reason in the words of its reader.
    pub fn described(&self) -> String {
        self.reason.describe(self.wording)
    }
}

impl fmt::Display for InvalidLine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.column {
            None => write!(out, "line {} ({})", self.line, self.text)?,
            Some(column) => write!(out, "row at line {}, column {column} ({})", self.line, self.text)?,
        }
        write!(out, ": {}", self.described())
    }
}

/// A text for people: control characters replaced, invisible ones by their code points, cut to
/// [`InvalidLine::MAX_TEXT_CHARS`].
pub(super) fn printable(text: &[u8]) -> String {
    let text = String::from_utf8_lossy(&text[..text.len().min(MAX_LINE_BYTES)]);
    let mut shown = String::new();
    for (count, character) in text.trim().chars().enumerate() {
        if count == InvalidLine::MAX_TEXT_CHARS {
            shown.push('…');
            break;
        }
        match character {
            c if c.is_control() => shown.push(char::REPLACEMENT_CHARACTER),
            ' ' => shown.push(' '),
            c if is_visible(c) => shown.push(c),
            c => {
                let code = format!("<U+{:04X}>", u32::from(c));
                shown.push_str(&code);
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_text_is_cut_and_printable() {
        let line =
            |number, text: &[u8]| InvalidLine::new(number, text, LineFault::LineTooLong, Wording::Parameters);
        assert_eq!(line(3, "\u{1b}[31m тест \u{0}".as_bytes()).text, "\u{fffd}[31m тест \u{fffd}");
        assert_eq!(line(3, "79\u{200b}12".as_bytes()).text, "79<U+200B>12");
        let long = line(4, "й".repeat(5_000).as_bytes());
        assert_eq!(long.text.chars().count(), InvalidLine::MAX_TEXT_CHARS + 1);
        assert!(long.to_string().starts_with("line 4 ("));
    }

    #[test]
    fn characters_are_named_by_their_code_points() {
        assert_eq!(named('O'), "\"O\" (U+004F)");
        assert_eq!(named('\u{200b}'), "U+200B");
        assert_eq!(named('\u{1}'), "U+0001");
    }
}
