//! `allotd serve`: the daemon.

use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};

use super::{CliError, output};
use crate::config::{Config, ServeArgs};
use crate::engine::{Engine, EngineConfig};
use crate::http::listener::{ListenAddress, Listener};
use crate::http::server;

pub(super) fn run(args: ServeArgs) -> Result<(), CliError> {
    let config = args.into_config()?;
    let engine = open(&config)?;
    serve(&config, engine, "")
}

/// Opens the data directory.
pub(super) fn open(config: &Config) -> Result<Arc<Engine>, CliError> {
    let engine_config = EngineConfig {
        durability: config.durability,
        journal_file_bytes: config.journal_file_bytes,
        recover_damaged: config.recover_damaged,
        ..EngineConfig::new(&config.data_dir, config.workers)
    };
    let engine = Engine::open(&engine_config).map_err(|error| CliError::Failed(error.to_string()))?;
    if !engine.report().journal.files.is_empty() {
        eprintln!("allotd: {}", engine.report());
    }
    Ok(engine)
}

/// Serves until SIGTERM or SIGINT. `greeting` follows the lines that name the addresses, with `{url}`
/// replaced by the first of them.
pub(super) fn serve(config: &Config, engine: Arc<Engine>, greeting: &str) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(Listener::bind(address).map_err(|error| failed(&error))?);
    }
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
            unix @ ListenAddress::Unix(_) => unix.to_string(),
        });
        // The sockets are bound: what connects from now on is served.
        text.push_str(&greeting.replace("{url}", &url.unwrap_or_default()));
        output::print(&text)?;
        let shutdown = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        server::run(listeners, engine, config.workers, shutdown).await.map_err(|error| failed(&error))
    })
}
