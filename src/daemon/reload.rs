//! SIGHUP: reads the config file again. Settings that can change while the daemon runs change; for the others
//! the log says that they need a restart. An invalid file changes nothing.

use tracing::{error, info, warn};

use crate::auth::authority::TokenTable;
use crate::auth::tokens_file::TokensFileError;
use crate::daemon::config::args::ServeArgs;
use crate::http::server::control::Control;
use crate::http::server::tls::error::TlsError;
use crate::http::server::tls::files::{LoadedTls, TlsFiles};
use crate::log::{self, LogConfig};

use super::config::Config;
use super::descriptors::limit_connections;
use super::{service_manager, startup_log};

/// The settings in force, and the arguments they came from.
pub(crate) struct Reloader {
    args: ServeArgs,
    running: Config,
}

impl Reloader {
    pub(crate) fn new(args: ServeArgs, running: Config) -> Self {
        Self { args, running }
    }

    /// Reads the file, the certificates and the tokens again. Flags and the environment still take precedence. If any of
    /// it is refused, nothing changes.
    pub(crate) fn reload(&mut self, control: &Control) {
        service_manager::reloading();
        let path = self.args.config.as_ref().map(|path| path.display().to_string());
        let Config { tls, tokens, audit_log, .. } = &self.running;
        if path.is_none() && tls.is_none() && tokens.is_none() && audit_log.is_none() {
            // Nothing that should be in force is not: this is no failure to be alarmed about.
            warn!(event = "reload_failed", "there is no config file to read again: start with --config FILE");
            return;
        }
        let read = self.args.clone().into_config().map_err(|error| error.to_string());
        let read = read.and_then(|config| {
            let tls = self.load_tls(&config, control).map_err(|error| error.to_string())?;
            let tokens = read_tokens(&config, control).map_err(|error| error.to_string())?;
            Ok((config, tls, tokens))
        });
        match read {
            Ok((config, tls, tokens)) => {
                self.take(&config, control);
                let reopened = control.reopen_audit();
                if let Err(error) = &reopened {
                    error!(event = "audit_failed", "{error}");
                }
                if let (Some(table), Some(authority)) = (tokens, control.authority()) {
                    authority.exchange(table);
                    startup_log::tokens(authority);
                }
                if let (Some(loaded), Some(running)) = (tls, control.tls()) {
                    startup_log::certificate(&loaded);
                    running.exchange(loaded);
                }
                let LogConfig { level, shows_numbers, slow_call_ms, .. } = self.running.log;
                info!(
                    event = "reloaded",
                    config = path,
                    log_level = level.as_str(),
                    log_numbers = shows_numbers,
                    slow_call_ms,
                    max_connections = self.running.max_connections,
                    "the config file, the certificates and the tokens were read again"
                );
                control.reloaded(reopened.err().map(|error| error.to_string()));
            }
            Err(error) => {
                error!(event = "reload_failed", config = path, "nothing was changed: {error}");
                control.reloaded(Some(error));
            }
        }
    }

    /// The certificates that a configuration names, if the running listeners have any. What these were allowed
    /// to listen with stays: they may be where others reach them, whatever the new configuration says of it.
    fn load_tls(&self, config: &Config, control: &Control) -> Result<Option<LoadedTls>, TlsError> {
        if control.tls().is_none() || loosens(&self.running, config) {
            return Ok(None);
        }
        config.tls.as_ref().map(TlsFiles::load).transpose()
    }

    fn take(&mut self, config: &Config, control: &Control) {
        for setting in fixed_that_differ(&self.running, config) {
            warn!(event = "restart_needed", setting, "{setting} changed in the file: it needs a restart");
        }
        self.running.log = LogConfig { format: self.running.log.format, ..config.log };
        log::change(&self.running.log);
        self.running.max_connections = limit_connections(config.max_connections, control);
        control.set_max_connections(self.running.max_connections);
    }
}

/// Whether clients without a certificate are refused.
fn requires_certificates(config: &Config) -> bool {
    config.tls.as_ref().is_some_and(|tls| tls.client_required)
}

/// Whether clients without a certificate would be served by listeners that were to refuse them.
fn loosens(running: &Config, new: &Config) -> bool {
    requires_certificates(running) && !requires_certificates(new)
}

/// The tokens of a configuration, if the running daemon has any.
fn read_tokens(config: &Config, control: &Control) -> Result<Option<TokenTable>, TokensFileError> {
    match (&config.tokens, control.authority()) {
        (Some(path), Some(authority)) => authority.read(path).map(Some),
        _ => Ok(None),
    }
}

/// The keys whose settings differ and cannot change while the daemon runs.
fn fixed_that_differ(running: &Config, new: &Config) -> Vec<&'static str> {
    // Destructured in full, so that a new setting cannot be left out.
    let Config {
        data_dir,
        listen,
        // The files that it names are read and exchanged.
        tls: _,
        tokens,
        allow_plain_text,
        allow_anyone,
        allow_hosts,
        workers,
        max_connections: _,
        max_connections_per_address,
        max_json_bytes,
        max_upload_bytes,
        max_numbers,
        max_backups,
        events_keep,
        durability,
        journal_file_bytes,
        backup_dir,
        audit_log,
        recover_damaged,
        accept_clock,
        serve_at_once,
        cluster,
        log,
    } = new;
    let LogConfig { level: _, format, shows_numbers: _, slow_call_ms: _ } = log;
    let differ = [
        ("data", *data_dir != running.data_dir),
        ("listen", *listen != running.listen),
        // Another file is read; whether there is one decides who is served at all.
        ("tokens", tokens.is_some() != running.tokens.is_some()),
        ("tls_client_required", loosens(running, new)),
        ("allow_plain_text", *allow_plain_text != running.allow_plain_text),
        ("allow_anyone", *allow_anyone != running.allow_anyone),
        ("allow_host", *allow_hosts != running.allow_hosts),
        ("workers", *workers != running.workers),
        ("max_connections_per_address", *max_connections_per_address != running.max_connections_per_address),
        ("max_json", *max_json_bytes != running.max_json_bytes),
        ("max_upload", *max_upload_bytes != running.max_upload_bytes),
        ("max_numbers", *max_numbers != running.max_numbers),
        ("max_backups", *max_backups != running.max_backups),
        ("events_keep", *events_keep != running.events_keep),
        ("durability", *durability != running.durability),
        ("journal_file_mib", *journal_file_bytes != running.journal_file_bytes),
        ("backup_dir", *backup_dir != running.backup_dir),
        ("audit_log", *audit_log != running.audit_log),
        ("recover_damaged", *recover_damaged != running.recover_damaged),
        ("accept_clock", *accept_clock != running.accept_clock),
        ("serve_at_once", *serve_at_once != running.serve_at_once),
        ("cluster", *cluster != running.cluster),
        ("log_format", *format != running.log.format),
    ];
    differ.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}
