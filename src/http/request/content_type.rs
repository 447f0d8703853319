//! The content type of a body.

use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;

use crate::http::response::code::Code;
use crate::http::response::problem::Problem;

const JSON: &str = "application/json";
const CSV: &str = "text/csv";
const TEXT: &str = "text/plain";

/// The type without its parameters, such as `text/csv` of `text/csv; charset=utf-8`.
pub(crate) fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().unwrap_or("unreadable");
    Some(value.split(';').next().unwrap_or_default().trim())
}

/// Refuses a body whose content type is not JSON.
pub(crate) fn check_json(headers: &HeaderMap) -> Result<(), Problem> {
    // Nearly every client sends exactly this, and comparing it is cheaper than parsing it.
    if headers.get(CONTENT_TYPE).is_some_and(|given| given == JSON) {
        return Ok(());
    }
    match media_type(headers) {
        None => Ok(()),
        Some(given) if given.eq_ignore_ascii_case(JSON) => Ok(()),
        Some(given) => Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("\"{given}\" is not accepted here: send JSON with -H 'content-type: application/json'"),
        )),
    }
}

/// Refuses a body whose content type is neither CSV nor text.
pub(crate) fn check_csv(headers: &HeaderMap) -> Result<(), Problem> {
    match media_type(headers) {
        None => Ok(()),
        Some(given) if given.eq_ignore_ascii_case(CSV) || given.eq_ignore_ascii_case(TEXT) => Ok(()),
        Some(given) => Err(Problem::new(
            Code::UnsupportedMediaType,
            format!("\"{given}\" is not accepted here: send CSV with -H 'content-type: text/csv'"),
        )),
    }
}
