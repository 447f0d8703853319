//! `GET /openapi.json`: this API, for machines. `tests/openapi` holds it against the daemon's answers.

use bytes::Bytes;
use hyper::Response;

use super::body::Body;

/// The document, of `OpenAPI` 3.1.
const DOCUMENT: &str = include_str!("openapi.json");

/// `GET /openapi.json`
pub(super) fn show() -> Response<Body> {
    crate::http::ok_json(Bytes::from_static(DOCUMENT.as_bytes()))
}
