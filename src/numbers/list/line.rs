//! What a line or a cell means: a number, a range or a prefix.

use crate::numbers::number::{MAX_NUMBER_DIGITS, Number, NumberRange, prefix_range};

use super::characters::clean;
use super::fault::{LineFault, MAX_LINE_BYTES};
use super::numbering_plan::{Plan, PlanFault, read_prefix, read_uncached};
use super::options::{Holds, LeadingZeros, ListOptions};
use super::region::Dialled;
use super::written::{Written, halves, is_evidently_two, range_ends, refuse_spreadsheet_number};

/// Fewest digits of a number that is not its plan's own.
const MIN_WHOLE_DIGITS: usize = 5;

/// Reads one line without its line end. `None` if it is blank or a comment.
pub fn parse_line(line: &[u8], options: &ListOptions) -> Result<Option<NumberRange>, LineFault> {
    LineReader::new(options).line(line)
}

/// Reads lines and cells, and remembers what the plan said.
#[derive(Debug)]
pub struct LineReader<'a> {
    options: &'a ListOptions,
    plan: Plan,
}

impl<'a> LineReader<'a> {
    /// A reader that remembers nothing yet.
    pub fn new(options: &'a ListOptions) -> Self {
        Self { options, plan: Plan::default() }
    }

    /// The number that `count` digits are in the region of the options, if that is known from a line before.
    #[inline]
    pub(super) fn known(&self, value: u64, count: usize) -> Option<Number> {
        self.plan.known(Dialled::In(self.options.region?), value, count)
    }

    /// Reads one line without its line end. `None` if it is blank or a comment.
    pub fn line(&mut self, line: &[u8]) -> Result<Option<NumberRange>, LineFault> {
        if line.len() > MAX_LINE_BYTES {
            return Err(LineFault::LineTooLong);
        }
        let text = clean(line)?;
        if text.is_empty() || text[0] == b'#' {
            return Ok(None);
        }
        self.cleaned(&text).map(Some)
    }

    /// Reads a cell with a number, a range or a prefix.
    pub(super) fn cell(&mut self, cell: &[u8]) -> Result<NumberRange, LineFault> {
        self.cleaned(&clean(cell)?)
    }

    /// Reads a cell with an end of a range.
    pub(super) fn end(&mut self, cell: &[u8]) -> Result<Number, LineFault> {
        self.number(&clean(cell)?)
    }

    /// The range between two ends that were read.
    pub(super) fn between(&self, first: Number, last: Number) -> Result<NumberRange, LineFault> {
        let is_planned = self.options.region.is_some() || self.options.country_code.is_some();
        if is_planned && digits_of(first) != digits_of(last) {
            return Err(LineFault::UnequalEnds);
        }
        Ok(NumberRange::new(first, last)?)
    }

    /// Refuses what is another number in the plan of the country whose code it begins with.
    pub(super) fn check_joined(&mut self, range: NumberRange) -> Result<NumberRange, LineFault> {
        let written = range.first();
        match self.plan.read(Dialled::International, written.to_string().as_bytes()) {
            Ok(planned) if planned != written => Err(LineFault::TrunkPrefix { written, planned }),
            _ => Ok(range),
        }
    }

    fn cleaned(&mut self, text: &[u8]) -> Result<NumberRange, LineFault> {
        if self.options.holds == Holds::Numbers && !text.is_empty() && text.iter().all(u8::is_ascii_digit) {
            return self.digits(text).map(NumberRange::single);
        }
        let stem = text.strip_suffix(b"*");
        if stem.is_some() || self.options.holds == Holds::Prefixes {
            return self.prefix(stem.unwrap_or(text).trim_ascii_end());
        }
        match range_ends(text) {
            Some((first, last)) => self.range_or_number(text, first, last),
            None => self.number(text).map(NumberRange::single),
        }
    }

    /// A text that may be a range from `first` to `last`, or a number with a hyphen in its middle.
    fn range_or_number(&mut self, text: &[u8], first: &[u8], last: &[u8]) -> Result<NumberRange, LineFault> {
        let single = self.number(text);
        // A plus sign before one end holds for both.
        let plus = first.contains(&b'+') || last.contains(&b'+');
        let end =
            |text: &[u8]| if plus && !text.contains(&b'+') { [b"+", text].concat() } else { text.to_vec() };
        let range = self.number(&end(first)).and_then(|first| {
            let last = self.number(&end(last))?;
            if digits_of(first) != digits_of(last) {
                return Err(LineFault::UnequalEnds);
            }
            Ok(NumberRange::new(first, last)?)
        });
        match (range, single) {
            (Ok(range), Ok(single)) => {
                Err(LineFault::EitherReading { first: range.first(), last: range.last(), single })
            }
            (Ok(range), Err(_)) => Ok(range),
            (Err(_), Ok(single)) => Ok(NumberRange::single(single)),
            (Err(fault), Err(_)) => Err(fault),
        }
    }

    /// Reads one number.
    fn number(&mut self, text: &[u8]) -> Result<Number, LineFault> {
        refuse_spreadsheet_number(text)?;
        let written = Written::scan(text)?;
        if is_evidently_two(text) {
            return Err(LineFault::MoreThanOne);
        }
        match self.meaning(&written) {
            Err(_) if !written.plain && self.is_two(text) => Err(LineFault::MoreThanOne),
            Err(LineFault::NeedsRegion) if text.contains(&b'-') => Err(LineFault::NotARange),
            read => read,
        }
    }

    /// The number that written digits mean.
    fn meaning(&mut self, written: &Written) -> Result<Number, LineFault> {
        let digits = written.digits();
        match (written.plus, self.options.country_code) {
            (true, Some(_)) => Err(LineFault::HasCountryCode),
            (true, None) => self.plan.read(Dialled::International, digits).map_err(LineFault::NotInPlan),
            (false, None) if self.options.region.is_none() && !written.plain => Err(LineFault::NeedsRegion),
            (false, _) => self.digits(digits),
        }
    }

    /// A text of digits.
    pub(super) fn digits(&mut self, digits: &[u8]) -> Result<Number, LineFault> {
        match (self.options.region, self.options.country_code) {
            (Some(region), _) => self.plan.read(Dialled::In(region), digits).map_err(LineFault::NotInRegion),
            (None, Some(code)) => self.with_country_code(code, digits),
            (None, None) => self.plain(digits),
        }
    }

    /// Digits without any other sign, which no plan reads.
    fn plain(&self, digits: &[u8]) -> Result<Number, LineFault> {
        let zeros = digits.iter().take_while(|digit| **digit == b'0').count();
        if zeros == 0 || digits.len() == 1 {
            return Ok(Number::parse_digits(digits)?);
        }
        match self.options.leading_zeros {
            LeadingZeros::Refuse => Err(LineFault::LeadingZeros),
            LeadingZeros::Drop => Ok(Number::parse_digits(&digits[zeros.min(digits.len() - 1)..])?),
        }
    }

    /// Digits that follow a country code that is not written.
    fn with_country_code(&mut self, code: u32, digits: &[u8]) -> Result<Number, LineFault> {
        let all = [code.to_string().as_bytes(), digits].concat();
        let written = Number::parse_digits(&all)?;
        match self.plan.read(Dialled::International, &all) {
            Ok(planned) if planned != written => Err(LineFault::TrunkPrefix { written, planned }),
            Ok(_) | Err(PlanFault::NoCountry) => Ok(written),
            Err(fault) => Err(LineFault::NotInPlan(fault)),
        }
    }

    /// Whether a text that is no number is two of them.
    fn is_two(&mut self, text: &[u8]) -> bool {
        halves(text).any(|(first, second)| {
            let (Ok(first), Ok(second)) = (Written::scan(first), Written::scan(second)) else { return false };
            let (one, other) = (first.digits().len(), second.digits().len());
            if first.plus || self.options.region.is_some() || self.options.country_code.is_some() {
                return other >= MIN_WHOLE_DIGITS && one >= MIN_WHOLE_DIGITS && self.meaning(&first).is_ok();
            }
            one == other && one >= MIN_WHOLE_DIGITS
        })
    }

    fn prefix(&mut self, stem: &[u8]) -> Result<NumberRange, LineFault> {
        refuse_spreadsheet_number(stem)?;
        let written = Written::scan(stem)?;
        let digits = written.digits();
        let length = usize::from(self.options.length.ok_or(LineFault::NeedsLength)?);
        if length > MAX_NUMBER_DIGITS {
            return Err(LineFault::BadLength);
        }
        let planned = |dialled| read_prefix(dialled, digits, length).ok_or(LineFault::BadPrefix);
        let stem = match (written.plus, self.options.region, self.options.country_code) {
            (true, _, Some(_)) => return Err(LineFault::HasCountryCode),
            (true, ..) => planned(Dialled::International)?,
            (false, Some(region), _) => planned(Dialled::In(region))?,
            (false, None, Some(code)) => prefix_with_code(code, digits, length)?,
            (false, None, None) if written.plain => digits.to_vec(),
            (false, None, None) => return Err(LineFault::NeedsRegion),
        };
        let missing = length.checked_sub(stem.len()).ok_or(LineFault::BadLength)?;
        if missing > 0 && stem.first() == Some(&b'0') {
            return Err(LineFault::LeadingZeros);
        }
        Ok(prefix_range(Number::parse_digits(&stem)?, missing)?)
    }
}

/// A prefix after a country code that is not written.
fn prefix_with_code(code: u32, digits: &[u8], length: usize) -> Result<Vec<u8>, LineFault> {
    let stem = [code.to_string().as_bytes(), digits].concat();
    let missing = length.checked_sub(stem.len()).ok_or(LineFault::BadLength)?;
    let whole = [stem.as_slice(), &vec![b'0'; missing]].concat();
    let written = Number::parse_digits(&whole)?;
    match read_uncached(Dialled::International, &whole) {
        Ok(planned) if planned != written => Err(LineFault::TrunkPrefix { written, planned }),
        Ok(_) | Err(PlanFault::NoCountry) => Ok(stem),
        Err(fault) => Err(LineFault::NotInPlan(fault)),
    }
}

fn digits_of(number: Number) -> u32 {
    number.get().checked_ilog10().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::number::NumberError;

    fn parse(line: &str, options: &ListOptions) -> Result<Option<(u64, u64)>, LineFault> {
        let range = parse_line(line.as_bytes(), options)?;
        Ok(range.map(|range| (range.first().get(), range.last().get())))
    }

    #[test]
    fn every_form_is_read() {
        let options = ListOptions { length: Some(11), ..ListOptions::default() };
        let one = |number| Some((number, number));
        for (line, expected) in [
            ("79123456789", one(79_123_456_789)),
            ("  79123456789\t\r", one(79_123_456_789)),
            ("+7 (912) 345-67-89", one(79_123_456_789)),
            ("+7.912.345/67.89", one(79_123_456_789)),
            ("+ 7 912 3456789", one(79_123_456_789)),
            ("79000000000-79000061999", Some((79_000_000_000, 79_000_061_999))),
            ("79000000000 - 79000061999", Some((79_000_000_000, 79_000_061_999))),
            ("7900*", Some((79_000_000_000, 79_009_999_999))),
            ("79123456789*", one(79_123_456_789)),
            ("999999999999999", one(999_999_999_999_999)),
            ("0", one(0)),
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
            ("089123456789", LineFault::LeadingZeros),
            ("1234567890123456", LineFault::Number(NumberError::TooLong)),
            ("+1234567890123456", LineFault::NotInPlan(PlanFault::TooLong)),
            ("+", LineFault::Number(NumberError::Empty)),
            ("+-", LineFault::Number(NumberError::Empty)),
            ("+7912-", LineFault::BadCharacter('-')),
            ("+7912x", LineFault::BadCharacter('x')),
            ("79a", LineFault::BadCharacter('a')),
            ("79;80", LineFault::MoreThanOne),
            ("8 912 345-67-89", LineFault::NotARange),
            ("8 912 3456789", LineFault::NeedsRegion),
            ("912-3456789", LineFault::NotARange),
            ("79000061999-79000000000", LineFault::Number(NumberError::Reversed)),
            ("07-08", LineFault::NotARange),
            ("00007-00008", LineFault::LeadingZeros),
            ("7900*", LineFault::NeedsLength),
            ("*", LineFault::Number(NumberError::Empty)),
            ("٧٩", LineFault::BadCharacter('٧')),
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
        let short = LineFault::NotInRegion(PlanFault::TooShort);
        assert_eq!(parse("912 345-67-8", &options), Err(short));
        assert_eq!(parse("call me", &options), Err(LineFault::BadCharacter('c')));
    }
}
