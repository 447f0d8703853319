//! `POST /v1/lease`: from the first of several pools that has a number.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use hyper::Request;
use hyper::body::Incoming;
use serde::Deserialize;

use crate::domain::counts::Counts;
use crate::domain::holder::HolderName;
use crate::domain::json_fields::given;
use crate::engine::operations::lease::{LeaseError, LeaseRequest};
use crate::engine::operations::lease_once::{HeldKey, LeasedOnce};
use crate::engine::operations::lease_several::{
    Choice, MAX_SEVERAL_POOLS, knows_key, lease_first, lease_first_once, tell_first_or_hold,
};
use crate::engine::pool::Pool;
use crate::engine::segment::within::Within;
use crate::engine::waiting::line::Filter;
use crate::engine::worker::Patience;
use crate::http::actor::Actor;
use crate::http::batch_turn::BatchTurn;
use crate::http::calls::exhausted::{count, time_json, when};
use crate::http::calls::lease::{Key, key_of, once_of, refused};
use crate::http::calls::waiting::{Refused, Search, Wait, filter_of, find, renewed};
use crate::http::calls::{Api, Handled, Reply, query_of};
use crate::http::lease_quota::take_quota;
use crate::http::lease_quota::within_quota;
use crate::http::request::body::JsonBody;
use crate::http::request::content_type::check_json;
use crate::http::request::fields::{Count, HolderField, TtlSeconds, WaitSeconds};
use crate::http::request::headers::RequestHeaders;
use crate::http::request::query;
use crate::http::request::within::WithinField;
use crate::http::response::body::Body;
use crate::http::response::code::Code;
use crate::http::response::json;
use crate::http::response::problem::Problem;
use crate::http::wait_link::WaitLink;
use crate::http::worker_state::{self, CallState, PLAIN_PATIENCE};
use crate::state::time::Timestamp;

/// Most characters of a pool's name that an error repeats.
const MAX_NAMED_LETTERS: usize = 64;

/// The body of the call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "an object like {\"pools\":[\"ru-a\",\"ru-b\"],\"count\":1}")]
struct SeveralBody {
    pools: Vec<String>,
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

/// `POST /v1/lease`
pub(crate) fn lease(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let key = key_of(&RequestHeaders::of(&request))?;
    check_json(request.headers())?;
    let turn = BatchTurn::of(&request);
    Handled::waiting(|link| {
        from_first(Arc::clone(api), actor.clone(), (key, turn), (request.into_body(), link))
    })
}

async fn from_first(
    api: Arc<Api>,
    actor: Actor,
    (key, turn): (Key, Option<BatchTurn>),
    (body, link): (Incoming, Arc<WaitLink>),
) -> Reply {
    let bytes = api.bodies.collect_json(body, actor.max_body_bytes()).await?;
    let wanted: SeveralBody = bytes.parse().await?;
    let pools = pools_of(&api, &actor, &wanted.pools)?;
    let ttl_seconds = wanted.ttl.map(|ttl| ttl.0);
    check_ttl(&pools, ttl_seconds)?;
    if wanted.holder.is_some() {
        check_holders(&pools)?;
    }
    let mut chosen = Vec::with_capacity(pools.len());
    for pool in pools {
        let within = match &wanted.within {
            Some(field) => Some(Arc::new(field.clone().of(&pool).await?)),
            None => None,
        };
        chosen.push(Chosen { pool, within: ArcSwapOption::new(within) });
    }
    let count = wanted.count.map_or(1, |count| count.0);
    let holder = wanted.holder.map(|holder| holder.0);
    let wait = Wait::new(&api, link, wanted.wait);
    let held = wait.may_wait().then(|| chosen[0].pool.hold_key()).map(Mutex::new);
    let call = Arc::new(Call { chosen, holder, count, ttl_seconds, key, held, body: bytes, actor });
    find(&Searched(call, turn), wait).await
}

/// The pools with these names, in this order. One that the actor does not see does not exist for it.
fn pools_of(api: &Api, actor: &Actor, names: &[String]) -> Result<Vec<Arc<Pool>>, Problem> {
    if !(1..=MAX_SEVERAL_POOLS).contains(&names.len()) {
        return Err(Problem::bad_request(format!(
            "pools has {} names: give 1 to {MAX_SEVERAL_POOLS}",
            names.len()
        )));
    }
    let short = |name: &str| name.chars().take(MAX_NAMED_LETTERS).collect::<String>();
    let quoted = |name: &str| json::quoted(&short(name));
    let mut pools: Vec<Arc<Pool>> = Vec::with_capacity(names.len());
    for name in names {
        if pools.iter().any(|pool| pool.name().as_str() == name) {
            return Err(Problem::bad_request(format!("pools has {} twice: give it once", quoted(name))));
        }
        let sees = actor.sees(name);
        let pool = sees.then(|| api.engine.pool(name)).flatten();
        pools.push(pool.ok_or_else(|| {
            let detail =
                format!("There is no pool {}: leave it out, or list them with GET /v1/pools", quoted(name));
            let problem = Problem::new(Code::PoolNotFound, detail);
            if sees { problem } else { problem.of_unseen(&short(name)) }
        })?);
    }
    Ok(pools)
}

/// Refuses a `ttl` that one of the pools does not allow: whether the call works must not depend on which of them
/// has numbers.
fn check_ttl(pools: &[Arc<Pool>], ttl_seconds: Option<u32>) -> Result<(), Problem> {
    let Some(ttl) = ttl_seconds else { return Ok(()) };
    for pool in pools {
        let ttl_max = pool.settings().ttl_max;
        if ttl > ttl_max {
            let name = pool.name();
            return Err(Problem::bad_request(format!(
                "ttl is {ttl} seconds: give 1 to {ttl_max}, the ttl_max of the pool {name}"
            )));
        }
    }
    Ok(())
}

fn respond(leased: Result<(&Pool, LeasedOnce), LeaseError>, state: &mut CallState) -> Result<Body, Refused> {
    match leased {
        Ok((pool, LeasedOnce { position, .. })) => {
            let body = json::leases_of(pool.name(), &state.leases, &mut state.times);
            Ok(state.confirmed(body, position))
        }
        Err(error) => Err(refused(None, error, state)),
    }
}

/// Refuses a holder if one of the pools tracks none, for the same reason.
fn check_holders(pools: &[Arc<Pool>]) -> Result<(), Problem> {
    match pools.iter().find(|pool| !pool.tracks_holders()) {
        Some(pool) => Err(Problem::bad_request(format!(
            "The pool {} tracks no holders: leave holder out, or set holders=true for the pool",
            pool.name()
        ))),
        None => Ok(()),
    }
}

/// A pool, and the numbers of it that are within.
struct Chosen {
    pool: Arc<Pool>,
    within: ArcSwapOption<Within>,
}

struct Call {
    chosen: Vec<Chosen>,
    holder: Option<HolderName>,
    count: u32,
    ttl_seconds: Option<u32>,
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
        let lease = move |state: &mut CallState| {
            state.engine.set_patience(patience);
            let leased = call.lease(state);
            state.engine.set_patience(PLAIN_PATIENCE);
            leased
        };
        worker_state::with_items(self.0.count as usize, records_per_item, turn, lease).await
    }

    fn lines(&self) -> Vec<(Arc<Pool>, Filter)> {
        let line = |Chosen { pool, within }: &Chosen| (Arc::clone(pool), filter_of(within.load().as_deref()));
        self.0.chosen.iter().map(line).collect()
    }

    fn told(&self, state: &mut CallState) -> Option<Result<Body, Refused>> {
        let call = &self.0;
        let once = once_of(&call.key, &call.body, &call.actor)?;
        let mut held = call.held.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        let present = call.present();
        let choices = match call.choices(&present) {
            Ok(choices) => choices,
            Err(problem) => return Some(Err(Refused::Problem(problem))),
        };
        let CallState { engine, leases, .. } = state;
        let told = tell_first_or_hold(&choices, engine, (&once, &mut held), call.count, leases);
        Some(respond(told, state))
    }

    async fn renew(&self) -> Result<(), Problem> {
        for Chosen { pool, within } in &self.0.chosen {
            let present = within.load_full();
            if let Some(present) = present
                && let Some(renewed) = renewed(pool, &present).await?
            {
                within.store(Some(Arc::new(renewed)));
            }
        }
        Ok(())
    }

    async fn exhausted(&self, now: Timestamp) -> Result<Problem, Problem> {
        self.0.exhausted(now).await
    }
}

impl Call {
    fn lease(&self, state: &mut CallState) -> Result<Body, Refused> {
        let present = self.present();
        let choices = self.choices(&present).map_err(Refused::Problem)?;
        let mut held = self.held.as_ref().map(|held| held.lock().unwrap_or_else(PoisonError::into_inner));
        let once = once_of(&self.key, &self.body, &self.actor);
        let holder = self.holder.as_ref();
        let mut of = None;
        let mut first = |state: &mut CallState| {
            let CallState { engine, leases, .. } = state;
            let (pool, leased) = match &once {
                None => {
                    let (pool, position) = lease_first(&choices, engine, holder, self.count, leases)?;
                    (pool, LeasedOnce::new(position))
                }
                Some(once) => {
                    let once = (once, held.as_deref_mut());
                    lease_first_once(&choices, engine, once, holder, self.count, leases)?
                }
            };
            of = Some(pool);
            Ok(leased)
        };
        let leased = match self.actor.principal() {
            None => first(state),
            Some(principal) => {
                let is_known = || once.as_ref().is_some_and(|once| knows_key(&choices, once));
                take_quota(principal, state, self.count, is_known, &mut first).map_err(Refused::Problem)?
            }
        };
        let of = of.ok_or(LeaseError::Exhausted);
        respond(leased.and_then(|leased| Ok((of?, leased))), state)
    }

    /// What each pool is limited to.
    fn present(&self) -> Vec<Option<Arc<Within>>> {
        self.chosen.iter().map(|chosen| chosen.within.load_full()).collect()
    }

    /// The pools to choose from, each with the `ttl` that the caller may have of it.
    fn choices<'a>(&'a self, present: &'a [Option<Arc<Within>>]) -> Result<Vec<Choice<'a>>, Problem> {
        let choice = |(Chosen { pool, .. }, within): (&'a Chosen, &'a Option<Arc<Within>>)| {
            let request =
                LeaseRequest { count: self.count, ttl_seconds: self.ttl_seconds, within: within.as_deref() };
            let request = match self.actor.principal() {
                None => request,
                Some(principal) => within_quota(principal, pool, &request)?,
            };
            Ok(Choice { pool, within: request.within, ttl_seconds: request.ttl_seconds })
        };
        self.chosen.iter().zip(present).map(choice).collect()
    }

    /// The refusal of a call that found no number, with the counts of each pool.
    async fn exhausted(&self, now: Timestamp) -> Result<Problem, Problem> {
        let (mut next, mut opens_at, mut all) = (None::<Timestamp>, None::<Timestamp>, Counts::default());
        let mut has_hours = false;
        let mut members = String::new();
        for Chosen { pool, within } in &self.chosen {
            let within = within.load_full();
            let counted = count(pool, within.as_ref()).await?;
            let is_paused = pool.is_paused();
            has_hours |= counted.has_hours();
            if !is_paused {
                next = [next, counted.next].into_iter().flatten().min();
                opens_at = [opens_at, counted.opens_at()].into_iter().flatten().min();
            }
            all.merge(counted.counts);
            let separator = if members.is_empty() { ",\"pools\":[" } else { "," };
            // Writing to a string does not fail.
            let _ = write!(
                members,
                "{separator}{{\"pool\":{},{},\"paused\":{is_paused},{}}}",
                json::quoted(pool.name().as_str()),
                json::counts(&counted.counts),
                counted.times(),
            );
        }
        let (when, retry_after) = when(next, opens_at, &all, now);
        let (pools, numbers) = (self.chosen.len(), all.numbers);
        let detail = if numbers == 0 {
            format!(
                "None of the {pools} pools has numbers within the given prefixes and ranges: give others, or add numbers"
            )
        } else {
            format!(
                "None of the {pools} pools has an available number among the {numbers} that the call can choose from; {when}"
            )
        };
        let _ = write!(members, "],\"next_available_at\":{}", time_json(next));
        if has_hours {
            let _ = write!(members, ",\"next_open_at\":{}", time_json(opens_at));
        }
        let problem = Problem::new(Code::Exhausted, detail).with_members(members);
        // Waiting does not help a call that nothing fits.
        Ok(if numbers == 0 { problem } else { problem.retry_after(retry_after) })
    }
}
