//! Defaults and limits of the settings.

use crate::engine::startup::config::DEFAULT_JOURNAL_FILE_BYTES;
use crate::journal::running::MIN_FILE_BYTES;

/// Milliseconds between syncs with durability `interval`, by default.
pub const DEFAULT_SYNC_INTERVAL_MS: u32 = 100;
/// Longest time between syncs, in milliseconds.
pub const MAX_SYNC_INTERVAL_MS: u32 = 60_000;
/// Default size of a journal file, in MiB.
pub(crate) const DEFAULT_JOURNAL_FILE_MIB: u32 = (DEFAULT_JOURNAL_FILE_BYTES >> 20) as u32;
/// Smallest journal file, in MiB.
pub const MIN_JOURNAL_FILE_MIB: u32 = (MIN_FILE_BYTES >> 20) as u32;
/// Largest journal file, in MiB. Recovery reads up to three files, so the size limits how long it takes.
pub const MAX_JOURNAL_FILE_MIB: u32 = 1_024;
/// Most worker threads.
pub const MAX_WORKERS: usize = 256;
/// Seconds that a primary may be silent, unless given.
pub const DEFAULT_CLUSTER_TTL_SECONDS: u32 = 3;
/// Most of them.
pub const MAX_CLUSTER_TTL_SECONDS: u32 = 60;
/// How much of the log is kept for a member that is away, in MiB, unless given.
pub const DEFAULT_LOG_KEEP_MIB: u32 = 256;
