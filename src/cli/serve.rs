//! `allotd serve`: the daemon.

use clap::Args;
use tracing::error;

use crate::daemon;
use crate::daemon::config::Config;
use crate::daemon::config::args::ServeArgs;
use crate::daemon::preflight;
use crate::daemon::reload::Reloader;
use crate::daemon::run::{self, OnHangup};
use crate::http::address::ListenAddress;
use crate::log;
use crate::sys::umask;

use super::doctor;
use super::error::CliError;
use super::output;

#[derive(Debug, Args)]
pub(super) struct ServeCommand {
    #[command(flatten)]
    serve: ServeArgs,
    /// Only look whether the daemon could start and serve with these settings: files, permissions, limits, mounts, clock
    #[arg(long)]
    check: bool,
}

impl ServeCommand {
    pub(super) fn serve_args(&mut self) -> &mut ServeArgs {
        &mut self.serve
    }
}

pub(super) fn run(command: ServeCommand) -> Result<(), CliError> {
    let ServeCommand { serve: args, check } = command;
    umask::keep_private();
    let config = args.clone().into_config()?;
    if check {
        return doctor::show(&preflight::look(&config));
    }
    let json = log::start(&config.log);
    log_failure(|| {
        let runtime = run::runtime()?;
        if let Some(cluster) = &config.cluster {
            let bound = run::bind(&config)?;
            let reloader = Reloader::new(args, config.clone());
            return daemon::cluster::run(&runtime, &config, cluster, bound, (json, reloader), |addresses| {
                output::print(&welcome(&config, addresses, ""))
            });
        }
        let on_hangup = OnHangup::new(&runtime, Reloader::new(args, config.clone()))?;
        // Before the data directory, which may take long to open: a port in use is reported at once.
        let bound = run::bind(&config)?;
        let opened = run::open(&config, json)?;
        let shutdown = run::shutdown(&runtime)?;
        run::serve(&runtime, &config, bound, opened, Some(on_hangup), shutdown, |addresses| {
            output::print(&welcome(&config, addresses, ""))
        })
    })
}

/// Logs the failure that ends the daemon.
pub(super) fn log_failure(work: impl FnOnce() -> Result<(), CliError>) -> Result<(), CliError> {
    match work() {
        Err(CliError::Failed(message)) => {
            // Not masked: it names files and offsets in them, never a telephone number.
            error!(event = "failed", "{message}");
            Err(CliError::AlreadyLogged)
        }
        other => other,
    }
}

/// The lines that name the addresses, and a greeting with `{url}` replaced by the first of them as curl takes it.
pub(super) fn welcome(config: &Config, addresses: &[ListenAddress], greeting: &str) -> String {
    let mut text = String::new();
    for address in addresses {
        text.push_str("listening on ");
        text.push_str(&address.to_string());
        text.push('\n');
    }
    let scheme = if config.listen.first().is_some_and(|first| first.tls) { "https" } else { "http" };
    let url = addresses.first().map(|address| match address {
        ListenAddress::Tcp(address) => format!("{scheme}://{address}"),
        ListenAddress::Unix(path) => format!("--unix-socket {} http://localhost", path.display()),
    });
    text.push_str(&greeting.replace("{url}", &url.unwrap_or_default()));
    text
}
