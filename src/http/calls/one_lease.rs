//! `POST /v1/pools/{pool}/numbers/{number}/renew` and `/return`: one lease, without a body.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;
use hyper::header::HeaderMap;

use crate::auth::principal::Principal;
use crate::domain::lease_token::{NotAToken, Token};
use crate::domain::settings::{NextState, check_outcome_name};
use crate::engine::counters::outcomes::OutcomeId;
use crate::engine::operations::lease_ref::LeaseRef;
use crate::engine::operations::renew::RenewResult;
use crate::engine::operations::return_leases::{ReturnItem, ReturnResult};
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::calls::remark;
use crate::http::calls::{Api, Handled, Made, number_not_found, pool_of, query_of};
use crate::http::counters::requests::Call;
use crate::http::lease_quota;
use crate::http::request::headers::RequestHeaders;
use crate::http::request::path;
use crate::http::request::query::Query;
use crate::http::response::code::Code;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::http::worker_state::{self, CallState};

const STALE_DETAIL: &str = "Someone else has leased the number since, the lease ended and the pool's on_expiry decided \
                            what became of it, an operator ended it, or the token is wrong: lease again";
const BODY_DETAIL: &str = "This call has no body: give the lease's token in the header Lease-Token, and what else \
                           there is in the query; several leases go to POST /v1/pools/{pool}/return or /renew";
/// Headers in which callers look for the place of a token.
const WRONG_HEADERS: [&str; 6] =
    ["authorization", "token", "x-token", "x-lease-token", "idempotency-key", "x-request-id"];

/// `POST /v1/pools/{pool}/numbers/{number}/renew`, with a body that may still prove to be empty.
pub(crate) fn renew(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    with_body(api, actor, request, Call::Renew)
}

/// `POST /v1/pools/{pool}/numbers/{number}/return`, with a body that may still prove to be empty.
pub(crate) fn return_lease(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    with_body(api, actor, request, Call::Return)
}

fn with_body(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
    call: Call,
) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let (parts, body) = request.into_parts();
    let (api, actor) = (Arc::clone(api), actor.clone());
    Handled::later(async move {
        if !api.bodies.collect_json(body, actor.max_body_bytes()).await?.is_empty() {
            return Err(Problem::bad_request(BODY_DETAIL));
        }
        let request = Request::from_parts(parts, ());
        let digits = path::second_last_segment(&request);
        let headers = RequestHeaders::of(&request);
        let body = worker_state::with(|state| {
            let made = renew_or_return(call, &pool, digits, &request, &headers, &actor, &mut state.calls)?;
            Ok::<_, Problem>(state.calls.confirmed(made.body, made.position))
        })?;
        Ok(json::ok_json(body))
    })
}

/// Renews or returns the lease of the number with these digits.
#[inline]
pub(crate) fn renew_or_return<B>(
    call: Call,
    pool: &Pool,
    digits: &str,
    request: &Request<B>,
    headers: &RequestHeaders<'_>,
    actor: &Actor,
    state: &mut CallState,
) -> Result<Made, Problem> {
    let number = path::number(digits)?;
    let lease = |token| LeaseRef { number, token: Some(token) };
    if call == Call::Return {
        let (then, outcome) = match query_of(request) {
            None => (pool.then(), None),
            Some(query) => end_of(pool, query)?,
        };
        if then == NextState::Retired && !actor.principal().is_none_or(Principal::may_retire) {
            return Err(lease_quota::may_not_retire());
        }
        let lease = lease(token_of(headers, request.headers())?);
        return return_one(pool, &ReturnItem { lease, then, outcome }, actor, state);
    }
    let ttl_seconds = Query::parse(query_of(request), &["ttl"])?.integer("ttl", "seconds")?;
    let ttl_seconds = match actor.principal() {
        Some(principal) => lease_quota::ttl(principal, pool, ttl_seconds)?,
        None => ttl_seconds,
    };
    renew_one(pool, lease(token_of(headers, request.headers())?), ttl_seconds, actor, state)
}

/// The next state of a number, and the counter of the outcome, as the query of a return gives them.
#[cold]
fn end_of(pool: &Pool, query: &str) -> Result<(NextState, Option<OutcomeId>), Problem> {
    let query = Query::parse(Some(query), &["outcome", "then"])?;
    let then = query.text("then").map(str::parse::<NextState>).transpose()?;
    let outcome = query.text("outcome");
    outcome.map_or(Ok(()), check_outcome_name)?;
    Ok((pool.settings().then_for(then, outcome), outcome.map(|name| pool.outcome(name))))
}

fn return_one(pool: &Pool, item: &ReturnItem, actor: &Actor, state: &mut CallState) -> Result<Made, Problem> {
    let number = item.lease.number;
    match pool.return_lease(&mut state.engine, item)? {
        (ReturnResult::Returned { state: seen, available_at, before }, position) => {
            if let (Some((live, _)), Some(end)) = (actor.principal().and_then(Principal::live_leases), before)
            {
                live.remove(end);
            }
            let body = json::returned(number, seen, available_at, &mut state.times);
            Ok(Made { body, position })
        }
        (ReturnResult::Stale, _) => Err(remark::stale(pool, STALE_DETAIL)),
        (ReturnResult::Unknown, _) => Err(number_not_found(pool, number)),
    }
}

fn renew_one(
    pool: &Pool,
    lease: LeaseRef,
    ttl_seconds: Option<u32>,
    actor: &Actor,
    state: &mut CallState,
) -> Result<Made, Problem> {
    match pool.renew_lease(&mut state.engine, lease, ttl_seconds)? {
        (RenewResult::Renewed { expires_at, before }, position) => {
            let now = state.clock.now();
            if let Some((live, _)) = actor.principal().and_then(Principal::live_leases) {
                live.renew(before, expires_at, now);
            }
            let body = json::renewed(lease.number, expires_at, now, &mut state.times);
            Ok(Made { body, position })
        }
        (RenewResult::Blocked { expires_at }, _) => Err(Problem::new(
            Code::Stale,
            format!(
                "The number is on a list that blocks the pool: the lease goes on until {expires_at} and is not renewed"
            ),
        )),
        (RenewResult::Stale, _) => Err(remark::stale(pool, STALE_DETAIL)),
        (RenewResult::Unknown, _) => Err(number_not_found(pool, lease.number)),
    }
}

/// The token in the header `Lease-Token`.
#[inline]
fn token_of(headers: &RequestHeaders<'_>, all: &HeaderMap) -> Result<Token, Problem> {
    match headers.token {
        Some(value) if headers.tokens == 1 => Token::decode(value.as_bytes()).map_err(not_a_token),
        _ => Err(no_token(headers, all)),
    }
}

#[cold]
fn not_a_token(error: NotAToken) -> Problem {
    Problem::bad_request(format!("Lease-Token: {error}"))
}

/// Says where the token belongs. The token itself stays out of the message, as it may be logged.
#[cold]
fn no_token(headers: &RequestHeaders<'_>, all: &HeaderMap) -> Problem {
    if headers.tokens > 1 {
        return Problem::bad_request("Lease-Token is given twice: give the token of the number's lease");
    }
    let has_token = |name: &&&str| {
        let text = all.get(**name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let token = text.rsplit(' ').next().unwrap_or_default();
        Token::decode(token.as_bytes()).is_ok()
    };
    Problem::bad_request(match WRONG_HEADERS.iter().find(has_token) {
        Some(name) => format!("The lease's token is in the header {name}: give it in Lease-Token"),
        None => "Give the token that came with the lease in the header Lease-Token".to_owned(),
    })
}
