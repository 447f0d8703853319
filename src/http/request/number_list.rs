//! Numbers in the body of a request: the kind of list, and how to read it.

use hyper::HeaderMap;

use crate::engine::operations::import::NumberSource;
use crate::http::response::problem::{Code, Problem};
use crate::numbers::list::{ListFormat, ListOptions, OnInvalid, ReadStates};

use super::content_type::media_type;
use super::query::Query;
use super::upload::Upload;

/// Parameters that say how to read a list.
pub(crate) const LIST_PARAMETERS: [&str; 4] = ["region", "on_invalid", "length", "column"];

/// The format of the numbers of a body.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    /// Text or CSV.
    List(ListOptions),
    /// A portable Roaring bitmap.
    Roaring,
}

impl Source {
    /// Reads the content type and the parameters of a list.
    pub(crate) fn of(headers: &HeaderMap, query: &Query) -> Result<Self, Problem> {
        let media_type = media_type(headers).unwrap_or_default().to_ascii_lowercase();
        let format = match media_type.as_str() {
            "text/plain" => ListFormat::Text,
            "text/csv" => ListFormat::Csv,
            "application/octet-stream" => {
                if let Some(name) = LIST_PARAMETERS.into_iter().find(|name| query.text(name).is_some()) {
                    let detail = format!("{name} is for text and CSV: leave it out with a Roaring bitmap");
                    return Err(Problem::bad_request(detail));
                }
                return Ok(Self::Roaring);
            }
            other => return Err(unsupported(other)),
        };
        let on_invalid = match query.text("on_invalid") {
            None | Some("fail") => OnInvalid::Refuse,
            Some("skip") => OnInvalid::Skip,
            Some(other) => {
                return Err(Problem::bad_request(format!("on_invalid is \"{other}\": give fail or skip")));
            }
        };
        Ok(Self::List(ListOptions {
            format,
            on_invalid,
            region: query.parsed("region")?,
            length: query.parsed("length")?,
            column: query.text("column").map(str::to_owned),
            states: ReadStates::No,
        }))
    }

    /// The numbers of an upload, for the engine.
    pub(crate) fn over(self, input: &mut Upload) -> NumberSource<'_> {
        let progress = &|_| ();
        match self {
            Self::List(options) => NumberSource::List { input, options, progress },
            Self::Roaring => NumberSource::Roaring { input, progress },
        }
    }
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
