//! `/v1/pools/{pool}/holders`: who holds leases, what a holder has, and the return of all of it.

use std::fmt::Write as _;
use std::sync::Arc;

use hyper::Request;
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;

use crate::auth::principal::Principal;
use crate::domain::holder::HolderName;
use crate::domain::json_fields::given;
use crate::domain::settings::{NextState, check_outcome_name};
use crate::engine::operations::by_holder::MAX_LISTED_LEASES;
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::blocking;
use crate::http::calls::{Api, Handled, Reply, pool_of, query_of};
use crate::http::lanes::Lane;
use crate::http::lease_quota;
use crate::http::request::content_type::check_json;
use crate::http::request::path;
use crate::http::request::query::{self, Query};
use crate::http::response::json;
use crate::http::response::problem::Problem;

/// How many holders are listed unless the call says otherwise.
const DEFAULT_TOP: u32 = 20;
/// Most holders that are listed.
const MAX_TOP: u32 = 1_000;

/// The body of a return.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object like {\"outcome\":\"no_answer\"}")]
struct ReturnBody {
    #[serde(default, deserialize_with = "given")]
    outcome: Option<String>,
    #[serde(default, deserialize_with = "given")]
    then: Option<NextState>,
}

/// The pool, if it tracks holders.
pub(super) fn tracking(pool: Arc<Pool>) -> Result<Arc<Pool>, Problem> {
    if pool.tracks_holders() {
        return Ok(pool);
    }
    Err(Problem::bad_request(format!(
        "The pool {} tracks no holders: set holders=true for it, and name the holder in each lease",
        pool.name()
    )))
}

/// The holder that a text names.
pub(super) fn named(text: &str) -> Result<HolderName, Problem> {
    text.parse().map_err(|error| Problem::bad_request(format!("holder: {error}")))
}

/// The pool of a request, and the holder that this part of its path names.
fn holder_of(api: &Api, request: &Request<Incoming>, part: &str) -> Result<(Arc<Pool>, HolderName), Problem> {
    let pool = pool_of(api, request)?;
    query::none(query_of(request))?;
    Ok((pool, named(&query::decode_path(part)?)?))
}

/// `GET /v1/pools/{pool}/holders`
pub(crate) fn list(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let top = Query::parse(query_of(&request), &["top"])?.integer("top", "how many holders")?;
    let pool = tracking(pool)?;
    let top = top.unwrap_or(DEFAULT_TOP);
    if !(1..=MAX_TOP).contains(&top) {
        return Err(Problem::bad_request(format!("top is {top}: give 1 to {MAX_TOP}")));
    }
    Handled::later(blocking::answer(Lane::Short, move || {
        let summary = pool.holder_summary(top as usize);
        let mut text = format!("{{\"count\":{},\"leased\":{},\"holders\":[", summary.holders, summary.leased);
        for (index, (name, leased)) in summary.top.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            // Writing to a string does not fail.
            let _ =
                write!(text, "{separator}{{\"holder\":{},\"leased\":{leased}}}", json::quoted(name.as_str()));
        }
        text.push_str("]}");
        Ok(json::ok_json(text))
    }))
}

/// `GET /v1/pools/{pool}/holders/{holder}`
pub(crate) fn show(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let (pool, holder) = holder_of(api, &request, path::last_segment(&request))?;
    let pool = tracking(pool)?;
    Handled::later(blocking::answer(Lane::Short, move || {
        let leases = pool.held_by(&holder, MAX_LISTED_LEASES);
        // More than are listed, if there are more.
        let count = if leases.len() < MAX_LISTED_LEASES {
            leases.len() as u64
        } else {
            pool.leases_of(&holder).max(leases.len() as u64)
        };
        let mut text =
            format!("{{\"holder\":{},\"leased\":{count},\"leases\":[", json::quoted(holder.as_str()));
        for (index, lease) in leases.iter().enumerate() {
            let separator = if index > 0 { "," } else { "" };
            // Writing to a string does not fail.
            let _ = write!(
                text,
                "{separator}{{\"number\":{},\"generation\":{},\"expires_at\":\"{}\"}}",
                lease.number.get(),
                lease.generation,
                lease.expires_at
            );
        }
        text.push_str("]}");
        // What it shows of others' leases must not be undone.
        pool.settle()?;
        Ok(json::ok_json(text))
    }))
}

/// `POST /v1/pools/{pool}/holders/{holder}/return`
pub(crate) fn return_all(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let (pool, holder) = holder_of(api, &request, path::second_last_segment(&request))?;
    if !request.body().is_end_stream() {
        check_json(request.headers())?;
    }
    Handled::later(return_with(Arc::clone(api), actor.clone(), pool, holder, request.into_body()))
}

async fn return_with(
    api: Arc<Api>,
    actor: Actor,
    pool: Arc<Pool>,
    holder: HolderName,
    body: Incoming,
) -> Reply {
    let bytes = api.bodies.collect_json(body, actor.max_body_bytes()).await?;
    let given: ReturnBody = if bytes.is_empty() { ReturnBody::default() } else { bytes.parse().await? };
    let pool = tracking(pool)?;
    let outcome = given.outcome.as_deref();
    outcome.map_or(Ok(()), check_outcome_name)?;
    let then = given.then.map(|then| then.checked("then")).transpose()?;
    let then = pool.settings().then_for(then, outcome);
    if then == NextState::Retired && !actor.principal().is_none_or(Principal::may_retire) {
        return Err(lease_quota::may_not_retire());
    }
    let outcome = outcome.map(|name| pool.outcome(name));
    blocking::answer(Lane::Long, move || {
        let returned = pool.return_all(&holder, then, outcome)?;
        if let Some((live, _)) = actor.principal().and_then(Principal::live_leases) {
            for end in returned.ends {
                live.remove(end);
            }
        }
        Ok(json::ok_json(format!("{{\"returned\":{}}}", returned.returned)))
    })
    .await
}
