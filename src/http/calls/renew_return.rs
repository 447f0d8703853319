//! `POST /v1/pools/{pool}/renew` and `POST /v1/pools/{pool}/return`

use std::sync::Arc;

use bytes::BytesMut;
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::auth::principal::Principal;
use crate::domain::json_fields::given;
use crate::domain::settings::{NextState, SettingsError, check_outcome_name};
use crate::engine::operations::lease_ref::{LeaseRef, MAX_ITEMS};
use crate::engine::operations::renew::RenewResult;
use crate::engine::operations::return_leases::{ReturnItem, ReturnResult};
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::batch_turn::BatchTurn;
use crate::http::calls::remark;
use crate::http::calls::{Api, Handled, Reply, pool_of, query_of};
use crate::http::lease_quota;
use crate::http::request::content_type::check_json;
use crate::http::request::fields::{NumberField, TokenField, TtlSeconds};
use crate::http::request::query;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::http::worker_state::{self, CallState};
use crate::journal::queue::Position;

const STALE_DETAIL: &str = "Someone else has leased them since, the leases ended and the pool's on_expiry decided \
                            what became of them, the tokens are wrong, lists block the numbers, or they are not in the pool: lease again";

#[derive(Debug, Deserialize)]
#[serde(
    deny_unknown_fields,
    expecting = "an object like {\"leases\":[{\"number\":1,\"token\":\"…\"}],\"ttl\":60}"
)]
struct RenewBody {
    leases: Vec<RenewItemBody>,
    #[serde(default, deserialize_with = "given")]
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
    #[serde(default, deserialize_with = "given")]
    outcome: Option<String>,
    #[serde(default, deserialize_with = "given")]
    then: Option<NextState>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "in leases an object like {\"number\":1,\"token\":\"…\"}")]
struct ReturnItemBody {
    number: NumberField,
    token: TokenField,
    #[serde(default, deserialize_with = "given")]
    outcome: Option<String>,
    #[serde(default, deserialize_with = "given")]
    then: Option<NextState>,
}

fn check_items(count: usize) -> Result<(), Problem> {
    if (1..=MAX_ITEMS).contains(&count) {
        Ok(())
    } else {
        Err(Problem::bad_request(format!("leases has {count} items: give 1 to {MAX_ITEMS}")))
    }
}

/// `POST /v1/pools/{pool}/renew`
pub(crate) fn renew_leases(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    with_body::<RenewBody>(api, actor, request)
}

/// `POST /v1/pools/{pool}/return`
pub(crate) fn return_leases(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    with_body::<ReturnBody>(api, actor, request)
}

/// The body of a call that changes leases one by one.
trait Items: DeserializeOwned + Send + 'static {
    /// Most records of one.
    const RECORDS_PER_ITEM: usize;
    /// How many there are.
    fn count(&self) -> usize;
    /// Changes them.
    fn run(self, pool: &Pool, actor: &Actor, state: &mut CallState) -> Reply;
}

/// Runs the call once its body has arrived.
fn with_body<T: Items>(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    query::none(query_of(&request))?;
    // An empty body needs no content type: it is refused for being empty.
    if !request.body().is_end_stream() {
        check_json(request.headers())?;
    }
    // Moves only the body into the future: the whole request would be copied into it and out of it.
    let turn = BatchTurn::of(&request);
    let (api, actor, body) = (Arc::clone(api), actor.clone(), request.into_body());
    Handled::later(async move {
        let items: T = api.bodies.collect_json(body, actor.max_body_bytes()).await?.parse().await?;
        check_items(items.count())?;
        let count = items.count();
        let run = move |state: &mut CallState| items.run(&pool, &actor, state);
        worker_state::with_items(count, T::RECORDS_PER_ITEM, turn.as_ref(), run).await?
    })
}

impl Items for RenewBody {
    const RECORDS_PER_ITEM: usize = 1;

    fn count(&self) -> usize {
        self.leases.len()
    }

    fn run(self, pool: &Pool, actor: &Actor, state: &mut CallState) -> Reply {
        let ttl_seconds = self.ttl.map(|ttl| ttl.0);
        let ttl_seconds = match actor.principal() {
            Some(principal) => lease_quota::ttl(principal, pool, ttl_seconds)?,
            None => ttl_seconds,
        };
        state.held.clear();
        let items = self.leases.iter();
        state.held.extend(items.map(|item| LeaseRef { number: item.number.0, token: item.token.0 }));
        let position = pool.renew(&mut state.engine, &state.held, ttl_seconds, &mut state.renewed)?;
        let now = state.clock.now();
        if let Some((live, _)) = actor.principal().and_then(Principal::live_leases) {
            for result in &state.renewed {
                if let RenewResult::Renewed { before, expires_at } = *result {
                    live.renew(before, expires_at, now);
                }
            }
        }
        let succeeded = state.renewed.iter().any(|result| matches!(result, RenewResult::Renewed { .. }));
        let numbers = state.held.iter().map(|item| item.number);
        let body = json::renew_results(numbers.zip(state.renewed.drain(..)), now, &mut state.times);
        answer(pool, state, body, succeeded, position)
    }
}

impl Items for ReturnBody {
    /// The other one puts the number on a list.
    const RECORDS_PER_ITEM: usize = 2;

    fn count(&self) -> usize {
        self.leases.len()
    }

    fn run(self, pool: &Pool, actor: &Actor, state: &mut CallState) -> Reply {
        let may_retire = actor.principal().is_none_or(Principal::may_retire);
        let settings = pool.settings();
        let check =
            |then: Option<NextState>, outcome: Option<&str>| -> Result<Option<NextState>, SettingsError> {
                outcome.map_or(Ok(()), check_outcome_name)?;
                then.map(|then| then.checked("then")).transpose()
            };
        let then_of_all = check(self.then, self.outcome.as_deref())?;
        let outcome_of_all = self.outcome.as_deref().map(|name| pool.outcome(name));
        state.to_return.clear();
        for item in &self.leases {
            let own_then = check(item.then, item.outcome.as_deref())?;
            // The item's own `then` or outcome wins over the call's.
            let then = match (own_then, item.outcome.as_deref()) {
                (None, None) => settings.then_for(then_of_all, self.outcome.as_deref()),
                (then, outcome) => settings.then_for(then, outcome),
            };
            if then == NextState::Retired && !may_retire {
                return Err(lease_quota::may_not_retire());
            }
            let outcome = match item.outcome.as_deref() {
                Some(own) => Some(pool.outcome(own)),
                None => outcome_of_all,
            };
            let lease = LeaseRef { number: item.number.0, token: item.token.0 };
            state.to_return.push(ReturnItem { lease, then, outcome });
        }
        let position = pool.return_leases(&mut state.engine, &state.to_return, &mut state.returned)?;
        if let Some((live, _)) = actor.principal().and_then(Principal::live_leases) {
            let ends = state.returned.iter().filter_map(|result| match result {
                ReturnResult::Returned { before, .. } => *before,
                ReturnResult::Stale | ReturnResult::Unknown => None,
            });
            ends.for_each(|end| live.remove(end));
        }
        let succeeded = state.returned.iter().any(|result| matches!(result, ReturnResult::Returned { .. }));
        let numbers = state.to_return.iter().map(|item| item.lease.number);
        let body = json::return_results(numbers.zip(state.returned.drain(..)), &mut state.times);
        answer(pool, state, body, succeeded, position)
    }
}

/// Status 200 if any item succeeded, else `stale` with the same results.
fn answer(pool: &Pool, state: &CallState, body: BytesMut, succeeded: bool, position: Position) -> Reply {
    if succeeded {
        return Ok(json::ok_json(state.confirmed(body.freeze(), position)));
    }
    Err(remark::stale(pool, STALE_DETAIL).with_results(&body))
}
