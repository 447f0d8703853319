//! Whether the journal accepts changes: not while the disk is full or standbys are missing, and never again once
//! the disk has failed or the daemon ends.

use std::io;
use std::sync::PoisonError;

use tracing::{error, info, warn};

use crate::sys::atomics::Ordering;

use super::handle::{FULL, Journal, OPEN, POISONED, TOO_FEW_REPLICAS};

impl Journal {
    /// Sets the callback for when the journal is poisoned. Once.
    pub fn on_poison(&self, callback: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_poison.set(Box::new(callback));
        if let (true, Some(callback)) = (self.is_poisoned(), self.on_poison.get()) {
            callback();
        }
    }

    /// Sets the callback for when changes begin to be refused. Once.
    pub(crate) fn on_refusal(&self, callback: impl Fn() + Send + Sync + 'static) {
        let _ = self.on_refusal.set(Box::new(callback));
    }

    fn refused(&self) {
        if let Some(callback) = self.on_refusal.get() {
            callback();
        }
    }

    /// Whether changes are refused because the disk is full.
    pub(super) fn is_full(&self) -> bool {
        self.state.load(Ordering::Relaxed) == FULL
    }

    pub(super) fn set_full(&self, full: bool) {
        let (from, to) = if full { (OPEN, FULL) } else { (FULL, OPEN) };
        // The load keeps the exchange rare.
        if self.state.load(Ordering::Relaxed) != from
            || self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_err()
        {
            return;
        }
        if full {
            self.refused();
            warn!(
                event = "storage_full",
                "the disk of the data directory is full and changes are refused: free some space; changes \
                 then work again without a restart"
            );
        } else {
            info!(
                event = "storage_free",
                "changes are accepted again: the disk has space, or the journal has files of its own that are free"
            );
        }
    }

    /// Refuses changes, or accepts them again, as standbys go and come.
    pub(crate) fn set_too_few_replicas(&self, too_few: bool) {
        let (from, to) = if too_few { (OPEN, TOO_FEW_REPLICAS) } else { (TOO_FEW_REPLICAS, OPEN) };
        if self.state.compare_exchange(from, to, Ordering::SeqCst, Ordering::SeqCst).is_err() {
            return;
        }
        if too_few {
            self.refused();
            warn!(
                event = "too_few_replicas",
                "too few standbys are there: changes are refused until there are enough"
            );
        } else {
            info!(event = "replicas", "enough standbys are there: changes are accepted");
        }
    }

    /// Whether the file being written is half full and there is no spare one. Another needs the running
    /// checkpoint to end or more space on the disk.
    pub(crate) fn is_running_low(&self) -> bool {
        self.scarce.load(Ordering::Relaxed)
    }

    /// Whether the disk failed: nothing more is confirmed.
    pub fn is_poisoned(&self) -> bool {
        self.state.load(Ordering::SeqCst) == POISONED
    }

    /// Whether nothing more is committed: the disk failed, or the journal is closed.
    pub(super) fn has_ended(&self) -> bool {
        self.is_poisoned() || self.ended.load(Ordering::SeqCst)
    }

    /// Call when the daemon ends: a writer that waits for space on the disk then fails instead. What it could
    /// not write was never confirmed.
    pub fn end_waits(&self) {
        self.ending.store(true, Ordering::SeqCst);
        self.wake_writer();
    }

    /// Whether the writer must not wait for space.
    pub(super) fn is_ending(&self) -> bool {
        self.ending.load(Ordering::SeqCst)
    }

    /// Marks the writer as ended.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    /// Why the journal is poisoned.
    pub fn poisoned_by(&self) -> Option<String> {
        self.poison.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops all confirmations. Those already sent remain valid. Only the first reason is kept.
    pub fn poison(&self, what: &str, error: &io::Error) {
        let mut poison = self.poison.lock().unwrap_or_else(PoisonError::into_inner);
        if poison.is_some() {
            return;
        }
        let reason = format!("{what}: {error}");
        *poison = Some(reason.clone());
        self.state.store(POISONED, Ordering::SeqCst);
        drop(poison);
        // Until the writer runs, the opening of the data directory reports the failure itself.
        // What another member may have taken over is no failure of the disk.
        if self.writer.get().is_some() && self.may_answer() {
            error!(
                event = "poisoned",
                reason,
                "the disk failed: the daemon confirms nothing more and stops; check the disk and the \
                 system's log, then start it again"
            );
        }
        self.queues.wake_all(|slot| self.wake_slot(slot));
        if let Some(callback) = self.on_poison.get() {
            callback();
        }
        self.refused();
        self.wake_writer();
    }
}
