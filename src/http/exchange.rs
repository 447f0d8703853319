//! Takes a request to its response: checks it, hands it to its call, counts and logs it, gates the response.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response};

use crate::http::calls::lease::plain_lease;
use crate::http::counters::requests::Call;
use crate::http::request::headers::RequestHeaders;
use crate::http::request::origin::Via;
use crate::http::response::body::Body;
use crate::http::response::problem::{Code, Problem};

use super::calls::{Api, Handled, Reply};
use super::commit_gate::Gate;
use super::request_log::{self, OwnedRequestInfo, RequestInfo};
use super::{routes, worker_state};

/// A response that is ready or still being made.
pub(crate) enum Pending {
    /// Ready; empty once it is taken.
    Now(Option<Response<Body>>),
    /// Waits for a body or for a thread that may block.
    Later { in_flight: InFlight, kept: OwnedRequestInfo, future: Pin<Box<dyn Future<Output = Reply> + Send>> },
}

/// What is counted and logged of a request once its response is ready.
#[derive(Clone, Copy)]
pub(crate) struct InFlight {
    call: Call,
    started: Instant,
    /// Whether the request has an id, which the response may have to repeat.
    has_id: bool,
}

impl InFlight {
    /// Counts the request, and raises the connection's gate to what the response waits for. `info` is called
    /// only if the request is logged or has an id.
    #[inline]
    fn finish<'r>(self, info: impl FnOnce() -> RequestInfo<'r>, reply: Reply, gate: &Gate) -> Response<Body> {
        match reply {
            Ok(response) => self.count(info, response, None, gate),
            Err(problem) => {
                let code = problem.code();
                self.count(info, problem.into_response(), Some(code), gate)
            }
        }
    }

    #[inline]
    fn count<'r>(
        self,
        info: impl FnOnce() -> RequestInfo<'r>,
        mut response: Response<Body>,
        refused: Option<&'static str>,
        gate: &Gate,
    ) -> Response<Body> {
        let status = response.status().as_u16();
        let took_nanos = self.started.elapsed().as_nanos() as u64;
        worker_state::with(|state| {
            state.stats.requests.record(self.call, status, took_nanos);
            if let Some(code) = refused {
                state.stats.refusals.record(code, state.clock.now().seconds());
            }
            // Health reports no number, so it waits for nothing.
            if self.call != Call::Health {
                gate.raise(state.engine.position(!response.body().is_of_own_changes()));
            }
        });
        if self.has_id || request_log::should_log(self.call, status, took_nanos) {
            info().answered(self.call, took_nanos, &mut response);
        }
        response
    }
}

impl Pending {
    /// The response, once it is ready.
    #[inline]
    pub(crate) fn poll(&mut self, gate: &Gate, cx: &mut Context<'_>) -> Poll<Response<Body>> {
        match self {
            Self::Now(response) => match response.take() {
                Some(response) => Poll::Ready(response),
                None => Poll::Ready(
                    Problem::internal(&"a response was polled after it was taken").into_response(),
                ),
            },
            Self::Later { in_flight, kept, future } => {
                let response = in_flight.finish(|| kept.info(), ready!(future.as_mut().poll(cx)), gate);
                *self = Self::Now(None);
                Poll::Ready(response)
            }
        }
    }
}

/// Starts to handle a request.
pub(crate) fn answer(api: &Arc<Api>, gate: &Gate, via: Via, request: Request<Incoming>) -> Pending {
    let started = Instant::now();
    let given = RequestHeaders::of(&request);
    let has_id = given.request_id.is_some();
    if let Err(problem) = api.names.check(via, &request, &given) {
        let in_flight = InFlight { call: Call::Other, started, has_id };
        return Pending::Now(Some(in_flight.finish(
            || RequestInfo::of(&request, &given),
            Err(problem),
            gate,
        )));
    }
    if let Some(reply) = plain_lease(api, &request, &given) {
        let in_flight = InFlight { call: Call::Lease, started, has_id };
        return Pending::Now(Some(in_flight.finish(|| RequestInfo::of(&request, &given), reply, gate)));
    }
    let kept = RequestInfo::of(&request, &given).keep();
    let route = routes::find(request.method(), request.uri().path());
    let call = route.as_ref().map_or(Call::Other, |route| route.call);
    let in_flight = InFlight { call, started, has_id };
    match route.and_then(|route| (route.handler)(api, request)) {
        Ok(Handled::Later(future)) => Pending::Later { in_flight, kept, future },
        Ok(Handled::Ready(response)) => {
            Pending::Now(Some(in_flight.finish(|| kept.info(), Ok(response), gate)))
        }
        Err(problem) => Pending::Now(Some(in_flight.finish(|| kept.info(), Err(problem), gate))),
    }
}

/// Refuses a request on a connection beyond the limit.
pub(crate) fn refuse(gate: &Gate, request: &Request<Incoming>) -> Pending {
    let problem = Problem::new(
        Code::Overloaded,
        "The server has reached its connection limit: reuse the connections you have, try later, or raise \
         --max-connections",
    );
    let code = problem.code();
    let mut response = problem.into_response();
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    let given = RequestHeaders::of(request);
    let has_id = given.request_id.is_some();
    let in_flight = InFlight { call: Call::Other, started: Instant::now(), has_id };
    let info = || RequestInfo::of(request, &given);
    Pending::Now(Some(in_flight.count(info, response, Some(code), gate)))
}
