//! Reads a list from CSV: from a column of numbers, or from two columns with the ends of ranges.

use std::cell::Cell;
use std::io::{self, Cursor, Read};

use csv::{ByteRecord, ErrorKind, Position, ReaderBuilder, Terminator};

use crate::numbers::list::{InvalidLine, LineFault, ListOptions, OnInvalid, parse_line, parse_number};
use crate::numbers::number::NumberRange;

use super::error::{ListError, Progress};
use super::merged::{Gathered, MAX_KEPT_INVALID, NumberList};
use super::states::StateColumns;
use super::text::BYTE_ORDER_MARK;

/// Column with the numbers if no other is named.
pub const NUMBER_COLUMN: &str = "number";
/// Columns with the ends of ranges.
pub const RANGE_COLUMNS: [&str; 2] = ["first", "last"];
/// Longest row. It keeps an unclosed quote from reading the rest of the file into memory.
pub const MAX_ROW_BYTES: usize = 1024 * 1024;
/// How much is read between two looks at how much memory it takes.
const COMPACT_BYTES: u64 = 4 << 20;
const BUFFER_BYTES: usize = 256 * 1024;

/// Where the numbers of a row are.
enum Columns {
    Number(usize),
    Range(usize, usize),
}

pub(crate) fn read_csv(
    input: impl Read,
    options: &ListOptions,
    progress: Progress<'_>,
) -> Result<NumberList, ListError> {
    let row_bytes = Cell::new(0);
    let cut_at = Cell::new(None);
    let input = without_byte_order_mark(input)?;
    let metered = Metered { input, bytes_read: 0, row_bytes: &row_bytes, cut_at: &cut_at, progress };
    let mut reader = ReaderBuilder::new()
        .flexible(true)
        // Line numbers are exact only if a row ends with its line; the carriage return is trimmed from the
        // cell.
        .terminator(Terminator::Any(b'\n'))
        .comment(Some(b'#'))
        .buffer_capacity(BUFFER_BYTES)
        .from_reader(metered);
    let (columns, state_columns) = find_columns(reader.byte_headers().map_err(import_error)?, options)?;
    let (mut gathered, mut states) = (Gathered::default(), Vec::new());
    let mut compacted_at = 0;
    let (mut invalid, mut first_invalid) = (0, Vec::new());
    let mut row = ByteRecord::new();
    while reader.read_byte_record(&mut row).map_err(import_error)? {
        row_bytes.set(0);
        let read_bytes = reader.position().byte();
        if read_bytes >= compacted_at {
            gathered.compact(read_bytes as usize);
            compacted_at = read_bytes + COMPACT_BYTES;
        }
        if row.iter().all(|cell| cell.trim_ascii().is_empty()) && row.len() == 1 {
            continue;
        }
        let read = parse_row(&row, &columns, options).and_then(|range| {
            let state = state_columns.as_ref().map(|columns| columns.parse(&row, range)).transpose()?;
            Ok((range, state))
        });
        match read {
            Ok((_, Some(state))) => states.push(state),
            Ok((range, None)) => gathered.push(range),
            Err(reason) => {
                let line = first_line(&row, reader.position(), cut_at.get());
                let text = row.iter().collect::<Vec<_>>().join(&b',');
                let refused = InvalidLine::new(line, &text, reason);
                if options.on_invalid == OnInvalid::Refuse {
                    return Err(ListError::InvalidLine(refused));
                }
                invalid += 1;
                if first_invalid.len() < MAX_KEPT_INVALID {
                    first_invalid.push(refused);
                }
            }
        }
    }
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let list = match state_columns {
        None => NumberList::new(gathered, threads),
        Some(_) => NumberList::with_states(states, threads),
    };
    Ok(list.with_invalid(invalid, first_invalid))
}

/// The line on which `row` starts, computed from the reader's position `after` it: the row's own position
/// lies before the blank lines and comments above it. `cut_at` is the length of an input whose last line has
/// no end.
fn first_line(row: &ByteRecord, after: &Position, cut_at: Option<u64>) -> u64 {
    let inside = memchr::memchr_iter(b'\n', row.as_slice()).count() as u64;
    let ended = u64::from(cut_at != Some(after.byte()));
    after.line().saturating_sub(inside + ended)
}

/// The columns with the numbers, and those with their states if these are to be read.
fn find_columns(
    header: &ByteRecord,
    options: &ListOptions,
) -> Result<(Columns, Option<StateColumns>), ListError> {
    let names: Vec<&str> = header
        .iter()
        .map(std::str::from_utf8)
        .collect::<Result<_, _>>()
        .map_err(|_| ListError::NotUtf8Csv)?;
    let find = |wanted: &str| names.iter().position(|name| name.trim().eq_ignore_ascii_case(wanted));
    let states = StateColumns::find(find, options.states);
    let wanted = options.column.as_deref().unwrap_or(NUMBER_COLUMN);
    if let Some(number) = find(wanted) {
        return Ok((Columns::Number(number), states));
    }
    if options.column.is_none()
        && let (Some(first), Some(last)) = (find(RANGE_COLUMNS[0]), find(RANGE_COLUMNS[1]))
    {
        return Ok((Columns::Range(first, last), states));
    }
    let found = InvalidLine::new(1, names.join(",").as_bytes(), LineFault::NoValue).text;
    Err(ListError::MissingColumn { wanted: wanted.to_owned(), found })
}

fn parse_row(row: &ByteRecord, columns: &Columns, options: &ListOptions) -> Result<NumberRange, LineFault> {
    let cell = |column: usize| {
        row.get(column).map(<[u8]>::trim_ascii).filter(|cell| !cell.is_empty()).ok_or(LineFault::NoValue)
    };
    match *columns {
        Columns::Number(number) => parse_line(cell(number)?, options)?.ok_or(LineFault::NoValue),
        Columns::Range(first, last) => {
            let first = parse_number(cell(first)?, options.region)?;
            Ok(NumberRange::new(first, parse_number(cell(last)?, options.region)?)?)
        }
    }
}

fn without_byte_order_mark(mut input: impl Read) -> io::Result<impl Read> {
    let mut start = Vec::new();
    input.by_ref().take(BYTE_ORDER_MARK.len() as u64).read_to_end(&mut start)?;
    if start == BYTE_ORDER_MARK {
        start.clear();
    }
    Ok(Cursor::new(start).chain(input))
}

/// Reports the progress, and fails inside a row that is too long.
struct Metered<'a, R> {
    input: R,
    bytes_read: u64,
    /// Bytes read since the last row ended.
    row_bytes: &'a Cell<usize>,
    /// Bytes read so far, while the last of them ends no line.
    cut_at: &'a Cell<Option<u64>>,
    progress: Progress<'a>,
}

impl<R: Read> Read for Metered<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.row_bytes.get() > MAX_ROW_BYTES {
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        }
        let count = self.input.read(buffer)?;
        self.row_bytes.set(self.row_bytes.get() + count);
        self.bytes_read += count as u64;
        if let Some(last) = buffer[..count].last() {
            self.cut_at.set((*last != b'\n').then_some(self.bytes_read));
        }
        (self.progress)(self.bytes_read);
        Ok(count)
    }
}

fn import_error(error: csv::Error) -> ListError {
    match error.into_kind() {
        ErrorKind::Io(error) if error.kind() == io::ErrorKind::FileTooLarge => ListError::RowTooLong,
        ErrorKind::Io(error) => ListError::Io(error),
        _ => ListError::NotUtf8Csv,
    }
}
