//! Changing a pool's settings, pausing and resuming it. The manifest is written first.

use std::sync::Arc;

use crate::domain::note::Note;
use crate::domain::settings::{Settings, SettingsChange};
use crate::engine::pool::{ChangeError, Mode, Pool};

impl Pool {
    /// Changes settings and returns the new ones.
    pub fn change_settings(&self, change: &SettingsChange) -> Result<Arc<Settings>, ChangeError> {
        self.change_manifest(
            |manifest| -> Result<(), ChangeError> {
                manifest.settings = manifest.settings.changed(change)?;
                if let Some(note) = &change.note {
                    manifest.note = note.clone();
                }
                Ok(())
            },
            |manifest| {
                let settings = Arc::new(manifest.settings.clone());
                self.outcomes.add(settings.outcomes.keys().map(String::as_str));
                let other_hours = self.settings.load().hours != settings.hours;
                self.settings.store(settings.clone());
                if other_hours {
                    self.use_hours();
                }
                if change.note.is_some() {
                    self.note.store(Some(Arc::new(manifest.note.clone())));
                }
                settings
            },
        )
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
