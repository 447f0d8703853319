//! How to read a list.

use super::column_spec::ColumnSpec;
use super::region::Region;
use super::wording::Wording;

/// How a list is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ListFormat {
    /// One number, range or prefix per line.
    #[default]
    Text,
    /// Cells with a separator between them.
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

/// Whether the first row of a CSV names its columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// It does, unless it looks like numbers.
    #[default]
    Auto,
    /// It does.
    Yes,
    /// It is a row like the others; columns are counted from 1.
    No,
}

/// What a list holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Holds {
    /// Numbers and ranges; prefixes end with an asterisk.
    #[default]
    Numbers,
    /// Prefixes only.
    Prefixes,
}

/// What to do with zeros at the start of a number that no plan explains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeadingZeros {
    /// Refuse the line.
    #[default]
    Refuse,
    /// Read the number without them.
    Drop,
}

/// The columns of a CSV that hold the numbers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Columns {
    /// `number`, or `first` and `last`.
    #[default]
    Usual,
    /// Those with numbers.
    Number(ColumnSpec),
    /// Those with the first and the last number of ranges.
    Range(ColumnSpec, ColumnSpec),
}

/// How to read a list.
#[derive(Debug, Clone, Default)]
pub struct ListOptions {
    /// Text or CSV.
    pub format: ListFormat,
    /// Region of national forms. With it, numbers without a plus sign are read by its numbering plan.
    pub region: Option<Region>,
    /// Digits put before every number.
    pub country_code: Option<u32>,
    /// The length in digits of the numbers of a prefix.
    pub length: Option<u8>,
    /// What the lines or the cells hold.
    pub holds: Holds,
    /// Zeros at the start of a number.
    pub leading_zeros: LeadingZeros,
    /// The CSV columns with the numbers.
    pub columns: Columns,
    /// Whether a CSV has a header.
    pub header: Header,
    /// What separates the cells of a CSV; found in its first row by default.
    pub delimiter: Option<u8>,
    /// The encoding of a list without a byte order mark; UTF-8 by default.
    pub encoding: Option<&'static encoding_rs::Encoding>,
    /// What to do with a bad line.
    pub on_invalid: OnInvalid,
    /// Whether the states of an exported CSV are read too.
    pub states: ReadStates,
    /// Whether a survey of the lines is made.
    pub survey: bool,
    /// How messages name these options.
    pub wording: Wording,
}

impl ListOptions {
    /// Whether something is given that says how to read a text or a CSV.
    pub fn are_for_text(&self) -> bool {
        !self.is_plain()
            || self.length.is_some()
            || self.leading_zeros != LeadingZeros::Refuse
            || self.columns != Columns::Usual
            || self.header != Header::Auto
            || self.delimiter.is_some()
            || self.encoding.is_some()
            || self.on_invalid != OnInvalid::Refuse
    }

    /// Whether plain digits are numbers as they are.
    pub(super) fn is_plain(&self) -> bool {
        self.region.is_none() && self.country_code.is_none() && self.holds == Holds::Numbers
    }
}
