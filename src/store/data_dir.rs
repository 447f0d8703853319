//! The data directory: its layout.
//!
//! ```text
//! data/
//!   LOCK                     held by the one daemon that uses the directory (mode 0600); names the format
//!   secret                   key of the tokens (mode 0600), then its CRC32C
//!   keys                     live `Idempotency-Key`s as of the last checkpoint
//!   totals-0, totals-1       what the pools have counted, see `super::totals_file`
//!   journal/                 see `crate::journal`
//!   events/                  the changes that are kept, see `super::event_log`
//!   given-up/                numbers whose state was lost, by `--recover-damaged`
//!   staging/                 unfinished files; emptied at each start
//!   backups/                 see `crate::backup`, unless they are kept elsewhere
//!   lists/optouts/…         a list that pools are blocked by, see `super::list_files`
//!   pools/ru/pool.toml       settings and the list of segments, replaced atomically
//!   pools/ru/0001.numbers    portable 64-bit Roaring, immutable, CRC in pool.toml
//!   pools/ru/0002.growing    numbers in the order of their addition, see `super::growing_file`
//!   pools/ru/0001.words      one little-endian u64 per number
//!   pools/ru/0001.sums       checksums of the words
//! ```

use std::path::{Path, PathBuf};

/// The name of the file that lists a backup's files.
pub(crate) const CONTENTS_FILE: &str = "BACKUP";
/// The default directory of backups, in the data directory.
pub(crate) const BACKUPS_DIR: &str = "backups";
/// The name of the staging directory in the data directory.
pub(crate) const STAGING_DIR: &str = "staging";

/// Where the journal's files are.
pub(crate) fn journal_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// Where the changes are that are kept for those who follow them.
pub(crate) fn events_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("events")
}

/// Where the pools are.
pub(crate) fn pools_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("pools")
}

/// Where the numbers are listed whose state was lost and given up.
pub(crate) fn given_up_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("given-up")
}

/// Where the lists are.
pub(crate) fn lists_dir(data_dir: &Path) -> PathBuf {
    data_dir.join("lists")
}
