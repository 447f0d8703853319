//! Uploads of files of numbers to the daemon, with a progress bar on a terminal.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use hyper::Method;
use serde_json::Value;

use crate::client::{Call, Payload};

use super::error::CliError;
use super::remote::Remote;
use super::{output, progress};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Text,
    Csv,
    Roaring,
}

/// The heading of the flags for reading files.
const READING_HEADING: &str = "How the files are read";

/// Which numbers, and how their files are read.
#[derive(Debug, Args)]
pub(super) struct UploadArgs {
    /// Files of numbers; "-" is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Format of the files [default: by their extensions: .csv, .roaring, else text]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = READING_HEADING)]
    format: Option<Format>,
    /// The country of numbers in national format, such as RU
    #[arg(long, value_name = "REGION", help_heading = READING_HEADING)]
    region: Option<String>,
    /// What to do with an invalid line: fail or skip [default: fail]
    #[arg(long, value_name = "WHAT", help_heading = READING_HEADING)]
    on_invalid: Option<String>,
    /// How many digits the numbers of a prefix such as 7900* have
    #[arg(long, value_name = "DIGITS", help_heading = READING_HEADING)]
    length: Option<String>,
    /// The column that holds the numbers in a CSV file
    #[arg(long, value_name = "NAME", help_heading = READING_HEADING)]
    column: Option<String>,
}

fn format_by_name(path: &Path) -> Format {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => Format::Csv,
        Some("roaring" | "numbers" | "bin") => Format::Roaring,
        _ => Format::Text,
    }
}

impl UploadArgs {
    /// Whether no file is given.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The format that all files share.
    fn format(&self) -> Result<Format, CliError> {
        let mut formats = self.files.iter().map(|path| self.format.unwrap_or_else(|| format_by_name(path)));
        let first = formats.next().unwrap_or(Format::Text);
        if formats.any(|format| format != first) {
            return Err(CliError::Usage("the files have different formats: send them one by one".to_owned()));
        }
        if first != Format::Text && self.files.len() > 1 {
            return Err(CliError::Usage(
                "only text files can be sent together: send CSV and Roaring files one by one".to_owned(),
            ));
        }
        Ok(first)
    }

    /// The query parameters for these flags.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("region", &self.region),
            ("on_invalid", &self.on_invalid),
            ("length", &self.length),
            ("column", &self.column),
        ];
        given.into_iter().filter_map(|(name, value)| Some((name, value.clone()?))).collect()
    }

    /// Sends the files to `path` and shows the members of the answer.
    pub(super) fn send(
        &self,
        remote: &Remote,
        method: Method,
        path: &str,
        mut parameters: Vec<(&'static str, String)>,
    ) -> Result<(), CliError> {
        let content_type = match self.format()? {
            Format::Text => "text/plain",
            Format::Csv => "text/csv",
            Format::Roaring => "application/octet-stream",
        };
        parameters.extend(self.parameters());
        let path = with_query(path, &parameters);
        let bar = progress::upload(&self.files);
        let counted = bar.clone();
        let payload = Payload::files(&self.files, move |bytes| counted.inc(bytes))
            .map_err(|error| CliError::Failed(format!("the file cannot be read: {error}")))?;
        let call = Call { content_type: Some(content_type), payload, ..Call::new(method, &path) };
        let result = remote.call(call, |answer: &Value| output::members(answer));
        bar.finish_and_clear();
        result
    }
}

/// A path with its query, encoded.
pub(super) fn with_query(path: &str, parameters: &[(&'static str, String)]) -> String {
    let mut text = path.to_owned();
    for (index, (name, value)) in parameters.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name);
        text.push('=');
        for byte in value.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~,:*".contains(&byte) {
                text.push(byte.into());
            } else {
                // Writing to a string does not fail.
                let _ = write!(text, "%{byte:02X}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn queries_are_encoded() {
        assert_eq!(with_query("/a", &[]), "/a");
        let parameters = [("b", "1 &é".to_owned()), ("c", "rest:60".to_owned())];
        assert_eq!(with_query("/a", &parameters), "/a?b=1%20%26%C3%A9&c=rest:60");
    }
}
