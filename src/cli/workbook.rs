//! Workbooks of spreadsheets (`.xlsx`), read as the CSV that their sheet would be exported as.

use std::io::Cursor;
use std::path::Path;

use calamine::{Data, Range, Reader, Xlsx, open_workbook_from_rs};

use super::error::CliError;

/// The bytes that a workbook starts with.
pub(super) const SIGNATURE: &[u8] = b"PK\x03\x04";
/// Integers up to here are exact in the cells of a workbook.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// The sheet of a workbook as CSV, each row in its own line.
pub(super) fn to_csv(path: &Path, content: Vec<u8>, sheet: Option<&str>) -> Result<Vec<u8>, CliError> {
    let failed = |what: String| CliError::Failed(format!("{}: {what}", path.display()));
    let mut workbook: Xlsx<_> = open_workbook_from_rs(Cursor::new(content))
        .map_err(|error| failed(format!("this is not a workbook that can be read: {error}")))?;
    let names = workbook.sheet_names();
    let mut sheets = Vec::new();
    for name in names.iter().filter(|name| sheet.is_none_or(|wanted| wanted == name.as_str())) {
        let range =
            workbook.worksheet_range(name).map_err(|error| failed(format!("the sheet {name}: {error}")))?;
        if sheet.is_some() || !range.is_empty() {
            sheets.push((name, range));
        }
    }
    match &sheets[..] {
        [(_, range)] => csv(range).map_err(|error| failed(error.to_string())),
        [] => Err(failed(format!("the workbook has no such sheet with rows: it has {}", names.join(", ")))),
        several => {
            let names: Vec<_> = several.iter().map(|(name, _)| name.as_str()).collect();
            Err(failed(format!(
                "the workbook has several sheets ({}): give one as --sheet NAME",
                names.join(", ")
            )))
        }
    }
}

fn csv(range: &Range<Data>) -> Result<Vec<u8>, csv::Error> {
    let (first_row, first_column) = range.start().unwrap_or_default();
    let mut text = vec![b'\n'; first_row as usize];
    {
        let mut writer = csv::WriterBuilder::new().flexible(true).from_writer(&mut text);
        for row in range.rows() {
            let before = std::iter::repeat_n(String::new(), first_column as usize);
            writer.write_record(before.chain(row.iter().map(cell)))?;
        }
        writer.flush()?;
    }
    Ok(text)
}

/// A cell as text in one line.
fn cell(cell: &Data) -> String {
    match cell {
        // Spreadsheets keep whole numbers as floating point numbers.
        Data::Float(value) if value.fract() == 0.0 && value.abs() < MAX_EXACT => format!("{value:.0}"),
        Data::Empty => String::new(),
        other => other.to_string().replace(['\n', '\r'], " "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_written_as_a_person_reads_them() {
        for (data, expected) in [
            (Data::Float(79_121_234_567.0), "79121234567"),
            (Data::Float(7_912.5), "7912.5"),
            (Data::Int(7), "7"),
            (Data::String("8 912\n123".to_owned()), "8 912 123"),
            (Data::Empty, ""),
        ] {
            assert_eq!(cell(&data), expected);
        }
    }

    #[test]
    fn rows_keep_their_places_in_the_sheet() {
        let mut range = Range::new((2, 1), (3, 2));
        range.set_value((2, 1), Data::String("number".to_owned()));
        range.set_value((3, 1), Data::Float(79_121_234_567.0));
        range.set_value((3, 2), Data::String("a \"b\", c".to_owned()));
        let text = String::from_utf8(csv(&range).unwrap()).unwrap();
        assert_eq!(text, "\n\n,number,\n,79121234567,\"a \"\"b\"\", c\"\n");
    }
}
