//! One connection: HTTP/1.1 with pipelining, or HTTP/2, until it ends, is idle for too long, or is drained.

use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONNECTION, HeaderValue};
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::{HeaderMap, Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::access::Access;
use crate::http::caller::Caller;
use crate::http::calls::Api;
use crate::http::exchange::{Identified, answer, answer_later, identify, refuse, refuse_with};
use crate::http::pending::Pending;
use crate::http::plain_call;
use crate::http::request::framing::{self, Framing};
use crate::http::response::body::Body;
use crate::http::response::json::ok_json_in;
use crate::http::response::problem::Unread;

use super::connections::{Admission, ConnectionState, Connections, DRAIN, SERVE};
use super::gated_stream::Gated;

/// Largest head of a request, and most bytes of a pipeline, and of responses, that are buffered. The body of
/// a response may exceed it.
pub const MAX_BUFFER_BYTES: usize = 64 << 10;
/// Streams that one HTTP/2 connection may have open.
pub const MAX_HTTP2_STREAMS: u32 = 64;
/// What an HTTP/2 client may send on one stream before its call reads it, in bytes.
pub const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// What an HTTP/2 client may send on all streams before their calls read it, in bytes.
pub const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What is buffered of the answer of one HTTP/2 stream, in bytes; a part may exceed it.
pub const STREAM_SEND_BYTES: usize = 16 << 10;
/// Largest head of an HTTP/2 request, in bytes.
pub const MAX_HTTP2_HEAD_BYTES: u32 = 16 << 10;
/// Streams that an HTTP/2 client may have reset before they were looked at; with more the connection ends.
pub const MAX_HTTP2_RESETS: usize = 20;

/// Most headers of a request whose map serves for the response too. hyper keeps the map for the next
/// request, so a larger one would stay with an idle connection.
const MAX_REUSED_HEADERS: usize = 12;

/// The first status of an error.
const FIRST_ERROR: u16 = 400;

/// Handles the requests of one connection.
struct ConnectionService {
    welcome: Admission,
    access: Access,
    api: Arc<Api>,
    state: Arc<ConnectionState>,
}

/// Counts the request as answered when it is dropped, for the limits.
pub(crate) struct Tracked {
    answering: Answering,
    state: Arc<ConnectionState>,
}

/// A request on its way to its answer.
enum Answering {
    /// A plain call over HTTP/1: the JSON of a `200`, and the map of the request's headers, whose memory serves again.
    Plain(Body, HeaderMap),
    Begun(Pending),
    /// Not executed yet: too much waits for its client.
    Deferred(Box<Deferred>),
}

/// What executes a request.
struct Deferred {
    api: Arc<Api>,
    /// The request, and who makes it; `None` once it is executed.
    request: Option<(Request<Incoming>, Identified)>,
}

type Response = hyper::Response<Body>;

impl Deferred {
    /// Executes the request once there is room for its answer.
    fn poll_begun(&mut self, state: &ConnectionState, cx: &Context<'_>) -> Poll<Pending> {
        ready!(state.answers.poll_room(cx));
        ready!(state.outflow.poll_room(cx));
        match self.request.take() {
            Some((request, identified)) => {
                Poll::Ready(answer_later(&self.api, &state.gate, &state.caller, identified, request))
            }
            None => Poll::Pending,
        }
    }
}

impl Future for Tracked {
    type Output = Result<Response, std::convert::Infallible>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Self { answering, state } = &mut *self;
        loop {
            match answering {
                Answering::Plain(..) => {
                    // Exchanged, not taken out: what is left has nothing to drop.
                    let plain = std::mem::replace(answering, Answering::Begun(Pending::Ready(None)));
                    let Answering::Plain(body, headers) = plain else { continue };
                    return Poll::Ready(Ok(ok_json_in(headers, body)));
                }
                Answering::Begun(pending) => {
                    // Of HTTP/2 many are under way: each is answered when there is room for its answer.
                    if state.inflow.is_http2() {
                        ready!(state.answers.poll_room(cx));
                    }
                    if let Poll::Ready(response) = pending.poll(&state.gate, &state.caller, cx) {
                        return Poll::Ready(Ok(watched(state, response)));
                    }
                    if let Some(link) = pending.waits() {
                        state.inflow.watch(link);
                    }
                    return Poll::Pending;
                }
                Answering::Deferred(deferred) => {
                    *answering = Answering::Begun(ready!(deferred.poll_begun(state, cx)));
                }
            }
        }
    }
}

/// Has the body of an answer watched that may be under way for longer.
#[inline]
fn watched(state: &ConnectionState, mut response: Response) -> Response {
    let is_http2 = state.inflow.is_http2();
    if response.status().as_u16() >= FIRST_ERROR && !is_http2 {
        say_if_it_ends(state, &mut response);
    }
    if (is_http2 || matches!(response.body(), Body::Stream(_))) && !response.body().is_end_stream() {
        return response.map(|body| Body::Watched(Box::new(state.answers.watch(body, is_http2))));
    }
    response
}

/// hyper passes over a body that nobody reads if it has come. Else it ends the connection, and the client has to know
/// that its next request is not answered.
#[cold]
fn say_if_it_ends(state: &ConnectionState, response: &mut Response) {
    if response.extensions().get::<Unread>().is_some() && !state.inflow.has_body_come() {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let answered = self.state.answered.load(Ordering::Relaxed);
        self.state.answered.store(answered + 1, Ordering::Relaxed);
        self.state.inflow.answered();
    }
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = Response;
    type Error = std::convert::Infallible;
    type Future = Tracked;

    fn call(&self, mut request: Request<Incoming>) -> Tracked {
        let state = &self.state;
        let begun = state.begun.load(Ordering::Relaxed);
        state.begun.store(begun + 1, Ordering::Relaxed);
        let framing = state.inflow.called(&request);
        if request.version() < Version::HTTP_2 {
            state.outflow.hold();
        } else if !request.body().is_end_stream() {
            request.extensions_mut().insert(state.batches.clone());
        }
        let is_framed = request.body().is_end_stream() && framing == Framing::Clear;
        let framed = if is_framed { Ok(()) } else { framing::check(framing, request.headers()) };
        if let Err(problem) = framed {
            let answering = Answering::Begun(refuse_with(&state.gate, &state.caller, &request, problem));
            return Tracked { answering, state: Arc::clone(state) };
        }
        let answering = match self.welcome {
            Admission::Served if state.answers.has_room() && state.outflow.has_room() => {
                // A request is moved only if it goes the general way.
                match plain_call::answer(&self.api, &state.gate, &state.caller, &self.access, &request) {
                    Some(Pending::Json(body))
                        if request.version() < Version::HTTP_2
                            && request.headers().keys_len() <= MAX_REUSED_HEADERS =>
                    {
                        Answering::Plain(body, std::mem::take(request.headers_mut()))
                    }
                    Some(pending) => Answering::Begun(pending),
                    // A request is moved only if it goes the general way.
                    None => {
                        Answering::Begun(answer(&self.api, &state.gate, &state.caller, &self.access, request))
                    }
                }
            }
            Admission::Served => {
                let identified = identify(&self.api, &state.caller, &self.access, &request);
                let request = Some((request, identified));
                Answering::Deferred(Box::new(Deferred { api: Arc::clone(&self.api), request }))
            }
            Admission::Refused => {
                // HTTP/2 has no `Connection: close`.
                state.send(DRAIN);
                Answering::Begun(refuse(&self.api, &state.gate, &state.caller, &self.access, request))
            }
        };
        Tracked { answering, state: Arc::clone(state) }
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve<S>(
    stream: S,
    caller: Caller,
    welcome: Admission,
    api: Arc<Api>,
    connections: Arc<Connections>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = connections.add(caller, welcome);
    let gated =
        Gated::new(stream, Arc::clone(&state.gate), Arc::clone(&state.inflow), Arc::clone(&state.outflow));
    let (mut gated, leftover) = gated.with_leftover();
    let Some(is_http2) = protocol(&mut gated, &state).await else { return };
    let service = ConnectionService { welcome, access: Access::default(), api, state: Arc::clone(&state) };
    let io = TokioIo::new(gated);
    let requests = if is_http2 {
        Requests::Http2(Box::pin(http2().serve_connection(io, service)))
    } else {
        Requests::Http1(Box::pin(http1().serve_connection(io, service)))
    };
    serve_requests(requests, &state).await;
    let rest = leftover.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(mut rest) = rest {
        std::future::poll_fn(|cx| match state.command.load(Ordering::Relaxed) {
            SERVE | DRAIN => rest.poll_finish(cx).map(drop),
            _ => Poll::Ready(()),
        })
        .await;
    }
}

fn http1() -> http1::Builder {
    let mut builder = http1::Builder::new();
    // hyper's own flushing of pipelines would buffer responses without bound: see `Outflow`.
    builder.pipeline_flush(false).writev(false).max_buf_size(MAX_BUFFER_BYTES);
    // A client that has sent all that it will send still gets the answers.
    builder.half_close(true);
    // hyper's own limit on reading a head sets a timer for every request; the tick costs nearly nothing.
    builder.header_read_timeout(None::<Duration>);
    builder
}

fn http2() -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.max_concurrent_streams(MAX_HTTP2_STREAMS).max_send_buf_size(STREAM_SEND_BYTES);
    builder.initial_stream_window_size(STREAM_WINDOW_BYTES);
    builder.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    builder.max_header_list_size(MAX_HTTP2_HEAD_BYTES).max_pending_accept_reset_streams(MAX_HTTP2_RESETS);
    builder
}

/// Whether the client speaks HTTP/2; `None` if the connection is to end before that is known.
async fn protocol<S>(gated: &mut Gated<S>, state: &ConnectionState) -> Option<bool>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    std::future::poll_fn(|cx| {
        state.waker.get_or_init(|| cx.waker().clone());
        state.inflow.begin_turn();
        match state.command.load(Ordering::Relaxed) {
            SERVE => gated.poll_is_http2(cx).map(Some),
            _ => Poll::Ready(None),
        }
    })
    .await
}

type Http2<S> = http2::Connection<TokioIo<Gated<S>>, ConnectionService, TokioExecutor>;

/// hyper's part of a connection. It is large, and so has one place: a future that takes another one keeps room
/// for it twice.
enum Requests<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Http1(Pin<Box<http1::Connection<TokioIo<Gated<S>>, ConnectionService>>>),
    Http2(Pin<Box<Http2<S>>>),
}

impl<S> Requests<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    /// Ready at the end. An error of a connection concerns only its client, which sees it too.
    #[inline]
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Http1(connection) => connection.as_mut().poll(cx).map(drop),
            Self::Http2(connection) => connection.as_mut().poll(cx).map(drop),
        }
    }

    fn drain(&mut self) {
        match self {
            Self::Http1(connection) => connection.as_mut().graceful_shutdown(),
            Self::Http2(connection) => connection.as_mut().graceful_shutdown(),
        }
    }
}

/// Serves requests until the client ends, or sends what is no request.
async fn serve_requests<S>(mut requests: Requests<S>, state: &ConnectionState)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let mut draining = false;
    std::future::poll_fn(|cx| {
        state.waker.get_or_init(|| cx.waker().clone());
        state.inflow.begin_turn();
        match state.command.load(Ordering::Relaxed) {
            SERVE => {}
            DRAIN if draining => {}
            DRAIN => {
                draining = true;
                requests.drain();
            }
            _ => return Poll::Ready(()),
        }
        let mut polled = requests.poll(cx);
        while polled.is_pending() && state.outflow.take_deferred() {
            // Responses are held, and the next request of the pipeline takes time.
            state.outflow.release();
            polled = requests.poll(cx);
        }
        polled
    })
    .await;
}
