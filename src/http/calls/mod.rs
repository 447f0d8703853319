//! The calls of the API, a file per group. A handler returns a response, or a future if it has to wait.

#![expect(clippy::needless_pass_by_value, reason = "all handlers are of one type")]

pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod cluster;
pub(crate) mod events;
mod exhausted;
pub(crate) mod export;
pub(crate) mod health;
pub(crate) mod holders;
pub(crate) mod hours;
pub(crate) mod lease;
pub(crate) mod lease_several;
pub(crate) mod lists;
pub(crate) mod map;
pub(crate) mod metrics;
pub(crate) mod note;
pub(crate) mod numbers;
pub(crate) mod one_lease;
pub(crate) mod openapi;
pub(crate) mod page;
pub(crate) mod pools;
pub(crate) mod preview;
pub(crate) mod release;
mod remark;
pub(crate) mod renew_return;
pub(crate) mod stats;
mod waiting;

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use bytes::Bytes;
use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::auth::authority::Authority;
use crate::auth::registry::Registry;
use crate::domain::list_name::ListName;
use crate::engine::lists::list::List;
use crate::engine::pool::Pool;
use crate::engine::registry::Engine;
use crate::http::actor::Actor;
use crate::http::audit::Audit;
use crate::http::blocking::blocking;
use crate::http::cluster::Cluster;
use crate::http::request::body::Bodies;
use crate::http::request::origin::Names;
use crate::http::request::path;
use crate::http::request::upload::{self, Upload};
use crate::http::response::body::Body;
use crate::http::response::code::Code;
use crate::http::response::problem::Problem;
use crate::http::wait_link::WaitLink;
use crate::journal::queue::Position;
use crate::numbers::number::Number;
use crate::state::time::Timestamp;

use super::counters::Stats;
use super::counters::principals::PrincipalCounts;
use super::counters::upkeep::Upkeep;

/// Most pools whose figures the worker itself gathers.
const MAX_POOLS_AT_ONCE: usize = 64;

/// What the calls need.
pub struct Api {
    /// The pools.
    pub engine: Arc<Engine>,
    /// The daemon's own counters.
    pub stats: Arc<Stats>,
    /// Set when the shutdown begins.
    pub draining: AtomicBool,
    /// The names under which the server may be called.
    pub(crate) names: Names,
    /// The tokens in force; `None` if the daemon serves everybody.
    pub(crate) authority: Option<Arc<Authority>>,
    /// The names of principals.
    pub(crate) registry: Arc<Registry>,
    /// The cluster that it is primary of; `None` if it stands alone.
    pub(crate) cluster: Option<Arc<Cluster>>,
    /// What operators have changed.
    pub(crate) audit: Arc<Audit>,
    /// The last reload and the last backup.
    pub(crate) upkeep: Upkeep,
    /// What the bodies of requests share.
    pub(crate) bodies: Arc<Bodies>,
}

/// The result of a call.
pub(crate) type Reply = Result<Response<Body>, Problem>;

/// A JSON body, and what must be committed before it may be told.
pub(crate) struct Made {
    pub(crate) body: Bytes,
    pub(crate) position: Position,
}

/// The handler of a route.
pub(crate) type Handler = fn(&Arc<Api>, &Actor, Request<Incoming>) -> Result<Handled, Problem>;

/// A response that is ready, or one that waits for a body or for a thread that may block.
pub(crate) enum Handled {
    Ready(Response<Body>),
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>, Option<Arc<WaitLink>>),
}

impl Handled {
    /// A response that waits for something.
    #[expect(clippy::unnecessary_wraps, reason = "the last expression of a handler")]
    fn later(future: impl Future<Output = Reply> + Send + 'static) -> Result<Self, Problem> {
        Ok(Self::Later(Box::pin(future), None))
    }

    /// A response that may wait for something outside the daemon.
    #[expect(clippy::unnecessary_wraps, reason = "the last expression of a handler")]
    fn waiting<F: Future<Output = Reply> + Send + 'static>(
        future: impl FnOnce(Arc<WaitLink>) -> F,
    ) -> Result<Self, Problem> {
        let link = Arc::<WaitLink>::default();
        Ok(Self::Later(Box::pin(future(Arc::clone(&link))), Some(link)))
    }
}

impl From<Response<Body>> for Handled {
    fn from(response: Response<Body>) -> Self {
        Self::Ready(response)
    }
}

/// The pool that a request names.
#[inline]
fn pool_of<B>(api: &Api, request: &Request<B>) -> Result<Arc<Pool>, Problem> {
    api.engine.pool(path::pool_name(request)).ok_or_else(Problem::pool_not_found)
}

/// `number_not_found`.
#[cold]
fn number_not_found(pool: &Pool, number: Number) -> Problem {
    Problem::new(Code::NumberNotFound, format!("{number} is not in the pool {}", pool.name()))
}

/// Runs `work` over the body of a request once it is complete.
async fn upload<T: Send + 'static>(
    api: &Api,
    actor: &Actor,
    body: Incoming,
    work: impl FnOnce(&mut Upload) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let most_bytes = actor.max_body_bytes();
    upload::upload(Arc::clone(&api.engine), Arc::clone(&api.bodies), body, most_bytes, work).await
}

/// Responds with figures of all pools that the actor sees. With many pools they are gathered on a thread that
/// may block.
fn over_pools(
    api: &Arc<Api>,
    actor: &Actor,
    answer: impl FnOnce(&Arc<Api>, &Actor) -> Reply + Send + 'static,
) -> Result<Handled, Problem> {
    // What is closed is counted in the free index, and who holds most among all holders.
    let is_slow = |pool: &Arc<Pool>| pool.has_hours() || pool.tracks_holders();
    let is_quick = |api: &Api| !api.engine.pools().iter().any(is_slow);
    if api.engine.pool_count() <= MAX_POOLS_AT_ONCE && is_quick(api) {
        return answer(api, actor).map(Handled::Ready);
    }
    let (api, actor) = (Arc::clone(api), actor.clone());
    Handled::later(blocking(move || answer(&api, &actor)))
}

/// The pools that the actor sees, by name.
fn pools_of(api: &Api, actor: &Actor) -> Vec<Arc<Pool>> {
    let mut pools = api.engine.pools();
    if !actor.sees_all() {
        pools.retain(|pool| actor.sees(pool.name().as_str()));
    }
    pools
}

/// The figures of a list.
#[derive(Debug, Clone, Copy)]
struct ListFigures {
    name: ListName,
    numbers: u64,
    /// How many pools name it.
    pools: u64,
    changed_at: Timestamp,
}

/// The lists that the actor sees, by name: all, or none if it does not see all pools.
fn lists_of(api: &Api, actor: &Actor) -> Vec<ListFigures> {
    if !actor.sees_all() {
        return Vec::new();
    }
    let uses = api.engine.list_uses();
    let figures = |list: &Arc<List>| ListFigures {
        name: list.name(),
        numbers: list.numbers(),
        pools: uses.get(&list.name()).copied().unwrap_or_default(),
        changed_at: list.changed_at(),
    };
    api.engine.lists().iter().map(figures).collect()
}

/// What is counted of the principals that the actor sees: all, or itself alone if it does not see all pools.
fn principals_of(api: &Api, actor: &Actor) -> Vec<(Arc<str>, PrincipalCounts)> {
    let names = api.registry.counted_names();
    let sees = |name: &str| actor.sees_all() || *name == *actor.name();
    names.into_iter().zip(api.stats.principals()).filter(|(name, _)| sees(name)).collect()
}

/// When the tokens end of those principals that the actor sees, for those whose do.
fn ends_of_tokens(api: &Api, actor: &Actor) -> Vec<(Arc<str>, Timestamp)> {
    let sees = |name: &str| actor.sees_all() || *name == *actor.name();
    let ends = api.authority.as_ref().map(|authority| authority.ends()).unwrap_or_default();
    ends.into_iter().filter(|(name, _)| sees(name)).collect()
}

/// The query of a request.
fn query_of<B>(request: &Request<B>) -> Option<&str> {
    request.uri().query()
}
