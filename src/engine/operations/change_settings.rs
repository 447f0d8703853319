//! Changing a pool's settings, pausing and resuming it. The manifest is written first.

use std::sync::Arc;

use crate::domain::note::Note;
use crate::domain::settings::{Settings, SettingsChange};
use crate::engine::pool::{ChangeError, Mode, Pool};
use crate::engine::shared::SWEEPER_SLOT;

impl Pool {
    /// Changes settings and returns the new ones. When this returns, no lease of a number is given that is on a list
    /// which blocks the pool.
    pub fn change_settings(self: &Arc<Self>, change: &SettingsChange) -> Result<Arc<Settings>, ChangeError> {
        let names_lists =
            change.outcomes.is_some() || change.blocked_by.is_some() || change.attempts.is_some();
        // Before the manifest's lock, so that no list is deleted that the settings name.
        let changing = names_lists.then(|| self.shared.lists.begin_change());
        let mut counted = None;
        let settings = self.change_manifest(
            |manifest| -> Result<(), ChangeError> {
                let next = manifest.settings.changed(change)?;
                if names_lists {
                    self.shared.lists.check(&next)?;
                }
                if next.attempts.is_some() && manifest.settings.attempts.is_none() {
                    let largest = self.find_largest();
                    self.raise_floor(manifest, &largest)?;
                    counted = Some(largest);
                }
                manifest.settings = next;
                if let Some(note) = &change.note {
                    manifest.note = note.clone();
                }
                Ok(())
            },
            |manifest| {
                let settings = Arc::new(manifest.settings.clone());
                self.outcomes.add(settings.outcomes.keys().map(String::as_str));
                // Before the settings: attempts count from here on.
                self.set_round(manifest.round, manifest.attempts_floor);
                let other_hours = self.settings.load().hours != settings.hours;
                self.settings.store(settings.clone());
                if other_hours {
                    self.use_hours();
                }
                if change.note.is_some() {
                    self.note.store(Some(Arc::new(manifest.note.clone())));
                }
                if names_lists { self.enter_lists(&settings).map(|()| settings) } else { Ok(settings) }
            },
        )??;
        drop(changing);
        if let Some(largest) = counted {
            self.count_anew(&largest)?;
        }
        if change.blocked_by.is_some() {
            self.refresh_blocked();
            self.shared.journal.wait_for(SWEEPER_SLOT, self.shared.journal.settled_position(SWEEPER_SLOT))?;
        }
        Ok(settings)
    }

    /// What the operator has to say, unless it is nothing.
    pub fn note(&self) -> Option<Arc<Note>> {
        self.note.load_full().filter(|note| !note.is_empty())
    }

    /// Refuses new leases until [`Self::resume`].
    pub fn pause(&self) -> Result<(), ChangeError> {
        self.set_paused(true)
    }

    /// Allows new leases again.
    pub fn resume(&self) -> Result<(), ChangeError> {
        self.set_paused(false)
    }

    fn set_paused(&self, paused: bool) -> Result<(), ChangeError> {
        self.change_manifest(
            |manifest| -> Result<(), ChangeError> {
                manifest.paused = paused;
                Ok(())
            },
            |_| self.set_mode(if paused { Mode::Paused } else { Mode::Open }),
        )
    }
}
