//! The server: accepts connections, spreads them over the workers, and ends without losing a request.
//!
//! One thread per listener accepts; each worker is a thread with its own runtime that serves its own
//! connections. A worker shares nothing with the others but the engine.

pub(crate) mod acceptor;
pub mod connection;
pub(crate) mod connections;
pub mod control;
pub mod entrance;
pub(crate) mod gated_stream;
pub(crate) mod inflow;
pub mod listener;
pub(crate) mod outflow;
pub mod shares;
pub mod tls;
pub(crate) mod worker_thread;

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::sync::{Notify, mpsc};
use tracing::info;

use crate::auth::authority::Authority;
use crate::auth::registry::Registry;
use crate::engine::registry::Engine;
use crate::http::audit::Audit;
use crate::http::cluster::Cluster;
use crate::http::counters::recent;
use crate::http::counters::upkeep::Upkeep;
use crate::http::limits::Limits;
use crate::http::request::body::Bodies;
use crate::http::request::origin::{AllowedHost, Names};
use crate::journal::handle::Journal;

use super::address::ListenAddress;
use super::calls::Api;
use super::counters::Stats;
use acceptor::start_acceptor;
use control::Control;
use entrance::{Entrance, EntranceError};
use listener::{Listener, Waker};
use shares::Shares;
use tls::ServerTls;
use worker_thread::{Task, WorkerHandle, start_worker};

pub use gated_stream::MAX_HELD_BYTES;

/// Default of [`ServerConfig::max_connections`].
pub const DEFAULT_MAX_CONNECTIONS: u64 = 16_384;
/// Handles of the engine that a worker takes: its own, and one for batches.
pub const HANDLES_PER_WORKER: usize = 2;
/// How long the drain waits for requests in progress, in seconds.
pub const DRAIN_LIMIT_SECONDS: u64 = 10;
/// How often the end of the threads is checked.
const END_POLL: Duration = Duration::from_millis(5);

/// Why the server could not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A thread or a runtime could not be made.
    #[error("the server's threads could not be started: {0}. Raise the limits on threads and open files")]
    Threads(#[from] io::Error),
    /// A listener cannot have connections.
    #[error(transparent)]
    Listener(#[from] EntranceError),
    /// The words could not be written at shutdown.
    #[error(
        "the state of the numbers could not be written to the disk: {0}. Check the disk, then run \"allotd check\""
    )]
    Close(#[source] io::Error),
    /// The journal could not be written.
    #[error(
        "{0}. Nothing was confirmed after that; what was confirmed before is kept. Check the disk, then start again"
    )]
    Poisoned(String),
}

/// The settings of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Threads that serve; the engine must have been opened for [`HANDLES_PER_WORKER`] times as many.
    pub workers: usize,
    /// Connections that are served at the same time; any more get `overloaded`.
    pub max_connections: u64,
    /// Names under which it may be called, beside those of its addresses.
    pub allow_hosts: Vec<AllowedHost>,
    /// What the pace of a client may cost.
    pub limits: Limits,
    /// The certificates of the listeners with TLS.
    pub tls: Option<Arc<ServerTls>>,
    /// Who may call; `None` for everybody.
    pub authority: Option<Arc<Authority>>,
    /// The names of principals.
    pub registry: Arc<Registry>,
    /// The cluster that it is primary of; `None` if it stands alone.
    pub cluster: Option<Arc<Cluster>>,
    /// What operators change.
    pub audit: Arc<Audit>,
}

/// A running server.
pub struct Server {
    engine: Arc<Engine>,
    control: Control,
    wakers: Vec<Waker>,
    threads: Vec<JoinHandle<()>>,
}

impl Server {
    /// Starts the workers and the threads that accept connections.
    pub fn start(
        listeners: Vec<Listener>,
        engine: Arc<Engine>,
        config: ServerConfig,
    ) -> Result<Self, ServeError> {
        let ServerConfig {
            workers: threads_to_serve,
            max_connections,
            allow_hosts,
            limits,
            tls,
            authority,
            registry,
            cluster,
            audit,
        } = config;
        let entrances = Entrance::all(&listeners, tls.as_ref(), &registry)?;
        let addresses = addresses(&listeners)?;
        let wakers = listeners.iter().map(Listener::waker).collect::<io::Result<_>>()?;
        let stats = Arc::new(Stats::new(threads_to_serve));
        stats.set_connection_limit(max_connections);
        let api = Arc::new(Api {
            engine: Arc::clone(&engine),
            stats: Arc::clone(&stats),
            draining: AtomicBool::new(false),
            names: Names::new(&addresses, allow_hosts),
            authority,
            registry,
            cluster,
            audit,
            upkeep: Upkeep::new(engine.newest_backup()),
            bodies: Arc::new(Bodies::new(limits.clone(), threads_to_serve)),
        });
        let mut workers = Vec::new();
        let mut threads = Vec::new();
        for index in 0..threads_to_serve {
            let (tasks, receiver) = mpsc::unbounded_channel();
            workers.push(WorkerHandle { tasks, stats: stats.worker(index) });
            threads.push(start_worker(index, Arc::clone(&api), stats.worker(index), &limits, receiver)?);
        }
        let shares = Arc::new(Shares::new(max_connections, limits.connections_per_address));
        let control = Control { api, workers, shares, tls };
        for (listener, entrance) in listeners.into_iter().zip(entrances) {
            threads.push(start_acceptor(listener, entrance, control.clone())?);
        }
        Ok(Self { engine, control, wakers, threads })
    }

    /// A handle to query and change the server while it runs.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Serves until `shutdown` resolves, then drains the connections and closes the engine.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { engine, control, wakers, threads } = self;
        let poisoned = Arc::new(Notify::new());
        let poison = Arc::clone(&poisoned);
        engine.journal().on_poison(move || poison.notify_one());
        tokio::select! {
            () = shutdown => {}
            () = poisoned.notified() => {}
            () = keep_samples(&control.api.stats, engine.journal()) => {}
        }
        control.api.draining.store(true, Ordering::SeqCst);
        engine.wake_waiters();
        wakers.iter().for_each(Waker::wake);
        let started = Instant::now();
        let limit = started + Duration::from_secs(DRAIN_LIMIT_SECONDS);
        for worker in &control.workers {
            // A worker that is gone has nothing to drain.
            let _ = worker.tasks.send(Task::Drain(limit));
        }
        let ended = tokio::task::spawn_blocking(move || {
            while Instant::now() < limit && !threads.iter().all(JoinHandle::is_finished) {
                std::thread::sleep(END_POLL);
            }
            // What waits for space on a full disk has no more time.
            engine.journal().end_waits();
            for thread in threads {
                // A panic of a thread is logged already.
                drop(thread.join());
            }
            let took_ms = started.elapsed().as_millis() as u64;
            info!(event = "drained", took_ms, "all requests are answered, and the connections are closed");
            let closed = engine.close();
            match engine.journal().poisoned_by() {
                Some(why) => Err(ServeError::Poisoned(why)),
                None => closed.map_err(ServeError::Close),
            }
        });
        ended.await.map_err(io::Error::other)?
    }
}

/// Keeps samples of the counters for the stats of the last minute; never ends.
async fn keep_samples(stats: &Stats, journal: &Journal) {
    let mut interval = tokio::time::interval(Duration::from_secs(recent::SAMPLE_INTERVAL_SECONDS));
    loop {
        interval.tick().await;
        stats.keep_sample(journal.stats().sync_nanoseconds);
    }
}

/// The addresses of listeners, with the ports that the system picked.
pub fn addresses(listeners: &[Listener]) -> io::Result<Vec<ListenAddress>> {
    listeners.iter().map(Listener::address).collect()
}
