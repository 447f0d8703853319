//! The server: accepts connections, spreads them over the workers, and ends without losing a request.
//!
//! One thread a listener accepts; each worker is a thread with its own runtime that serves its own
//! connections. A worker shares nothing with the others but the engine.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use thiserror::Error;
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, mpsc};

use super::connection::{self, Connections, TICK_SECONDS};
use super::listener::{ListenAddress, Listener, Stream};
use super::routes::Api;
use super::worker::{self, OpenConnection};
use crate::engine::Engine;
use crate::stats::{Stats, WorkerStats};

/// Most connections that are open at the same time; more are closed at once.
pub const MAX_CONNECTIONS: u64 = 16_384;
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

/// What a worker is given.
enum Task {
    Serve(Stream, OpenConnection),
    /// End after the requests under way, by this time.
    Drain(Instant),
}

#[derive(Clone)]
struct WorkerHandle {
    tasks: mpsc::UnboundedSender<Task>,
    stats: Arc<WorkerStats>,
}

/// Serves until `shutdown` resolves, then drains the connections and closes the engine. `workers` is
/// how many threads serve; the engine must have been opened for at least as many.
pub async fn run(
    listeners: Vec<Listener>,
    engine: Arc<Engine>,
    workers: usize,
    shutdown: impl Future<Output = ()>,
) -> Result<(), ServeError> {
    let stats = Arc::new(Stats::new(workers));
    let api = Arc::new(Api {
        engine: Arc::clone(&engine),
        stats: Arc::clone(&stats),
        draining: AtomicBool::new(false),
    });
    let mut handles = Vec::new();
    let mut threads = Vec::new();
    for index in 0..workers {
        let (tasks, receiver) = mpsc::unbounded_channel();
        handles.push(WorkerHandle { tasks, stats: stats.worker(index) });
        threads.push(start_worker(index, Arc::clone(&api), stats.worker(index), receiver)?);
    }
    let mut addresses = Vec::new();
    for listener in listeners {
        addresses.push(listener.address()?);
        threads.push(start_acceptor(listener, Arc::clone(&api), handles.clone())?);
    }
    let poisoned = Arc::new(Notify::new());
    let poison = Arc::clone(&poisoned);
    engine.journal().on_poison(move || poison.notify_one());
    tokio::select! {
        () = shutdown => {}
        () = poisoned.notified() => {}
    }
    api.draining.store(true, Ordering::SeqCst);
    addresses.iter().for_each(Listener::wake);
    let limit = Instant::now() + Duration::from_secs(DRAIN_LIMIT_SECONDS);
    for handle in &handles {
        // A worker that is gone has nothing to drain.
        let _ = handle.tasks.send(Task::Drain(limit));
    }
    let ended = tokio::task::spawn_blocking(move || {
        for thread in threads {
            // A panic of a thread was printed already; the others end as they should.
            drop(thread.join());
        }
        let closed = engine.close();
        match engine.journal().poisoned_by() {
            Some(why) => Err(ServeError::Poisoned(why)),
            None => closed.map_err(ServeError::Close),
        }
    });
    ended.await.map_err(io::Error::other)?
}

fn start_acceptor(
    listener: Listener,
    api: Arc<Api>,
    workers: Vec<WorkerHandle>,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
        loop {
            let accepted = listener.accept();
            if api.draining.load(Ordering::SeqCst) {
                return;
            }
            match accepted {
                Ok(stream) if api.stats.connections().open < MAX_CONNECTIONS => assign(stream, &workers),
                // Too many: dropping it closes it.
                Ok(_) => {}
                Err(_) => std::thread::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS)),
            }
        }
    })
}

/// Gives a connection to the worker with the fewest.
fn assign(stream: Stream, workers: &[WorkerHandle]) {
    let open = |worker: &&WorkerHandle| worker.stats.open_connections.load(Ordering::Relaxed);
    if let Some(worker) = workers.iter().min_by_key(open) {
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
        .build()?;
    let committed = Arc::new(Notify::new());
    let commit = Arc::clone(&committed);
    api.engine.journal().on_commit(slot, move || commit.notify_one());
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        worker::install(engine, Arc::clone(api.engine.journal()), stats);
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
                Some(Task::Serve(stream, guard)) => {
                    // A connection that cannot be registered is closed by dropping it.
                    let _ = start_connection(stream, guard, api, &connections);
                }
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

fn start_connection(
    stream: Stream,
    guard: OpenConnection,
    api: &Arc<Api>,
    connections: &Arc<Connections>,
) -> io::Result<()> {
    let (api, connections) = (Arc::clone(api), Arc::clone(connections));
    match stream {
        Stream::Tcp(stream) => {
            stream.set_nonblocking(true)?;
            let serving = connection::serve(TcpStream::from_std(stream)?, api, connections);
            tokio::spawn(async move {
                serving.await;
                drop(guard);
            });
        }
        Stream::Unix(stream) => {
            stream.set_nonblocking(true)?;
            let serving = connection::serve(UnixStream::from_std(stream)?, api, connections);
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
