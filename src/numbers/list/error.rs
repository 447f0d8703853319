//! Why a list of numbers is refused.

use std::io;

use thiserror::Error;

use crate::numbers::list::InvalidLine;

/// Called with the bytes read so far.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Why a list is refused.
#[derive(Debug, Error)]
pub enum ListError {
    /// The input failed.
    #[error("the number list could not be read: {0}. Check that the file is there and readable")]
    Io(#[from] io::Error),
    /// The first bad line of the file.
    #[error("{0}")]
    InvalidLine(InvalidLine),
    /// No line held a number.
    #[error("the number list holds no number: give at least one")]
    Empty,
    /// More than [`crate::numbers::number::MAX_SET_NUMBERS`].
    #[error("the list contains {numbers} numbers, more than 4000000000: split it into several pools")]
    TooMany {
        /// The count of its distinct numbers.
        numbers: u64,
    },
    /// The CSV header does not name the column.
    #[error(
        "the CSV has no column {wanted} (its header is: {found}): name one with column=, or call the columns first and last for ranges"
    )]
    MissingColumn {
        /// The column sought.
        wanted: String,
        /// The header.
        found: String,
    },
    /// The CSV header is not text.
    #[error("the CSV header is not UTF-8: save the file as UTF-8")]
    NotUtf8Csv,
    /// A row over [`super::csv::MAX_ROW_BYTES`].
    #[error("a CSV row is longer than 1 MiB: look for a quote that is not closed")]
    RowTooLong,
    /// A thread of the import ended early.
    #[error("a thread of the import failed: report this as a bug, with the list if you can")]
    ParserFailed,
}
