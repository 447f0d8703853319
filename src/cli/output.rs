//! What people read: tables on standard output.

use std::borrow::Cow;
use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value;

use super::error::CliError;
use super::figures::grouped;

/// Prints text. A reader that closes the pipe early (`| head`) is not a failure.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    print_on(text).map(|_| ())
}

/// Prints text; false once the reader has closed the pipe.
pub(super) fn print_on(text: &str) -> Result<bool, CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::Failed(format!("standard output cannot be written: {error}"))),
    }
}

/// What would move the cursor of a terminal, or turn the direction of its text.
fn is_control(letter: char) -> bool {
    letter.is_control() || matches!(letter, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// A text of others for a terminal: its control characters are shown as `\u{1b}` and do nothing.
pub(super) fn escaped(text: &str) -> Cow<'_, str> {
    if !text.contains(is_control) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for letter in text.chars() {
        if is_control(letter) { shown.extend(letter.escape_default()) } else { shown.push(letter) }
    }
    Cow::Owned(shown)
}

/// The same for a text of several lines, whose ends and tabs stay.
pub(super) fn escaped_lines(text: &str) -> String {
    let line = |line: &str| line.split('\t').map(escaped).collect::<Vec<_>>().join("\t");
    text.split('\n').map(line).collect::<Vec<_>>().join("\n")
}

/// A value of an answer as a person reads it.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => escaped(text).into_owned(),
        Value::Object(object) if object.is_empty() => "-".to_owned(),
        Value::Object(object) => object
            .iter()
            .map(|(key, value)| format!("{}:{}", escaped(key), cell(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}

/// A column of a table: its title and its alignment.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    title: &'static str,
    is_figure: bool,
}

/// A column of words.
pub(super) const fn words(title: &'static str) -> Column {
    Column { title, is_figure: false }
}

/// A column of figures, aligned right.
pub(super) const fn figures(title: &'static str) -> Column {
    Column { title, is_figure: true }
}

/// Rows under their titles, in columns as wide as they need to be.
pub(super) fn table(columns: &[Column], rows: &[Vec<String>]) -> String {
    let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|cell| escaped(cell)).collect()).collect();
    let mut widths: Vec<_> = columns.iter().map(|column| column.title.chars().count()).collect();
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let titles: Vec<_> = columns.iter().map(|column| Cow::Borrowed(column.title)).collect();
    for row in std::iter::once(&titles).chain(&rows) {
        let mut line = String::new();
        for ((column, &width), cell) in columns.iter().zip(&widths).zip(row) {
            // Writing to a string does not fail.
            let _ = if column.is_figure {
                write!(line, "{cell:>width$}  ")
            } else {
                write!(line, "{cell:width$}  ")
            };
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// Pairs of a name and a value, one per line; figures are aligned right.
pub(super) fn pairs(pairs: &[(String, Shown)]) -> String {
    let name_width = pairs.iter().map(|(name, _)| name.chars().count()).max().unwrap_or(0);
    let figure_width = pairs.iter().filter_map(|(_, shown)| shown.figure_width()).max().unwrap_or(0);
    let mut text = String::new();
    for (name, shown) in pairs {
        let line = match shown {
            Shown::Figure(figure, more) => format!("{name:name_width$}  {figure:>figure_width$}  {more}"),
            Shown::Words(words) => format!("{name:name_width$}  {}", escaped(words)),
        };
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The value beside a name.
pub(super) enum Shown {
    /// A figure, and the text after it.
    Figure(String, String),
    /// Anything else.
    Words(String),
}

impl Shown {
    fn figure_width(&self) -> Option<usize> {
        match self {
            Self::Figure(figure, _) => Some(figure.chars().count()),
            Self::Words(_) => None,
        }
    }

    /// A member of an answer.
    pub(super) fn member(value: &Value) -> Self {
        match value {
            Value::Array(items) => Self::Words(items.iter().map(cell).collect::<Vec<_>>().join("; ")),
            Value::Number(number) => match number.as_u64() {
                Some(count) => Self::Figure(grouped(count), String::new()),
                None => Self::Figure(number.to_string(), String::new()),
            },
            other => Self::Words(cell(other)),
        }
    }
}

/// The member of an answer that is one number of a pool or a list: a name rather than a figure.
const NUMBER: &str = "number";

/// The members of an object, one per line.
pub(super) fn members(value: &Value) -> String {
    let Some(object) = value.as_object() else { return format!("{}\n", cell(value)) };
    let shown = |(name, value): (&String, &Value)| {
        let shown = if name == NUMBER { Shown::Words(cell(value)) } else { Shown::member(value) };
        (escaped(name).into_owned(), shown)
    };
    let shown: Vec<_> = object.iter().map(shown).collect();
    pairs(&shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be_and_figures_end_together() {
        let rows = vec![vec!["ru".to_owned(), "1".to_owned()], vec!["de-mobile".to_owned(), "22".to_owned()]];
        let text = table(&[words("POOL"), figures("N")], &rows);
        assert_eq!(text, "POOL        N\nru          1\nde-mobile  22\n");
        let text = members(&serde_json::json!({"a":1,"b":true,"long":{"b":null},"n":1234}));
        assert_eq!(text, "a         1\nb     yes\nlong  b:-\nn     1,234\n");
        assert_eq!(members(&serde_json::json!({"number": 79_120_000_001_u64})), "number  79120000001\n");
    }

    #[test]
    fn a_text_of_others_moves_no_cursor() {
        let evil = "\u{1b}[2J\rok\u{9b}\u{202e}x\ny";
        let shown = r"\u{1b}[2J\rok\u{9b}\u{202e}x\ny";
        assert_eq!(escaped(evil), shown);
        assert_eq!(escaped("мост é 🙂"), "мост é 🙂");
        assert_eq!(cell(&serde_json::json!({evil: evil})), format!("{shown}:{shown}"));
        assert!(table(&[words("A")], &[vec![evil.to_owned()]]).ends_with(&format!("{shown}\n")));
        assert!(pairs(&[("a".to_owned(), Shown::Words(evil.to_owned()))]).contains(shown));
        assert_eq!(escaped_lines("# a\n\tb\u{1b}c\n"), "# a\n\tb\\u{1b}c\n");
    }
}
