//! What people read: tables on standard output.

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

/// A value of an answer as a person reads it.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(object) if object.is_empty() => "-".to_owned(),
        Value::Object(object) => {
            object.iter().map(|(key, value)| format!("{key}:{}", cell(value))).collect::<Vec<_>>().join(" ")
        }
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
    let mut widths: Vec<_> = columns.iter().map(|column| column.title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let titles: Vec<_> = columns.iter().map(|column| column.title.to_owned()).collect();
    for row in std::iter::once(&titles).chain(rows) {
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
            Shown::Words(words) => format!("{name:name_width$}  {words}"),
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

/// The members of an object, one per line.
pub(super) fn members(value: &Value) -> String {
    let Some(object) = value.as_object() else { return format!("{}\n", cell(value)) };
    let shown: Vec<_> = object.iter().map(|(name, value)| (name.clone(), Shown::member(value))).collect();
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
    }
}
