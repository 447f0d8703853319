//! Numbers in the body of a request: the kind of list, and how to read it.

use hyper::HeaderMap;
use hyper::header::CONTENT_ENCODING;

use crate::engine::operations::import::NumberSource;
use crate::http::response::code::Code;
use crate::http::response::problem::Problem;
use crate::numbers::list::column_spec::ColumnSpec;
use crate::numbers::list::options::{Columns, Header, Holds, LeadingZeros};
use crate::numbers::list::wording::Wording;
use crate::numbers::list::{ListFormat, ListOptions, OnInvalid, ReadStates};
use crate::numbers::number::MAX_NUMBER_DIGITS;

use super::content_type::media_type;
use super::query::Query;
use super::upload::Upload;

/// Parameters that say how to read a list.
pub(crate) const LIST_PARAMETERS: [&str; 14] = [
    "format",
    "region",
    "country_code",
    "on_invalid",
    "length",
    "as",
    "leading_zeros",
    "column",
    "first",
    "last",
    "header",
    "delimiter",
    "encoding",
    "dry_run",
];
/// Those that say nothing of a bitmap.
const TEXT_PARAMETERS: &[&str] = LIST_PARAMETERS.split_at(1).1.split_at(12).0;
/// The header of the commands: messages name their flags instead of parameters.
pub(crate) const WORDING_HEADER: &str = "allotd-wording";
/// Its value.
pub(crate) const FLAGS: &str = "flags";
/// Largest country code: more digits would leave none for the number.
const MAX_COUNTRY_CODE: u32 = 99_999_999;

/// Whether messages name the flags of the commands instead of parameters.
pub(crate) fn names_flags(headers: &HeaderMap) -> bool {
    headers.get(WORDING_HEADER).is_some_and(|given| given == FLAGS)
}

/// The format of the numbers of a body.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Text or CSV.
    List(ListOptions),
    /// A portable Roaring bitmap.
    Roaring,
}

impl Source {
    /// Reads the headers and the parameters of a list.
    pub(crate) fn of(headers: &HeaderMap, query: &Query) -> Result<Self, Problem> {
        check_encoding(headers)?;
        let media_type = media_type(headers).unwrap_or_default().to_ascii_lowercase();
        let format = match (query.text("format"), media_type.as_str()) {
            (Some("text"), _) | (None, "text/plain") => ListFormat::Text,
            (Some("csv"), _) | (None, "text/csv") => ListFormat::Csv,
            (Some("roaring"), _) | (None, "application/octet-stream") => return roaring(query),
            (Some(other), _) => return Err(choice("format", other, "text, csv or roaring")),
            (None, other) => return Err(unsupported(other)),
        };
        options(headers, query, format).map(Self::List)
    }

    /// Looks at the parameters of a call that may have a list and has none: a wrong one is refused all the same.
    pub(crate) fn check(headers: &HeaderMap, query: &Query) -> Result<(), Problem> {
        match query.text("format") {
            Some("roaring") => roaring(query).map(drop),
            Some("text") => options(headers, query, ListFormat::Text).map(drop),
            Some("csv") | None => options(headers, query, ListFormat::Csv).map(drop),
            Some(other) => Err(choice("format", other, "text, csv or roaring")),
        }
    }

    /// The numbers of an upload, for the engine.
    pub(crate) fn over(self, input: &mut Upload) -> NumberSource<'_> {
        let progress = &|_| ();
        match self {
            Self::List(options) => NumberSource::List { input, options, progress },
            Self::Roaring => NumberSource::Roaring { input, progress },
        }
    }

    /// The same, with a survey of its lines.
    pub(crate) fn surveyed(self) -> Self {
        match self {
            Self::List(options) => Self::List(ListOptions { survey: true, ..options }),
            Self::Roaring => Self::Roaring,
        }
    }
}

fn roaring(query: &Query) -> Result<Source, Problem> {
    match TEXT_PARAMETERS.iter().find(|name| query.text(name).is_some()) {
        None => Ok(Source::Roaring),
        Some(name) => {
            let detail = format!("{name} is for text and CSV: leave it out with a Roaring bitmap");
            Err(Problem::bad_request(detail))
        }
    }
}

fn options(headers: &HeaderMap, query: &Query, format: ListFormat) -> Result<ListOptions, Problem> {
    let one_of = |name: &str, expected: &str| {
        let given = query.text(name).unwrap_or_default();
        choice(name, given, expected)
    };
    let on_invalid = match query.text("on_invalid") {
        None | Some("fail") => OnInvalid::Refuse,
        Some("skip") => OnInvalid::Skip,
        Some(_) => return Err(one_of("on_invalid", "fail or skip")),
    };
    let holds = match query.text("as") {
        None | Some("number") => Holds::Numbers,
        Some("prefix") => Holds::Prefixes,
        Some(_) => return Err(one_of("as", "number or prefix")),
    };
    let leading_zeros = match query.text("leading_zeros") {
        None | Some("refuse") => LeadingZeros::Refuse,
        Some("drop") => LeadingZeros::Drop,
        Some(_) => return Err(one_of("leading_zeros", "refuse or drop")),
    };
    let header = match query.text("header") {
        None | Some("auto") => Header::Auto,
        Some("yes") => Header::Yes,
        Some("no") => Header::No,
        Some(_) => return Err(one_of("header", "auto, yes or no")),
    };
    let columns = columns(query)?;
    if holds == Holds::Prefixes && matches!(columns, Columns::Range(..)) {
        return Err(Problem::bad_request(
            "as=prefix is for one column: give column= instead of first= and last=",
        ));
    }
    let is_flags = names_flags(headers);
    let options = ListOptions {
        format,
        region: query.parsed("region")?,
        country_code: country_code(query)?,
        length: length(query)?,
        holds,
        leading_zeros,
        columns,
        header,
        delimiter: delimiter(query)?,
        encoding: encoding(query)?,
        on_invalid,
        states: ReadStates::No,
        survey: false,
        wording: if is_flags { Wording::Flags } else { Wording::Parameters },
    };
    if options.region.is_some() && options.country_code.is_some() {
        let detail = "region and country_code exclude each other: a region's plan has its country code";
        return Err(Problem::bad_request(detail));
    }
    let of_csv = ["column", "first", "last", "header", "delimiter"];
    match of_csv.into_iter().find(|name| query.text(name).is_some()) {
        Some(name) if format == ListFormat::Text => Err(Problem::bad_request(format!(
            "{name} is for CSV: give {}, or leave it out",
            options.wording.option("format", "csv")
        ))),
        _ => Ok(options),
    }
}

fn columns(query: &Query) -> Result<Columns, Problem> {
    let column = |name: &str| query.parsed::<ColumnSpec>(name);
    match (column("column")?, column("first")?, column("last")?) {
        (None, None, None) => Ok(Columns::Usual),
        (Some(number), None, None) => Ok(Columns::Number(number)),
        (None, Some(first), Some(last)) => Ok(Columns::Range(first, last)),
        (Some(_), ..) => Err(Problem::bad_request(
            "column is for single numbers, first and last are for ranges: give column, or first and last",
        )),
        _ => Err(Problem::bad_request("a range needs both ends: give first and last")),
    }
}

/// How many digits the numbers of a prefix have.
fn length(query: &Query) -> Result<Option<u8>, Problem> {
    let length: Option<u8> = query.parsed("length")?;
    match length {
        Some(digits) if !(1..=MAX_NUMBER_DIGITS).contains(&usize::from(digits)) => {
            Err(choice("length", &digits.to_string(), "1 to 15"))
        }
        length => Ok(length),
    }
}

fn country_code(query: &Query) -> Result<Option<u32>, Problem> {
    let code = query.text("country_code").map(|text| {
        let is_code = text.bytes().all(|byte| byte.is_ascii_digit()) && !text.starts_with('0');
        let code = text.parse().ok().filter(|code| is_code && *code <= MAX_COUNTRY_CODE);
        code.ok_or_else(|| choice("country_code", text, "its digits, such as 44"))
    });
    code.transpose()
}

fn delimiter(query: &Query) -> Result<Option<u8>, Problem> {
    let delimiter = query.text("delimiter").map(|text| match text.as_bytes() {
        b"tab" => Ok(b'\t'),
        [byte]
            if byte.is_ascii() && !byte.is_ascii_alphanumeric() && !matches!(byte, b'"' | b'\n' | b'\r') =>
        {
            Ok(*byte)
        }
        _ => Err(choice("delimiter", text, "one character that is no letter, digit or quote, or tab")),
    });
    delimiter.transpose()
}

fn encoding(query: &Query) -> Result<Option<&'static encoding_rs::Encoding>, Problem> {
    let encoding = query.text("encoding").map(|label| {
        let found = encoding_rs::Encoding::for_label_no_replacement(label.as_bytes());
        found.ok_or_else(|| choice("encoding", label, "a name of the Encoding Standard such as windows-1252"))
    });
    encoding.transpose()
}

/// Compressed bodies are known by their content; the header must not promise another compression.
fn check_encoding(headers: &HeaderMap) -> Result<(), Problem> {
    let Some(given) = headers.get(CONTENT_ENCODING) else { return Ok(()) };
    match given.to_str().unwrap_or("unreadable").to_ascii_lowercase().as_str() {
        "" | "identity" | "gzip" | "x-gzip" | "zstd" => Ok(()),
        other => Err(Problem::new(
            Code::UnsupportedMediaType,
            format!(
                "The content-encoding \"{other}\" is not accepted here: give gzip or zstd, or send it as it is"
            ),
        )),
    }
}

fn choice(name: &str, given: &str, expected: &str) -> Problem {
    Problem::bad_request(format!("{name} is \"{given}\": give {expected}"))
}

fn unsupported(given: &str) -> Problem {
    let detail = match given {
        "application/x-www-form-urlencoded" => {
            "application/x-www-form-urlencoded is the default of curl: add -H 'content-type: text/plain' \
             and send the file with --data-binary @FILE"
                .to_owned()
        }
        "" => {
            "Say how the numbers are written: content-type text/plain, text/csv or application/octet-stream \
               (Roaring)"
                .to_owned()
        }
        other => format!(
            "\"{other}\" is not accepted here: give text/plain, text/csv or application/octet-stream (Roaring)"
        ),
    };
    Problem::new(Code::UnsupportedMediaType, detail)
}
