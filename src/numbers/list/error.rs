//! Why a list of numbers is refused.

use std::io;

use thiserror::Error;

use super::fault::InvalidLine;
use super::wording::Wording;

/// Called with the bytes read so far.
pub type Progress<'a> = &'a (dyn Fn(u64) + Sync);

/// Why a list is refused.
#[derive(Debug, Error)]
pub enum ListError {
    /// The input failed.
    #[error("the number list could not be read: {0}. Check that the file is there and readable")]
    Io(io::Error),
    /// What is compressed cannot be decompressed.
    #[error("{0}. Copy the file again in full")]
    Damaged(io::Error),
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
    /// More than there is room for.
    #[error(
        "the list takes more memory than is free: {mib} MiB of numbers are read so far, and they are not all. Send it \
         in parts, as ranges or as a Roaring bitmap, or give the machine more memory"
    )]
    TooMuchMemory {
        /// What was read, in MiB.
        mib: u64,
    },
    /// UTF-16 without a byte order mark.
    #[error(
        "the list looks like UTF-16 without a byte order mark: save it as UTF-8, or give {}",
        wording.option("encoding", encoding)
    )]
    NoMark {
        /// The encoding that it seems to have.
        encoding: &'static str,
        /// Who reads this.
        wording: Wording,
    },
    /// A spreadsheet's own file.
    #[error(
        "this is a workbook of a spreadsheet: export the sheet as CSV (the commands of allotd read .xlsx themselves)"
    )]
    Workbook,
    /// How Java's 64-bit bitmap serializes itself by default.
    #[error(
        "this is a Roaring64NavigableMap of Java in its legacy format: serialize it in the portable format, with \
         Roaring64NavigableMap.SERIALIZATION_MODE = Roaring64NavigableMap.SERIALIZATION_MODE_PORTABLE, or use \
         serializePortable"
    )]
    JavaRoaring,
    /// A Roaring bitmap where a list is read.
    #[error("this is a Roaring bitmap: leave out the parameters that say how to read a text or a CSV")]
    Roaring,
    /// The columns of a CSV are not where they are sought.
    #[error("{0}")]
    Columns(#[from] ColumnsError),
    /// A quote that is not closed, or not closed where a cell ends.
    #[error(
        "the quote that opens a cell in the row at line {line} is not closed at the end of a cell: close it, or write \
         a quote inside a quoted cell twice"
    )]
    UnclosedQuote {
        /// Where it opens.
        line: u64,
    },
    /// A row over [`super::rows::MAX_ROW_BYTES`].
    #[error("the CSV row at line {line} is longer than 1 MiB: look for a quote that is not closed")]
    RowTooLong {
        /// Where it starts.
        line: u64,
    },
    /// A thread of the import ended early.
    #[error("a thread of the import failed: report this as a bug, with the list if you can")]
    ParserFailed,
}

impl ListError {
    /// The line that is refused, counted from 1.
    pub fn line(&self) -> Option<u64> {
        match self {
            Self::InvalidLine(invalid) => Some(invalid.line),
            Self::UnclosedQuote { line }
            | Self::RowTooLong { line }
            | Self::Columns(ColumnsError::NotRanges { line, .. }) => Some(*line),
            _ => None,
        }
    }
}

impl From<io::Error> for ListError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::InvalidData => Self::Damaged(error),
            _ => Self::Io(error),
        }
    }
}

/// Why the columns of a CSV were not found, with the options that help.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ColumnsError {
    /// The header does not name the column.
    #[error("the CSV has no column {wanted} (its header is: {found}): {help}")]
    Missing {
        /// The column sought.
        wanted: String,
        /// The header.
        found: String,
        /// What to give.
        help: String,
    },
    /// The header names the column twice.
    #[error("the CSV has two columns of the name {wanted} (its header is: {found}): rename one of them")]
    Twice {
        /// The column sought.
        wanted: String,
        /// The header.
        found: String,
    },
    /// The first row is none with names.
    #[error("the first row of the CSV looks like numbers, not like a header ({found}): {help}")]
    NoHeader {
        /// The row.
        found: String,
        /// What to give.
        help: String,
    },
    /// Without a header columns are counted.
    #[error("without a header columns are counted from 1, and \"{wanted}\" is no such column: {help}")]
    NotCounted {
        /// The column sought.
        wanted: String,
        /// What to give.
        help: String,
    },
    /// The columns `first` and `last` hold something else.
    #[error("the columns first and last hold no numbers in the row at line {line} ({found}): {help}")]
    NotRanges {
        /// The row.
        line: u64,
        /// Its text.
        found: String,
        /// What to give.
        help: String,
    },
}
