//! One connection: HTTP/1.1 with pipelining, or HTTP/2, until it ends, is idle for too long, or is drained.

use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hyper::Request;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use tokio::io::{AsyncRead, AsyncWrite};

use crate::http::calls::Api;
use crate::http::commit_gate::Gate;
use crate::http::exchange::{Pending, answer, refuse};
use crate::http::request::origin::Via;

use super::gated_stream::Gated;

/// A connection on which no request begins or is in progress for this long is closed, in seconds. The time
/// is measured in steps of [`TICK_SECONDS`]. An incomplete head counts as no request, so this also limits how
/// slowly a head may be sent.
pub const IDLE_LIMIT_SECONDS: u32 = 60;
/// How often a worker checks its connections, in seconds.
pub const TICK_SECONDS: u32 = 5;
/// Largest head of a request, and most bytes of a pipeline that are buffered.
const MAX_BUFFER_BYTES: usize = 64 << 10;
/// Streams that one HTTP/2 connection may have open.
const MAX_CONCURRENT_STREAMS: u32 = 256;

/// Commands to a connection; a higher one wins.
const SERVE: u32 = 0;
const DRAIN: u32 = 1;
const CLOSE: u32 = 2;

/// The state that a worker and a connection share.
#[derive(Debug, Default)]
pub(crate) struct ConnectionState {
    /// Requests that have begun; only the worker's thread writes it.
    begun: AtomicU64,
    /// Requests of these that have been answered.
    answered: AtomicU64,
    command: AtomicU32,
    waker: OnceLock<Waker>,
    /// What the responses wait for.
    gate: Arc<Gate>,
}

impl ConnectionState {
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
}

impl Connections {
    fn add(&self) -> Arc<ConnectionState> {
        let state = Arc::new(ConnectionState::default());
        let entry = Entry { state: Arc::clone(&state), seen_begun: 0, idle_ticks: 0 };
        self.lock().push(entry);
        state
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Entry>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes the connections that have ended and closes those that have been idle for too long.
    pub(crate) fn tick(&self) {
        self.lock().retain_mut(|entry| {
            if Arc::strong_count(&entry.state) == 1 {
                return false;
            }
            let begun = entry.state.begun.load(Ordering::Relaxed);
            let busy = begun != entry.state.answered.load(Ordering::Relaxed);
            if busy || begun != entry.seen_begun {
                entry.idle_ticks = 0;
                entry.seen_begun = begun;
            } else {
                entry.idle_ticks += 1;
                if entry.idle_ticks > IDLE_LIMIT_SECONDS / TICK_SECONDS {
                    entry.state.send(CLOSE);
                }
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
    via: Via,
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
        this.answering.poll(&this.state.gate, cx).map(Ok)
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
        let answering = match self.welcome {
            Admission::Served => answer(&self.api, &self.state.gate, self.via, request),
            Admission::Refused => {
                // HTTP/2 has no `Connection: close`.
                self.state.send(DRAIN);
                refuse(&self.state.gate, &request)
            }
        };
        Tracked { answering, state: Arc::clone(&self.state) }
    }
}

/// Serves a connection to its end.
pub(crate) async fn serve<S>(
    stream: S,
    via: Via,
    welcome: Admission,
    api: Arc<Api>,
    connections: Arc<Connections>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let state = connections.add();
    let gated = Gated::new(stream, Arc::clone(&state.gate));
    let service = ConnectionService { welcome, via, api, state: Arc::clone(&state) };
    let mut builder = Builder::new(TokioExecutor::new());
    builder.http1().pipeline_flush(true).max_buf_size(MAX_BUFFER_BYTES);
    // hyper's own limit on reading a head sets a timer for every request; the tick costs nearly nothing.
    builder.http1().header_read_timeout(None::<Duration>);
    builder.http2().max_concurrent_streams(MAX_CONCURRENT_STREAMS);
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
        connection.as_mut().poll(cx).map(drop)
    })
    .await;
}
