//! The rows of a CSV, with the lines on which they start.

use std::cell::Cell;
use std::io::{self, Read};

use csv::{ByteRecord, ErrorKind, Reader, ReaderBuilder, Terminator};

use super::error::{ListError, Progress};
use super::quotes::{QuoteCheck, Unclosed};

/// Longest row. It keeps an unclosed quote from reading the rest of the file into memory.
pub const MAX_ROW_BYTES: usize = 1024 * 1024;
const BUFFER_BYTES: usize = 256 * 1024;

/// What the reader of bytes tells the reader of rows.
#[derive(Default)]
struct Meter {
    /// Bytes read since the last row ended.
    row_bytes: Cell<usize>,
    /// Bytes read so far, while the last of them ends no line.
    cut_at: Cell<Option<u64>>,
    unclosed: Cell<Option<Unclosed>>,
}

/// Reads the rows of a CSV.
pub(super) struct Rows<'a, R> {
    reader: Reader<Metered<'a, R>>,
    row: ByteRecord,
    lines_before: u64,
    /// Where the row begins that is read next, counted by the reader.
    next_line: u64,
}

impl<'a, R: Read> Rows<'a, R> {
    /// `lines_before` lines stand before `input`.
    pub(super) fn new(input: R, delimiter: u8, lines_before: u64, progress: Progress<'a>) -> Self {
        let metered = Metered {
            input,
            bytes_read: 0,
            meter: Meter::default(),
            quotes: QuoteCheck::new(delimiter, lines_before + 1),
            progress,
        };
        let reader = ReaderBuilder::new()
            .flexible(true)
            .has_headers(false)
            .delimiter(delimiter)
            // Line numbers are exact only if a row ends with its line; the carriage return is trimmed from the
            // cell.
            .terminator(Terminator::Any(b'\n'))
            .buffer_capacity(BUFFER_BYTES)
            .from_reader(metered);
        Self { reader, row: ByteRecord::new(), lines_before, next_line: 1 }
    }

    /// The next row that is not empty.
    pub(super) fn next(&mut self) -> Result<Option<&ByteRecord>, ListError> {
        loop {
            let read = self.reader.read_byte_record(&mut self.row);
            if !read.map_err(|error| self.error(error))? {
                return Ok(None);
            }
            self.next_line = self.reader.position().line();
            self.reader.get_ref().meter.row_bytes.set(0);
            if self.row.iter().any(|cell| !cell.trim_ascii().is_empty()) {
                return Ok(Some(&self.row));
            }
        }
    }

    /// The row that was read last.
    pub(super) fn row(&self) -> &ByteRecord {
        &self.row
    }

    /// How much of the list has been read as rows, in bytes.
    pub(super) fn read_bytes(&self) -> u64 {
        self.reader.position().byte()
    }

    /// The line on which the last row starts, computed from the reader's position after it: the row's own
    /// position lies before the blank lines above it.
    pub(super) fn line(&self) -> u64 {
        let after = self.reader.position();
        let inside = memchr::memchr_iter(b'\n', self.row.as_slice()).count() as u64;
        let ended = u64::from(self.reader.get_ref().meter.cut_at.get() != Some(after.byte()));
        self.lines_before + after.line().saturating_sub(inside + ended)
    }

    fn error(&self, error: csv::Error) -> ListError {
        let line = self.lines_before + self.next_line;
        match error.into_kind() {
            ErrorKind::Io(_) if self.reader.get_ref().meter.unclosed.get().is_some() => {
                let unclosed = self.reader.get_ref().meter.unclosed.get();
                ListError::UnclosedQuote { line: unclosed.map_or(line, |unclosed| unclosed.0) }
            }
            ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => {
                ListError::RowTooLong { line }
            }
            ErrorKind::Io(error) => error.into(),
            // Rows of bytes and of any length have no other errors.
            other => ListError::Io(io::Error::other(format!("{other:?}"))),
        }
    }
}

/// Reports the progress, checks the quotes, and fails inside a row that is too long.
struct Metered<'a, R> {
    input: R,
    bytes_read: u64,
    meter: Meter,
    quotes: QuoteCheck,
    progress: Progress<'a>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.meter.row_bytes.get() > MAX_ROW_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let count = self.input.read(buffer)?;
        let bytes = &buffer[..count];
        let checked = if count == 0 { self.quotes.finish() } else { self.quotes.check(bytes) };
        if let Err(unclosed) = checked {
            self.meter.unclosed.set(Some(unclosed));
            return Err(io::Error::other("an unclosed quote"));
        }
        self.meter.row_bytes.set(self.meter.row_bytes.get() + count);
        self.bytes_read += count as u64;
        if let Some(last) = bytes.last() {
            self.meter.cut_at.set((*last != b'\n').then_some(self.bytes_read));
        }
        (self.progress)(self.bytes_read);
        Ok(count)
    }
}
