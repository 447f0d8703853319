//! Queries and changes a running server.

use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::auth::authority::Authority;
use crate::http::audit::AuditError;
use crate::http::calls::Api;
use crate::http::worker_state::OpenConnection;

use super::entrance::Entrance;
use super::listener::Stream;
use super::shares::Shares;
use super::tls::ServerTls;
use super::worker_thread::{Task, WorkerHandle};

/// A handle to a running server: its state, and the settings that can change.
#[derive(Clone)]
pub struct Control {
    pub(crate) api: Arc<Api>,
    pub(crate) workers: Vec<WorkerHandle>,
    pub(crate) shares: Arc<Shares>,
    pub(crate) tls: Option<Arc<ServerTls>>,
}

impl Control {
    /// Changes how many connections are served at the same time. Open connections stay open.
    pub fn set_max_connections(&self, max_connections: u64) {
        self.shares.set_max_connections(max_connections);
        self.api.stats.set_connection_limit(max_connections);
    }

    /// Serves one end of a pair of sockets as a connection of the first worker: for fuzzing.
    #[doc(hidden)]
    pub fn serve_stream(&self, stream: UnixStream) {
        let open = self.api.stats.connections().open;
        if let (Some(worker), Some(place)) = (self.workers.first(), self.shares.served(None, open)) {
            let guard = OpenConnection::new(Arc::clone(&worker.stats));
            let entrance = Arc::new(Entrance::of_pair(&self.api.registry));
            let _ = worker.tasks.send(Task::Serve(Stream::Unix(stream), entrance, guard, place));
        }
    }

    /// The certificates of the listeners with TLS.
    pub fn tls(&self) -> Option<&ServerTls> {
        self.tls.as_deref()
    }

    /// The tokens in force, if there are any.
    pub(crate) fn authority(&self) -> Option<&Authority> {
        self.api.authority.as_deref()
    }

    /// Opens the audit log again.
    pub(crate) fn reopen_audit(&self) -> Result<(), AuditError> {
        self.api.audit.reopen()
    }

    /// Keeps how a reload ended, for the statistics. `error` is why it failed.
    pub(crate) fn reloaded(&self, error: Option<String>) {
        self.api.upkeep.reloaded(self.api.engine.now(), error);
    }

    /// How far the system's clock is ahead of the time that leases are counted in, in seconds.
    pub(crate) fn clock_ahead_seconds(&self) -> f64 {
        self.api.engine.clock().system_ahead_seconds()
    }

    /// How many connections are open.
    pub fn open_connections(&self) -> u64 {
        self.api.stats.connections().open
    }

    /// Whether the shutdown has begun.
    pub fn is_draining(&self) -> bool {
        self.api.draining.load(Ordering::SeqCst)
    }

    /// The first worker that does not process a task within `patience`; `None` while draining, which has its
    /// own limit.
    pub async fn silent_worker(&self, patience: Duration) -> Option<usize> {
        let limit = tokio::time::Instant::now() + patience;
        let asked: Vec<_> = self
            .workers
            .iter()
            .map(|worker| {
                let (sender, answer) = oneshot::channel();
                // If the worker is gone the sender is dropped, and the receiver reports that.
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
