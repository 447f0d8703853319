//! The state that all pools of an engine share, and the slots of its threads.

use std::path::PathBuf;
use std::sync::Arc;

use crate::disk::device::Disk;
use crate::disk::mapping::Sharing;
use crate::domain::lease_token::SECRET_BYTES;
use crate::journal::handle::Journal;
use crate::sys::slot::Slot;
use crate::sys::sync::Mutex;

use super::clock::Clock;
use super::idempotency::Keys;
use super::worker::Worker;

/// The state that all pools of an engine share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<Clock>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) keys: Keys,
    /// How the words are mapped.
    pub(crate) sharing: Sharing,
    pub(crate) secret: [u8; SECRET_BYTES],
    /// Number of slots: one per calling thread, and the engine's own ([`OWN_SLOTS`]).
    pub(crate) slots: usize,
    /// The handle for operators' calls. They run one at a time, from any thread.
    pub(crate) operator: Mutex<Worker>,
    /// Numbers that a segment that grows has room for.
    pub(crate) growing_numbers: u32,
    /// Where files are built before they are moved into place.
    pub(crate) staging_dir: PathBuf,
}
/// Maximum number of threads that call the engine.
pub const MAX_WORKERS: usize = 1_024;
/// Slots that the engine reserves for itself: those of the operators, the sweeper, the merger and the
/// checkpoint.
pub(crate) const OWN_SLOTS: usize = 4;
pub(crate) const OPERATOR_SLOT: Slot = Slot(0);
pub(crate) const SWEEPER_SLOT: Slot = Slot(1);
pub(crate) const MERGER_SLOT: Slot = Slot(2);
pub(crate) const CHECKPOINT_SLOT: Slot = Slot(3);
