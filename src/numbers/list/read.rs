//! Reads a number list, as text or CSV, into its sorted distinct numbers.

use std::io::Read;

use crate::numbers::number::MAX_SET_NUMBERS;

use super::content::{Content, Headed};
use super::csv::read_csv;
use super::error::{ListError, Progress};
use super::options::{ListFormat, ListOptions};
use super::text::{BLOCK_BYTES, read_lines};

pub use super::merged::{MAX_KEPT_INVALID, NumberList};

/// Reads a list to its end. Calls `progress` with the bytes read so far, on the calling thread.
pub fn read_list(
    input: impl Read + Send,
    options: &ListOptions,
    progress: Progress<'_>,
) -> Result<NumberList, ListError> {
    read_list_in_blocks(input, options, progress, BLOCK_BYTES)
}

/// [`read_list`] with a given size of the text blocks that are parsed at a time: for tests.
#[doc(hidden)]
pub fn read_list_in_blocks(
    input: impl Read + Send,
    options: &ListOptions,
    progress: Progress<'_>,
    block_bytes: usize,
) -> Result<NumberList, ListError> {
    match Content::open(input, options)? {
        Content::Roaring(_) => Err(ListError::Roaring),
        Content::Text(text) => read_in_blocks(text, options, progress, block_bytes),
    }
}

/// Reads the text of a list to its end.
pub fn read_text(
    text: Headed<'_>,
    options: &ListOptions,
    progress: Progress<'_>,
) -> Result<NumberList, ListError> {
    read_in_blocks(text, options, progress, BLOCK_BYTES)
}

fn read_in_blocks(
    text: Headed<'_>,
    options: &ListOptions,
    progress: Progress<'_>,
    block_bytes: usize,
) -> Result<NumberList, ListError> {
    let list = match options.format {
        ListFormat::Text => read_lines(text.whole(), options, progress, block_bytes.max(1))?,
        ListFormat::Csv => read_csv(text, options, progress)?,
    };
    match list.numbers() {
        0 => Err(ListError::Empty),
        numbers if numbers > MAX_SET_NUMBERS => Err(ListError::TooMany { numbers }),
        _ => Ok(list),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numbers::list::error::ColumnsError;
    use crate::numbers::list::options::{Columns, OnInvalid};
    use crate::numbers::number::NumberRange;

    fn read(text: &[u8], options: &ListOptions) -> Result<NumberList, ListError> {
        let list = read_list(text, options, &|_| {});
        for block_bytes in [1, 2, 7, 30] {
            let again = read_list_in_blocks(text, options, &|_| {}, block_bytes);
            assert_eq!(format!("{list:?}"), format!("{again:?}"), "block of {block_bytes} bytes");
        }
        list
    }

    fn csv() -> ListOptions {
        ListOptions { format: ListFormat::Csv, ..ListOptions::default() }
    }

    fn lengths(list: &NumberList) -> Vec<(u64, u64)> {
        list.ranges().map(|range: NumberRange| (range.first().get(), range.len())).collect()
    }

    #[test]
    fn a_text_list_is_sorted_and_merged() {
        let text = b"\xEF\xBB\xBF79123456790\r\n\r\n# more\n79123456789\n79123456789\n10005-10007\n10006-10009\n+7 (912) 3456788";
        let list = read(text, &ListOptions::default()).unwrap();
        assert_eq!(lengths(&list), [(10_005, 5), (79_123_456_788, 3)]);
        assert_eq!((list.numbers(), list.duplicates, list.invalid), (8, 3, 0));
    }

    #[test]
    fn the_first_bad_line_of_the_file_is_named() {
        let mut text = b"79123456789\n".repeat(100_000);
        text.extend(b"bad one\n");
        text.extend(b"79123456789\n".repeat(100_000));
        text.extend(b"bad two\n");
        let error = read_list(text.as_slice(), &ListOptions::default(), &|_| {}).unwrap_err();
        let ListError::InvalidLine(invalid) = error else { panic!("{error}") };
        assert_eq!((invalid.line, invalid.text.as_str()), (100_001, "bad one"));
    }

    #[test]
    fn skipped_lines_are_counted_and_ten_are_kept() {
        let text: String =
            (1..=40).map(|i| if i % 2 == 0 { format!("{i}\n") } else { format!("x{i}\n") }).collect();
        let options = ListOptions { on_invalid: OnInvalid::Skip, ..ListOptions::default() };
        let list = read(text.as_bytes(), &options).unwrap();
        assert_eq!((list.numbers(), list.invalid), (20, 20));
        let lines: Vec<u64> = list.first_invalid.iter().map(|invalid| invalid.line).collect();
        assert_eq!(lines, [1, 3, 5, 7, 9, 11, 13, 15, 17, 19]);
    }

    #[test]
    fn a_line_of_any_length_is_one_bad_line() {
        let mut text = b"1\n".to_vec();
        text.extend(vec![b'7'; 3_000]);
        text.extend(b"\n2\nx\n");
        let options = ListOptions { on_invalid: OnInvalid::Skip, ..ListOptions::default() };
        let list = read(&text, &options).unwrap();
        let lines: Vec<u64> = list.first_invalid.iter().map(|invalid| invalid.line).collect();
        assert_eq!((lengths(&list), lines), (vec![(1, 2)], vec![2, 4]));
    }

    #[test]
    fn empty_and_too_large_lists_are_refused() {
        assert!(matches!(read(b"", &ListOptions::default()), Err(ListError::Empty)));
        assert!(matches!(read(b"# nothing\n\n", &ListOptions::default()), Err(ListError::Empty)));
        let error = read(b"first,last\n1,999999999999999\n", &csv()).unwrap_err();
        assert!(matches!(error, ListError::TooMany { numbers: 999_999_999_999_999 }), "{error}");
    }

    #[test]
    fn csv_columns_are_found_by_name() {
        let list =
            read(b"\xEF\xBB\xBFname, Number\nx,+79123456788\n\"a,\nb\",79123456789\n", &csv()).unwrap();
        assert_eq!(lengths(&list), [(79_123_456_788, 2)]);
        let list = read(b"first,last,carrier\n10,20,T2\n12,13,Motiv\n", &csv()).unwrap();
        assert_eq!((lengths(&list), list.duplicates), (vec![(10, 11)], 2));
        let options = ListOptions { columns: Columns::Number("phone".parse().unwrap()), ..csv() };
        assert_eq!(lengths(&read(b"number,phone\n1,2\n", &options).unwrap()), [(2, 1)]);
        let error = read(b"first,last\n1,2\n", &options).unwrap_err().to_string();
        assert!(error.contains("no column phone") && error.contains("first,last"), "{error}");
        let error = read(b"79123456789\n", &csv()).unwrap_err();
        assert!(matches!(error, ListError::Columns(ColumnsError::NoHeader { .. })), "{error}");
        let error = read(b"\xFF\n", &csv()).unwrap_err();
        assert!(matches!(error, ListError::Columns(ColumnsError::Missing { .. })), "{error}");
    }

    #[test]
    fn a_bad_csv_row_is_named() {
        for (text, line) in [
            ("number\n1\n\nx\n", 4),
            ("number\n1\n# c\nx", 3),
            ("number\r\n1\r\n\r\nx\r\n", 4),
            ("number\r\n1\r\nx", 3),
            ("number\r\n\"1\"\r\n\"x\"\r\n", 3),
            ("a,number\n\"1\n2\",3\n\"4\n\",\n", 4),
            ("a,number\n1,2\n4", 3),
            ("first,last\n9,8\n", 2),
        ] {
            let error = read(text.as_bytes(), &csv()).unwrap_err();
            let ListError::InvalidLine(invalid) = error else { panic!("{error}") };
            assert_eq!(invalid.line, line, "{text:?}");
        }
    }

    #[test]
    fn an_unclosed_quote_does_not_swallow_the_file() {
        let text = [b"number\n\"".as_slice(), &b"1\n".repeat(4 << 20)].concat();
        let error = read_list(text.as_slice(), &csv(), &|_| {}).unwrap_err();
        assert!(matches!(error, ListError::RowTooLong { line: 2 }), "{error}");
        let text = b"number\n1\n\"2\n3\n".as_slice();
        let error = read_list(text, &csv(), &|_| {}).unwrap_err();
        assert!(matches!(error, ListError::UnclosedQuote { line: 3 }), "{error}");
    }
}
