//! A worker thread: a runtime of its own that serves its connections.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::time::MissedTickBehavior;

use crate::client::ByteStream;
use crate::http::caller::Caller;
use crate::http::calls::Api;
use crate::http::counters::WorkerStats;
use crate::http::lanes::BLOCKING_THREADS_PER_WORKER;
use crate::http::limits::Limits;
use crate::http::worker_state::{self, OpenConnection};
use crate::sys::background;

use super::connection;
use super::connections::{Admission, Connections, Deadlines};
use super::entrance::Entrance;
use super::listener::Stream;
use super::shares::Place;
use super::tls::ServerTls;

/// How often the drain checks whether all requests are answered, in milliseconds.
const DRAIN_POLL_MILLISECONDS: u64 = 10;

/// A task for a worker.
pub(crate) enum Task {
    Serve(Stream, Arc<Entrance>, OpenConnection, Place),
    /// Refuse a connection, as there are too many.
    Refuse(Stream, Arc<Entrance>, Place),
    /// Confirm that the worker processes its tasks.
    Answer(oneshot::Sender<()>),
    /// End after the requests in progress, at this time at the latest.
    Drain(Instant),
}

/// A handle to a worker for other threads.
#[derive(Clone)]
pub(crate) struct WorkerHandle {
    pub(crate) tasks: mpsc::UnboundedSender<Task>,
    pub(crate) stats: Arc<WorkerStats>,
}

pub(crate) fn start_worker(
    index: usize,
    api: Arc<Api>,
    stats: Arc<WorkerStats>,
    limits: &Limits,
    tasks: mpsc::UnboundedReceiver<Task>,
) -> io::Result<JoinHandle<()>> {
    let deadlines = Deadlines::of(limits);
    let (engine, batches) = (api.engine.worker(), api.engine.worker());
    let (slot, parking) = (engine.slot(), Arc::clone(api.engine.journal()));
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(BLOCKING_THREADS_PER_WORKER)
        .on_thread_park(move || parking.wake_for(slot))
        // This affects the blocking threads only; the runtime does not start the worker's own thread.
        .on_thread_start(background::lower_priority)
        .build()?;
    let committed = Arc::new(Notify::new());
    let commit = Arc::clone(&committed);
    api.engine.journal().on_commit(slot, move || commit.notify_one());
    std::thread::Builder::new().name(format!("worker-{index}")).spawn(move || {
        worker_state::install(engine, batches, &api.engine, Arc::clone(&api.audit), stats);
        runtime.block_on(work(&api, tasks, &committed, deadlines));
        // Cuts what has not ended by now; a blocking call runs to its end, so that nothing is left half done.
        drop(runtime);
        worker_state::uninstall();
    })
}

async fn work(
    api: &Arc<Api>,
    mut tasks: mpsc::UnboundedReceiver<Task>,
    committed: &Notify,
    deadlines: Deadlines,
) {
    let connections = Arc::new(Connections::new(deadlines));
    let mut tick = tokio::time::interval(deadlines.tick);
    // A worker that was late holds nobody to time that it did not have.
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            task = tasks.recv() => match task {
                // A connection that cannot be registered is closed by dropping it.
                Some(Task::Serve(stream, entrance, guard, place)) => {
                    let (guard, welcome) = ((Some(guard), place), Admission::Served);
                    let _ = start_connection(stream, &entrance, guard, welcome, api, &connections);
                }
                Some(Task::Refuse(stream, entrance, place)) => {
                    let (guard, welcome) = ((None, place), Admission::Refused);
                    let _ = start_connection(stream, &entrance, guard, welcome, api, &connections);
                }
                // The receiver may have given up.
                Some(Task::Answer(asked)) => drop(asked.send(())),
                Some(Task::Drain(limit)) => {
                    return tokio::select! {
                        () = drain(&connections, limit) => {}
                        () = open_gates(committed) => {}
                    };
                }
                None => return,
            },
            () = committed.notified() => worker_state::with(|state| state.gates.open_committed()),
            _ = tick.tick() => {
                connections.tick();
                worker_state::tick();
            }
        }
    }
}

/// What a connection keeps until it ends.
type Guard = (Option<OpenConnection>, Place);

/// Serves a connection in its own task, which keeps `guard` until it ends.
fn start_connection(
    stream: Stream,
    entrance: &Entrance,
    guard: Guard,
    welcome: Admission,
    api: &Arc<Api>,
    connections: &Arc<Connections>,
) -> io::Result<()> {
    let (api, connections) = (Arc::clone(api), Arc::clone(connections));
    match stream {
        Stream::Tcp(stream) => {
            stream.set_nonblocking(true)?;
            let caller = entrance.tcp_caller(stream.peer_addr());
            let stream = TcpStream::from_std(stream)?;
            match &entrance.tls {
                None => spawn(connection::serve(stream, caller, welcome, api, connections), guard),
                Some(tls) => {
                    spawn(serve_tls(stream, Arc::clone(tls), caller, welcome, api, connections), guard);
                }
            }
        }
        Stream::Unix(stream) => {
            stream.set_nonblocking(true)?;
            let caller = entrance.unix_caller(&stream)?;
            let stream: Box<dyn ByteStream> = Box::new(UnixStream::from_std(stream)?);
            spawn(connection::serve(stream, caller, welcome, api, connections), guard);
        }
    }
    Ok(())
}

fn spawn(serving: impl Future<Output = ()> + Send + 'static, guard: Guard) {
    tokio::spawn(async move {
        serving.await;
        drop(guard);
    });
}

/// Serves a connection behind its handshake.
async fn serve_tls(
    stream: TcpStream,
    tls: Arc<ServerTls>,
    caller: Caller,
    welcome: Admission,
    api: Arc<Api>,
    connections: Arc<Connections>,
) {
    let Some(accepted) = tls.accept(stream).await else { return };
    // The drain has passed the connections by that were not made yet.
    if api.draining.load(Ordering::SeqCst) {
        return;
    }
    let caller = caller.behind(&accepted, &tls);
    let stream: Box<dyn ByteStream> = Box::new(accepted.stream);
    connection::serve(stream, caller, welcome, api, connections).await;
}

/// Opens the gates of this worker's connections as the journal commits.
async fn open_gates(committed: &Notify) {
    loop {
        committed.notified().await;
        worker_state::with(|state| state.gates.open_committed());
    }
}

async fn drain(connections: &Connections, limit: Instant) {
    connections.drain();
    while connections.any_open() && Instant::now() < limit {
        tokio::time::sleep(Duration::from_millis(DRAIN_POLL_MILLISECONDS)).await;
    }
}
