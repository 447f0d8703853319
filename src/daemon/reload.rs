//! SIGHUP: reads the config file again. Settings that can change while the daemon runs change; for the others
//! the log says that they need a restart. An invalid file changes nothing.

use tracing::{error, info, warn};

use crate::daemon::config::args::ServeArgs;
use crate::http::server::control::Control;
use crate::log::{self, LogConfig};

use super::config::Config;
use super::descriptors::limit_connections;
use super::service_manager;

/// The settings in force, and the arguments they came from.
pub(crate) struct Reloader {
    args: ServeArgs,
    running: Config,
}

impl Reloader {
    pub(crate) fn new(args: ServeArgs, running: Config) -> Self {
        Self { args, running }
    }

    /// Reads the file again. Flags and the environment still take precedence.
    pub(crate) fn reload(&mut self, control: &Control) {
        service_manager::reloading();
        let Some(path) = self.args.config.clone() else {
            warn!(event = "reload_failed", "there is no config file to read again: start with --config FILE");
            return;
        };
        match self.args.clone().into_config() {
            Ok(config) => {
                self.take(&config, control);
                let LogConfig { level, shows_numbers, slow_call_ms, .. } = self.running.log;
                info!(
                    event = "reloaded",
                    config = %path.display(),
                    log_level = level.as_str(),
                    log_numbers = shows_numbers,
                    slow_call_ms,
                    max_connections = self.running.max_connections,
                    "the config file was read again"
                );
            }
            Err(error) => error!(
                event = "reload_failed",
                config = %path.display(),
                "nothing was changed: {error}"
            ),
        }
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

/// The keys whose settings differ and cannot change while the daemon runs.
fn fixed_that_differ(running: &Config, new: &Config) -> Vec<&'static str> {
    // Destructured in full, so that a new setting cannot be left out.
    let Config {
        data_dir,
        listen,
        allow_hosts,
        workers,
        max_connections: _,
        max_connections_per_address,
        max_json_bytes,
        max_upload_bytes,
        max_numbers,
        max_backups,
        durability,
        journal_file_bytes,
        backup_dir,
        recover_damaged,
        accept_clock,
        log,
    } = new;
    let LogConfig { level: _, format, shows_numbers: _, slow_call_ms: _ } = log;
    let differ = [
        ("data", *data_dir != running.data_dir),
        ("listen", *listen != running.listen),
        ("allow_host", *allow_hosts != running.allow_hosts),
        ("workers", *workers != running.workers),
        ("max_connections_per_address", *max_connections_per_address != running.max_connections_per_address),
        ("max_json", *max_json_bytes != running.max_json_bytes),
        ("max_upload", *max_upload_bytes != running.max_upload_bytes),
        ("max_numbers", *max_numbers != running.max_numbers),
        ("max_backups", *max_backups != running.max_backups),
        ("durability", *durability != running.durability),
        ("journal_file_mib", *journal_file_bytes != running.journal_file_bytes),
        ("backup_dir", *backup_dir != running.backup_dir),
        ("recover_damaged", *recover_damaged != running.recover_damaged),
        ("accept_clock", *accept_clock != running.accept_clock),
        ("log_format", *format != running.log.format),
    ];
    differ.into_iter().filter_map(|(key, differs)| differs.then_some(key)).collect()
}
