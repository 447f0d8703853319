//! The state that all pools of an engine share, and the slots of its threads.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use crate::disk::device::Disk;
use crate::disk::mapping::Sharing;
use crate::domain::lease_token::SECRET_BYTES;
use crate::journal::handle::Journal;
use crate::sys::slot::Slot;
use crate::sys::sync::{Condvar, Mutex};

use super::budgets::Budgets;
use super::clock::Clock;
use super::events::Events;
use super::idempotency::Keys;
use super::lists::Lists;
use super::waiting::announcements::Announcements;

/// The state that all pools of an engine share.
pub(crate) struct Shared {
    pub(crate) clock: Arc<Clock>,
    pub(crate) journal: Arc<Journal>,
    /// For new files, staging, totals and backups: a failure there fails the call alone.
    pub(crate) disk: Arc<dyn Disk>,
    /// For what confirmations depend on and is in use (`crate::store::fail_stop_disk`): words, checksums,
    /// manifests, the directories of the pools. A failure there ends the daemon.
    pub(crate) fail_stop_disk: Arc<dyn Disk>,
    pub(crate) keys: Keys,
    /// How the words are mapped.
    pub(crate) sharing: Sharing,
    pub(crate) secret: [u8; SECRET_BYTES],
    /// Number of slots: one per calling thread, and the engine's own ([`OWN_SLOTS`]).
    pub(crate) slots: usize,
    pub(crate) operator: Operator,
    pub(crate) lists: Lists,
    pub(crate) announcements: Arc<Announcements>,
    /// The changes for those who follow them; `None` if none are kept.
    pub(crate) events: Option<Arc<Events>>,
    /// Held while words are moved on the merger's slot.
    pub(crate) merging: Mutex<()>,
    pub(crate) budgets: Budgets,
    /// Numbers that a segment that grows has room for.
    pub(crate) growing_numbers: u32,
    /// Where files are built before they are moved into place.
    pub(crate) staging_dir: PathBuf,
}

/// The operators' slot, which a call takes for a burst of changes whose records fit the journal's queue, so that
/// nobody waits for the journal with it.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    is_taken: Mutex<bool>,
    put_back: Condvar,
}

/// Most records of one burst.
pub(crate) const BURST_RECORDS: u32 = if cfg!(allotd_shuttle) { 2 } else { 64 };

impl Operator {
    fn take(&self) -> Taken<'_> {
        let mut is_taken = self.is_taken.lock().unwrap_or_else(PoisonError::into_inner);
        while *is_taken {
            is_taken = self.put_back.wait(is_taken).unwrap_or_else(PoisonError::into_inner);
        }
        *is_taken = true;
        Taken(self)
    }
}

/// Puts the slot back when dropped.
struct Taken<'a>(&'a Operator);

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        *self.0.is_taken.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.put_back.notify_one();
    }
}

impl Shared {
    /// Makes a burst of changes on the operators' slot: at most [`BURST_RECORDS`] records. First waits, for the
    /// journal and for other operators' bursts.
    pub(crate) fn operate<T>(&self, burst: impl FnOnce(Slot) -> T) -> T {
        self.operate_with_room(BURST_RECORDS.into(), burst)
    }

    /// As [`Self::operate`], for at most `records` records. Few enough for others not to wait long.
    pub(crate) fn operate_with_room<T>(&self, records: u64, burst: impl FnOnce(Slot) -> T) -> T {
        loop {
            let taken = self.operator.take();
            if self.journal.has_room(OPERATOR_SLOT, records) {
                return burst(OPERATOR_SLOT);
            }
            drop(taken);
            self.journal.make_room(OPERATOR_SLOT, records);
        }
    }
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
