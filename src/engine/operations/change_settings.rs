//! Changing a pool's settings, pausing and resuming it. The manifest is written first.

use std::sync::Arc;
use std::time::Duration;

use crate::domain::note::Note;
use crate::domain::remark::Remark;
use crate::domain::settings::{Settings, SettingsChange};
use crate::engine::pool::Pool;
use crate::engine::pool_error::ChangeError;
use crate::engine::pool_mode::Mode;
use crate::engine::segment::holders::OpenedHolders;
use crate::engine::shared::SWEEPER_SLOT;
use crate::state::time::Timestamp;
use crate::store::manifest::Manifest;
use crate::store::pool_dir::SegmentPaths;
use crate::store::staging::Staging;
use crate::sys::sync::thread;

/// How long a change waits for a segment that is being added.
const SEGMENT_PAUSE: Duration = Duration::from_millis(1);

impl Pool {
    /// Changes settings and returns the new ones. When this returns, no lease of a number is given that is on a list
    /// which blocks the pool.
    pub fn change_settings(self: &Arc<Self>, change: &SettingsChange) -> Result<Arc<Settings>, ChangeError> {
        loop {
            match self.try_change_settings(change) {
                Err(ChangeError::SegmentComing) => thread::sleep(SEGMENT_PAUSE),
                changed => return changed,
            }
        }
    }

    fn try_change_settings(self: &Arc<Self>, change: &SettingsChange) -> Result<Arc<Settings>, ChangeError> {
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
                if next.holders && !self.holders.have_columns() {
                    self.make_columns(manifest)?;
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
                let other_hours = self.settings().hours != settings.hours;
                self.use_settings(Arc::clone(&settings));
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
            let _bulk = self.shared.begin_bulk();
            self.refresh_blocked(true);
            self.shared.journal.wait_for(SWEEPER_SLOT, self.shared.journal.settled_position(SWEEPER_SLOT))?;
        }
        Ok(settings)
    }

    /// Gives each segment a column in which nobody holds anything. Call it under the manifest's lock, under which
    /// segments are added too.
    fn make_columns(&self, manifest: &Manifest) -> Result<(), ChangeError> {
        let (disk, sharing) = (&self.shared.fail_stop_disk, self.shared.sharing);
        let segments = self.segments.load_full();
        let merged: Vec<_> = manifest.merges().flat_map(|(_, sources)| sources).collect();
        let staging = Staging::new(&self.shared.disk, &self.shared.staging_dir)?;
        let mut made = Vec::new();
        for entry in &manifest.segments {
            let segment = segments.list.iter().find(|segment| segment.id == entry.id);
            // What a start has merged in memory is only on the disk. Anything else is about to come into the list.
            if segment.is_none() && !merged.contains(&&entry.id) {
                return Err(ChangeError::SegmentComing);
            }
            let paths = SegmentPaths::of(&self.dir, entry).holders;
            let opened = OpenedHolders::create(&staging, disk, &paths, entry.words(), sharing);
            let opened = opened.map_err(|error| ChangeError::Io(std::io::Error::other(error)))?;
            made.extend(segment.map(|segment| (segment, opened)));
        }
        disk.sync_directory(&self.dir)?;
        let activated: Vec<_> = made
            .into_iter()
            .map(|(segment, opened)| Ok((segment, opened.activate()?)))
            .collect::<std::io::Result<_>>()?;
        for (segment, (column, file)) in activated {
            segment.use_holders(column, file);
        }
        self.holders.begin();
        Ok(())
    }

    /// What the operator has to say, unless it is nothing.
    pub fn note(&self) -> Option<Arc<Note>> {
        self.note.load_full().filter(|note| !note.is_empty())
    }

    /// Refuses new leases until [`Self::resume`].
    pub fn pause(&self) -> Result<(), ChangeError> {
        self.set_paused(true, None)
    }

    /// Like [`Self::pause`], and tells callers why.
    pub fn pause_for(&self, reason: Option<Remark>) -> Result<(), ChangeError> {
        self.set_paused(true, reason)
    }

    /// Allows new leases again.
    pub fn resume(&self) -> Result<(), ChangeError> {
        self.set_paused(false, None)
    }

    fn set_paused(&self, paused: bool, reason: Option<Remark>) -> Result<(), ChangeError> {
        self.change_manifest(
            |manifest| -> Result<(), ChangeError> {
                manifest.set_paused(paused, None);
                manifest.pause_reason = reason;
                Ok(())
            },
            |manifest| self.enter_pause(manifest),
        )
    }

    /// Resumes a pool whose pause has ended by itself. Returns whether it did.
    pub(crate) fn resume_if_due(&self) -> Result<bool, ChangeError> {
        let is_due = |until: Option<Timestamp>| until.is_some_and(|until| until <= self.shared.clock.now());
        if !is_due(self.paused_until()) {
            return Ok(false);
        }
        self.change_manifest(
            |manifest| -> Result<(), ChangeError> {
                // An operator may have paused it since.
                if is_due(manifest.paused_until()) {
                    manifest.set_paused(false, None);
                }
                Ok(())
            },
            |manifest| {
                self.enter_pause(manifest);
                !manifest.paused
            },
        )
    }

    fn enter_pause(&self, manifest: &Manifest) {
        self.set_paused_until(manifest.paused_until());
        self.notices.set_pause(manifest.pause_reason.clone());
        self.set_mode(if manifest.paused { Mode::Paused } else { Mode::Open });
        if manifest.paused { self.waiting.wake_all() } else { self.waiting.some_available() }
    }
}
