//! One connection: HTTP/1.1 with pipelining, or HTTP/2, until it ends, is idle for too long, or is drained.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::service::Service;
use hyper::{Request, Version};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::access::Access;
use crate::http::caller::Caller;
use crate::http::calls::Api;
use crate::http::commit_gate::Gate;
use crate::http::exchange::{Pending, answer, refuse};

use super::gated_stream::Gated;
use super::outflow::{Flow, Outflow};

/// How often a worker checks its connections within [`Limits::idle`](crate::http::limits::Limits::idle).
pub(crate) const IDLE_TICKS: u32 = 12;
/// Largest head of a request, and most bytes of a pipeline, and of responses, that are buffered. The body of
/// a response may exceed it.
const MAX_BUFFER_BYTES: usize = 64 << 10;
/// Streams that one HTTP/2 connection may have open.
const MAX_CONCURRENT_STREAMS: u32 = 256;
/// What an HTTP/2 client may send on one stream before its call reads it, in bytes.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
/// What an HTTP/2 client may send on all streams before their calls read it, in bytes.
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// What is buffered of the responses of one HTTP/2 stream, in bytes.
const STREAM_SEND_BYTES: usize = 64 << 10;

/// Commands to a connection; a higher one wins.
const SERVE: u32 = 0;
const DRAIN: u32 = 1;
const CLOSE: u32 = 2;

/// The state that a worker and a connection share.
#[derive(Debug)]
pub(crate) struct ConnectionState {
    /// Who is at the other end.
    caller: Caller,
    /// Requests that have begun; only the worker's thread writes it.
    begun: AtomicU64,
    /// Requests of these that have been answered.
    answered: AtomicU64,
    command: AtomicU32,
    waker: OnceLock<Waker>,
    /// What the responses wait for.
    gate: Arc<Gate>,
    /// How the bytes of responses leave.
    outflow: Arc<Outflow>,
}

impl ConnectionState {
    fn new(caller: Caller) -> Self {
        Self {
            caller,
            begun: AtomicU64::new(0),
            answered: AtomicU64::new(0),
            command: AtomicU32::new(SERVE),
            waker: OnceLock::new(),
            gate: Arc::default(),
            outflow: Arc::default(),
        }
    }

    fn send(&self, command: u32) {
        self.command.fetch_max(command, Ordering::Relaxed);
        if let Some(waker) = self.waker.get() {
            waker.wake_by_ref();
        }
    }
}

/// The connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Connections {
    all: Mutex<Vec<Entry>>,
}

#[derive(Debug)]
struct Entry {
    state: Arc<ConnectionState>,
    seen_begun: u64,
    idle_ticks: u32,
    /// Ticks since the client last took a byte of those that wait for it.
    stalled_ticks: u32,
}

impl Connections {
    fn add(&self, caller: Caller) -> Arc<ConnectionState> {
        let state = Arc::new(ConnectionState::new(caller));
        let entry = Entry { state: Arc::clone(&state), seen_begun: 0, idle_ticks: 0, stalled_ticks: 0 };
        self.lock().push(entry);
        state
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the connections that have ended, and closes those that have been idle for too long and those
    /// whose client takes nothing of a response.
    pub(crate) fn tick(&self) {
        self.lock().retain_mut(|entry| {
            if Arc::strong_count(&entry.state) == 1 {
                return false;
            }
            let begun = entry.state.begun.load(Ordering::Relaxed);
            let flow = entry.state.outflow.take();
            let busy = begun != entry.state.answered.load(Ordering::Relaxed);
            if busy || begun != entry.seen_begun || flow == Flow::Moved {
                entry.idle_ticks = 0;
                entry.seen_begun = begun;
            } else {
                entry.idle_ticks += 1;
            }
            // A client may hold a request open and take nothing of the responses to others.
            entry.stalled_ticks = if flow == Flow::Blocked { entry.stalled_ticks + 1 } else { 0 };
            if entry.idle_ticks.max(entry.stalled_ticks) > IDLE_TICKS {
                entry.state.send(CLOSE);
            }
            true
        });
    }

    /// Lets every connection end after its current request.
    pub(crate) fn drain(&self) {
        self.lock().iter().for_each(|entry| entry.state.send(DRAIN));
    }

    /// Whether any connection is still open.
    pub(crate) fn any_open(&self) -> bool {
        self.lock().iter().any(|entry| Arc::strong_count(&entry.state) > 1)
    }
}

/// Whether a connection is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Admission {
    /// Its requests are answered.
    Served,
    /// There are too many connections: its first request gets `overloaded`, and it is closed.
    Refused,
}

/// Handles the requests of one connection.
struct ConnectionService {
    welcome: Admission,
    access: Access,
    api: Arc<Api>,
    state: Arc<ConnectionState>,
}

/// Counts the request as answered when it is dropped, for the idle limit.
pub(crate) struct Tracked {
    answering: Pending,
    state: Arc<ConnectionState>,
}

impl Future for Tracked {
    type Output = Result<hyper::Response<crate::http::response::body::Body>, std::convert::Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        this.answering.poll(&this.state.gate, &this.state.caller, cx).map(Ok)
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        let answered = self.state.answered.load(Ordering::Relaxed);
        self.state.answered.store(answered + 1, Ordering::Relaxed);
    }
}

impl Service<Request<Incoming>> for ConnectionService {
    type Response = hyper::Response<crate::http::response::body::Body>;
    type Error = std::convert::Infallible;
    type Future = Tracked;

    fn call(&self, request: Request<Incoming>) -> Tracked {
        let begun = self.state.begun.load(Ordering::Relaxed);
        self.state.begun.store(begun + 1, Ordering::Relaxed);
        if request.version() < Version::HTTP_2 {
            self.state.outflow.hold();
        }
        let answering = match self.welcome {
            Admission::Served => {
                answer(&self.api, &self.state.gate, &self.state.caller, &self.access, request)
            }
            Admission::Refused => {
                // HTTP/2 has no `Connection: close`.
                self.state.send(DRAIN);
                refuse(&self.state.gate, &self.state.caller, &request)
            }
        };
        Tracked { answering, state: Arc::clone(&self.state) }
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
    let state = connections.add(caller);
    let gated = Gated::new(stream, Arc::clone(&state.gate), Arc::clone(&state.outflow));
    let service = ConnectionService { welcome, access: Access::default(), api, state: Arc::clone(&state) };
    let mut builder = Builder::new(TokioExecutor::new());
    // hyper's own flushing of pipelines would buffer responses without bound: see `Outflow`.
    builder.http1().pipeline_flush(false).writev(false).max_buf_size(MAX_BUFFER_BYTES);
    // hyper's own limit on reading a head sets a timer for every request; the tick costs nearly nothing.
    builder.http1().header_read_timeout(None::<Duration>);
    let mut http2 = builder.http2();
    http2.max_concurrent_streams(MAX_CONCURRENT_STREAMS).max_send_buf_size(STREAM_SEND_BYTES);
    http2.initial_stream_window_size(STREAM_WINDOW_BYTES);
    http2.initial_connection_window_size(CONNECTION_WINDOW_BYTES);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(gated), service));
    let mut draining = false;
    std::future::poll_fn(|cx| {
        state.waker.get_or_init(|| cx.waker().clone());
        match state.command.load(Ordering::Relaxed) {
            SERVE => {}
            DRAIN if draining => {}
            DRAIN => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            _ => return Poll::Ready(()),
        }
        // An error of a connection concerns only its client, which sees it too.
        let mut polled = connection.as_mut().poll(cx).map(drop);
        while polled.is_pending() && state.outflow.take_deferred() {
            // Responses are held, and the next request of the pipeline takes time.
            state.outflow.release();
            polled = connection.as_mut().poll(cx).map(drop);
        }
        polled
    })
    .await;
}
