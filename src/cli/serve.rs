//! `allotd serve`: the daemon.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, output};
use crate::config::{Config, ServeArgs};
use crate::disk;
use crate::engine::{Engine, EngineConfig};
use crate::http::listener::{ListenAddress, Listener};
use crate::http::server::{self, ServerConfig};

pub(super) fn run(args: ServeArgs) -> Result<(), CliError> {
    let config = args.into_config()?;
    // Before the data directory, which may take a while: a port in use is told at once.
    let listeners = bind(&config)?;
    let engine = open(&config)?;
    serve(&config, listeners, engine, "")
}

/// Binds every address.
pub(super) fn bind(config: &Config) -> Result<Vec<Listener>, CliError> {
    let bound = config.listen.iter().map(Listener::bind).collect::<Result<_, _>>();
    bound.map_err(|error| CliError::Failed(error.to_string()))
}

/// Opens the data directory.
pub(super) fn open(config: &Config) -> Result<Arc<Engine>, CliError> {
    disk::end_on_bus_error().map_err(|error| CliError::Failed(error.to_string()))?;
    let mut engine_config = EngineConfig {
        durability: config.durability,
        journal_file_bytes: config.journal_file_bytes,
        recover_damaged: config.recover_damaged,
        ..EngineConfig::new(&config.data_dir, config.workers)
    };
    if let Some(backup_dir) = &config.backup_dir {
        engine_config.backup_dir.clone_from(backup_dir);
    }
    let engine = Engine::open(&engine_config).map_err(|error| CliError::Failed(error.to_string()))?;
    if !engine.report().journal.files.is_empty() {
        eprintln!("allotd: {}", engine.report());
    }
    Ok(engine)
}

/// Serves until SIGTERM or SIGINT. `greeting` follows the lines that name the addresses, with `{url}`
/// replaced by the first of them as curl takes it.
pub(super) fn serve(
    config: &Config,
    listeners: Vec<Listener>,
    engine: Arc<Engine>,
    greeting: &str,
) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).map_err(|error| failed(&error))?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed(&error))?;
        let addresses = server::addresses(&listeners).map_err(|error| failed(&error))?;
        let mut text = String::new();
        for address in &addresses {
            text.push_str("listening on ");
            text.push_str(&address.to_string());
            text.push('\n');
        }
        let url = addresses.first().map(|address| match address {
            ListenAddress::Tcp(address) => format!("http://{address}"),
            ListenAddress::Unix(path) => format!("--unix-socket {} http://localhost", path.display()),
        });
        // The sockets are bound and listened on: what connects from now on is served.
        text.push_str(&greeting.replace("{url}", &url.unwrap_or_default()));
        output::print(&text)?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        let server_config = ServerConfig {
            workers: config.workers,
            max_connections: config.max_connections,
            allow_hosts: config.allow_hosts.clone(),
        };
        server::run(listeners, engine, server_config, shutdown).await.map_err(|error| failed(&error))
    })
}
