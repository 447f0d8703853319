//! A response that is ready, or waits for a body or a thread.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hyper::Response;

use crate::http::response::body::Body;
use crate::http::response::json::ok_json;
use crate::http::response::problem::Problem;

use super::caller::Caller;
use super::calls::Reply;
use super::commit_gate::Gate;
use super::in_flight::InFlight;
use super::request_log::OwnedRequestInfo;
use super::wait_link::WaitLink;

/// A response that is ready or still being made. It is moved from hand to hand before it is polled, so it is
/// small.
pub(crate) enum Pending {
    /// A JSON body for a `200`.
    Json(Body),
    /// Ready; `None` once it is taken.
    Ready(Option<Box<Response<Body>>>),
    /// Waits for a body or for a thread that may block.
    Later(Box<Later>),
}

/// A response that waits for something.
pub(crate) struct Later {
    pub(super) in_flight: InFlight,
    pub(super) kept: OwnedRequestInfo,
    /// Of a call that may wait.
    pub(super) link: Option<Arc<WaitLink>>,
    pub(super) future: Pin<Box<dyn Future<Output = Reply> + Send>>,
}

impl Pending {
    pub(super) fn ready(response: Response<Body>) -> Self {
        Self::Ready(Some(Box::new(response)))
    }

    /// The link to a call that waits.
    pub(crate) fn waits(&self) -> Option<&Arc<WaitLink>> {
        match self {
            Self::Later(later) => later.link.as_ref().filter(|link| link.is_waiting()),
            Self::Json(_) | Self::Ready(_) => None,
        }
    }

    /// The response, once it is ready.
    #[inline]
    pub(crate) fn poll(
        &mut self,
        gate: &Gate,
        caller: &Caller,
        cx: &mut Context<'_>,
    ) -> Poll<Response<Body>> {
        match self {
            Self::Json(body) => {
                let body = std::mem::take(body);
                *self = Self::Ready(None);
                Poll::Ready(ok_json(body))
            }
            Self::Ready(response) => match response.take() {
                Some(response) => Poll::Ready(*response),
                None => Poll::Ready(
                    Problem::internal(&"a response was polled after it was taken").into_response(),
                ),
            },
            Self::Later(later) => {
                let reply = ready!(later.future.as_mut().poll(cx));
                // How long a call takes is what the daemon does, not what it waits for.
                let waited_nanos = later.link.as_ref().map_or(0, |link| link.waited_nanos());
                later.in_flight.started_nanos += waited_nanos;
                let response = later.in_flight.finish(|| later.kept.info(caller), reply, gate);
                *self = Self::Ready(None);
                Poll::Ready(response)
            }
        }
    }
}
