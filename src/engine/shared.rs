//! What all pools of an engine share, and the slots of its threads.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use crate::disk::device::Disk;
use crate::disk::mapping::Sharing;
use crate::domain::lease_token::SECRET_BYTES;
use crate::journal::handle::Journal;
use crate::sys::slot::Slot;

use super::clock::Clock;
use super::idempotency::Keys;
use super::worker::Worker;

/// What all pools of an engine share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<Clock>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) keys: Keys,
    /// How the words are mapped.
    pub(crate) sharing: Sharing,
    pub(crate) secret: [u8; SECRET_BYTES],
    /// How many threads call the engine, the operators' one included.
    pub(crate) slots: usize,
    /// The operators' calls come one after another, from whatever thread.
    pub(crate) operator: Mutex<Worker>,
    /// Where files are put together before they are moved to their place.
    pub(crate) staging_dir: PathBuf,
}
/// Most threads that call the engine.
pub const MAX_WORKERS: usize = 1_024;
/// Slots of threads that the engine has of its own: the operators' and the sweeper's.
pub(crate) const OWN_SLOTS: usize = 2;
pub(crate) const OPERATOR_SLOT: Slot = Slot(0);
pub(crate) const SWEEPER_SLOT: Slot = Slot(1);
