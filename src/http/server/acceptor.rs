//! Accepts connections and spreads them over the worker threads.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use tracing::warn;

use crate::http::worker_state::OpenConnection;
use crate::log;
use crate::sys::descriptors;

use super::control::Control;
use super::entrance::Entrance;
use super::listener::{Listener, Stream};
use super::shares::Place;
use super::worker_thread::{Task, WorkerHandle};

/// How long accepting pauses after an error such as too many open files, in milliseconds.
const ACCEPT_PAUSE_MILLISECONDS: u64 = 50;

pub(crate) fn start_acceptor(
    listener: Listener,
    entrance: Arc<Entrance>,
    control: Control,
) -> io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
        let Control { api, workers, shares, .. } = control;
        let limit = descriptors::limit();
        let reserve = limit.map_or(0, descriptors::reserve);
        loop {
            let accepted = listener.accept();
            if api.draining.load(Ordering::SeqCst) {
                return;
            }
            // The last descriptors are for files: half of them may be used to refuse connections.
            let leaves = |stream: &Stream, reserved| !descriptors::is_among_last(stream, limit, reserved);
            match accepted {
                Ok((stream, address)) => {
                    let open = api.stats.connections().open;
                    let place = |reserved| leaves(&stream, reserved);
                    let served = if place(reserve) { shares.served(address, open) } else { None };
                    let refused =
                        if served.is_none() && place(reserve / 2) { shares.refused(address) } else { None };
                    match (served, refused) {
                        (Some(place), _) => assign(stream, &entrance, place, &workers),
                        (None, Some(place)) => {
                            if let Some(worker) = least_loaded(&workers) {
                                let _ = worker.tasks.send(Task::Refuse(stream, Arc::clone(&entrance), place));
                            }
                        }
                        // Too many even to be refused: dropping the stream closes it.
                        (None, None) => {}
                    }
                }
                Err(error) => {
                    log_not_accepted(&error);
                    std::thread::sleep(Duration::from_millis(ACCEPT_PAUSE_MILLISECONDS));
                }
            }
        }
    })
}

fn log_not_accepted(error: &io::Error) {
    if let Some(suppressed) = log::limit::ACCEPT_FAILED.admit() {
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

/// Gives a connection to the worker that has the fewest.
fn assign(stream: Stream, entrance: &Arc<Entrance>, place: Place, workers: &[WorkerHandle]) {
    if let Some(worker) = least_loaded(workers) {
        let guard = OpenConnection::new(Arc::clone(&worker.stats));
        // A worker that is gone closes the connection by dropping it.
        let _ = worker.tasks.send(Task::Serve(stream, Arc::clone(entrance), guard, place));
    }
}
