//! `allotd serve --check`: what would keep the daemon from starting, or from serving well, without starting it.

mod files;
pub(crate) mod finding;
mod mounts;

use std::net::TcpListener;
use std::path::Path;
use std::sync::Arc;

use crate::auth::authority::Authority;
use crate::auth::registry::Registry;
use crate::backup;
use crate::disk::directory_lock::DirectoryLock;
use crate::disk::space::{DiskSpace, space_of};
use crate::http::address::ListenAddress;
use crate::http::server::tls::files::{TlsFiles, shown};
use crate::journal::checkpointer::MAX_FILES;
use crate::journal::durability::Durability;
use crate::state::time::EPOCH_UNIX_SECONDS;
use crate::sys::clock_sync::is_synchronized;
use crate::sys::descriptors;

use super::config::Config;
use finding::Finding;

/// Descriptors that the daemon has open besides its connections, before it has pools.
const OWN_DESCRIPTORS: u64 = 64;

/// Looks at everything that `config` names.
pub(crate) fn look(config: &Config) -> Vec<Finding> {
    let is_in_use = is_in_use(&config.data_dir);
    let mut found =
        vec![Finding::fine("config", "the flags, the environment and the config file are understood")];
    found.extend(config.tls.as_ref().map(certificates));
    found.extend(config.tokens.as_deref().map(tokens));
    found.push(files::look(&config.data_dir));
    if is_in_use {
        found.push(Finding::fine("data", format!("a daemon runs on {}", config.data_dir.display())));
    } else {
        found.extend(config.listen.iter().map(|listener| address(&listener.address)));
    }
    found.push(backups(config));
    found.push(mounts::look(&config.data_dir));
    found.push(space(config, is_in_use));
    found.push(open_files(config.max_connections));
    found.push(clock());
    found
}

/// Whether a daemon has locked a data directory.
fn is_in_use(data_dir: &Path) -> bool {
    let path = data_dir.join("LOCK");
    path.exists() && matches!(DirectoryLock::take(path), Ok(None))
}

fn certificates(files: &TlsFiles) -> Finding {
    match files.load() {
        Ok(loaded) => Finding::fine("certificate", format!("it is valid until {}", shown(loaded.expires))),
        Err(error) => Finding::fault("certificate", error.to_string()),
    }
}

fn tokens(path: &Path) -> Finding {
    match Authority::open(path, Arc::new(Registry::default())) {
        Ok(authority) => Finding::fine("tokens", format!("{} principals", authority.principals())),
        Err(error) => Finding::fault("tokens", error.to_string()),
    }
}

/// Whether an address of TCP is free. A socket file is made by the start alone.
fn address(address: &ListenAddress) -> Finding {
    match address {
        ListenAddress::Tcp(socket) => match TcpListener::bind(socket) {
            Ok(_) => Finding::fine("listen", format!("{address} is free")),
            Err(error) => {
                Finding::fault("listen", format!("{address}: {error}; choose another with --listen"))
            }
        },
        ListenAddress::Unix(_) => Finding::fine("listen", format!("{address} is made at the start")),
    }
}

fn backups(config: &Config) -> Finding {
    let dir = config.backup_dir.clone().unwrap_or_else(|| config.data_dir.join("backups"));
    match backup::check_directory(&dir) {
        Ok(()) => Finding::fine("backups", format!("{} can be written", dir.display())),
        Err(error) => Finding::fault("backups", format!("no backup can be made: {error}")),
    }
}

/// What a start allocates at once: a journal file, unless one is spare. What it removes before is room too.
fn needed_at_start(config: &Config) -> u64 {
    let spares = std::fs::read_dir(config.data_dir.join("journal")).into_iter().flatten().flatten();
    let spares = spares.filter(|entry| entry.file_name().to_string_lossy().starts_with("spare-"));
    let mut removed = 0;
    for spare in spares {
        let length = spare.metadata().map_or(0, |metadata| metadata.len());
        if length == config.journal_file_bytes && !spare.file_name().to_string_lossy().ends_with(".new") {
            return 0;
        }
        removed += length;
    }
    config.journal_file_bytes.saturating_sub(removed)
}

fn space(config: &Config, is_in_use: bool) -> Finding {
    let there = config.data_dir.ancestors().find(|place| place.exists()).unwrap_or(Path::new("."));
    let needed = MAX_FILES as u64 * config.journal_file_bytes;
    let at_start =
        if is_in_use || config.durability == Durability::None { 0 } else { needed_at_start(config) };
    match space_of(there) {
        Ok(DiskSpace { free_bytes, .. }) if free_bytes < at_start => Finding::fault(
            "space",
            format!(
                "{} MiB are free, and a start needs {} MiB for a file of the journal, which has up to {MAX_FILES}: free \
                 some, or lower --journal-file-mib",
                free_bytes >> 20,
                at_start >> 20
            ),
        ),
        Ok(DiskSpace { free_bytes, .. }) if free_bytes < needed => Finding::warning(
            "space",
            format!(
                "{} MiB are free, and the journal takes up to {} MiB: free some, or lower --journal-file-mib",
                free_bytes >> 20,
                needed >> 20
            ),
        ),
        Ok(DiskSpace { free_bytes, .. }) => {
            Finding::fine("space", format!("{} MiB are free", free_bytes >> 20))
        }
        Err(error) => Finding::warning("space", format!("the system does not tell it: {error}")),
    }
}

fn open_files(max_connections: u64) -> Finding {
    descriptors::raise_limit();
    let Some(limit) = descriptors::limit() else { return Finding::fine("open files", "there is no limit") };
    let possible = limit.saturating_sub(descriptors::reserve(limit) + OWN_DESCRIPTORS);
    if possible < max_connections {
        let text = format!(
            "{limit} may be open, which allows about {possible} connections, fewer than --max-connections \
             ({max_connections}): raise the limit (ulimit -n, LimitNOFILE=), or lower it"
        );
        return Finding::warning("open files", text);
    }
    Finding::fine("open files", format!("{limit} may be open"))
}

fn clock() -> Finding {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let shown = humantime::format_rfc3339_seconds(std::time::SystemTime::now());
    if now.as_secs() < EPOCH_UNIX_SECONDS {
        return Finding::fault("clock", format!("it says {shown}: set it"));
    }
    match is_synchronized() {
        Some(true) => Finding::fine("clock", format!("it says {shown}, and is synchronized")),
        Some(false) => Finding::warning(
            "clock",
            format!("it says {shown}, and nothing keeps it synchronized: run chrony or systemd-timesyncd"),
        ),
        None => Finding::fine("clock", format!("it says {shown}; whether it is synchronized is not known")),
    }
}
