//! What an engine is opened with.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::device::Disk;
use crate::disk::files;
use crate::engine::clock::{Clocks, SystemClocks};
use crate::journal::durability::Durability;
use crate::store::damage::OnDamage;
use crate::store::data_dir;

/// Length of a journal file unless told otherwise.
pub const DEFAULT_JOURNAL_FILE_BYTES: u64 = 128 << 20;

/// How an engine is opened.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// The data directory; created if it is not there.
    pub data_dir: PathBuf,
    /// How many threads will take a [`Worker`], at most [`MAX_WORKERS`].
    pub workers: usize,
    /// What a reply promises.
    pub durability: Durability,
    /// Length of a journal file, in bytes.
    pub journal_file_bytes: u64,
    /// Whether to open a damaged directory: the numbers whose state is lost are retired.
    pub recover_damaged: bool,
    /// Where backups are made; created with the first.
    pub backup_dir: PathBuf,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The clocks.
    pub clocks: Arc<dyn Clocks>,
}

impl EngineConfig {
    /// A directory for so many threads, on the machine's disk and clocks, every reply durable.
    pub fn new(data_dir: impl Into<PathBuf>, workers: usize) -> Self {
        let data_dir = data_dir.into();
        Self {
            backup_dir: data_dir.join(data_dir::BACKUPS_DIR),
            data_dir,
            workers,
            durability: Durability::Sync,
            journal_file_bytes: DEFAULT_JOURNAL_FILE_BYTES,
            recover_damaged: false,
            disk: files::real(),
            clocks: Arc::new(SystemClocks),
        }
    }
}

impl EngineConfig {
    pub(crate) fn on_damage(&self) -> OnDamage {
        if self.recover_damaged { OnDamage::GiveUp } else { OnDamage::Refuse }
    }
}
