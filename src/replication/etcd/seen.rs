//! What was seen of the log by the watch.

use crate::replication::log::{Entries, View};

/// Entries that wait to be taken, in bytes; with more, all of them are read anew.
const MAX_WAITING_BYTES: usize = 32 << 20;

#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) view: View,
    /// Entries as they came, ascending and without a gap.
    pub(super) entries: Entries,
    pub(super) entry_bytes: usize,
}

impl Seen {
    pub(super) fn take(&mut self, sequence: u64, entry: &[u8]) {
        let follows = self.entries.last().is_none_or(|(last, _)| last + 1 == sequence);
        if !follows || self.entry_bytes + entry.len() > MAX_WAITING_BYTES {
            self.entries.clear();
            self.entry_bytes = 0;
        }
        self.entry_bytes += entry.len();
        self.entries.push((sequence, entry.to_vec()));
    }

    /// The entries from `from` on that have come.
    pub(super) fn from(&mut self, from: u64) -> Entries {
        match self.entries.iter().position(|(sequence, _)| *sequence == from) {
            Some(0) => {
                self.entry_bytes = 0;
                std::mem::take(&mut self.entries)
            }
            Some(index) => {
                let later = self.entries.split_off(index);
                self.entries.clear();
                self.entry_bytes = 0;
                later
            }
            None => Entries::new(),
        }
    }
}
