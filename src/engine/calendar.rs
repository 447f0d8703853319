//! Which numbers of a pool are open, by its hours and its time zones, and until when.

use std::sync::Arc;

use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;

use crate::domain::hours::{Change, Hours, ZoneName};
use crate::domain::zone_table::{SetIndex, ZoneTable};
use crate::numbers::number::{Number, NumberRange};
use crate::state::time::{EPOCH_UNIX_SECONDS, Timestamp};

use super::clock::Clock;

/// Most changes that [`Calendar::opens_at`] looks at.
const MAX_CHANGES_SEEN: usize = 4_096;

/// Most changes that [`Calendar::of_number`] looks at: with two a day, more than a year.
const MAX_CHANGES_OF_A_NUMBER: usize = 1_024;

/// Whether a number is open at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Openness {
    Open,
    /// Until then; `None` if that is far away.
    Closed(Option<Timestamp>),
}

/// The hours of a pool together with its time zones.
pub(crate) struct Calendar {
    hours: Hours,
    table: Option<Arc<ZoneTable>>,
    clock: Arc<Clock>,
    zones: Vec<TimeZone>,
    /// The zones of each set of the table, as indexes of `zones`; `None` if one of them is not known.
    sets: Vec<Option<Vec<usize>>>,
    /// The zone of numbers without one.
    default: Option<usize>,
}

/// Whether a time zone is open, and until when that holds.
#[derive(Debug, Clone, Copy)]
struct ZoneState {
    is_open: bool,
    until: Timestamp,
}

/// Which time zones are open from some time on.
#[derive(Debug, Clone)]
pub(crate) struct ZoneStates(Vec<ZoneState>);

impl ZoneStates {
    /// Until when they stay as they are.
    pub(crate) fn until(&self) -> Timestamp {
        self.0.iter().map(|state| state.until).min().unwrap_or(Timestamp::MAX)
    }
}

fn instant(time: Timestamp) -> Instant {
    Instant::from_second(time.unix_seconds().cast_signed()).unwrap_or(Instant::MAX)
}

/// The first whole second from an instant on.
fn timestamp(instant: Instant) -> Timestamp {
    let seconds = instant.as_second() + i64::from(instant.subsec_nanosecond() > 0);
    let since = u64::try_from(seconds).unwrap_or_default().saturating_sub(EPOCH_UNIX_SECONDS);
    Timestamp::checked(since).unwrap_or(Timestamp::MAX)
}

impl Calendar {
    /// The calendar of a pool's hours and its zones.
    pub(crate) fn new(hours: Hours, table: Option<Arc<ZoneTable>>, clock: Arc<Clock>) -> Self {
        let mut names: Vec<ZoneName> = Vec::new();
        let mut zones = Vec::new();
        // A name that this version does not know any more leaves its numbers closed.
        let mut index = |name: &ZoneName| {
            if let Some(known) = names.iter().position(|other| other == name) {
                return Some(known);
            }
            zones.push(name.zone().ok()?);
            names.push(name.clone());
            Some(names.len() - 1)
        };
        let sets = table.iter().flat_map(|table| table.sets());
        let sets = sets.map(|set| set.iter().map(&mut index).collect()).collect();
        let default = hours.zone.as_ref().and_then(&mut index);
        Self { hours, table, clock, zones, sets, default }
    }

    /// The time zones of numbers.
    pub(crate) fn table(&self) -> Option<&ZoneTable> {
        self.table.as_deref()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn state(&self, zone: &TimeZone, now: Timestamp) -> ZoneState {
        let at = instant(now);
        let until = match self.hours.next_change(zone, at) {
            Change::At(time) | Change::NotBefore(time) => timestamp(time),
        };
        ZoneState { is_open: self.hours.is_open(zone, at), until }
    }

    /// The zones at a time.
    pub(crate) fn states(&self, now: Timestamp) -> ZoneStates {
        ZoneStates(self.zones.iter().map(|zone| self.state(zone, now)).collect())
    }

    /// The zones at a later time.
    pub(crate) fn later(&self, states: &ZoneStates, now: Timestamp) -> ZoneStates {
        let state = |(zone, state): (&TimeZone, &ZoneState)| {
            if state.until > now { *state } else { self.state(zone, now) }
        };
        ZoneStates(self.zones.iter().zip(&states.0).map(state).collect())
    }

    /// Whether numbers of a set of zones, or of none, are open.
    pub(crate) fn is_open(&self, states: &ZoneStates, set: Option<SetIndex>) -> bool {
        let is_open = |zone: &usize| states.0[*zone].is_open;
        match set {
            Some(set) => self.sets[set as usize].as_ref().is_some_and(|zones| zones.iter().all(is_open)),
            None => self.default.as_ref().is_some_and(is_open),
        }
    }

    /// Whether a number is open at present. Takes a while: not for a serving thread.
    pub(crate) fn of_number(&self, number: Number) -> Openness {
        let set = self.table().and_then(|table| table.ranges_in(NumberRange::single(number)).first());
        let zones = match set {
            Some((_, set)) => self.sets[*set as usize].as_deref(),
            None => self.default.as_ref().map(std::slice::from_ref),
        };
        let Some(zones) = zones else { return Openness::Closed(None) };
        let now = self.now();
        let zones: Vec<_> = zones.iter().map(|zone| &self.zones[*zone]).collect();
        let mut states: Vec<_> = zones.iter().map(|zone| self.state(zone, now)).collect();
        if states.iter().all(|state| state.is_open) {
            return Openness::Open;
        }
        for _ in 0..MAX_CHANGES_OF_A_NUMBER {
            let time = states.iter().map(|state| state.until).min().unwrap_or(Timestamp::MAX);
            if time == Timestamp::MAX {
                break;
            }
            for (zone, state) in zones.iter().zip(&mut states).filter(|(_, state)| state.until <= time) {
                *state = self.state(zone, time);
            }
            if states.iter().all(|state| state.is_open) {
                return Openness::Closed(Some(time));
            }
        }
        Openness::Closed(None)
    }

    /// When numbers of any of these sets, which are closed now, open. `None` if that is far away.
    pub(crate) fn opens_at(&self, states: &ZoneStates, closed: &[Option<SetIndex>]) -> Option<Timestamp> {
        let mut states = states.clone();
        for _ in 0..MAX_CHANGES_SEEN {
            let time = states.until();
            if time == Timestamp::MAX {
                return None;
            }
            states = self.later(&states, time);
            if closed.iter().any(|set| self.is_open(&states, *set)) {
                return Some(time);
            }
        }
        None
    }
}

#[cfg(test)]
#[cfg(not(any(allotd_loom, allotd_shuttle)))]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        timestamp(text.parse().unwrap())
    }

    #[test]
    fn all_zones_of_a_number_must_be_open() {
        let table = "prefix,zones\n7,Europe/Moscow\n8,Europe/Moscow Asia/Chita\n9,Asia/Tokyo\n";
        let hours: Hours =
            serde_json::from_str(r#"{"rules":[{"days":"mon-sun","from":"09:00","to":"21:00"}]}"#).unwrap();
        let table = Arc::new(ZoneTable::parse(table).unwrap());
        let calendar = Calendar::new(hours, Some(table), Arc::new(Clock::start()));
        let open = |time| {
            let states = calendar.states(at(time));
            let sets: Vec<_> =
                [Some(0), Some(1), Some(2), None].map(|set| calendar.is_open(&states, set)).into();
            (sets, states.until())
        };
        // 09:00 in Moscow, 15:00 in Chita and Tokyo.
        assert_eq!(open("2026-11-27T06:00:00Z"), (vec![true, true, true, false], at("2026-11-27T12:00:00Z")));
        assert_eq!(
            open("2026-11-27T12:00:00Z"),
            (vec![true, false, false, false], at("2026-11-27T18:00:00Z"))
        );
        let night = calendar.states(at("2026-11-27T20:00:00Z"));
        // Chita opens at 00:00Z, Moscow at 06:00Z.
        assert_eq!(calendar.opens_at(&night, &[Some(1)]), Some(at("2026-11-28T06:00:00Z")));
        assert_eq!(calendar.opens_at(&night, &[Some(1), Some(2)]), Some(at("2026-11-28T00:00:00Z")));
        assert_eq!(calendar.opens_at(&night, &[None]), None, "no zone, no hours");
        let mut later = night;
        for time in ["2026-11-28T00:00:00Z", "2026-11-28T06:00:00Z"] {
            later = calendar.later(&later, at(time));
            let fresh = calendar.states(at(time));
            assert_eq!(later.until(), fresh.until());
            for set in [Some(0), Some(1), Some(2), None] {
                assert_eq!(calendar.is_open(&later, set), calendar.is_open(&fresh, set));
            }
        }
    }
}
