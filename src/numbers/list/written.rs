//! One written number: its digits, and what gives away that it is none or more than one.

use super::fault::LineFault;

/// More digits than any number has, with every prefix that can stand before it.
const MAX_WRITTEN_DIGITS: usize = 40;
/// Most digits that follow the slash of `123-45-67/68`.
const MAX_VARIANT_DIGITS: usize = 3;
/// Digits of two groups that are a number each.
const WHOLE_NUMBER_DIGITS: usize = 7;
/// Most decimals of a number that was exported as one.
const MAX_DECIMALS: usize = 3;
/// Fewest digits before the decimals: fewer are a group of a written number.
const MIN_DECIMAL_DIGITS: usize = 5;

/// The digits of a written number.
#[derive(Debug, Clone, Copy)]
pub(super) struct Written {
    digits: [u8; MAX_WRITTEN_DIGITS],
    count: usize,
    /// Whether a plus sign stands before them.
    pub(super) plus: bool,
    /// Whether there is nothing but digits, besides the plus sign.
    pub(super) plain: bool,
}

impl Written {
    /// Reads digits with separators between them.
    pub(super) fn scan(text: &[u8]) -> Result<Written, LineFault> {
        let mut written = Written { digits: [0; MAX_WRITTEN_DIGITS], count: 0, plus: false, plain: true };
        for (index, byte) in text.iter().enumerate() {
            match byte {
                b'0'..=b'9' => {
                    let place = written.digits.get_mut(written.count).ok_or(LineFault::MoreThanOne)?;
                    *place = *byte;
                    written.count += 1;
                }
                b'+' if written.plus || written.count > 0 => return Err(LineFault::MoreThanOne),
                b'+' => written.plus = true,
                byte if is_separator(*byte) => written.plain = false,
                byte => return Err(not_in_a_number(*byte, written.count, &text[index + 1..])),
            }
        }
        let starts = |byte: &u8| byte.is_ascii_digit() || matches!(byte, b'+' | b'(');
        let ends = |byte: &u8| byte.is_ascii_digit() || *byte == b')';
        match (text.first(), text.last()) {
            _ if written.count == 0 => Err(crate::numbers::number::NumberError::Empty.into()),
            (Some(first), _) if !starts(first) => Err(LineFault::BadCharacter(char::from(*first))),
            (_, Some(last)) if !ends(last) => Err(LineFault::BadCharacter(char::from(*last))),
            _ => Ok(written),
        }
    }

    pub(super) fn digits(&self) -> &[u8] {
        &self.digits[..self.count]
    }
}

/// Whether `byte` may stand between the digits of a written number.
fn is_separator(byte: u8) -> bool {
    matches!(byte, b' ' | b'(' | b')' | b'-' | b'.' | b'/')
}

/// The fault of a character after `count` digits.
fn not_in_a_number(byte: u8, count: usize, rest: &[u8]) -> LineFault {
    let digits_after = rest.iter().filter(|byte| byte.is_ascii_digit()).count();
    match byte {
        b',' | b';' | b'|' | b'&' if rest.iter().any(u8::is_ascii_alphabetic) => LineFault::LooksLikeCsv,
        b',' | b';' | b'|' | b'&' if count > 0 && digits_after > 0 => LineFault::MoreThanOne,
        _ => LineFault::BadCharacter(char::from(byte)),
    }
}

/// Refuses what a spreadsheet made of a number that it took for one.
pub(super) fn refuse_spreadsheet_number(text: &[u8]) -> Result<(), LineFault> {
    let text = text.strip_prefix(b"+").unwrap_or(text);
    let is_digits = |text: &[u8]| !text.is_empty() && text.iter().all(u8::is_ascii_digit);
    if let Some(at) = text.iter().position(|byte| matches!(byte, b'e' | b'E')) {
        let exponent = &text[at + 1..];
        let exponent = exponent.strip_prefix(b"+").or(exponent.strip_prefix(b"-")).unwrap_or(exponent);
        let (whole, decimals) = split_at_point(&text[..at]);
        if is_digits(whole) && decimals.is_none_or(is_digits) && is_digits(exponent) {
            return Err(LineFault::Exponent);
        }
    }
    let (before, Some(decimals)) = split_at_point(text) else { return Ok(()) };
    let is_plain = is_digits(before) && before.len() >= MIN_DECIMAL_DIGITS;
    let are_zeros = is_digits(decimals) && decimals.iter().all(|digit| *digit == b'0');
    let is_decimal = (is_plain && is_digits(decimals) && decimals.len() < MAX_DECIMALS)
        || (is_plain && are_zeros && decimals.len() <= MAX_DECIMALS)
        || (decimals == b"0" && before.last().is_some_and(u8::is_ascii_digit));
    if is_decimal { Err(LineFault::Decimal) } else { Ok(()) }
}

/// What stands before and after the last decimal point or comma.
fn split_at_point(text: &[u8]) -> (&[u8], Option<&[u8]>) {
    match text.iter().rposition(|byte| matches!(byte, b'.' | b',')) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    }
}

/// Whether the text is more than one number whatever a plan says: two whole ones, or one with a variant of its
/// last digits.
pub(super) fn is_evidently_two(text: &[u8]) -> bool {
    let count = |text: &[u8]| text.iter().filter(|byte| byte.is_ascii_digit()).count();
    if let Some(slash) = text.iter().rposition(|byte| *byte == b'/') {
        let variant = count(&text[slash + 1..]);
        if variant <= MAX_VARIANT_DIGITS && count(&text[..slash]) >= WHOLE_NUMBER_DIGITS - 1 {
            return true;
        }
    }
    let groups = text.split(|byte| matches!(byte, b' ' | b'/')).map(count);
    groups.filter(|digits| *digits >= WHOLE_NUMBER_DIGITS).count() > 1
}

/// The two halves of a text at each of its separators but hyphens, without the separators around them.
pub(super) fn halves(text: &[u8]) -> impl Iterator<Item = (&[u8], &[u8])> {
    let is_end = |byte: &u8| matches!(byte, b' ' | b'/');
    let splits = text.iter().enumerate().filter(move |(_, byte)| is_end(byte)).map(|(at, _)| at);
    splits.map(move |at| (trim(&text[..at]), trim(&text[at + 1..])))
}

/// A text without spaces and slashes around it.
fn trim(mut text: &[u8]) -> &[u8] {
    let is_outer = |byte: &u8| matches!(byte, b' ' | b'/');
    while let Some((first, rest)) = text.split_first() {
        if !is_outer(first) {
            break;
        }
        text = rest;
    }
    while let Some((last, rest)) = text.split_last() {
        if !is_outer(last) {
            break;
        }
        text = rest;
    }
    text
}

/// The parts of a text that may be the ends of a range: around `..`, or around the one hyphen that has as many
/// digits before it as after it. `None` if there are none.
pub(super) fn range_ends(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let count = |text: &[u8]| text.iter().filter(|byte| byte.is_ascii_digit()).count();
    let splits = (0..text.len()).filter_map(|at| match &text[at..] {
        [b'.', b'.', rest @ ..] | [b'-', rest @ ..] => Some((text[..at].trim_ascii(), rest.trim_ascii())),
        _ => None,
    });
    let mut splits = splits.filter(|(first, last)| {
        let digits = count(first);
        digits >= MIN_RANGE_DIGITS && digits == count(last) && is_edge(first) && is_edge(last)
    });
    splits.next()
}

/// Fewest digits of the ends of a range in one line.
const MIN_RANGE_DIGITS: usize = 5;

/// Whether a text begins and ends as a written number does.
fn is_edge(text: &[u8]) -> bool {
    let starts = text.first().is_some_and(|byte| byte.is_ascii_digit() || matches!(byte, b'+' | b'('));
    starts && text.last().is_some_and(|byte| byte.is_ascii_digit() || *byte == b')')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_spreadsheets_made_of_numbers_is_told_apart() {
        for text in [
            "79121234567.0",
            "+79121234567.0",
            "79121234567,0",
            "79121234567.00",
            "+7 912 123-45-67.0",
            "79121234567.5",
            "79121234567.000",
        ] {
            assert_eq!(refuse_spreadsheet_number(text.as_bytes()), Err(LineFault::Decimal), "{text}");
        }
        for text in ["7.91212E+10", "7,91212E+10", "7.9e10", "8E+10", "+7.9E10", "79121E6"] {
            assert_eq!(refuse_spreadsheet_number(text.as_bytes()), Err(LineFault::Exponent), "{text}");
        }
        for text in ["+7.912.345.67.89", "495.1234567", "06.12.34.56.00", "030.123456", "7912", "E5", "5E"] {
            assert_eq!(refuse_spreadsheet_number(text.as_bytes()), Ok(()), "{text}");
        }
    }

    #[test]
    fn two_numbers_in_one_text_are_seen() {
        for text in
            ["+7 495 123-45-67/68", "79121234567 79121234568", "79121234567/79121234568", "030 123456/57"]
        {
            assert!(is_evidently_two(text.as_bytes()), "{text}");
        }
        for text in ["+7.912.345/67.89", "030/123456", "0171 12345678", "+44 20 7946 0018"] {
            assert!(!is_evidently_two(text.as_bytes()), "{text}");
        }
    }

    #[test]
    fn ends_of_ranges_have_the_same_count_of_digits() {
        let ends = |text: &'static str| {
            range_ends(text.as_bytes())
                .map(|(first, last)| (str::from_utf8(first).unwrap(), str::from_utf8(last).unwrap()))
        };
        assert_eq!(ends("79120000000 - 79120000010"), Some(("79120000000", "79120000010")));
        assert_eq!(ends("79120000000..79120000010"), Some(("79120000000", "79120000010")));
        assert_eq!(
            ends("+7 912 000-00-00 - +7 912 000-00-10"),
            Some(("+7 912 000-00-00", "+7 912 000-00-10"))
        );
        for text in ["495-1234567", "100-199", "79120000000", "-7912000", "7912000-", "8912-123-45-67"] {
            assert_eq!(ends(text), None, "{text}");
        }
    }
}
