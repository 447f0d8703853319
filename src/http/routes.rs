//! Which call a request is: path and method to a function, without an allocation.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Method, Request, Response};

use crate::engine::pool::Pool;
use crate::engine::registry::Engine;
use crate::stats::Stats;
use crate::stats::requests::Call;

use super::body::{self, Body};
use super::gate::Gate;
use super::given::GivenHeaders;
use super::origin::{Names, Via};
use super::problem::{Code, Problem};
use super::request_log::{self, Kept, Seen};
use super::{
    backup, export, held, lease, map, metrics, numbers, openapi, page, pools, query, source, stats, worker,
};

/// Where the paths of pools begin.
const POOLS_PATH: &str = "/v1/pools/";

/// What the calls need.
pub struct Api {
    /// The pools.
    pub engine: Arc<Engine>,
    /// The daemon's own counters.
    pub stats: Arc<Stats>,
    /// Set when the shutdown begins.
    pub draining: AtomicBool,
    /// Under which the server may be called.
    pub(crate) names: Names,
}

/// What a call answers.
pub(crate) type Reply = Result<Response<Body>, Problem>;

/// An answer that is there, or one that has to wait for a body or a blocking thread.
enum Answer {
    Now(Reply),
    Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
}

impl Answer {
    fn later(future: impl Future<Output = Reply> + Send + 'static) -> Self {
        Self::Later(Box::pin(future))
    }
}

/// A request on its way to its answer.
pub(crate) enum Answering {
    /// Answered at once; empty when it was told.
    Now(Option<Response<Body>>),
    /// The answer has to wait for something.
    Later { answered: Answered, kept: Kept, future: Pin<Box<dyn Future<Output = Reply> + Send>> },
}

/// A request to be counted when it is answered.
#[derive(Clone, Copy)]
pub(crate) struct Answered {
    call: Call,
    started: Instant,
    /// Whether it has an id, which its answer may have to repeat.
    has_id: bool,
}

impl Answered {
    /// Counts the request, and tells the connection's gate what the answer waits for. `seen` makes of the
    /// request what the log knows it by, should it have to tell of it.
    #[inline]
    fn finish<'r>(self, seen: impl FnOnce() -> Seen<'r>, reply: Reply, gate: &Gate) -> Response<Body> {
        match reply {
            Ok(response) => self.count(seen, response, None, gate),
            Err(problem) => {
                let code = problem.code();
                self.count(seen, problem.into_response(), Some(code), gate)
            }
        }
    }

    #[inline]
    fn count<'r>(
        self,
        seen: impl FnOnce() -> Seen<'r>,
        mut response: Response<Body>,
        refused: Option<&'static str>,
        gate: &Gate,
    ) -> Response<Body> {
        let status = response.status().as_u16();
        // These tell of nothing but changes that this thread made, unless the engine noted otherwise.
        let own_changes = matches!(self.call, Call::Lease | Call::Renew | Call::Return);
        let took_nanos = self.started.elapsed().as_nanos() as u64;
        worker::with(|state| {
            state.stats.requests.record(self.call, status, took_nanos);
            if let Some(code) = refused {
                state.stats.refusals.record(code, state.clock.now().seconds());
            }
            gate.raise(state.engine.take_position(!own_changes));
        });
        if self.has_id || request_log::is_told(self.call, status, took_nanos) {
            seen().answered(self.call, took_nanos, &mut response);
        }
        response
    }
}

impl Answering {
    /// The answer, once it is there.
    #[inline]
    pub(crate) fn poll(&mut self, gate: &Gate, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        match self {
            Self::Now(response) => match response.take() {
                Some(response) => Poll::Ready(response),
                None => Poll::Ready(Problem::internal(&"an answer was asked for twice").into_response()),
            },
            Self::Later { answered, kept, future } => {
                let response = answered.finish(|| kept.seen(), ready!(future.as_mut().poll(cx)), gate);
                *self = Self::Now(None);
                Poll::Ready(response)
            }
        }
    }
}

/// Starts to answer a request.
pub(crate) fn answer(api: &Arc<Api>, gate: &Gate, via: Via, request: Request<Incoming>) -> Answering {
    let started = Instant::now();
    let given = GivenHeaders::of(&request);
    let has_id = given.request_id.is_some();
    if let Err(problem) = api.names.check(via, &request, &given) {
        let answered = Answered { call: Call::Other, started, has_id };
        return Answering::Now(Some(answered.finish(|| Seen::of(&request, &given), Err(problem), gate)));
    }
    // Not taken apart, the request stays where it is: a fifth of what a pipelined lease copied was its way into `route`.
    if let Some(reply) = plain_lease(api, &request, &given) {
        let answered = Answered { call: Call::Lease, started, has_id };
        return Answering::Now(Some(answered.finish(|| Seen::of(&request, &given), reply, gate)));
    }
    let kept = Seen::of(&request, &given).keep();
    let (call, answer) = route(api, request);
    let answered = Answered { call, started, has_id };
    match answer {
        Answer::Now(reply) => Answering::Now(Some(answered.finish(|| kept.seen(), reply, gate))),
        Answer::Later(future) => Answering::Later { answered, kept, future },
    }
}

/// Answers a request on a connection beyond the limit.
pub(crate) fn refuse(gate: &Gate, request: &Request<Incoming>) -> Answering {
    let problem = Problem::new(
        Code::Overloaded,
        "The server has as many connections as it may have: use those you have again, try later, or raise \
         --max-connections",
    );
    let code = problem.code();
    let mut response = problem.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let given = GivenHeaders::of(request);
    let has_id = given.request_id.is_some();
    let answered = Answered { call: Call::Other, started: Instant::now(), has_id };
    let seen = || Seen::of(request, &given);
    Answering::Now(Some(answered.count(seen, response, Some(code), gate)))
}

fn route(api: &Arc<Api>, request: Request<Incoming>) -> (Call, Answer) {
    let path = request.uri().path();
    if let Some(rest) = path.strip_prefix(POOLS_PATH) {
        let (pool, action) = match rest.split_once('/') {
            None => (rest, None),
            Some((pool, action)) => (pool, Some(action)),
        };
        return match action {
            None => whole_pool(api, pool, &request).unwrap_or_else(|| route_create(api, request)),
            Some("lease") if *request.method() == Method::POST => {
                let found = api.engine.pool(pool);
                (Call::Lease, route_lease(api, found, request))
            }
            Some("map") => route_map(api.engine.pool(pool), &request),
            Some(action) => match ACTIONS.iter().find(|(name, _)| *name == action) {
                Some((_, call)) => {
                    let found = api.engine.pool(pool);
                    route_action(*call, found, request)
                }
                None => match action.strip_prefix("numbers/") {
                    Some(number) if !number.contains('/') => get_only(Call::Lookup, &request, || {
                        query::none(request.uri().query())?;
                        let pool = found(api.engine.pool(pool))?;
                        numbers::lookup(&pool, number)
                    }),
                    _ => (Call::Other, Answer::Now(Err(Problem::not_found()))),
                },
            },
        };
    }
    let no_query = || query::none(request.uri().query());
    if let Some(file) = path.strip_prefix(page::FILES_PATH).filter(|file| !file.is_empty()) {
        return get_only(Call::Page, &request, || page::show(file, request.headers()));
    }
    match path {
        "/" => get_only(Call::Page, &request, || no_query().and_then(|()| page::show("", request.headers()))),
        "/v1/pools" => get_only(Call::ListPools, &request, || no_query().and_then(|()| pools::list(api))),
        "/v1/backup" => route_backup(api, request),
        "/v1/stats" => get_only(Call::Stats, &request, || no_query().map(|()| stats::show(api))),
        "/metrics" => get_only(Call::Metrics, &request, || {
            no_query().and_then(|()| metrics::show(api, request.headers()))
        }),
        "/openapi.json" => get_only(Call::OpenApi, &request, || no_query().map(|()| openapi::show())),
        "/healthz" => get_only(Call::Health, &request, || no_query().map(|()| stats::alive())),
        "/readyz" => get_only(Call::Health, &request, || no_query().and_then(|()| stats::ready(api))),
        _ => (Call::Other, Answer::Now(Err(Problem::not_found()))),
    }
}

/// The paths below a pool that take a body or change something.
const ACTIONS: [(&str, Call); 9] = [
    ("lease", Call::Lease),
    ("renew", Call::Renew),
    ("return", Call::Return),
    ("numbers", Call::AddNumbers),
    ("retire", Call::Retire),
    ("reinstate", Call::Reinstate),
    ("rounds", Call::StartRound),
    ("pause", Call::Pause),
    ("resume", Call::Resume),
];

fn found(pool: Option<Arc<Pool>>) -> Result<Arc<Pool>, Problem> {
    pool.ok_or_else(Problem::pool_not_found)
}

fn is_get(method: &Method) -> bool {
    *method == Method::GET || *method == Method::HEAD
}

/// A path that can only be read.
fn get_only(call: Call, request: &Request<Incoming>, reply: impl FnOnce() -> Reply) -> (Call, Answer) {
    if is_get(request.method()) { (call, Answer::Now(reply())) } else { not_allowed("GET, HEAD") }
}

fn not_allowed(allow: &'static str) -> (Call, Answer) {
    (Call::Other, Answer::Now(Err(Problem::method_not_allowed(allow))))
}

/// The answer to a lease without a body, if the request is one.
fn plain_lease(api: &Api, request: &Request<Incoming>, given: &GivenHeaders<'_>) -> Option<Reply> {
    let pool = request.uri().path().strip_prefix(POOLS_PATH)?.strip_suffix("/lease")?;
    if pool.contains('/') || *request.method() != Method::POST || !request.body().is_end_stream() {
        return None;
    }
    let answer = |(pool, key): (Arc<Pool>, lease::Key)| {
        lease::plain(api, &pool, key.as_ref().map(HeaderValue::as_bytes))
    };
    Some(lease_preconditions(api.engine.pool(pool), request, given).and_then(answer))
}

fn route_lease(api: &Arc<Api>, pool: Option<Arc<Pool>>, request: Request<Incoming>) -> Answer {
    let checked = lease_preconditions(pool, &request, &GivenHeaders::of(&request))
        .and_then(|found| source::check_json(request.headers()).map(|()| found));
    match checked {
        Ok((pool, key)) => Answer::later(lease::with_body(Arc::clone(api), pool, key, request.into_body())),
        Err(problem) => Answer::Now(Err(problem)),
    }
}

fn lease_preconditions(
    pool: Option<Arc<Pool>>,
    request: &Request<Incoming>,
    given: &GivenHeaders<'_>,
) -> Result<(Arc<Pool>, lease::Key), Problem> {
    let pool = found(pool)?;
    query::none(request.uri().query())?;
    Ok((pool, lease::key_of(given)?))
}

fn route_map(pool: Option<Arc<Pool>>, request: &Request<Incoming>) -> (Call, Answer) {
    if !is_get(request.method()) {
        return not_allowed("GET, HEAD");
    }
    let answer = match found(pool) {
        Ok(pool) => Answer::later(map::show(pool, map::query(request.uri().query()))),
        Err(problem) => Answer::Now(Err(problem)),
    };
    (Call::Map, answer)
}

fn route_backup(api: &Arc<Api>, request: Request<Incoming>) -> (Call, Answer) {
    if *request.method() != Method::POST {
        return not_allowed("POST");
    }
    let no_body = request.body().is_end_stream();
    let checked = query::none(request.uri().query())
        .and_then(|()| if no_body { Ok(()) } else { source::check_json(request.headers()) });
    let answer = match checked {
        Ok(()) => Answer::later(backup::make(Arc::clone(api), request.into_body())),
        Err(problem) => Answer::Now(Err(problem)),
    };
    (Call::Backup, answer)
}

/// A path with only a pool in it; `None` for `PUT`, which needs the request itself.
fn whole_pool(api: &Arc<Api>, name: &str, request: &Request<Incoming>) -> Option<(Call, Answer)> {
    if name.is_empty() {
        return Some((Call::Other, Answer::Now(Err(Problem::not_found()))));
    }
    let query_text = request.uri().query();
    let pool = || found(api.engine.pool(name));
    Some(match request.method().as_str() {
        "PUT" | "PATCH" => return None,
        "GET" | "HEAD" => (
            Call::ShowPool,
            Answer::Now(query::none(query_text).and_then(|()| pool()).and_then(|pool| pools::show(&pool))),
        ),
        "DELETE" => {
            let answer = match pool() {
                Ok(pool) => {
                    Answer::later(pools::delete(Arc::clone(api), pool, pools::delete_query(query_text)))
                }
                Err(problem) => Answer::Now(Err(problem)),
            };
            (Call::DeletePool, answer)
        }
        _ => not_allowed("GET, HEAD, PUT, PATCH, DELETE"),
    })
}

/// `PUT` and `PATCH` of a pool.
fn route_create(api: &Arc<Api>, request: Request<Incoming>) -> (Call, Answer) {
    let name = request.uri().path().rsplit('/').next().unwrap_or_default();
    if *request.method() == Method::PATCH {
        let checked = found(api.engine.pool(name))
            .and_then(|pool| query::none(request.uri().query()).map(|()| pool))
            .and_then(|pool| source::check_json(request.headers()).map(|()| pool));
        let answer = match checked {
            Ok(pool) => Answer::later(pools::change(pool, request.into_body())),
            Err(problem) => Answer::Now(Err(problem)),
        };
        return (Call::ChangePool, answer);
    }
    let name = pools::name_of(name);
    let query = pools::create_query(request.uri().query());
    let (parts, body) = request.into_parts();
    (Call::CreatePool, Answer::later(pools::create(Arc::clone(api), name, query, parts.headers, body)))
}

/// The paths of [`ACTIONS`].
fn route_action(call: Call, pool: Option<Arc<Pool>>, request: Request<Incoming>) -> (Call, Answer) {
    let query_text = request.uri().query();
    let is_export = call == Call::AddNumbers && is_get(request.method());
    if !is_export && *request.method() != Method::POST {
        return not_allowed(if call == Call::AddNumbers { "GET, HEAD, POST" } else { "POST" });
    }
    let pool = match found(pool) {
        Ok(pool) => pool,
        Err(problem) => return (call, Answer::Now(Err(problem))),
    };
    let answer = match call {
        Call::AddNumbers if is_export => {
            let query = export::query(query_text);
            return (
                Call::Export,
                Answer::later(export::export(pool, query, request.into_parts().0.headers)),
            );
        }
        Call::AddNumbers => {
            let query = numbers::add_query(query_text);
            let (parts, body) = request.into_parts();
            Answer::later(numbers::add(pool, query, parts.headers, body))
        }
        Call::Retire | Call::Reinstate => {
            let query = numbers::mark_query(query_text);
            let (parts, body) = request.into_parts();
            Answer::later(numbers::mark(pool, call == Call::Reinstate, query, parts.headers, body))
        }
        _ => {
            if let Err(problem) = query::none(query_text) {
                return (call, Answer::Now(Err(problem)));
            }
            match call {
                Call::Renew | Call::Return => held_answer(call, pool, request),
                Call::StartRound => Answer::later(pools::start_round(pool)),
                _ => Answer::later(pools::set_paused(pool, call == Call::Pause)),
            }
        }
    };
    (call, answer)
}

/// Renew and return, once their body is there.
fn held_answer(call: Call, pool: Arc<Pool>, request: Request<Incoming>) -> Answer {
    // An empty body has no type to speak of; it is refused for being empty.
    if !request.body().is_end_stream()
        && let Err(problem) = source::check_json(request.headers())
    {
        return Answer::Now(Err(problem));
    }
    // Only the body goes on: the whole request would be copied into the future, and out of it.
    let body = request.into_body();
    Answer::later(async move {
        let bytes = body::collect_json(body).await?;
        if call == Call::Renew { held::renew(&pool, &bytes) } else { held::give_back(&pool, &bytes) }
    })
}
