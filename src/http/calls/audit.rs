//! `GET /v1/audit`: the last calls of operators that changed something.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use serde_json::{Value, json};

use crate::http::actor::Actor;
use crate::http::audit::MAX_KEPT;
use crate::http::calls::{Api, Handled, query_of};
use crate::http::request::query::Query;
use crate::http::response::json;
use crate::http::response::problem::Problem;

/// How many are told if the call does not say.
const DEFAULT_LIMIT: u32 = 50;

/// `GET /v1/audit`. Who does not see all pools gets what concerns those that it sees.
pub(crate) fn show(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let query = Query::parse(query_of(&request), &["limit"])?;
    let limit = query.integer("limit", "calls")?.unwrap_or(DEFAULT_LIMIT) as usize;
    if !(1..=MAX_KEPT).contains(&limit) {
        return Err(Problem::bad_request(format!("limit is {limit}: give 1 to {MAX_KEPT} calls")));
    }
    let sees = |record: &Value| {
        actor.sees_all() || record["pool"].as_str().is_some_and(|pool| !pool.is_empty() && actor.sees(pool))
    };
    let entries = api.audit.last(limit, sees);
    Ok(json::ok_json(json!({ "entries": entries }).to_string()).into())
}
