//! `GET /openapi.json`: the API, for machines. `tests/openapi` compares it with the daemon's responses.

use std::sync::Arc;

use bytes::Bytes;
use hyper::Request;
use hyper::body::Incoming;

use crate::http::actor::Actor;
use crate::http::calls::{Api, Handled, query_of};
use crate::http::request::query;
use crate::http::response::json;
use crate::http::response::problem::Problem;

/// The document, in `OpenAPI` 3.1.
const DOCUMENT: &str = include_str!("../openapi.json");

/// `GET /openapi.json`
pub(crate) fn show(_api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    Ok(json::ok_json(Bytes::from_static(DOCUMENT.as_bytes())).into())
}
