//! The hours of a pool and the time zones of its numbers: what is open, and when that changes.

use std::cell::Cell;
use std::sync::Arc;

use crate::domain::counts::Counts;
use crate::domain::zone_table::ZoneTable;
use crate::engine::calendar::Calendar;
use crate::engine::pool::Pool;
use crate::engine::pool_error::ChangeError;
use crate::engine::segment::Segments;
use crate::engine::segment::open_hours::OpenNumbers;
use crate::engine::segment::spans::{Span, Spans};
use crate::engine::segment::within::Within;
use crate::state::time::Timestamp;
use crate::store::zones_file::ZonesEntry;

/// What the hours of a pool leave open at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OpenHours {
    /// Numbers that are open, whatever their states.
    pub open: u64,
    /// The others.
    pub closed: u64,
    /// When that changes; `None` if it does not within the next days.
    pub changes_at: Option<Timestamp>,
}

/// Available numbers that the hours close at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// How many there are.
    pub numbers: u64,
    /// When some of the pool's closed numbers open; `None` if there are none, or that is far away.
    pub opens_at: Option<Timestamp>,
}

impl Pool {
    /// The time zones of the numbers.
    pub fn zones(&self) -> Option<Arc<ZoneTable>> {
        self.zones.load_full()
    }

    /// Replaces the time zones of the numbers. Returns how many rows the table has.
    pub fn change_zones(&self, table: Option<ZoneTable>) -> Result<usize, ChangeError> {
        let content = table.as_ref().map(ZoneTable::to_csv);
        let before = Cell::new(None);
        self.change_manifest(
            |manifest| -> Result<(), ChangeError> {
                self.shared.journal.check()?;
                before.set(manifest.zones);
                manifest.zones = match &content {
                    Some(content) => {
                        let id = before.get().map_or(1, |zones| zones.id.wrapping_add(1));
                        let entry = ZonesEntry::of(id, content.as_bytes());
                        entry.write(&*self.shared.fail_stop_disk, &self.dir, content.as_bytes())?;
                        Some(entry)
                    }
                    None => None,
                };
                Ok(())
            },
            |_| {
                let rows = table.as_ref().map_or(0, ZoneTable::rows);
                self.set_zones(table.map(Arc::new));
                if let Some(before) = before.get() {
                    // What stays is removed at the next start.
                    let _ = self.shared.disk.remove_file(&before.path_in(&self.dir));
                }
                rows
            },
        )
    }

    /// Uses a table of time zones.
    pub(crate) fn set_zones(&self, table: Option<Arc<ZoneTable>>) {
        self.zones.store(table);
        self.use_hours();
    }

    /// Uses the hours of the settings. To be called under the manifest's lock, or before the pool is in use.
    pub(crate) fn use_hours(&self) {
        let hours = self.settings.load().hours.clone();
        if hours.is_none() && self.segments.load().open.is_none() {
            return;
        }
        let clock = &self.shared.clock;
        let calendar =
            hours.map(|hours| Arc::new(Calendar::new(hours, self.zones.load_full(), Arc::clone(clock))));
        self.segments.rcu(|segments| segments.with_calendar(calendar.as_ref()));
        self.waiting.some_available();
    }

    /// Works out the next change of what is open, if one has come.
    pub(crate) fn turn_hours(&self) {
        let is_over = |segments: &Segments| {
            segments.open.as_ref().is_some_and(|open| open.is_over(self.shared.clock.now()))
        };
        if is_over(&self.segments.load()) {
            self.segments.rcu(|segments| segments.renewed());
            self.waiting.some_available();
        }
    }

    /// Whether it has hours.
    pub fn has_hours(&self) -> bool {
        self.segments.load().open.is_some()
    }

    /// What is open at a time; `None` if the pool has no hours. Takes a while: not for a serving thread.
    pub fn open_hours(&self, time: Timestamp) -> Option<OpenHours> {
        let segments = self.segments.load();
        let (open, until) = segments.open_at(time)?;
        let changes_at = Some(until).filter(|until| *until < Timestamp::MAX);
        Some(OpenHours { open, closed: segments.whole.numbers().saturating_sub(open), changes_at })
    }

    /// How many numbers the hours leave open at present, whatever their states; `None` if the pool has no hours.
    pub fn open_numbers(&self) -> Option<u64> {
        let segments = self.segments.load();
        let open = segments.open.as_ref()?;
        // While it is worked out what is open, no lease is given.
        Some(open.at(self.shared.clock.now()).map_or(0, Spans::numbers))
    }

    /// How many numbers are in each state, with those that the hours close. If the pool has hours, it reads the
    /// free index: then not for a serving thread.
    pub fn counts_by_hours(&self) -> (Counts, Option<Closed>) {
        let (mut counts, closed) = (self.counts(), self.closed(None));
        if let Some(closed) = closed {
            counts.close(closed.numbers);
        }
        (counts, closed)
    }

    /// The available numbers that a lease could choose from but for the hours; `None` if the pool has none. Reads
    /// the free index: not for a serving thread.
    pub fn closed(&self, within: Option<&Within>) -> Option<Closed> {
        let current = self.segments.load();
        let (segments, spans): (&Segments, _) = match within {
            None => (&current, &current.whole),
            Some(within) => (&within.segments, &within.spans),
        };
        let open = segments.open_among(within.map(|within| &within.spans), self.shared.clock.now())?.ok();
        let free = |spans: &Spans| -> u64 {
            let of = |span: &Span| segments.get(span.segment).state.free.count_in(&span.ranks);
            spans.list.iter().map(of).sum()
        };
        let opens_at = segments.open.as_ref().and_then(OpenNumbers::opens_at);
        Some(Closed { numbers: free(spans).saturating_sub(open.as_deref().map_or(0, free)), opens_at })
    }
}
