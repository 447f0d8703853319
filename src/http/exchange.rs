//! A request on its way to its answer: checked, handed to its call, counted, logged, its answer gated.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use hyper::body::Incoming;
use hyper::header::{CONNECTION, HeaderValue};
use hyper::{Request, Response};

use crate::http::calls::lease::plain_lease;
use crate::http::counters::requests::Call;
use crate::http::request::headers::GivenHeaders;
use crate::http::request::origin::Via;
use crate::http::response::body::Body;
use crate::http::response::problem::{Code, Problem};

use super::calls::{Api, Handled, Reply};
use super::commit_gate::Gate;
use super::request_log::{self, Kept, Seen};
use super::{routes, worker_state};

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
        worker_state::with(|state| {
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
    if let Some(reply) = plain_lease(api, &request, &given) {
        let answered = Answered { call: Call::Lease, started, has_id };
        return Answering::Now(Some(answered.finish(|| Seen::of(&request, &given), reply, gate)));
    }
    let kept = Seen::of(&request, &given).keep();
    let route = routes::find(request.method(), request.uri().path());
    let call = route.as_ref().map_or(Call::Other, |route| route.call);
    let answered = Answered { call, started, has_id };
    match route.and_then(|route| (route.handler)(api, request)) {
        Ok(Handled::Later(future)) => Answering::Later { answered, kept, future },
        Ok(Handled::Ready(response)) => {
            Answering::Now(Some(answered.finish(|| kept.seen(), Ok(response), gate)))
        }
        Err(problem) => Answering::Now(Some(answered.finish(|| kept.seen(), Err(problem), gate))),
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
