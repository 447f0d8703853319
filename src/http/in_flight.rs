//! What is counted and logged of a request once its response is ready, and what the response waits for.

use hyper::{Response, StatusCode};

use crate::auth::usage::NameIndex;
use crate::http::counters::pool_latency::is_counted;
use crate::http::counters::requests::Call;
use crate::http::response::body::Body;
use crate::http::response::protection::protect;
use crate::sys::monotonic::monotonic_nanos;

use super::calls::Reply;
use super::commit_gate::Gate;
use super::request_log::{self, RequestInfo};
use super::worker_state::{self, WorkerState};

/// What is counted and logged of a request once its response is ready.
#[derive(Clone, Copy)]
pub(crate) struct InFlight {
    pub(super) call: Call,
    pub(super) started_nanos: u64,
    /// Whether the request has an id or a trace, which the response may have to repeat.
    pub(super) has_id: bool,
    /// The principal that made it, if any.
    pub(super) principal: Option<NameIndex>,
}

impl InFlight {
    /// Counts the request, and raises the connection's gate to what the response waits for. `info` is called
    /// only if the request is refused, logged, or has an id.
    #[inline]
    pub(super) fn finish<'r>(
        self,
        info: impl Fn() -> RequestInfo<'r>,
        reply: Reply,
        gate: &Gate,
    ) -> Response<Body> {
        let (mut response, refused) = match reply {
            Ok(response) => (response, None),
            Err(problem) => {
                let code = problem.code();
                (problem.into_response(), Some(code))
            }
        };
        protect(response.headers_mut());
        let took_nanos = worker_state::with(|state| {
            // Health reports no number, so it waits for nothing.
            if self.call != Call::Health {
                gate.raise(state.calls.engine.position(!response.body().is_of_own_changes()));
            }
            self.count(state, response.status(), refused, || info().pool_name())
        });
        if refused.is_some() || took_nanos.is_some() {
            let info = info();
            if let Some(code) = refused {
                count_of_pool(code, info);
            }
            if let Some(took_nanos) = took_nanos {
                info.answered(self.call, took_nanos, &mut response);
            }
        }
        response
    }

    /// Counts the request, and its latency of the pool too if it is chosen. Returns how long it took, in nanoseconds,
    /// if it is logged or has an id.
    #[expect(clippy::inline_always, reason = "a lease spends more on passing the arguments than on counting")]
    #[inline(always)]
    pub(super) fn count<'r>(
        self,
        state: &mut WorkerState,
        status: StatusCode,
        refused: Option<&'static str>,
        pool_name: impl FnOnce() -> Option<&'r str>,
    ) -> Option<u64> {
        let status = status.as_u16();
        let now_nanos = monotonic_nanos();
        let took_nanos = now_nanos.saturating_sub(self.started_nanos);
        state.stats.requests.record(self.call, status, took_nanos);
        if let Some(principal) = self.principal {
            state.stats.principals.request(principal, refused.is_some());
        }
        if let Some(code) = refused {
            state.stats.refusals.record(code, state.calls.clock.now().seconds());
        }
        if is_counted(self.call) && state.sampler.chooses(took_nanos, now_nanos) {
            count_latency(state, pool_name(), (took_nanos, now_nanos));
        }
        let should_log = request_log::should_log(self.call, status, took_nanos);
        (self.has_id || should_log).then_some(took_nanos)
    }
}

/// Counts the latency of a call about leases of the pool that the request names, if it is there.
#[cold]
fn count_latency(state: &mut WorkerState, pool_name: Option<&str>, (took_nanos, now_nanos): (u64, u64)) {
    let weight = state.sampler.weight(took_nanos, now_nanos);
    if let Some(pool) = pool_name.and_then(|name| state.pools.load().get(name)) {
        state.stats.pool_latencies.record(pool.id(), weight, took_nanos, now_nanos);
    }
}

/// Counts a refusal of the pool that the request names, if it is there.
#[cold]
fn count_of_pool(code: &'static str, info: RequestInfo<'_>) {
    let Some(name) = info.pool_name() else { return };
    worker_state::with(|state| {
        if let Some(pool) = state.pools.load().get(name) {
            state.stats.refusals.record_of_pool(pool.id(), code, state.calls.clock.now().seconds());
        }
    });
}
