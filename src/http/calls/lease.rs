//! `POST /v1/pools/{pool}/lease`

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use hyper::Request;
use hyper::body::{Body as _, Incoming};
use hyper::header::HeaderValue;
use serde::Deserialize;

use crate::auth::principal::Principal;
use crate::domain::holder::HolderName;
use crate::domain::json_fields::given;
use crate::engine::idempotency::{KeyShare, MAX_KEY_BYTES};
use crate::engine::operations::lease::{LeaseError, LeaseRequest};
use crate::engine::operations::lease_once::{HeldKey, LeasedOnce, Once};
use crate::engine::operations::renew::RenewResult;
use crate::engine::pool::Pool;
use crate::engine::segment::within::Within;
use crate::engine::waiting::line::Filter;
use crate::engine::worker::Patience;
use crate::http::actor::Actor;
use crate::http::batch_turn::BatchTurn;
use crate::http::calls::exhausted::{Counted, count, exhausted};
use crate::http::calls::remark;
use crate::http::calls::waiting::{Refused, Search, Wait, filter_of, find, renewed};
use crate::http::calls::{Api, Handled, Made, Reply, pool_of, query_of};
use crate::http::lease_quota::{take_quota, within_quota};
use crate::http::request::body::JsonBody;
use crate::http::request::content_type::check_json;
use crate::http::request::fields::{Count, HolderField, TtlSeconds, WaitSeconds};
use crate::http::request::headers::RequestHeaders;
use crate::http::request::query;
use crate::http::request::within::WithinField;
use crate::http::response::body::Body;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::http::wait_link::WaitLink;
use crate::http::worker_state::{self, CallState, PLAIN_PATIENCE};
use crate::journal::queue::Position;
use crate::state::time::Timestamp;

/// The body of a lease.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object like {\"count\":1,\"ttl\":60,\"within\":[\"7912\"]}")]
struct LeaseBody {
    #[serde(default, deserialize_with = "given")]
    count: Option<Count>,
    #[serde(default, deserialize_with = "given")]
    ttl: Option<TtlSeconds>,
    #[serde(default, deserialize_with = "given")]
    within: Option<WithinField>,
    #[serde(default, deserialize_with = "given")]
    holder: Option<HolderField>,
    #[serde(default, deserialize_with = "given")]
    wait: Option<WaitSeconds>,
}

/// A lease of any one number: a call without a body.
const PLAIN: LeaseRequest<'static> = LeaseRequest { count: 1, ttl_seconds: None, within: None };
/// The `Idempotency-Key` of a call, by which a repetition is recognised.
pub(super) type Key = Option<HeaderValue>;

/// The key of a call, of 1 to [`MAX_KEY_BYTES`] bytes.
pub(super) fn key_of(given: &RequestHeaders<'_>) -> Result<Key, Problem> {
    let Some(key) = given.key else { return Ok(None) };
    if given.keys > 1 || !(1..=MAX_KEY_BYTES).contains(&key.len()) {
        return Err(Problem::bad_request(format!("Idempotency-Key: give one of 1 to {MAX_KEY_BYTES} bytes")));
    }
    Ok(Some(key.clone()))
}

/// The body of the response to a lease without a body or key; `None` if it takes longer than the worker may, as a
/// refusal does in a pool with hours.
#[inline]
pub(crate) fn plain_lease(
    pool: &Pool,
    query: Option<&str>,
    actor: &Actor,
    state: &mut CallState,
) -> Option<Result<Made, Problem>> {
    if query.is_some()
        && let Err(problem) = query::none(query)
    {
        return Some(Err(problem));
    }
    let leased = match actor.principal() {
        None => pool.lease(&mut state.engine, &PLAIN, &mut state.leases),
        Some(principal) => match plain_lease_for(principal, pool, state) {
            Ok(leased) => leased,
            Err(problem) => return Some(Err(problem)),
        },
    };
    match leased {
        Ok(position) => {
            let body = json::leases(&state.leases, &mut state.times);
            Some(Ok(Made { body, position }))
        }
        Err(error) => plain_refusal(pool, state, error).map(Err),
    }
}

/// `POST /v1/pools/{pool}/lease`
pub(crate) fn lease_with_body(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    query::none(query_of(&request))?;
    let key = key_of(&RequestHeaders::of(&request))?;
    // An empty body needs no content type.
    if !request.body().is_end_stream() {
        check_json(request.headers())?;
    }
    let turn = BatchTurn::of(&request);
    Handled::waiting(|link| {
        with_body(Arc::clone(api), actor.clone(), pool, (key, turn), (request.into_body(), link))
    })
}

#[cold]
fn plain_refusal(pool: &Pool, state: &mut CallState, error: LeaseError) -> Option<Problem> {
    match refused(Some(pool), error, state) {
        Refused::Exhausted if pool.has_hours() => None,
        Refused::Exhausted => {
            pool.gave_up(&state.engine);
            let counted = Counted { counts: pool.counts(), next: pool.next_available_at(None), closed: None };
            Some(exhausted(&counted, state.clock.now()))
        }
        Refused::Pending => Some(LeaseError::KeyPending.into()),
        Refused::ForNow(problem) | Refused::Problem(problem) => Some(problem),
    }
}

/// The response to a call with a body or a key.
async fn with_body(
    api: Arc<Api>,
    actor: Actor,
    pool: Arc<Pool>,
    (key, turn): (Key, Option<BatchTurn>),
    (body, link): (Incoming, Arc<WaitLink>),
) -> Reply {
    let bytes = api.bodies.collect_json(body, actor.max_body_bytes()).await?;
    let wanted: LeaseBody = if bytes.is_empty() { LeaseBody::default() } else { bytes.parse().await? };
    let within = match wanted.within {
        Some(field) => Some(Arc::new(field.of(&pool).await?)),
        None => None,
    };
    let wait = Wait::new(&api, link, wanted.wait);
    let held = wait.may_wait().then(|| pool.hold_key());
    let call = Call {
        pool,
        holder: wanted.holder.map(|holder| holder.0),
        count: wanted.count.map_or(1, |count| count.0),
        ttl_seconds: wanted.ttl.map(|ttl| ttl.0),
        within: ArcSwapOption::new(within),
        key,
        held: held.map(Mutex::new),
        body: bytes,
        actor,
    };
    find(&Searched(Arc::new(call), turn), wait).await
}

/// A call with a body or a key.
struct Call {
    pool: Arc<Pool>,
    holder: Option<HolderName>,
    count: u32,
    ttl_seconds: Option<u32>,
    within: ArcSwapOption<Within>,
    key: Key,
    /// The use of the key by a call that waits.
    held: Option<Mutex<HeldKey>>,
    body: JsonBody,
    actor: Actor,
}

/// A call, and the turn of its connection's batches.
struct Searched(Arc<Call>, Option<BatchTurn>);

impl Search for Searched {
    async fn search(&self, patience: Patience) -> Result<Result<Body, Refused>, Problem> {
        let (call, turn) = (Arc::clone(&self.0), self.1.as_ref());
        let records_per_item = 1 + usize::from(call.key.is_some());
        let lease = move |state: &mut CallState| call.lease(state, patience);
        worker_state::with_items(self.0.count as usize, records_per_item, turn, lease).await
    }

    fn lines(&self) -> Vec<(Arc<Pool>, Filter)> {
        let Call { pool, within, .. } = &*self.0;
        vec![(Arc::clone(pool), filter_of(within.load().as_deref()))]
    }

    fn told(&self, state: &mut CallState) -> Option<Result<Body, Refused>> {
        let call = &self.0;
        let once = once_of(&call.key, &call.body, &call.actor)?;
        let mut held = call.held.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let CallState { engine, leases, .. } = state;
        let told = call.pool.tell_or_hold(engine, (&once, &mut held), call.count, leases);
        Some(respond(&call.pool, told, state))
    }

    async fn renew(&self) -> Result<(), Problem> {
        let within = self.0.within.load_full();
        if let Some(within) = within
            && let Some(renewed) = renewed(&self.0.pool, &within).await?
        {
            self.0.within.store(Some(Arc::new(renewed)));
        }
        Ok(())
    }

    async fn exhausted(&self, now: Timestamp) -> Result<Problem, Problem> {
        let within = self.0.within.load_full();
        Ok(exhausted(&count(&self.0.pool, within.as_ref()).await?, now))
    }
}

impl Call {
    fn lease(&self, state: &mut CallState, patience: Patience) -> Result<Body, Refused> {
        let within = self.within.load();
        let request =
            LeaseRequest { count: self.count, ttl_seconds: self.ttl_seconds, within: within.as_deref() };
        let once = once_of(&self.key, &self.body, &self.actor);
        let mut held = self.held.as_ref().map(|held| held.lock().unwrap_or_else(PoisonError::into_inner));
        let once = once.as_ref().map(|once| (once, held.as_deref_mut()));
        state.engine.set_patience(patience);
        let leased = lease_as(&self.actor, &self.pool, state, &request, self.holder.as_ref(), once);
        state.engine.set_patience(PLAIN_PATIENCE);
        leased
    }
}

/// A key, and what a call that waits holds of it.
type HeldOnce<'a> = (&'a Once<'a>, Option<&'a mut HeldKey>);

/// The idempotency key of an actor's call.
pub(super) fn once_of<'a>(key: &'a Key, body: &'a JsonBody, actor: &'a Actor) -> Option<Once<'a>> {
    let share = actor.principal().map(|principal| KeyShare {
        owner: &principal.usage().keys,
        most_leases: principal.quota().keyed_leases.unwrap_or(u64::MAX),
    });
    key.as_ref().map(|key| Once { key: key.as_bytes(), body, share })
}

/// Leases for an actor. `once` is the call's idempotency key.
#[inline]
fn lease_as(
    actor: &Actor,
    pool: &Pool,
    state: &mut CallState,
    request: &LeaseRequest<'_>,
    holder: Option<&HolderName>,
    once: Option<HeldOnce<'_>>,
) -> Result<Body, Refused> {
    match actor.principal() {
        None => lease(pool, state, request, holder, once),
        Some(principal) => lease_for(principal, pool, state, request, holder, once),
    }
}

/// Leases for nobody in particular. `once` is the call's idempotency key.
#[inline]
fn lease(
    pool: &Pool,
    state: &mut CallState,
    request: &LeaseRequest<'_>,
    holder: Option<&HolderName>,
    once: Option<HeldOnce<'_>>,
) -> Result<Body, Refused> {
    let leased = lease_numbers(pool, state, request, holder, once);
    respond(pool, leased, state)
}

/// Leases one number within a principal's quota, and counts the lease as its own.
#[inline]
fn plain_lease_for(
    principal: &Principal,
    pool: &Pool,
    state: &mut CallState,
) -> Result<Result<Position, LeaseError>, Problem> {
    if principal.limits_leases() {
        return limited_lease_for(principal, pool, state);
    }
    let leased = pool.lease(&mut state.engine, &PLAIN, &mut state.leases);
    if leased.is_ok() {
        state.stats.principals.leases(principal.usage().index, 1);
    }
    Ok(leased)
}

#[inline(never)]
fn limited_lease_for(
    principal: &Principal,
    pool: &Pool,
    state: &mut CallState,
) -> Result<Result<Position, LeaseError>, Problem> {
    let request = within_quota(principal, pool, &PLAIN)?;
    let lease = |state: &mut CallState| {
        pool.lease(&mut state.engine, &request, &mut state.leases).map(LeasedOnce::new)
    };
    let leased = take_quota(principal, state, PLAIN.count, || false, lease)?;
    Ok(leased.map(|leased| leased.position))
}

/// Leases within a principal's quota, and counts the leases as its own.
fn lease_for(
    principal: &Principal,
    pool: &Pool,
    state: &mut CallState,
    request: &LeaseRequest<'_>,
    holder: Option<&HolderName>,
    once: Option<HeldOnce<'_>>,
) -> Result<Body, Refused> {
    let request = within_quota(principal, pool, request).map_err(Refused::Problem)?;
    let key = once.as_ref().map(|(once, _)| *once);
    let is_known = || key.is_some_and(|once| pool.knows_key(once));
    let lease = |state: &mut CallState| lease_numbers(pool, state, &request, holder, once);
    let leased = take_quota(principal, state, request.count, is_known, lease).map_err(Refused::Problem)?;
    respond(pool, leased, state)
}

#[inline]
fn lease_numbers(
    pool: &Pool,
    state: &mut CallState,
    request: &LeaseRequest<'_>,
    holder: Option<&HolderName>,
    once: Option<HeldOnce<'_>>,
) -> Result<LeasedOnce, LeaseError> {
    let CallState { engine, leases, .. } = state;
    match (once, holder) {
        (None, None) => pool.lease(engine, request, leases).map(LeasedOnce::new),
        (None, Some(holder)) => pool.lease_for(engine, holder, request, leases).map(LeasedOnce::new),
        (Some((once, None)), holder) => pool.lease_once_for(engine, once, holder, request, leases),
        (Some((once, Some(held))), holder) => {
            pool.lease_once_held(engine, (once, held), holder, request, leases)
        }
    }
}

#[inline]
fn respond(
    pool: &Pool,
    leased: Result<LeasedOnce, LeaseError>,
    state: &mut CallState,
) -> Result<Body, Refused> {
    let CallState { leases, times, .. } = state;
    match leased {
        Ok(LeasedOnce { position, .. }) => {
            let body = json::leases(leases, times);
            Ok(state.confirmed(body, position))
        }
        Err(error) => Err(refused(Some(pool), error, state)),
    }
}

/// Why a lease got nothing, by the engine's error and what it left in the state. `pool` is the one that it was from.
#[cold]
pub(super) fn refused(pool: Option<&Pool>, error: LeaseError, state: &mut CallState) -> Refused {
    match error {
        LeaseError::Paused => {
            let paused = error.into();
            Refused::Problem(match pool {
                Some(pool) => remark::paused(pool, paused),
                None => paused,
            })
        }
        LeaseError::Exhausted => Refused::Exhausted,
        LeaseError::KeyPending => Refused::Pending,
        LeaseError::KeyStale if !state.leases.is_empty() => {
            let over = state.leases.iter().map(|lease| (lease.number, RenewResult::Stale));
            let results = json::renew_results(over, state.clock.now(), &mut state.times);
            Refused::Problem(Problem::from(LeaseError::KeyStale).with_results(&results))
        }
        LeaseError::Busy | LeaseError::Deleting | LeaseError::HoursUnsettled => Refused::ForNow(error.into()),
        error => Refused::Problem(error.into()),
    }
}
