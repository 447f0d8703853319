//! The life of the daemon: bind, open, serve, stop.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::info;

use crate::auth::authority::Authority;
use crate::auth::registry::Registry;
use crate::auth::tokens_file::TokensFileError;
use crate::disk::{bus_error, files};
use crate::engine::registry::Engine;
use crate::engine::startup::config::EngineConfig;
use crate::http::address::ListenAddress;
use crate::http::audit::{Audit, AuditError};
use crate::http::cluster::Cluster;
use crate::http::limits::Limits;
use crate::http::server::control::Control;
use crate::http::server::listener::{BindError, Listener};
use crate::http::server::tls::ServerTls;
use crate::http::server::tls::error::TlsError;
use crate::http::server::tls::files::{LoadedTls, TlsFiles};
use crate::http::server::{self, HANDLES_PER_WORKER, ServeError, Server, ServerConfig};
use crate::journal::StartError;
use crate::store::open_error::OpenError;
use crate::sys::descriptors;

use super::cluster::error::ClusterError;
use super::config::Config;
use super::descriptors::limit_connections;
use super::reload::Reloader;
use super::{service_manager, startup_log, supervisor};

/// An open data directory.
pub(crate) struct Opened {
    pub(crate) engine: Arc<Engine>,
    took: Duration,
}

/// Reads the config file again at each SIGHUP. Without it, SIGHUP ends the process.
pub(crate) struct OnHangup {
    signal: Signal,
    reloader: Reloader,
}

/// Why the daemon did not start or stopped.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DaemonError {
    /// The daemon cannot listen on an address.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// The certificates cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The tokens file is refused.
    #[error(transparent)]
    Tokens(#[from] TokensFileError),
    /// The audit log cannot be written.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The data directory cannot be used.
    #[error("{}", .0.told())]
    Open(#[from] OpenError),
    /// The disk has no room for the first file of the journal.
    #[error(
        "{error}. A start needs {} MiB there for a file of the journal: free some, or lower --journal-file-mib",
        file_bytes >> 20
    )]
    NoRoom {
        /// What could not be written.
        error: StartError,
        /// The size of a journal file.
        file_bytes: u64,
    },
    /// It cannot be a member of its cluster.
    #[error(transparent)]
    Cluster(#[from] ClusterError),
    /// The server did not start, or failed.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The system refuses something else that the daemon needs.
    #[error(transparent)]
    System(#[from] io::Error),
}

impl OnHangup {
    /// Handles the signal from now on. Unhandled, it ends the process.
    pub(crate) fn new(runtime: &Runtime, reloader: Reloader) -> Result<Self, DaemonError> {
        let _inside = runtime.enter();
        Ok(Self { signal: signal(SignalKind::hangup())?, reloader })
    }
}

/// The runtime of the signals and the supervisor.
pub(crate) fn runtime() -> Result<Runtime, DaemonError> {
    Ok(tokio::runtime::Builder::new_current_thread().enable_all().build()?)
}

/// What connections need: bound addresses, certificates if one of them speaks TLS, and who may call.
pub(crate) struct Bound {
    pub(super) listeners: Vec<Listener>,
    pub(super) tls: Option<LoadedTls>,
    pub(super) authority: Option<Arc<Authority>>,
    pub(super) registry: Arc<Registry>,
    audit: Arc<Audit>,
    /// The cluster that this daemon is primary of.
    cluster: Option<Arc<Cluster>>,
}

impl Bound {
    /// For the primary of a cluster.
    pub(super) fn of(self, cluster: Arc<Cluster>) -> Self {
        Self { cluster: Some(cluster), ..self }
    }
}

/// Reads the certificates and the tokens, and binds every address.
pub(crate) fn bind(config: &Config) -> Result<Bound, DaemonError> {
    let tls = config.tls.as_ref().map(TlsFiles::load).transpose()?;
    let registry = Arc::new(Registry::default());
    let authority =
        config.tokens.as_deref().map(|path| Authority::open(path, Arc::clone(&registry))).transpose()?;
    let audit = config.audit_log.as_deref().map(Audit::open).transpose()?.unwrap_or_default();
    let listeners = config.listen.iter().map(Listener::bind).collect::<Result<_, _>>()?;
    Ok(Bound {
        listeners,
        tls,
        authority: authority.map(Arc::new),
        registry,
        audit: Arc::new(audit),
        cluster: None,
    })
}

/// Opens the data directory. `json` is whether the log is JSON.
pub(crate) fn open(config: &Config, json: bool) -> Result<Opened, DaemonError> {
    let started = Instant::now();
    prepare(config, json)?;
    let opened = opened(&engine_config(config), started)?;
    startup_log::given_up(&opened.engine);
    Ok(opened)
}

/// Prepares the process for opening a data directory.
pub(super) fn prepare(config: &Config, json: bool) -> Result<(), DaemonError> {
    startup_log::starting(config);
    service_manager::status("opening the data directory");
    bus_error::end_on_bus_error(json)?;
    descriptors::raise_limit();
    Ok(())
}

/// How the data directory is opened.
pub(super) fn engine_config(config: &Config) -> EngineConfig {
    let mut engine_config = EngineConfig {
        durability: config.durability,
        journal_file_bytes: config.journal_file_bytes,
        recover_damaged: config.recover_damaged,
        accept_clock: config.accept_clock,
        serve_at_once: config.serve_at_once,
        max_numbers: config.max_numbers,
        max_backups: config.max_backups,
        events_keep: config.events_keep,
        ..EngineConfig::new(&config.data_dir, config.workers * HANDLES_PER_WORKER)
    };
    if let Some(backup_dir) = &config.backup_dir {
        engine_config.backup_dir.clone_from(backup_dir);
    }
    engine_config
}

/// An error of opening, with the room that is needed if that is what is missing.
fn with_room(error: OpenError, file_bytes: u64) -> DaemonError {
    match error {
        OpenError::Start(error) if files::is_storage_full(&error.error) => {
            DaemonError::NoRoom { error, file_bytes }
        }
        other => other.into(),
    }
}

/// Opens the data directory.
pub(super) fn opened(config: &EngineConfig, started: Instant) -> Result<Opened, DaemonError> {
    let engine = Engine::open(config).map_err(|error| with_room(error, config.journal_file_bytes))?;
    startup_log::recovered(engine.report());
    startup_log::clock_moved(engine.report(), engine.clock());
    startup_log::backups(&config.backup_dir);
    Ok(Opened { engine, took: started.elapsed() })
}

/// Serves until SIGTERM or SIGINT. `announce` is called with the addresses once new connections are sure to
/// be served.
pub(crate) fn serve<E: From<DaemonError>>(
    runtime: &Runtime,
    config: &Config,
    bound: Bound,
    opened: Opened,
    on_hangup: Option<OnHangup>,
    shutdown: impl Future<Output = ()>,
    announce: impl FnOnce(&[ListenAddress]) -> Result<(), E>,
) -> Result<(), E> {
    runtime.block_on(async {
        let Bound { listeners, tls, authority, registry, audit, cluster } = bound;
        let shutdown = until_ended(shutdown, cluster.clone());
        let addresses = server::addresses(&listeners).map_err(DaemonError::from)?;
        // The sockets are listening: connections from now on will be served.
        announce(&addresses)?;
        let Opened { engine, took } = opened;
        if let Some(tls) = &tls {
            startup_log::certificate(tls);
        }
        if let Some(authority) = &authority {
            startup_log::tokens(authority);
        }
        let server_config = ServerConfig {
            workers: config.workers,
            max_connections: config.max_connections,
            allow_hosts: config.allow_hosts.clone(),
            limits: Limits {
                json_body_bytes: config.max_json_bytes,
                upload_bytes: config.max_upload_bytes,
                connections_per_address: config.max_connections_per_address,
                ..Limits::default()
            },
            tls: tls.map(|tls| Arc::new(ServerTls::new(tls))),
            authority,
            registry,
            cluster,
            audit,
        };
        let server =
            Server::start(listeners, Arc::clone(&engine), server_config).map_err(DaemonError::from)?;
        let control = server.control().clone();
        let max_connections = limit_connections(config.max_connections, &control);
        control.set_max_connections(max_connections);
        startup_log::exposed(config);
        startup_log::ready(config, max_connections, &addresses, &engine, took);
        service_manager::ready(READY_STATUS);
        let ended = tokio::select! {
            ended = server.serve(shutdown) => ended,
            never = supervisor::supervise(&control, engine.journal()) => match never {},
            never = hang_ups(on_hangup, &control) => match never {},
        };
        ended.map_err(DaemonError::from)?;
        info!(event = "stopped", "allotd has stopped: all data is on the disk");
        Ok(())
    })
}

/// What systemd shows while requests are served.
const READY_STATUS: &str = "serving";

/// Waits for the shutdown, or for the end of leading a cluster.
async fn until_ended(shutdown: impl Future<Output = ()>, cluster: Option<Arc<Cluster>>) {
    let handed_over = async {
        match &cluster {
            Some(cluster) => cluster.handed_over.notified().await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = shutdown => {}
        () = handed_over => info!(event = "handing_over", "an operator hands the cluster over to another member"),
    }
    if let Some(cluster) = &cluster {
        cluster.end_file_changes().await;
    }
}

/// Handles the signals that end the daemon from now on; the result waits for one.
pub(crate) fn shutdown(runtime: &Runtime) -> Result<impl Future<Output = ()> + use<>, DaemonError> {
    let _inside = runtime.enter();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        service_manager::stopping();
        info!(
            event = "stopping",
            signal, "no new connections are accepted; requests in progress are answered"
        );
    })
}

async fn hang_ups(on_hangup: Option<OnHangup>, control: &Control) -> Infallible {
    if let Some(OnHangup { mut signal, mut reloader }) = on_hangup {
        while signal.recv().await.is_some() {
            reloader.reload(control);
            // Also if nothing changed: systemd waits for it.
            service_manager::ready(READY_STATUS);
        }
    }
    std::future::pending().await
}
