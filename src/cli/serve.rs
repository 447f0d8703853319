//! `allotd serve`: the daemon.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{error, info};

use crate::cli::CliError;
use crate::config::{Config, ServeArgs};
use crate::daemon::reload::Reloader;
use crate::daemon::{events, service_manager, supervisor};
use crate::disk::bus_error;
use crate::engine::registry::Engine;
use crate::engine::startup::config::EngineConfig;
use crate::http::address::ListenAddress;
use crate::http::server::control::Control;
use crate::http::server::listener::Listener;
use crate::http::server::{self, Server, ServerConfig};
use crate::log;

use super::output;

/// An open data directory.
pub(super) struct Opened {
    pub(super) engine: Arc<Engine>,
    took: Duration,
}

/// Reads the config file again at each SIGHUP. Without it the signal ends the process.
pub(super) struct OnHangup {
    signal: Signal,
    reloader: Reloader,
}

pub(super) fn run(args: ServeArgs) -> Result<(), CliError> {
    let config = args.clone().into_config()?;
    let json = log::start(&config.log);
    tell_failure(|| {
        let runtime = runtime()?;
        // Before all that takes a while: it would end a process that does not wait for it.
        let signal = {
            let _inside = runtime.enter();
            signal(SignalKind::hangup()).map_err(|error| failed(&error))?
        };
        let on_hangup = OnHangup { signal, reloader: Reloader::new(args, config.clone()) };
        // Before the data directory, which may take a while: a port in use is told at once.
        let listeners = bind(&config)?;
        let opened = open(&config, json)?;
        serve(&runtime, &config, listeners, opened, Some(on_hangup), "")
    })
}

/// Tells the log of a failure, which ends the daemon.
pub(super) fn tell_failure(work: impl FnOnce() -> Result<(), CliError>) -> Result<(), CliError> {
    match work() {
        Err(CliError::Failed(message)) => {
            // Whole: it names files and places in them, and no telephone number.
            error!(event = "failed", "{message}");
            Err(CliError::Told)
        }
        other => other,
    }
}

fn failed(error: &dyn std::fmt::Display) -> CliError {
    CliError::Failed(error.to_string())
}

/// What the signals and the looks at the server run on.
pub(super) fn runtime() -> Result<Runtime, CliError> {
    tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|error| failed(&error))
}

/// Binds every address.
pub(super) fn bind(config: &Config) -> Result<Vec<Listener>, CliError> {
    let bound = config.listen.iter().map(Listener::bind).collect::<Result<_, _>>();
    bound.map_err(|error| failed(&error))
}

/// Opens the data directory. `json` says how the log is written.
pub(super) fn open(config: &Config, json: bool) -> Result<Opened, CliError> {
    events::starting(config);
    service_manager::status("opening the data directory");
    let started = Instant::now();
    bus_error::end_on_bus_error(json).map_err(|error| failed(&error))?;
    let mut engine_config = EngineConfig {
        durability: config.durability,
        journal_file_bytes: config.journal_file_bytes,
        recover_damaged: config.recover_damaged,
        ..EngineConfig::new(&config.data_dir, config.workers)
    };
    if let Some(backup_dir) = &config.backup_dir {
        engine_config.backup_dir.clone_from(backup_dir);
    }
    let engine = Engine::open(&engine_config).map_err(|error| failed(&error))?;
    events::recovered(engine.report());
    Ok(Opened { engine, took: started.elapsed() })
}

/// Serves until SIGTERM or SIGINT. `greeting` follows the lines that name the addresses, with `{url}`
/// replaced by the first of them as curl takes it.
pub(super) fn serve(
    runtime: &Runtime,
    config: &Config,
    listeners: Vec<Listener>,
    opened: Opened,
    on_hangup: Option<OnHangup>,
    greeting: &str,
) -> Result<(), CliError> {
    runtime.block_on(async {
        let shutdown = shutdown()?;
        let addresses = server::addresses(&listeners).map_err(|error| failed(&error))?;
        // The sockets are bound and listened on: what connects from now on is served.
        output::print(&welcome(&addresses, greeting))?;
        let Opened { engine, took } = opened;
        let server_config = ServerConfig {
            workers: config.workers,
            max_connections: config.max_connections,
            allow_hosts: config.allow_hosts.clone(),
        };
        let server =
            Server::start(listeners, Arc::clone(&engine), server_config).map_err(|error| failed(&error))?;
        events::ready(config, &addresses, &engine, took);
        service_manager::ready(READY_STATUS);
        let control = server.control().clone();
        let ended = tokio::select! {
            ended = server.serve(shutdown) => ended,
            never = supervisor::supervise(&control, engine.journal()) => match never {},
            never = hang_ups(on_hangup, &control) => match never {},
        };
        ended.map_err(|error| failed(&error))?;
        info!(event = "stopped", "allotd has ended: all is on the disk");
        Ok(())
    })
}

/// What systemd shows while requests are served.
const READY_STATUS: &str = "serving";

/// The lines that name the addresses, and the greeting.
fn welcome(addresses: &[ListenAddress], greeting: &str) -> String {
    let mut text = String::new();
    for address in addresses {
        text.push_str("listening on ");
        text.push_str(&address.to_string());
        text.push('\n');
    }
    let url = addresses.first().map(|address| match address {
        ListenAddress::Tcp(address) => format!("http://{address}"),
        ListenAddress::Unix(path) => format!("--unix-socket {} http://localhost", path.display()),
    });
    text.push_str(&greeting.replace("{url}", &url.unwrap_or_default()));
    text
}

/// Waits for the signals that end the daemon, from now on.
fn shutdown() -> Result<impl Future<Output = ()>, CliError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(|error| failed(&error))?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| failed(&error))?;
    Ok(async move {
        let signal = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        service_manager::stopping();
        info!(event = "stopping", signal, "no more connections are taken; requests under way are answered");
    })
}

async fn hang_ups(on_hangup: Option<OnHangup>, control: &Control) -> Infallible {
    if let Some(OnHangup { mut signal, mut reloader }) = on_hangup {
        while signal.recv().await.is_some() {
            reloader.reload(control);
            // Also where nothing changed: systemd waits for it.
            service_manager::ready(READY_STATUS);
        }
    }
    std::future::pending().await
}
