//! Makes spare journal files, on a thread of its own: a checkpoint that takes long does not keep the writer
//! from going through all of its files.

use std::io;

use crate::disk::files;
use crate::sys::atomics::Ordering;

use super::checkpointer::{Files, ROOM_RETRY};
use super::handle::Journal;

impl Files {
    /// Makes a spare file if there is none, after the thread that makes them has ended.
    pub(crate) fn ensure_spare(&self) -> io::Result<()> {
        if !self.has_spare() {
            let spare = self.make_spare(&|_| ())?;
            self.lock().spares.push(spare);
        }
        Ok(())
    }

    /// Makes a spare file whenever one is wanted, until [`Self::stop`].
    pub(super) fn run_spare_maker(&self, journal: &Journal) {
        loop {
            let mut state = self.lock();
            if state.stopped || journal.is_poisoned() {
                return;
            }
            if !state.wants_spare() {
                drop(self.wait(state, ROOM_RETRY));
                continue;
            }
            state.in_making += 1;
            drop(state);
            let made = self.make_spare(&|took| self.rest(journal, took));
            let mut state = self.lock();
            state.in_making -= 1;
            match made {
                Ok(spare) => {
                    state.spares.push(spare);
                    state.no_room_for.spare = false;
                    journal.stats.files.store(state.files() as u64, Ordering::Relaxed);
                    self.changed.notify_all();
                }
                Err(error) if files::is_shortage(&error) => {
                    state.no_room_for.spare = files::is_storage_full(&error);
                    self.changed.notify_all();
                    self.pause_before_retry(state);
                }
                Err(error) => {
                    drop(state);
                    return journal.poison("a journal file could not be made", &error);
                }
            }
        }
    }
}
