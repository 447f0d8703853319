//! What people read: tables on standard output.

use std::fmt::Write as _;
use std::io::{self, Write};

use serde_json::Value;

use super::CliError;

/// Prints text. A reader that has seen enough (`| head`) is no failure.
pub(super) fn print(text: &str) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::Failed(format!("standard output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// A value of an answer as a person reads it.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(object) if object.is_empty() => "-".to_owned(),
        Value::Object(object) => {
            object.iter().map(|(key, value)| format!("{key}:{}", cell(value))).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

/// Rows under a head, in columns as wide as they need to be.
pub(super) fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let mut widths: Vec<_> = head.iter().map(|title| title.chars().count()).collect();
    for row in rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    let head: Vec<_> = head.iter().map(|title| (*title).to_owned()).collect();
    for row in std::iter::once(&head).chain(rows) {
        let mut line = String::new();
        for (width, cell) in widths.iter().zip(row) {
            line.push_str(cell);
            line.extend(std::iter::repeat_n(' ', width + 2 - cell.chars().count().min(width + 2)));
        }
        text.push_str(line.trim_end());
        text.push('\n');
    }
    text
}

/// The members of an object, one a line.
pub(super) fn members(value: &Value) -> String {
    let Some(object) = value.as_object() else { return format!("{}\n", cell(value)) };
    let width = object.keys().map(|key| key.chars().count()).max().unwrap_or(0);
    let mut text = String::new();
    for (key, value) in object {
        let shown = match value {
            Value::Array(items) => items.iter().map(cell).collect::<Vec<_>>().join("; "),
            other => cell(other),
        };
        // Writing to a string does not fail.
        let _ = writeln!(text, "{key:width$}  {shown}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let rows = vec![vec!["ru".to_owned(), "1".to_owned()], vec!["de-mobile".to_owned(), "22".to_owned()]];
        assert_eq!(table(&["POOL", "N"], &rows), "POOL       N\nru         1\nde-mobile  22\n");
        assert_eq!(members(&serde_json::json!({"a":1,"long":{"b":null}})), "a     1\nlong  b:-\n");
    }
}
