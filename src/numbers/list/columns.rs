//! Which columns of a CSV hold the numbers, and what to give if that cannot be told.

use csv::ByteRecord;

use super::characters::clean;
use super::column_spec::{ColumnSpec, NotFound, Part};
use super::error::ColumnsError;
use super::fault::printable;
use super::invisible::is_invisible;
use super::options::{Columns, Header, ListOptions};
use super::states::StateColumns;
use super::written::Written;

/// Column with the numbers if no other is named.
pub const NUMBER_COLUMN: &str = "number";
/// Columns with the ends of ranges.
pub const RANGE_COLUMNS: [&str; 2] = ["first", "last"];
/// A cell with as many digits looks like a number.
const MIN_NUMBER_DIGITS: usize = 5;

/// The cells of a row that hold numbers.
pub(super) enum Cells {
    Number(Vec<Part>),
    Range(Vec<Part>, Vec<Part>),
}

/// The columns of a CSV.
pub(super) struct FoundColumns {
    pub(super) cells: Cells,
    pub(super) states: Option<StateColumns>,
    /// The names of the columns; their positions without a header.
    pub(super) names: Vec<String>,
    pub(super) has_header: bool,
    /// Whether the columns are `first` and `last` though nobody named them.
    pub(super) are_guessed_ranges: bool,
}

impl FoundColumns {
    /// Finds the columns by the first row.
    pub(super) fn find(first: &ByteRecord, options: &ListOptions) -> Result<Self, ColumnsError> {
        if options.header == Header::No { counted(first, options) } else { named(first, options) }
    }

    /// The cells of a row that hold the numbers, for people.
    pub(super) fn shown(&self, row: &ByteRecord) -> Vec<u8> {
        let cells = |parts: &[Part]| {
            parts.iter().filter_map(|part| row.get(part.column)).collect::<Vec<_>>().join(&b'+')
        };
        match &self.cells {
            Cells::Number(parts) => cells(parts),
            Cells::Range(first, last) => [cells(first), cells(last)].join(&b','),
        }
    }

    /// The name of a value for people: those of its columns.
    pub(super) fn label(&self, parts: &[Part]) -> Box<str> {
        let names: Vec<_> =
            parts.iter().map(|part| self.names.get(part.column).map_or("?", String::as_str)).collect();
        printable(names.join("+").as_bytes()).into()
    }
}

/// Columns by their names in the first row.
fn named(first: &ByteRecord, options: &ListOptions) -> Result<FoundColumns, ColumnsError> {
    let names: Vec<String> = first.iter().map(name_of).collect();
    let find = |spec: &ColumnSpec| {
        spec.find(&names).map_err(|fault| {
            let (wanted, found) = (spec.as_str().to_owned(), printable(names.join(",").as_bytes()));
            match fault {
                NotFound::Twice => ColumnsError::Twice { wanted, found },
                NotFound::Missing => ColumnsError::Missing { wanted, found, help: String::new() },
            }
        })
    };
    let usual = || {
        let [first, last] = RANGE_COLUMNS.map(|name| find(&ColumnSpec::named(name)));
        match (find(&ColumnSpec::named(NUMBER_COLUMN)), first, last) {
            (Ok(number), ..) => Ok(Cells::Number(number)),
            (Err(ColumnsError::Missing { .. }), Ok(first), Ok(last)) => Ok(Cells::Range(first, last)),
            (Err(error), ..) => Err(error),
        }
    };
    let cells = match &options.columns {
        Columns::Usual => usual(),
        Columns::Number(spec) => find(spec).map(Cells::Number),
        Columns::Range(first, last) => find(first).and_then(|first| Ok(Cells::Range(first, find(last)?))),
    };
    let cells = cells.map_err(|error| match error {
        ColumnsError::Missing { .. }
            if options.header == Header::Auto && !number_columns(first).is_empty() =>
        {
            let positions: Vec<_> = (1..=names.len()).map(|position| position.to_string()).collect();
            let help = format!(
                "give {} and {}",
                options.wording.option("header", "no"),
                columns_to_give(first, &positions, options)
            );
            ColumnsError::NoHeader { found: printable(&first.iter().collect::<Vec<_>>().join(&b',')), help }
        }
        other => other,
    })?;
    let position = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
    let are_guessed_ranges = options.columns == Columns::Usual && matches!(cells, Cells::Range(..));
    let states = StateColumns::find(position, options.states);
    Ok(FoundColumns { cells, states, names, has_header: true, are_guessed_ranges })
}

/// Columns by their positions.
fn counted(first: &ByteRecord, options: &ListOptions) -> Result<FoundColumns, ColumnsError> {
    let names: Vec<String> = (1..=first.len()).map(|position| position.to_string()).collect();
    let refused = |wanted: &str| ColumnsError::NotCounted {
        wanted: wanted.to_owned(),
        help: format!("give {}", columns_to_give(first, &names, options)),
    };
    let find = |spec: &ColumnSpec| {
        let parts = spec.positions().filter(|parts| parts.iter().all(|part| part.column < first.len()));
        parts.ok_or_else(|| refused(spec.as_str()))
    };
    let cells = match &options.columns {
        Columns::Usual if first.len() == 1 => Cells::Number(vec![Part { column: 0, width: 0 }]),
        Columns::Usual => return Err(refused(NUMBER_COLUMN)),
        Columns::Number(spec) => Cells::Number(find(spec)?),
        Columns::Range(first, last) => Cells::Range(find(first)?, find(last)?),
    };
    Ok(FoundColumns { cells, states: None, names, has_header: false, are_guessed_ranges: false })
}

/// The name of a column, without what is not seen.
fn name_of(cell: &[u8]) -> String {
    let name = String::from_utf8_lossy(cell);
    let name: String = name.chars().filter(|character| !is_invisible(*character)).collect();
    name.trim().to_owned()
}

/// The columns of a row that look like numbers, with their counts of digits.
fn number_columns(row: &ByteRecord) -> Vec<(usize, usize)> {
    let digits = |cell: &[u8]| {
        let cell = clean(cell).ok()?;
        Some(Written::scan(&cell).ok()?.digits().len()).filter(|digits| *digits >= MIN_NUMBER_DIGITS)
    };
    row.iter().enumerate().filter_map(|(column, cell)| Some((column, digits(cell)?))).collect()
}

/// The options that choose the columns of a row with numbers.
fn columns_to_give(row: &ByteRecord, names: &[String], options: &ListOptions) -> String {
    let name = |column: usize| names.get(column).map_or("NAME", String::as_str);
    let option = |key: &str, column: usize| options.wording.option(key, name(column));
    match number_columns(row)[..] {
        [] => options.wording.option("column", "NAME"),
        [(column, _)] => option("column", column),
        [(first, digits), (last, also)] if digits == also => format!(
            "{} {} if these are the ends of ranges, or {}",
            option("first", first),
            option("last", last),
            option("column", first)
        ),
        [(column, _), ..] => format!("the column with the numbers, such as {}", option("column", column)),
    }
}

/// Adds to an error what a row below the header shows.
pub(super) fn with_help(
    error: ColumnsError,
    row: Option<&ByteRecord>,
    options: &ListOptions,
    names: &[String],
) -> ColumnsError {
    match error {
        ColumnsError::Missing { wanted, found, .. } => {
            let given = row.map_or_else(
                || options.wording.option("column", "NAME"),
                |row| columns_to_give(row, names, options),
            );
            ColumnsError::Missing { wanted, found, help: format!("give {given}") }
        }
        other => other,
    }
}

/// The error of columns `first` and `last` that hold something else than numbers in `row`, if they do.
pub(super) fn refuse_names(
    row: &ByteRecord,
    line: u64,
    found: &FoundColumns,
    options: &ListOptions,
) -> Option<ColumnsError> {
    let Cells::Range(first, last) = &found.cells else { return None };
    let has_digits =
        |part: &Part| row.get(part.column).is_some_and(|cell| cell.iter().any(u8::is_ascii_digit));
    if !found.are_guessed_ranges || first.iter().chain(last).any(has_digits) {
        return None;
    }
    Some(ColumnsError::NotRanges {
        line,
        found: printable(&row.iter().collect::<Vec<_>>().join(&b',')),
        help: format!("give {}", columns_to_give(row, &found.names, options)),
    })
}

/// The names in a header.
pub(super) fn header_names(row: &ByteRecord) -> Vec<String> {
    row.iter().map(name_of).collect()
}
