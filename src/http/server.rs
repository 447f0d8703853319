//! The server: accepts connections, spreads them over the workers, and ends without losing a request.
//!
//! One thread a listener accepts; each worker is a thread with its own runtime that serves its own
//! connections. A worker shares nothing with the others but the engine.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tracing::{info, warn};

use crate::engine::registry::Engine;
use crate::log::limit;
use crate::stats::{Stats, WorkerStats, recent};
use crate::sys::background;

use super::connection::{self, Connections, TICK_SECONDS, Welcome};
use super::listener::{ListenAddress, Listener, Stream};
use super::origin::{AllowedHost, Names, Via};
use super::routes::Api;
use super::worker::{self, OpenConnection};

/// Most connections that are open at the same time, unless [`ServerConfig`] says otherwise.
pub const DEFAULT_MAX_CONNECTIONS: u64 = 16_384;
/// Connections beyond the limit that are open to be told so; more are closed at once.
const MAX_REFUSED_CONNECTIONS: usize = 64;
/// How long the drain waits for requests under way, in seconds.
pub const DRAIN_LIMIT_SECONDS: u64 = 10;
/// Threads for blocking calls (imports, exports, scans) of one worker.
const BLOCKING_THREADS_PER_WORKER: usize = 8;
/// How long accepting pauses after an error such as too many open files, in milliseconds.
const ACCEPT_PAUSE_MILLISECONDS: u64 = 50;
/// How often the drain looks whether all is answered, in milliseconds.
const DRAIN_POLL_MILLISECONDS: u64 = 10;

/// Why the server could not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// A thread or a runtime could not be made.
    #[error("the server's threads could not be started: {0}. Raise the limits on threads and open files")]
    Threads(#[from] io::Error),
    /// The words could not be written at the end.
    #[error(
        "the state of the numbers could not be written to the disk: {0}. Check the disk, then \"allotd check\""
    )]
    Close(#[source] io::Error),
    /// The journal could not be written.
    #[error(
        "{0}. Nothing was confirmed after that; what was confirmed before is kept. Check the disk, then start again"
    )]
    Poisoned(String),
}

/// How a server runs.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Threads that serve; the engine must have been opened for at least as many.
    pub workers: usize,
    /// Connections that are served at the same time; one more is told `overloaded`.
    pub max_connections: u64,
    /// Names under which it may be called, beside those of its addresses.
    pub allow_hosts: Vec<AllowedHost>,
}

/// What a worker is given.
enum Task {
    Serve(Stream, OpenConnection),
    /// Tell that there are too many. The second part counts these connections by its clones.
    Refuse(Stream, Arc<()>),
    /// Say that the worker comes to its tasks.
    Answer(oneshot::Sender<()>),
    /// End after the requests under way, by this time.
    Drain(Instant),
}

/// A worker as the other threads know it.
#[derive(Clone)]
struct WorkerHandle {
    tasks: mpsc::UnboundedSender<Task>,
    stats: Arc<WorkerStats>,
}

/// A server whose threads run.
pub struct Server {
    engine: Arc<Engine>,
    control: Control,
    addresses: Vec<ListenAddress>,
    threads: Vec<JoinHandle<()>>,
}

/// What can be asked of a server, and changed, while it serves.
#[derive(Clone)]
pub struct Control {
    api: Arc<Api>,
    workers: Vec<WorkerHandle>,
    max_connections: Arc<AtomicU64>,
}

impl Control {
    /// Changes how many connections are served at the same time, for those that come from now on.
    pub fn set_max_connections(&self, max_connections: u64) {
        self.max_connections.store(max_connections, Ordering::Relaxed);
    }

    /// Whether the shutdown has begun.
    pub fn is_draining(&self) -> bool {
        self.api.draining.load(Ordering::SeqCst)
    }

    /// The first worker that does not come to its tasks within `patience`. One that drains has its own limit.
    pub async fn silent_worker(&self, patience: Duration) -> Option<usize> {
        let limit = tokio::time::Instant::now() + patience;
        let asked: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let (sender, answer) = oneshot::channel();
                // Dropped with its answer where the worker is gone.
                let _ = worker.tasks.send(Task::Answer(sender));
                answer
            })
            .collect();
        for (index, answer) in asked.into_iter().enumerate() {
            let answered = tokio::time::timeout_at(limit, answer).await;
            if !matches!(answered, Ok(Ok(()))) && !self.is_draining() {
                return Some(index);
            }
        }
        None
    }
}

impl Server {
    /// Starts the workers, and accepts connections.
    pub fn start(
        listeners: Vec<Listener>,
        engine: Arc<Engine>,
        config: ServerConfig,
    ) -> Result<Self, ServeError> {
        let ServerConfig { workers: threads_to_serve, max_connections, allow_hosts } = config;
        let addresses = addresses(&listeners)?;
        let stats = Arc::new(Stats::new(threads_to_serve));
        let api = Arc::new(Api {
            engine: Arc::clone(&engine),
            stats: Arc::clone(&stats),
            draining: AtomicBool::new(false),
            names: Names::new(&addresses, allow_hosts),
        });
        let mut workers = Vec::new();
        let mut threads = Vec::new();
        for index in 0..threads_to_serve {
            let (tasks, receiver) = mpsc::unbounded_channel();
            workers.push(WorkerHandle { tasks, stats: stats.worker(index) });
            threads.push(start_worker(index, Arc::clone(&api), stats.worker(index), receiver)?);
        }
        let control = Control { api, workers, max_connections: Arc::new(AtomicU64::new(max_connections)) };
        for listener in listeners {
            threads.push(start_acceptor(listener, control.clone())?);
        }
        Ok(Self { engine, control, addresses, threads })
    }

    /// What can be changed while it serves.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Serves until `shutdown` resolves, then drains the connections and closes the engine.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) -> Result<(), ServeError> {
        let Self { engine, control, addresses, threads } = self;
        let poisoned = Arc::new(Notify::new());
        let poison = Arc::clone(&poisoned);
        engine.journal().on_poison(move || poison.notify_one());
        tokio::select! {
            () = shutdown => {}
            () = poisoned.notified() => {}
            () = keep_samples(&control.api.stats) => {}
        }
        control.api.draining.store(true, Ordering::SeqCst);
        addresses.iter().for_each(Listener::wake);
        let started = Instant::now();
        let limit = started + Duration::from_secs(DRAIN_LIMIT_SECONDS);
        for worker in &control.workers {
            // A worker that is gone has nothing to drain.
            let _ = worker.tasks.send(Task::Drain(limit));
        }
        let ended = tokio::task::spawn_blocking(move || {
            for thread in threads {
                // A panic of a thread was told already; the others end as they should.
                drop(thread.join());
            }
            let took_ms = started.elapsed().as_millis() as u64;
            info!(event = "drained", took_ms, "all requests are answered, and the connections closed");
            let closed = engine.close();
            match engine.journal().poisoned_by() {
                Some(why) => Err(ServeError::Poisoned(why)),
                None => closed.map_err(ServeError::Close),
            }
        });
        ended.await.map_err(io::Error::other)?
    }
}

/// Keeps what is counted, for the stats of the last minute; never ends.
async fn keep_samples(stats: &Stats) {
    let mut interval = tokio::time::interval(Duration::from_secs(recent::SAMPLE_INTERVAL_SECONDS));
    loop {
        interval.tick().await;
        stats.keep_sample();
    }
}

fn start_acceptor(listener: Listener, control: Control) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
        let Control { api, workers, max_connections } = control;
        let refused = Arc::new(());
        loop {
            let accepted = listener.accept();
            if api.draining.load(Ordering::SeqCst) {
                return;
            }
            let has_room = || api.stats.connections().open < max_connections.load(Ordering::Relaxed);
            match accepted {
                Ok(stream) if has_room() => assign(stream, &workers),
                Ok(stream) if Arc::strong_count(&refused) <= MAX_REFUSED_CONNECTIONS => {
                    if let Some(worker) = least_loaded(&workers) {
                        let _ = worker.tasks.send(Task::Refuse(stream, Arc::clone(&refused)));
                    }
                }
                // Too many even to be told: dropping it closes it.
                Ok(_) => {}
                Err(error) => {
                    tell_not_accepted(&error);
                    std::thread::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS));
                }
            }
        }
    })
}

fn tell_not_accepted(error: &io::Error) {
    if let Some(suppressed) = limit::ACCEPT_FAILED.admit() {
        warn!(
            event = "accept_failed",
            %error,
            suppressed,
            "a connection could not be accepted: raise the limit on open files (LimitNOFILE=), or use fewer connections"
        );
    }
}

fn least_loaded(workers: &[WorkerHandle]) -> Option<&WorkerHandle> {
    workers.iter().min_by_key(|worker| worker.stats.open_connections.load(Ordering::Relaxed))
}

/// Gives a connection to the worker with the fewest.
fn assign(stream: Stream, workers: &[WorkerHandle]) {
    if let Some(worker) = least_loaded(workers) {
        let guard = OpenConnection::new(Arc::clone(&worker.stats));
        // A worker that is gone closes the connection by dropping it.
        let _ = worker.tasks.send(Task::Serve(stream, guard));
    }
}

fn start_worker(
    index: usize,
    api: Arc<Api>,
    stats: Arc<WorkerStats>,
    tasks: mpsc::UnboundedReceiver<Task>,
) -> io::Result<JoinHandle<()>> {
    let engine = api.engine.worker();
    let (slot, parking) = (engine.slot(), Arc::clone(api.engine.journal()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_PER_WORKER)
        .on_thread_park(move || parking.wake_for(slot))
        // Its blocking threads; the worker's own is not started by it.
        .on_thread_start(background::step_back)
        .build()?;
    let committed = Arc::new(Notify::new());
    let commit = Arc::clone(&committed);
    api.engine.journal().on_commit(slot, move || commit.notify_one());
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        worker::install(engine, &api.engine, stats);
        runtime.block_on(work(&api, tasks, &committed));
        // What has not ended by now is cut; a blocking call runs to its end, so that nothing is left half done.
        drop(runtime);
        worker::uninstall();
    })
}

async fn work(api: &Arc<Api>, mut tasks: mpsc::UnboundedReceiver<Task>, committed: &Notify) {
    let connections = Arc::new(Connections::default());
    let mut tick = tokio::time::interval(Duration::from_secs(TICK_SECONDS.into()));
    loop {
        tokio::select! {
            task = tasks.recv() => match task {
                // A connection that cannot be registered is closed by dropping it.
                Some(Task::Serve(stream, guard)) => {
                    let _ = start_connection(stream, guard, Welcome::Served, api, &connections);
                }
                Some(Task::Refuse(stream, guard)) => {
                    let _ = start_connection(stream, guard, Welcome::Refused, api, &connections);
                }
                // Whoever asked may have given up.
                Some(Task::Answer(asked)) => drop(asked.send(())),
                Some(Task::Drain(limit)) => {
                    return tokio::select! {
                        () = drain(&connections, limit) => {}
                        () = open_gates(committed) => {}
                    };
                }
                None => return,
            },
            () = committed.notified() => worker::with(|state| state.gates.open_committed()),
            _ = tick.tick() => connections.tick(),
        }
    }
}

/// Serves a connection in a task of its own; `guard` lives as long as it.
fn start_connection(
    stream: Stream,
    guard: impl Send + 'static,
    welcome: Welcome,
    api: &Arc<Api>,
    connections: &Arc<Connections>,
) -> io::Result<()> {
    let (api, connections) = (Arc::clone(api), Arc::clone(connections));
    match stream {
        Stream::Tcp(stream) => {
            stream.set_nonblocking(true)?;
            let serving =
                connection::serve(TcpStream::from_std(stream)?, Via::Tcp, welcome, api, connections);
            tokio::spawn(async move {
                serving.await;
                drop(guard);
            });
        }
        Stream::Unix(stream) => {
            stream.set_nonblocking(true)?;
            let serving =
                connection::serve(UnixStream::from_std(stream)?, Via::Unix, welcome, api, connections);
            tokio::spawn(async move {
                serving.await;
                drop(guard);
            });
        }
    }
    Ok(())
}

/// Opens the gates of this worker's connections as the journal commits.
async fn open_gates(committed: &Notify) {
    loop {
        committed.notified().await;
        worker::with(|state| state.gates.open_committed());
    }
}

async fn drain(connections: &Connections, limit: Instant) {
    connections.drain();
    while connections.any_open() && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(DRAIN_POLL_MILLISECONDS)).await;
    }
}

/// The addresses of listeners, as they are told to people.
pub fn addresses(listeners: &[Listener]) -> io::Result<Vec<ListenAddress>> {
    listeners.iter().map(Listener::address).collect()
}
