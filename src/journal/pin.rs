//! Keeps journal files while a backup reads them.

use std::sync::Arc;

use super::checkpointer::{Files, Pinned};

/// Keeps journal files from reuse while a backup reads them. The reader must release each file soon after it
/// is full: when the writer has no file left, the pin is revoked.
pub struct Pin {
    files: Arc<Files>,
    id: u64,
    first: u64,
}

impl Files {
    /// Keeps the file being written and all after it until the pin releases them. `None` while there is
    /// another pin.
    pub(crate) fn pin(self: &Arc<Self>) -> Option<Pin> {
        let mut state = self.lock();
        if state.pinned.is_some() {
            return None;
        }
        let first = state.last_closed + 1;
        state.pins += 1;
        let id = state.pins;
        state.pinned = Some(Pinned { id, from: first });
        Some(Pin { files: Arc::clone(self), id, first })
    }

    /// Replaces what the pin keeps, unless it was revoked.
    fn repin(&self, id: u64, from: Option<u64>) {
        let mut state = self.lock();
        if state.pinned.is_some_and(|pin| pin.id == id) {
            state.pinned = from.map(|from| Pinned { id, from });
            self.changed.notify_all();
        }
    }
}

impl Pin {
    /// The oldest file kept. It and those after it hold all that was recorded since the pin was made.
    pub fn first(&self) -> u64 {
        self.first
    }

    /// Whether a file is full: nothing more is written to it.
    pub fn is_closed(&self, file_sequence: u64) -> bool {
        self.files.lock().last_closed >= file_sequence
    }

    /// Whether the journal stops. Then the pin keeps no file.
    pub fn is_stopped(&self) -> bool {
        self.files.lock().stopped
    }

    /// Whether the journal needed the files. They may be overwritten already.
    pub fn is_revoked(&self) -> bool {
        self.files.lock().pinned.is_none_or(|pin| pin.id != self.id)
    }

    /// Releases all files before this one.
    pub fn keep_from(&self, file_sequence: u64) {
        self.files.repin(self.id, Some(file_sequence));
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        self.files.repin(self.id, None);
    }
}
