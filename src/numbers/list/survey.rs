//! A survey of the lines of a list, for people who want to see what would be read.

use crate::numbers::number::{Number, NumberRange};

use super::fault::printable;

/// Samples that are reported.
pub const SAMPLES: usize = 10;
/// Samples are thinned out when there are as many.
const MAX_SAMPLES: usize = 4 * SAMPLES;
/// A line with more numbers is worth a look.
const LARGE_RANGE_NUMBERS: u64 = 1_000_000;
/// Most large ranges that are reported.
const MAX_LARGE_RANGES: usize = 5;
/// More lengths of numbers than a list of one kind has.
const MANY_LENGTHS: usize = 3;
/// Counts of digits are 1 to 15.
const LENGTHS: usize = 16;

/// A line and what it means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Counted from 1.
    pub line: u64,
    /// Its text, printable.
    pub text: String,
    /// What it means.
    pub range: NumberRange,
}

/// What the lines of a list look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Survey {
    samples: Vec<Sample>,
    /// One line in this many is a sample.
    stride: u64,
    lines: u64,
    /// Lines whose digits are those of the number.
    international: u64,
    /// Lines whose digits the plan made into others.
    national: u64,
    large: Vec<Sample>,
    large_count: u64,
    /// Lines by the count of digits of their number.
    lengths: [u64; LENGTHS],
}

impl Default for Survey {
    fn default() -> Self {
        Self {
            samples: Vec::new(),
            stride: 1,
            lines: 0,
            international: 0,
            national: 0,
            large: Vec::new(),
            large_count: 0,
            lengths: [0; LENGTHS],
        }
    }
}

impl Survey {
    /// Notes a line.
    pub(super) fn note(&mut self, line: u64, text: &[u8], range: NumberRange) {
        let sample = || Sample { line, text: printable(text), range };
        if self.lines.is_multiple_of(self.stride) {
            self.samples.push(sample());
            self.thin_out();
        }
        self.lines += 1;
        let digits: Vec<u8> = text.iter().copied().filter(u8::is_ascii_digit).collect();
        let first = range.first().to_string();
        let is_international =
            digits.is_empty() || digits.starts_with(first.as_bytes()) || is_stem(&digits, range);
        *(if is_international { &mut self.international } else { &mut self.national }) += 1;
        if range.len() > LARGE_RANGE_NUMBERS {
            self.large_count += 1;
            if self.large.len() < MAX_LARGE_RANGES {
                self.large.push(sample());
            }
        }
        self.lengths[first.len().min(LENGTHS - 1)] += 1;
    }

    /// Adds the survey of the lines that follow; those before it are `lines_before`.
    pub(super) fn append(&mut self, mut later: Survey, lines_before: u64) {
        for sample in later.samples.iter_mut().chain(&mut later.large) {
            sample.line += lines_before;
        }
        self.stride = self.stride.max(later.stride);
        self.samples.append(&mut later.samples);
        self.thin_out();
        self.lines += later.lines;
        self.international += later.international;
        self.national += later.national;
        later.large.truncate(MAX_LARGE_RANGES - self.large.len());
        self.large.append(&mut later.large);
        self.large_count += later.large_count;
        for (count, more) in self.lengths.iter_mut().zip(later.lengths) {
            *count += more;
        }
    }

    fn thin_out(&mut self) {
        while self.samples.len() > MAX_SAMPLES {
            let mut keeps = [true, false].into_iter().cycle();
            self.samples.retain(|_| keeps.next().unwrap_or_default());
            self.stride *= 2;
        }
    }

    /// Lines from the whole list, [`SAMPLES`] at most, the first and the last of those that were kept among them.
    pub fn samples(&self) -> Vec<&Sample> {
        let count = self.samples.len().min(SAMPLES);
        let last = self.samples.len().saturating_sub(1);
        (0..count).filter_map(|index| self.samples.get(index * last / (count - 1).max(1))).collect()
    }

    /// The counts of digits of the numbers, with the count of lines of each.
    pub fn lengths(&self) -> impl Iterator<Item = (usize, u64)> {
        self.lengths.iter().copied().enumerate().filter(|(_, lines)| *lines > 0)
    }

    /// What looks odd, in sentences.
    pub fn oddities(&self) -> Vec<String> {
        let mut odd: Vec<_> = self
            .large
            .iter()
            .map(|Sample { line, text, range }| {
                format!("line {line} ({text}) alone stands for {} numbers", range.len())
            })
            .collect();
        if self.large_count > self.large.len() as u64 {
            odd.push(format!("{} lines stand for over {LARGE_RANGE_NUMBERS} numbers each", self.large_count));
        }
        let lengths: Vec<_> =
            self.lengths().map(|(digits, lines)| format!("{digits} digits ({lines} lines)")).collect();
        if lengths.len() > MANY_LENGTHS {
            odd.push(format!("the numbers have many lengths: {}", lengths.join(", ")));
        }
        if self.international > 0 && self.national > 0 {
            odd.push(format!(
                "international and national forms are mixed: {} lines are international, {} national",
                self.international, self.national
            ));
        }
        odd
    }
}

/// Whether digits are a prefix that stands for the range as they are.
fn is_stem(digits: &[u8], range: NumberRange) -> bool {
    let starts = |number: Number| number.to_string().as_bytes().starts_with(digits);
    starts(range.first()) && starts(range.last())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> NumberRange {
        NumberRange::new(Number::new(first).unwrap(), Number::new(last).unwrap()).unwrap()
    }

    #[test]
    fn samples_come_from_all_of_the_list() {
        let mut survey = Survey::default();
        for part in 0..10 {
            let mut later = Survey::default();
            for line in 1..=1_000 {
                let number = 79_120_000_000 + part * 1_000 + line;
                later.note(line, number.to_string().as_bytes(), range(number, number));
            }
            survey.append(later, part * 1_000);
        }
        let lines: Vec<_> = survey.samples().iter().map(|sample| sample.line).collect();
        assert_eq!(lines.len(), SAMPLES);
        assert!(lines.is_sorted() && lines[0] == 1 && lines[SAMPLES - 1] > 8_000, "{lines:?}");
        for sample in survey.samples() {
            assert_eq!(sample.range.first().get(), 79_120_000_000 + sample.line);
        }
        assert_eq!(
            (survey.lengths().collect::<Vec<_>>(), survey.oddities()),
            (vec![(11, 10_000)], Vec::new())
        );
    }

    #[test]
    fn what_looks_odd_is_told() {
        let mut survey = Survey::default();
        survey.note(1, b"79000000000-79009999999", range(79_000_000_000, 79_009_999_999));
        survey.note(2, b"8 912 123-45-67", range(79_121_234_567, 79_121_234_567));
        for (line, number) in [(3, 12), (4, 123), (5, 1_234)] {
            survey.note(line, number.to_string().as_bytes(), range(number, number));
        }
        let odd = survey.oddities();
        assert_eq!(odd.len(), 3, "{odd:?}");
        assert!(odd[0].contains("line 1 (79000000000-79009999999) alone stands for 10000000 numbers"));
        assert!(odd[1].contains("11 digits (2 lines)") && odd[2].contains("1 national"), "{odd:?}");
        assert_eq!(survey.samples().len(), 5);
        assert!(Survey::default().samples().is_empty());
    }
}
