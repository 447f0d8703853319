//! `POST /v1/pools/{pool}/renew` and `POST /v1/pools/{pool}/return`

use bytes::BytesMut;
use hyper::Response;
use serde::Deserialize;

use super::body::Body;
use super::fields::{self, MAX_HELD_ITEMS, NumberField, TokenField, TtlSeconds};
use super::json;
use super::problem::{Code, Problem};
use super::routes::Reply;
use super::worker;
use crate::engine::settings::{SettingsError, Then, check_outcome_name};
use crate::engine::{HeldLease, Pool, RenewError, RenewResult, ReturnItem, ReturnResult};
use crate::numbers::Number;

const STALE_DETAIL: &str = "Someone else has leased them since, the tokens are wrong, or the numbers are not in the pool: lease anew";

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object like {\"leases\":[{\"number\":1,\"token\":\"…\"}],\"ttl\":60}"
)]
struct RenewBody {
    leases: Vec<RenewItemBody>,
    ttl: Option<TtlSeconds>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "in leases an object like {\"number\":1,\"token\":\"…\"}")]
struct RenewItemBody {
    number: NumberField,
    token: TokenField,
}

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object like {\"leases\":[{\"number\":1,\"token\":\"…\"}],\"outcome\":\"answered\"}"
)]
struct ReturnBody {
    leases: Vec<ReturnItemBody>,
    outcome: Option<String>,
    then: Option<Then>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "in leases an object like {\"number\":1,\"token\":\"…\"}")]
struct ReturnItemBody {
    number: NumberField,
    token: TokenField,
    outcome: Option<String>,
    then: Option<Then>,
}

fn check_items(count: usize) -> Result<(), Problem> {
    if (1..=MAX_HELD_ITEMS).contains(&count) {
        Ok(())
    } else {
        Err(Problem::bad_request(format!("leases has {count} items: give 1 to {MAX_HELD_ITEMS}")))
    }
}

/// What a number gets whose token cannot be one: `unknown` outside of the pool, else `stale`.
fn with_a_malformed_token<R>(pool: &Pool, number: Number, stale: R, unknown: R) -> R {
    if pool.lookup(number).is_some() { stale } else { unknown }
}

/// Renews the leases of a body.
pub(super) fn renew(pool: &Pool, body: &[u8]) -> Reply {
    let wanted: RenewBody = fields::parse(body)?;
    check_items(wanted.leases.len())?;
    let ttl_seconds = wanted.ttl.map(|ttl| ttl.0);
    worker::with(|state| {
        state.held.clear();
        state.held.extend(
            wanted
                .leases
                .iter()
                .filter_map(|item| item.token.0.map(|token| HeldLease { number: item.number.0, token })),
        );
        pool.renew(&mut state.engine, &state.held, ttl_seconds, &mut state.renewed)
            .map_err(|error @ RenewError::TtlOutOfBounds { .. }| Problem::bad_request(error.to_string()))?;
        let mut succeeded = false;
        let mut engine_results = state.renewed.drain(..);
        let results = wanted.leases.iter().map(|item| {
            let number = item.number.0;
            let result = match item.token.0.and_then(|_| engine_results.next()) {
                Some(result) => result,
                None => with_a_malformed_token(pool, number, RenewResult::Stale, RenewResult::Unknown),
            };
            succeeded |= matches!(result, RenewResult::Renewed { .. });
            (number, result)
        });
        let body = json::renew_results(results, &mut state.times);
        answer(body, succeeded)
    })
}

/// Returns the leases of a body.
pub(super) fn give_back(pool: &Pool, body: &[u8]) -> Reply {
    let wanted: ReturnBody = fields::parse(body)?;
    check_items(wanted.leases.len())?;
    let settings = pool.settings();
    let check = |then: Option<Then>, outcome: Option<&str>| -> Result<Option<Then>, SettingsError> {
        outcome.map_or(Ok(()), check_outcome_name)?;
        then.map(|then| then.checked("then")).transpose()
    };
    let then_of_all = check(wanted.then, wanted.outcome.as_deref())?;
    worker::with(|state| {
        state.given_back.clear();
        for item in &wanted.leases {
            let own_then = check(item.then, item.outcome.as_deref())?;
            // The item's own word goes before the call's, its own outcome too.
            let then = match (own_then, item.outcome.as_deref()) {
                (None, None) => settings.then_for(then_of_all, wanted.outcome.as_deref()),
                (then, outcome) => settings.then_for(then, outcome),
            };
            if let Some(token) = item.token.0 {
                state.given_back.push(ReturnItem { number: item.number.0, token, then });
            }
        }
        pool.give_back(&mut state.engine, &state.given_back, &mut state.returned);
        let mut succeeded = false;
        let mut engine_results = state.returned.drain(..);
        let results = wanted.leases.iter().map(|item| {
            let number = item.number.0;
            let result = match item.token.0.and_then(|_| engine_results.next()) {
                Some(result) => result,
                None => with_a_malformed_token(pool, number, ReturnResult::Stale, ReturnResult::Unknown),
            };
            succeeded |= matches!(result, ReturnResult::Returned { .. });
            (number, result)
        });
        let body = json::return_results(results, &mut state.times);
        answer(body, succeeded)
    })
}

/// 200 if any item succeeded, else `stale` with the same results.
fn answer(body: BytesMut, succeeded: bool) -> Result<Response<Body>, Problem> {
    if succeeded {
        return Ok(super::ok_json(body));
    }
    let members = String::from_utf8_lossy(&body[1..body.len() - 1]);
    Err(Problem::new(Code::Stale, STALE_DETAIL).with_members(format!(",{members}")))
}
