//! `GET /v1/pools/{pool}/note`

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};

use crate::http::actor::Actor;
use crate::http::calls::{Api, Handled, pool_of, query_of};
use crate::http::request::query;
use crate::http::response::body::Body;
use crate::http::response::code::Code;
use crate::http::response::problem::Problem;

/// `GET /v1/pools/{pool}/note`
pub(crate) fn show(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let pool = pool_of(api, &request)?;
    let note = pool.note().ok_or_else(|| {
        let detail = format!(
            "The pool {0} has no note: set one with PATCH /v1/pools/{0} and {{\"note\":\"…\"}}",
            pool.name()
        );
        Problem::new(Code::NoteNotFound, detail)
    })?;
    let mut response: Response<Body> = Response::new(note.as_str().to_owned().into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/markdown; charset=utf-8"));
    Ok(response.into())
}
