//! Uploads of files of numbers to the daemon, with a progress bar on a terminal.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use hyper::Method;
use serde_json::Value;

use crate::client::{Call, ClientError};

use super::error::CliError;
use super::number_files::{Format, locate, payload, shared_format};
use super::remote::Remote;
use super::{output, preview, progress};

/// The heading of the flags for reading files.
const READING_HEADING: &str = "How the files are read";
/// Tells the daemon to name these flags in its messages, not the parameters of its API.
pub(super) const WORDING: (&str, &str) = ("allotd-wording", "flags");

/// Which numbers, and how their files are read.
#[derive(Debug, Args)]
pub(super) struct UploadArgs {
    /// Files of numbers; "-" is standard input
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Format of the files [default: by their content and extensions: .csv, .roaring, .xlsx, else text]
    #[arg(long, value_enum, value_name = "FORMAT", help_heading = READING_HEADING)]
    format: Option<Format>,
    /// The country of numbers in national format, such as RU
    #[arg(long, value_name = "REGION", help_heading = READING_HEADING)]
    region: Option<String>,
    /// Digits to put before every number, such as 44
    #[arg(long, value_name = "DIGITS", help_heading = READING_HEADING)]
    country_code: Option<String>,
    /// What to do with an invalid line: fail or skip [default: fail]
    #[arg(long, value_name = "WHAT", help_heading = READING_HEADING)]
    on_invalid: Option<String>,
    /// How many digits the numbers of a prefix such as 7900* have
    #[arg(long, value_name = "DIGITS", help_heading = READING_HEADING)]
    length: Option<String>,
    /// What lines and cells hold: number or prefix [default: number]
    #[arg(long = "as", value_name = "WHAT", help_heading = READING_HEADING)]
    holds: Option<String>,
    /// What to do with leading zeros outside national forms: refuse or drop [default: refuse]
    #[arg(long, value_name = "WHAT", help_heading = READING_HEADING)]
    leading_zeros: Option<String>,
    /// The column of a CSV with the numbers, or several such as code+number:7 that are put together, here with
    /// number filled up with zeros to 7 characters
    #[arg(long, value_name = "NAME", help_heading = READING_HEADING)]
    column: Option<String>,
    /// The column of a CSV with the first numbers of ranges [default: first]
    #[arg(long, value_name = "NAME", help_heading = READING_HEADING)]
    first: Option<String>,
    /// The column of a CSV with the last numbers of ranges [default: last]
    #[arg(long, value_name = "NAME", help_heading = READING_HEADING)]
    last: Option<String>,
    /// Whether a CSV has a header: auto, yes or no; without one columns are counted from 1 [default: auto]
    #[arg(long, value_name = "WHAT", help_heading = READING_HEADING)]
    header: Option<String>,
    /// What separates the cells of a CSV: a character or tab [default: found in the header]
    #[arg(long, value_name = "CHARACTER", help_heading = READING_HEADING)]
    delimiter: Option<String>,
    /// The encoding of the files, such as windows-1252 [default: by the byte order mark, else UTF-8]
    #[arg(long, value_name = "NAME", help_heading = READING_HEADING)]
    encoding: Option<String>,
    /// The sheet of a workbook with several
    #[arg(long, value_name = "NAME", help_heading = READING_HEADING)]
    sheet: Option<String>,
}

impl UploadArgs {
    /// Whether no file is given.
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// The query parameters for these flags.
    fn parameters(&self) -> Vec<(&'static str, String)> {
        let given = [
            ("region", &self.region),
            ("country_code", &self.country_code),
            ("on_invalid", &self.on_invalid),
            ("length", &self.length),
            ("as", &self.holds),
            ("leading_zeros", &self.leading_zeros),
            ("column", &self.column),
            ("first", &self.first),
            ("last", &self.last),
            ("header", &self.header),
            ("delimiter", &self.delimiter),
            ("encoding", &self.encoding),
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
        let format = shared_format(&self.files, self.format)?;
        parameters.extend(self.parameters());
        let path = with_query(path, &parameters);
        let bar = progress::upload(&self.files);
        let counted = bar.clone();
        let payload = payload(&self.files, format, self.sheet.as_deref(), move |bytes| counted.inc(bytes))?;
        let call = Call {
            content_type: Some(format.content_type()),
            header: Some(WORDING),
            payload,
            ..Call::new(method, &path)
        };
        let show = |answer: &Value| {
            if answer["samples"].is_array() { preview::text(answer) } else { output::members(answer) }
        };
        let result = remote.call(call, show);
        bar.finish_and_clear();
        result.map_err(|error| self.named(error))
    }

    /// An error of a line, with the file in which it is.
    fn named(&self, error: CliError) -> CliError {
        let CliError::Refused(ClientError::Refused { reason, line, .. }) = &error else { return error };
        match (line, &self.files[..]) {
            (Some(line), files) if files.len() > 1 => match locate(files, *line) {
                Some((file, own)) if own != *line => CliError::Failed(format!(
                    "{}, line {own}: in all files together it is {reason}",
                    file.display()
                )),
                Some((file, _)) => CliError::Failed(format!("{}: {reason}", file.display())),
                None => error,
            },
            (Some(_), [file]) => CliError::Failed(format!("{}: {reason}", file.display())),
            _ => error,
        }
    }
}

/// A path with its query, encoded.
pub(super) fn with_query<N: AsRef<str>>(path: &str, parameters: &[(N, String)]) -> String {
    let mut text = path.to_owned();
    for (index, (name, value)) in parameters.iter().enumerate() {
        text.push(if index == 0 { '?' } else { '&' });
        text.push_str(name.as_ref());
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
        assert_eq!(with_query::<&str>("/a", &[]), "/a");
        let parameters = [("b", "1 &é".to_owned()), ("c", "rest:60".to_owned())];
        assert_eq!(with_query("/a", &parameters), "/a?b=1%20%26%C3%A9&c=rest:60");
    }
}
