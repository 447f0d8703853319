//! The HTTP API: small, strict, and stateless beside what the engine keeps.
//!
//! [`listener`] binds addresses, [`server`] accepts and spreads connections over the worker threads,
//! [`connection`] serves one, `gate` holds its answers until they are durable,
//! [`origin`] refuses what web pages of others send, [`routes`] finds the call, `request_log` says what the log
//! tells of it; each group of calls has its own file.

mod backup;
pub mod body;
pub mod connection;
mod export;
pub mod fields;
mod gate;
mod given;
mod held;
mod json;
mod lease;
pub mod listener;
mod map;
mod metrics;
mod numbers;
mod openapi;
pub mod origin;
mod page;
mod pools;
pub(crate) mod problem;
mod query;
mod request_log;
pub mod routes;
pub mod server;
mod source;
mod stats;
pub mod within;
mod worker;

use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};

use body::Body;

/// `200` with a JSON body.
fn ok_json(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
