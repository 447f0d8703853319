//! Why a table of time zones is refused.

use crate::numbers::number::Number;

use super::hours::HoursError;

/// Most rows of a table.
pub const MAX_ZONE_ROWS: usize = 200_000;
/// Most time zones of a row.
pub const MAX_ZONES_OF_A_ROW: usize = 64;

/// Why a table is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ZoneTableError {
    /// The first row.
    #[error(
        "the first row is \"{0}\": give the columns \"prefix,zones\" or \"first,last,zones\", separated by commas"
    )]
    Header(String),
    /// A row that CSV does not allow.
    #[error("row {row}: {why}")]
    Csv {
        /// Counted from 1, the header included.
        row: u64,
        /// What is wrong.
        why: String,
    },
    /// A quote that is not closed where its cell ends.
    #[error(
        "the quote that opens a cell in line {0} is not closed at the end of a cell: close it, or leave quotes out"
    )]
    UnclosedQuote(u64),
    /// A row with another number of cells.
    #[error(
        "row {row} has {cells} cells, the header has {expected}: separate cells by commas, and several time zones \
         of one cell by spaces"
    )]
    Cells {
        /// Counted from 1, the header included.
        row: u64,
        /// Its cells.
        cells: usize,
        /// Those of the header.
        expected: usize,
    },
    /// A number or prefix.
    #[error("row {row}: \"{text}\" is not a {what}: {why}")]
    Number {
        /// Counted from 1, the header included.
        row: u64,
        /// The cell.
        text: String,
        /// What it should be.
        what: &'static str,
        /// What is wrong.
        why: String,
    },
    /// A time zone.
    #[error("row {row}: {error}")]
    Zone {
        /// Counted from 1, the header included.
        row: u64,
        /// What is wrong.
        error: HoursError,
    },
    /// No time zone.
    #[error("row {0} has no time zone: give one or several, separated by spaces")]
    NoZone(u64),
    /// Too many time zones.
    #[error("row {0} has more than {MAX_ZONES_OF_A_ROW} time zones")]
    TooManyZones(u64),
    /// A prefix that occurs twice.
    #[error("rows {0} and {1} have the same prefix: remove one")]
    SamePrefix(u64, u64),
    /// Ranges that have numbers in common.
    #[error(
        "the ranges of rows {0} and {1} overlap, both have {2}: a number can have the zones of one row only"
    )]
    Overlap(u64, u64, Number),
    /// Too many rows.
    #[error("the table has more than {MAX_ZONE_ROWS} rows")]
    TooManyRows,
    /// None.
    #[error("the table has no rows besides its header")]
    Empty,
}
