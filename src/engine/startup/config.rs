//! The configuration that an engine is opened with.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::device::Disk;
use crate::disk::files;
use crate::engine::clock::{Clocks, SystemClocks};
use crate::journal::durability::Durability;
use crate::journal::on_damage::OnDamage;
use crate::journal::replica::Replica;
use crate::store::data_dir;
use crate::store::event_log::Keep;

/// Default length of a journal file.
pub const DEFAULT_JOURNAL_FILE_BYTES: u64 = 128 << 20;

/// Default number of numbers that a segment has room for which grows by single additions. They are not sorted,
/// so a choice among them by range reads them all.
pub const DEFAULT_GROWING_NUMBERS: u32 = 1_024;

/// How an engine is opened.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The data directory; created if it does not exist.
    pub data_dir: PathBuf,
    /// How many threads take a [`Worker`](crate::engine::worker::Worker), at most
    /// [`MAX_WORKERS`](crate::engine::shared::MAX_WORKERS).
    pub workers: usize,
    /// What a response guarantees.
    pub durability: Durability,
    /// Length of a journal file, in bytes.
    pub journal_file_bytes: u64,
    /// Whether to open a damaged directory. Numbers whose state is lost are then retired.
    pub recover_damaged: bool,
    /// How many numbers gather before they are sorted, 1 to 65,535.
    pub growing_numbers: u32,
    /// Whether to believe a clock that is far ahead of the journal
    /// ([`MAX_CLOCK_AHEAD_YEARS`](crate::engine::clock::MAX_CLOCK_AHEAD_YEARS)).
    pub accept_clock: bool,
    /// Whether pools give leases at once that a restore paused.
    pub serve_at_once: bool,
    /// Numbers that all pools together may have.
    pub max_numbers: Option<u64>,
    /// Backups that may be in [`Self::backup_dir`].
    pub max_backups: Option<u64>,
    /// How many changes are kept for those who follow them; `None` for none. With [`Durability::None`] none are.
    pub events_keep: Option<Keep>,
    /// Where backups are made; created with the first backup.
    pub backup_dir: PathBuf,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clocks.
    pub clocks: Arc<dyn Clocks>,
    /// Who changes the directory.
    pub membership: Membership,
}

/// Whether other machines have a part in the directory.
#[derive(Debug, Clone, Default)]
pub enum Membership {
    /// It is this machine's alone.
    #[default]
    Single,
    /// It follows a log: opening it only recovers what it has, and nothing changes by time or by itself.
    Following,
    /// Its changes stand in this log before they are told.
    Leading(Arc<dyn Replica>),
}

impl EngineConfig {
    /// A configuration for `workers` threads on the system's disk and clocks, with every response durable.
    pub fn new(data_dir: impl Into<PathBuf>, workers: usize) -> Self {
        let data_dir = data_dir.into();
        Self {
            backup_dir: data_dir.join(data_dir::BACKUPS_DIR),
            data_dir,
            workers,
            durability: Durability::Sync,
            journal_file_bytes: DEFAULT_JOURNAL_FILE_BYTES,
            recover_damaged: false,
            growing_numbers: DEFAULT_GROWING_NUMBERS,
            accept_clock: false,
            serve_at_once: false,
            max_numbers: None,
            max_backups: None,
            events_keep: None,
            disk: files::real(),
            clocks: Arc::new(SystemClocks),
            membership: Membership::Single,
        }
    }
}

impl EngineConfig {
    pub(crate) fn on_damage(&self) -> OnDamage {
        if self.recover_damaged { OnDamage::GiveUp } else { OnDamage::Refuse }
    }
}
