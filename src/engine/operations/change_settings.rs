//! Changing the settings of a pool, pausing and resuming it: all of it stands in the manifest first.

use std::sync::Arc;

use crate::domain::settings::{Settings, SettingsChange};
use crate::engine::pool::{ChangeError, Mode, Pool};

impl Pool {
    /// Changes settings.
    pub fn change_settings(&self, change: &SettingsChange) -> Result<Arc<Settings>, ChangeError> {
        self.change_manifest(
            |manifest| {
                manifest.settings = manifest.settings.changed(change)?;
                Ok(())
            },
            |manifest| {
                let settings = Arc::new(manifest.settings.clone());
                self.outcomes.add(settings.outcomes.keys().map(String::as_str));
                self.settings.store(settings.clone());
                settings
            },
        )
    }

    /// Refuses new leases until [`Self::resume`].
    pub fn pause(&self) -> Result<(), ChangeError> {
        self.set_paused(true)
    }

    /// Hands out numbers again.
    pub fn resume(&self) -> Result<(), ChangeError> {
        self.set_paused(false)
    }

    fn set_paused(&self, paused: bool) -> Result<(), ChangeError> {
        self.change_manifest(
            |manifest| {
                manifest.paused = paused;
                Ok(())
            },
            |_| self.set_mode(if paused { Mode::Paused } else { Mode::Open }),
        )
    }
}
