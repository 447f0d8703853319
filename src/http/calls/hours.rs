//! The hours of a pool and the time zones of its numbers.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response};

use crate::domain::zone_table::ZoneTable;
use crate::engine::operations::hours::OpenHours;
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::blocking::blocking;
use crate::http::calls::{Api, Handled, Reply, pool_of, query_of};
use crate::http::request::content_type::check_csv;
use crate::http::request::query::{self, Query};
use crate::http::response::body::Body;
use crate::http::response::code::Code;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::state::time::Timestamp;

/// The name of the table that comes with the daemon.
const BUILTIN_PHONE: &str = "phone";

fn none_set(pool: &Pool, what: &str, how: &str) -> Problem {
    Problem::new(Code::NotFound, format!("The pool {} has no {what}: {how}", pool.name()))
}

/// `GET /v1/pools/{pool}/hours`
pub(crate) fn show_hours(
    api: &Arc<Api>,
    _actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let query = Query::parse(query_of(&request), &["at"])?;
    let at = match query.text("at") {
        None => api.engine.now(),
        Some(text) => Timestamp::parse(text).ok_or_else(|| {
            Problem::bad_request(format!(
                "at is \"{text}\": give a time from 2020 to {} such as 2026-11-23T22:05:00Z",
                Timestamp::MAX
            ))
        })?,
    };
    Handled::later(blocking(move || {
        let OpenHours { open, closed, changes_at } = pool.open_hours(at).ok_or_else(|| {
            none_set(
                &pool,
                "hours",
                "all its numbers are always open. PATCH the pool with \"hours\" to set some",
            )
        })?;
        let changes_at = changes_at.map_or("null".to_owned(), |time| format!("\"{time}\""));
        Ok(json::ok_json(format!(
            "{{\"at\":\"{at}\",\"open\":{open},\"closed\":{closed},\"changes_at\":{changes_at}}}"
        )))
    }))
}

/// `GET /v1/pools/{pool}/zones`
pub(crate) fn show_zones(
    api: &Arc<Api>,
    _actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    query::none(query_of(&request))?;
    Handled::later(blocking(move || {
        let table = pool.zones().ok_or_else(|| {
            none_set(
                &pool,
                "time zones",
                "PUT a CSV with the columns \"prefix,zones\" or \"first,last,zones\"",
            )
        })?;
        let mut response = Response::new(Body::from(table.to_csv()));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/csv"));
        Ok(response)
    }))
}

/// `PUT /v1/pools/{pool}/zones`
pub(crate) fn put_zones(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let query = Query::parse(query_of(&request), &["builtin"])?;
    let builtin = match query.text("builtin") {
        None => false,
        Some(BUILTIN_PHONE) => true,
        Some(other) => {
            return Err(Problem::bad_request(format!("builtin is \"{other}\": give {BUILTIN_PHONE}")));
        }
    };
    if !builtin {
        check_csv(request.headers())?;
    }
    let (api, body, most_bytes) = (Arc::clone(api), request.into_body(), actor.max_body_bytes());
    Handled::later(async move {
        let body = api.bodies.collect_json(body, most_bytes).await?;
        if builtin && !body.is_empty() {
            return Err(Problem::bad_request("builtin takes no body: leave out one of them"));
        }
        blocking(move || {
            let table = if builtin {
                ZoneTable::phone()
            } else {
                let text = std::str::from_utf8(&body).map_err(|error| {
                    Problem::bad_request(format!("The table is not UTF-8, save it as that: {error}"))
                })?;
                ZoneTable::parse(text)
            };
            change(&pool, Some(table.map_err(|error| Problem::bad_request(error.to_string()))?))
        })
        .await
    })
}

/// `DELETE /v1/pools/{pool}/zones`
pub(crate) fn delete_zones(
    api: &Arc<Api>,
    _actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    query::none(query_of(&request))?;
    Handled::later(blocking(move || change(&pool, None)))
}

fn change(pool: &Pool, table: Option<ZoneTable>) -> Reply {
    let rows = pool.change_zones(table)?;
    Ok(json::ok_json(format!("{{\"rows\":{rows}}}")))
}
