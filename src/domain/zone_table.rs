//! Which numbers are in which time zones, by prefixes or by ranges.

use std::collections::HashMap;
use std::fmt::Write as _;

use crate::numbers::list::quotes::QuoteCheck;
use crate::numbers::number::{MAX_NUMBER_DIGITS, Number, NumberRange, prefix_range};

use super::hours::ZoneName;
pub use super::zone_table_error::{MAX_ZONE_ROWS, MAX_ZONES_OF_A_ROW, ZoneTableError};

/// The prefixes of phone numbers with their time zones. Derived from the time zone metadata of libphonenumber
/// (Apache-2.0), as packaged in `phonenumbers` 9.0.43.
const PHONE: &str = include_str!("phone-zones.csv");
/// The place of some time zones in [`ZoneTable::sets`].
pub(crate) type SetIndex = u32;

/// The time zones of numbers. All zones of a number must be open for it to be open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ZoneTable {
    rows: Rows,
    /// The combinations of zones that occur.
    sets: Vec<Vec<ZoneName>>,
    /// Ascending and disjoint.
    ranges: Vec<(NumberRange, SetIndex)>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Rows {
    Prefixes(Vec<(String, SetIndex)>),
    Ranges(Vec<(NumberRange, SetIndex)>),
}

impl ZoneTable {
    /// The table for phone numbers that comes with the program.
    pub fn phone() -> Result<Self, ZoneTableError> {
        Self::parse(PHONE)
    }

    /// Reads CSV with the columns `prefix,zones` or `first,last,zones`.
    pub fn parse(text: &str) -> Result<Self, ZoneTableError> {
        let mut quotes = QuoteCheck::new(b',', 1);
        let closed = quotes.check(text.as_bytes()).and_then(|()| quotes.finish());
        closed.map_err(|unclosed| ZoneTableError::UnclosedQuote(unclosed.0))?;
        let mut reader = csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .trim(csv::Trim::All)
            .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
        let mut sets = Sets::default();
        let (mut prefixes, mut ranges) = (Vec::new(), Vec::new());
        let mut columns = 0;
        for (row, record) in (1..).zip(reader.records()) {
            let record = record.map_err(|error| ZoneTableError::Csv { row, why: error.to_string() })?;
            if row == 1 {
                columns = match record.iter().collect::<Vec<_>>()[..] {
                    ["prefix", "zones"] => 2,
                    ["first", "last", "zones"] => 3,
                    _ => {
                        return Err(ZoneTableError::Header(cut(&record
                            .iter()
                            .collect::<Vec<_>>()
                            .join(","))));
                    }
                };
                continue;
            }
            if record.len() != columns {
                return Err(ZoneTableError::Cells { row, cells: record.len(), expected: columns });
            }
            if prefixes.len() + ranges.len() == MAX_ZONE_ROWS {
                return Err(ZoneTableError::TooManyRows);
            }
            let set = sets.add(row, &record[columns - 1])?;
            match columns {
                2 => prefixes.push((row, prefix(row, &record[0])?, set)),
                _ => ranges.push((row, range(row, &record[0], &record[1])?, set)),
            }
        }
        if prefixes.is_empty() && ranges.is_empty() {
            return Err(if columns == 0 {
                ZoneTableError::Header(String::new())
            } else {
                ZoneTableError::Empty
            });
        }
        let (rows, ranges) = if ranges.is_empty() { nested(prefixes)? } else { disjoint(ranges)? };
        Ok(Self { rows, sets: sets.list, ranges })
    }

    /// The table as CSV, which [`Self::parse`] reads.
    pub fn to_csv(&self) -> String {
        let mut text = String::new();
        let zones = |set: &SetIndex| {
            let names = self.sets[*set as usize].iter().map(ZoneName::as_str);
            names.collect::<Vec<_>>().join(" ")
        };
        // Writing to a string does not fail.
        match &self.rows {
            Rows::Prefixes(rows) => {
                text.push_str("prefix,zones\n");
                for (prefix, set) in rows {
                    let _ = writeln!(text, "{prefix},{}", zones(set));
                }
            }
            Rows::Ranges(rows) => {
                text.push_str("first,last,zones\n");
                for (range, set) in rows {
                    let _ = writeln!(text, "{},{},{}", range.first(), range.last(), zones(set));
                }
            }
        }
        text
    }

    /// How many rows it has.
    pub fn rows(&self) -> usize {
        match &self.rows {
            Rows::Prefixes(rows) => rows.len(),
            Rows::Ranges(rows) => rows.len(),
        }
    }

    /// The combinations of time zones that occur.
    pub(crate) fn sets(&self) -> &[Vec<ZoneName>] {
        &self.sets
    }

    /// The ranges of numbers with their zones, ascending and disjoint, that overlap one range.
    pub(crate) fn ranges_in(&self, within: NumberRange) -> &[(NumberRange, SetIndex)] {
        let first = self.ranges.partition_point(|(range, _)| range.last() < within.first());
        let end = self.ranges.partition_point(|(range, _)| range.first() <= within.last());
        &self.ranges[first..end.max(first)]
    }

    /// The time zones of a number.
    pub fn zones_of(&self, number: Number) -> Option<&[ZoneName]> {
        let (_, set) = self.ranges_in(NumberRange::single(number)).first()?;
        Some(&self.sets[*set as usize])
    }
}

fn cut(text: &str) -> String {
    text.chars().take(100).collect()
}

/// The combinations of zones, each once.
#[derive(Default)]
struct Sets {
    list: Vec<Vec<ZoneName>>,
    by_text: HashMap<String, SetIndex>,
}

impl Sets {
    fn add(&mut self, row: u64, text: &str) -> Result<SetIndex, ZoneTableError> {
        if let Some(known) = self.by_text.get(text) {
            return Ok(*known);
        }
        let mut names = Vec::new();
        for name in text.split_ascii_whitespace() {
            if names.len() == MAX_ZONES_OF_A_ROW {
                return Err(ZoneTableError::TooManyZones(row));
            }
            names.push(name.parse().map_err(|error| ZoneTableError::Zone { row, error })?);
        }
        if names.is_empty() {
            return Err(ZoneTableError::NoZone(row));
        }
        let index = self.list.len() as SetIndex;
        self.list.push(names);
        self.by_text.insert(text.to_owned(), index);
        Ok(index)
    }
}

fn number(row: u64, text: &str, what: &'static str) -> Result<Number, ZoneTableError> {
    Number::parse_digits(text.as_bytes()).map_err(|error| ZoneTableError::Number {
        row,
        text: cut(text),
        what,
        why: error.to_string(),
    })
}

fn prefix(row: u64, text: &str) -> Result<String, ZoneTableError> {
    number(row, text, "prefix").map(|_| text.to_owned())
}

fn range(row: u64, first: &str, last: &str) -> Result<NumberRange, ZoneTableError> {
    NumberRange::new(number(row, first, "number")?, number(row, last, "number")?).map_err(|error| {
        ZoneTableError::Number {
            row,
            text: cut(&format!("{first}-{last}")),
            what: "range",
            why: error.to_string(),
        }
    })
}

type Flat = (Rows, Vec<(NumberRange, SetIndex)>);

fn disjoint(mut rows: Vec<(u64, NumberRange, SetIndex)>) -> Result<Flat, ZoneTableError> {
    rows.sort_by_key(|(_, range, _)| range.first());
    for pair in rows.windows(2) {
        if pair[1].1.first() <= pair[0].1.last() {
            let (one, other) = (pair[0].0, pair[1].0);
            return Err(ZoneTableError::Overlap(one.min(other), one.max(other), pair[1].1.first()));
        }
    }
    let ranges: Vec<_> = rows.into_iter().map(|(_, range, set)| (range, set)).collect();
    Ok((Rows::Ranges(ranges.clone()), ranges))
}

/// Prefixes: the longest one of a number counts.
fn nested(mut rows: Vec<(u64, String, SetIndex)>) -> Result<Flat, ZoneTableError> {
    // A prefix comes right before those that begin with it.
    rows.sort_by(|one, other| one.1.cmp(&other.1));
    for pair in rows.windows(2) {
        if pair[0].1 == pair[1].1 {
            let (one, other) = (pair[0].0, pair[1].0);
            return Err(ZoneTableError::SamePrefix(one.min(other), one.max(other)));
        }
    }
    let rows: Vec<_> = rows.into_iter().map(|(_, prefix, set)| (prefix, set)).collect();
    let mut ranges = Vec::new();
    for length in 1..=MAX_NUMBER_DIGITS {
        ranges.extend(of_length(&rows, length));
    }
    Ok((Rows::Prefixes(rows), ranges))
}

/// The ranges of all numbers of one length.
fn of_length(rows: &[(String, SetIndex)], length: usize) -> Vec<(NumberRange, SetIndex)> {
    let mut ranges: Vec<(NumberRange, SetIndex)> = Vec::new();
    let mut emit = |first: u64, last: u64, set: SetIndex| {
        if let (Ok(first), Ok(last)) = (Number::new(first), Number::new(last))
            && let Ok(range) = NumberRange::new(first, last)
        {
            ranges.push((range, set));
        }
    };
    // The prefixes that the present place is within, the longest last: where each ends.
    let mut open: Vec<(u64, SetIndex)> = Vec::new();
    let mut next = 0;
    for (prefix, set) in rows.iter().filter(|(prefix, _)| prefix.len() <= length) {
        let stem = Number::parse_digits(prefix.as_bytes());
        let Ok(range) = stem.and_then(|stem| prefix_range(stem, length - prefix.len())) else { continue };
        let (first, last) = (range.first().get(), range.last().get());
        while let Some((end, outer)) = open.pop_if(|(end, _)| *end < first) {
            emit(next, end, outer);
            next = end + 1;
        }
        if let Some((_, outer)) = open.last()
            && next < first
        {
            emit(next, first - 1, *outer);
        }
        next = first;
        open.push((last, *set));
    }
    while let Some((end, outer)) = open.pop() {
        if next <= end {
            emit(next, end, outer);
            next = end + 1;
        }
    }
    ranges
}

#[cfg(test)]
mod tests;
