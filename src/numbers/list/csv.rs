//! Reads a list from CSV: from a column of numbers, or from two columns with the ends of ranges.

use std::borrow::Cow;
use std::io::Read;

use csv::{ByteRecord, ReaderBuilder};

use crate::numbers::number::NumberRange;

use super::characters::clean;
use super::collect::Collected;
use super::column_spec::Part;
use super::columns::{Cells, FoundColumns, header_names, refuse_names, with_help};
use super::content::Headed;
use super::dialect::Dialect;
use super::error::{ListError, Progress};
use super::fault::{InvalidLine, LineFault};
use super::line::LineReader;
use super::memory::MemoryCheck;
use super::merged::NumberList;
use super::options::{ListOptions, OnInvalid};
use super::rows::Rows;
use super::written::refuse_spreadsheet_number;

/// How much is read between two looks at how much memory it takes.
const COMPACT_BYTES: u64 = 4 << 20;

pub(crate) fn read_csv(
    input: Headed<'_>,
    options: &ListOptions,
    progress: Progress<'_>,
) -> Result<NumberList, ListError> {
    let dialect = Dialect::find(input.head(), options.delimiter);
    let lines_before = u64::from(dialect.skipped_bytes > 0);
    let input = input.skip(dialect.skipped_bytes);
    let delimiter = likeliest(&dialect.delimiters, input.head(), options);
    let mut rows = Rows::new(input.whole(), delimiter, lines_before, progress);
    if rows.next()?.is_none() {
        return Ok(NumberList::default());
    }
    let columns = match FoundColumns::find(rows.row(), options) {
        Ok(columns) => columns,
        Err(error) => {
            let names = header_names(rows.row());
            return Err(with_help(error, rows.next()?, options, &names).into());
        }
    };
    let mut more = !columns.has_header || rows.next()?.is_some();
    if more && let Some(error) = refuse_names(rows.row(), rows.line(), &columns, options) {
        return Err(error.into());
    }
    let mut collected = Collected::new(options);
    let mut reader = RowReader { columns: &columns, reader: LineReader::new(options), options };
    let (memory, mut kept) = (MemoryCheck::new(), 0);
    let mut compacted_at = 0;
    while more {
        let read_bytes = rows.read_bytes();
        if read_bytes >= compacted_at {
            collected.compact(read_bytes as usize);
            compacted_at = read_bytes + COMPACT_BYTES;
            // It is one part, and its room grows by doubling.
            let bytes = collected.bytes();
            memory.keep(bytes.saturating_sub(kept));
            kept = kept.max(bytes);
            memory.refusal()?;
        }
        collect(&mut rows, &mut reader, &mut collected)?;
        more = rows.next()?.is_some();
    }
    Ok(collected.into_list())
}

/// Reads the current row.
fn collect<R: Read>(
    rows: &mut Rows<'_, R>,
    reader: &mut RowReader<'_>,
    collected: &mut Collected,
) -> Result<(), ListError> {
    let row = rows.row();
    // A row of several lines with other cells than the header has: a quote opens in it by mistake.
    if row.len() != reader.columns.names.len() && row.as_slice().contains(&b'\n') {
        return Err(ListError::UnclosedQuote { line: rows.line() });
    }
    let line = || (rows.line(), reader.columns.shown(row));
    match reader.read(row) {
        Ok((range, None)) => collected.push(range, line),
        Ok((_, Some(state))) => collected.push_state(state, line),
        Err(fault) => {
            let invalid = reader.invalid_line(rows.line(), row, fault);
            if reader.options.on_invalid == OnInvalid::Refuse {
                return Err(ListError::InvalidLine(invalid));
            }
            collected.skip(invalid);
        }
    }
    Ok(())
}

/// The delimiter under which the columns are found, or the likeliest.
fn likeliest(delimiters: &[u8], head: &[u8], options: &ListOptions) -> u8 {
    let finds = |delimiter: &&u8| {
        let mut first = ByteRecord::new();
        let mut reader =
            ReaderBuilder::new().delimiter(**delimiter).has_headers(false).flexible(true).from_reader(head);
        reader.read_byte_record(&mut first).is_ok() && FoundColumns::find(&first, options).is_ok()
    };
    let found = delimiters.iter().find(finds).or(delimiters.first());
    found.copied().unwrap_or(b',')
}

/// A fault, and the columns in which it is.
type RowFault<'a> = (LineFault, Option<&'a [Part]>);

/// Reads the numbers of rows.
struct RowReader<'a> {
    columns: &'a FoundColumns,
    reader: LineReader<'a>,
    options: &'a ListOptions,
}

impl<'a> RowReader<'a> {
    /// The numbers of a row, and the state of the number if there are states.
    fn read(
        &mut self,
        row: &ByteRecord,
    ) -> Result<(NumberRange, Option<super::states::StateRow>), RowFault<'a>> {
        let range = match &self.columns.cells {
            Cells::Number(parts) => {
                self.number(row, parts).map_err(|fault| (fault, Some(parts.as_slice())))?
            }
            Cells::Range(first, last) => {
                let in_first = |fault| (fault, Some(first.as_slice()));
                let in_last = |fault| (fault, Some(last.as_slice()));
                let low = value(row, first).and_then(|cell| self.reader.end(&cell)).map_err(in_first)?;
                let high = value(row, last).and_then(|cell| self.reader.end(&cell)).map_err(in_last)?;
                let range = self.reader.between(low, high).map_err(in_first)?;
                self.checked(range, first).map_err(in_first)?
            }
        };
        let state = self.columns.states.as_ref().map(|columns| columns.parse(row, range)).transpose();
        Ok((range, state.map_err(|fault| (fault, None))?))
    }

    fn number(&mut self, row: &ByteRecord, parts: &[Part]) -> Result<NumberRange, LineFault> {
        let range = self.reader.cell(&value(row, parts)?)?;
        self.checked(range, parts)
    }

    /// Numbers that were put together may have a trunk prefix in their middle.
    fn checked(&mut self, range: NumberRange, parts: &[Part]) -> Result<NumberRange, LineFault> {
        let is_planned = self.options.region.is_some() || self.options.country_code.is_some();
        if parts.len() > 1 && !is_planned { self.reader.check_joined(range) } else { Ok(range) }
    }

    fn invalid_line(&self, line: u64, row: &ByteRecord, (fault, parts): RowFault<'_>) -> InvalidLine {
        let whole = || row.iter().collect::<Vec<_>>().join(&b',');
        let text = match parts {
            Some(parts) if fault != LineFault::NoValue => {
                parts.iter().filter_map(|part| row.get(part.column)).collect::<Vec<_>>().join(&b'+')
            }
            _ => whole(),
        };
        let column = parts.map(|parts| self.columns.label(parts));
        InvalidLine { column, ..InvalidLine::new(line, &text, fault, self.options.wording) }
    }
}

/// The text of a value: the cells of its parts, put together.
fn value<'a>(row: &'a ByteRecord, parts: &[Part]) -> Result<Cow<'a, [u8]>, LineFault> {
    let cell = |part: &Part| {
        row.get(part.column).map(<[u8]>::trim_ascii).filter(|cell| !cell.is_empty()).ok_or(LineFault::NoValue)
    };
    if let [part @ Part { width: 0, .. }] = parts {
        return cell(part).map(Cow::Borrowed);
    }
    let mut joined = Vec::new();
    for part in parts {
        let text = clean(cell(part)?)?;
        refuse_spreadsheet_number(&text)?;
        if text.is_empty() {
            return Err(LineFault::NoValue);
        }
        if part.width > 0 {
            let missing = part.width.checked_sub(text.len()).ok_or(LineFault::TooWide)?;
            joined.extend(std::iter::repeat_n(b'0', missing));
        }
        joined.extend_from_slice(&text);
    }
    Ok(Cow::Owned(joined))
}
