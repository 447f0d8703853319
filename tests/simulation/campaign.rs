//! The rules of a campaign: a number is leased only while its hours are open, and no more often in a round than
//! the limit of attempts says.

use allotd::domain::hours::Hours;
use allotd::domain::settings::{Attempts, NextState, Settings, SettingsChange};
use allotd::domain::zone_table::ZoneTable;
use allotd::engine::Pool;
use allotd::engine::operations::lease::Lease;
use allotd::state::number_state::State;
use allotd::state::time::EPOCH_UNIX_SECONDS;
use allotd::sys::simulation::world;

use super::life::{Focus, Life, POOLS};
use super::model::{Model, Place};
use super::register::Interval;

const MINUTE_SECONDS: u64 = 60;
const HOUR_MINUTES: u64 = 60;
const DAY_MINUTES: u64 = 24 * HOUR_MINUTES;
/// Open from, to and in which zone numbers without one are. A pool's hours are an index; 0 stands for none.
const HOURS: [(u64, u64, Option<Zone>); 3] =
    [(20, 23, Some(Zone::Utc)), (22, 2, None), (3, 4, Some(Zone::East))];
/// By which numbers of a pool are in which zone. A pool's zones are an index; 0 stands for none.
const TABLES: [[Zone; 2]; 2] = [[Zone::Utc, Zone::East], [Zone::East, Zone::Utc]];
/// Numbers of a pool from its first on that are in the first zone of a table, and then in the second.
const PART_NUMBERS: u64 = 5;
/// Most minutes that the clocks go on at once.
const MOST_MINUTES: u64 = 5 * HOUR_MINUTES;

/// A time zone in which each day is like another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Zone {
    Utc,
    /// Six hours ahead.
    East,
}

impl Zone {
    fn name(self) -> &'static str {
        match self {
            Self::Utc => "Etc/UTC",
            Self::East => "Etc/GMT-6",
        }
    }

    fn minute_of_day(self, minutes: u64) -> u64 {
        let ahead = match self {
            Self::Utc => 0,
            Self::East => 6 * HOUR_MINUTES,
        };
        (minutes + ahead) % DAY_MINUTES
    }
}

/// Whether a number is open, at a time of the engine.
fn is_open(hours: u8, table: u8, place: Place, first: u64, seconds: u64) -> bool {
    let Some((from, to, default)) = usize::from(hours).checked_sub(1).map(|at| HOURS[at]) else {
        return true;
    };
    let part = (place.1 - first) / PART_NUMBERS;
    let by_table = usize::from(table).checked_sub(1).and_then(|at| TABLES[at].get(part as usize).copied());
    let Some(zone) = by_table.or(default) else { return false };
    let minute = zone.minute_of_day((EPOCH_UNIX_SECONDS + seconds) / MINUTE_SECONDS);
    let (from, to) = (from * HOUR_MINUTES, to * HOUR_MINUTES);
    if from < to { (from..to).contains(&minute) } else { minute >= from || minute < to }
}

fn hours_of(index: u8) -> Option<Hours> {
    let (from, to, zone) = usize::from(index).checked_sub(1).map(|at| HOURS[at])?;
    let zone = zone.map_or(String::new(), |zone| format!(r#""zone":"{}","#, zone.name()));
    let text = format!(r#"{{{zone}"rules":[{{"days":"mon-sun","from":"{from:02}:00","to":"{to:02}:00"}}]}}"#);
    Some(serde_json::from_str(&text).expect("valid hours"))
}

fn table_of(index: u8, first: u64) -> Option<ZoneTable> {
    let zones = usize::from(index).checked_sub(1).map(|at| TABLES[at])?;
    let mut text = "first,last,zones\n".to_owned();
    for (part, zone) in (0_u64..).zip(zones) {
        let start = first + part * PART_NUMBERS;
        text.push_str(&format!("{start},{},{}\n", start + PART_NUMBERS - 1, zone.name()));
    }
    Some(ZoneTable::parse(&text).expect("a valid table"))
}

/// Which hours a pool has.
pub(crate) fn hours_index(settings: &Settings) -> u8 {
    let same = |index: &u8| hours_of(*index) == settings.hours;
    (0..=HOURS.len() as u8).find(same).expect("hours of this run")
}

/// Which zones the numbers of a pool are in.
pub(crate) fn zones_index(pool: &Pool) -> u8 {
    let (table, first) = (pool.zones().map(|table| table.to_csv()), first_of(pool.name().as_str()));
    let same = |index: &u8| table_of(*index, first).map(|table| table.to_csv()) == table;
    (0..=TABLES.len() as u8).find(same).expect("zones of this run")
}

/// A limit of attempts, for a new pool.
pub(crate) fn some_attempts(life: &Life) -> Option<Attempts> {
    let run = &life.run;
    let often = if run.focus == Focus::Attempts { 1 } else { 8 };
    run.one_in(often).then(|| {
        let then = run.pick(&[NextState::Done, NextState::Done, NextState::Retired, NextState::Rest(3)]);
        Attempts { max: 1 + run.below(3) as u32, then }
    })
}

impl Life {
    /// Changes the hours of a pool, or the zones of its numbers, or lets the time go on to other hours.
    pub(crate) fn operate_hours(&self, name: &'static str) {
        let run = &self.run;
        let index = run.below(4) as u8;
        match run.below(4) {
            0 => {
                let change = SettingsChange { hours: Some(hours_of(index)), ..SettingsChange::default() };
                world::note(|| format!("hours of {name}: {index}"));
                self.change(
                    name,
                    index,
                    |pool| &mut pool.hours,
                    |pool| pool.change_settings(&change).map(drop),
                );
            }
            1 => {
                let (index, first) = (index.min(TABLES.len() as u8), first_of(name));
                world::note(|| format!("zones of {name}: {index}"));
                let table = table_of(index, first);
                self.change(name, index, |pool| &mut pool.zones, |pool| pool.change_zones(table).map(drop));
            }
            _ => {
                let minutes = 1 + run.below(MOST_MINUTES);
                world::note(|| format!("the clocks go on by {minutes} minutes"));
                run.let_pass(minutes * MINUTE_SECONDS);
                self.now();
            }
        }
    }
}

fn first_of(name: &str) -> u64 {
    POOLS.iter().find(|(other, _)| *other == name).expect("a known pool").1
}

impl Model {
    /// Whether a pool has or had hours, so that numbers that are available may not be leased.
    pub(crate) fn has_hours(&self, pool: u64) -> bool {
        self.pools.get(&pool).is_some_and(|pool| pool.hours.may_differ_from(&0))
    }

    /// Lease of a number that was closed all through the call, which took these seconds of the engine's time.
    pub(crate) fn leased_though_closed(
        &self,
        place: Place,
        lease: Lease,
        during: Interval,
        (from, to): (u32, u32),
    ) -> Option<String> {
        let pool = self.pools.get(&place.0)?;
        let first = first_of(&pool.name);
        let minutes = (u64::from(from)..u64::from(to)).step_by(MINUTE_SECONDS as usize);
        let open = minutes.chain([u64::from(to)]).any(|seconds| {
            (0..=HOURS.len() as u8).filter(|hours| pool.hours.allows(during, |index| index == hours)).any(
                |hours| {
                    (0..=TABLES.len() as u8)
                        .filter(|table| pool.zones.allows(during, |index| index == table))
                        .any(|table| is_open(hours, table, place, first, seconds))
                },
            )
        });
        (!open).then(|| format!("{place:?} is closed at {from}..{to}, and leased: {lease:?} {during:?}"))
    }

    /// More leases of a number in a round than its pool allows.
    pub(crate) fn leased_too_often(&self, place: Place, lease: Lease, during: Interval) -> Option<String> {
        let pool = self.pools.get(&place.0)?;
        let limit =
            pool.attempts.filter(|limit| matches!(limit.then, NextState::Done | NextState::Retired))?;
        let number = self.numbers.get(&place)?;
        let began_anew = |from: u64| {
            let between = |other: &Interval| other.begun <= during.ended && other.ended >= from;
            let holder_ended =
                self.holder_endings.iter().any(|(of, _, other)| *of == place.0 && between(other));
            pool.counted_anew.iter().chain(&number.counted_anew).any(between)
                || number.may_be_ended(from, during.ended)
                || holder_ended
        };
        // What a repeated key tells may have been leased long before, in another round.
        let of_round = number.leases.iter().filter(|told| {
            told.key.is_none() && told.lease.generation < lease.generation && !began_anew(told.during.begun)
        });
        let earlier = of_round.count();
        (earlier >= limit.max as usize).then(|| {
            format!(
                "{place:?} may be leased {} times in a round, and had {earlier} before {lease:?}",
                limit.max
            )
        })
    }

    /// A returned number that became done though its attempts cannot have been used up.
    pub(crate) fn done_too_soon(
        &self,
        place: Place,
        generation: u32,
        then: NextState,
        state: State,
    ) -> Option<String> {
        let pool = self.pools.get(&place.0)?;
        let limit = pool.attempts.map_or(u32::MAX, |limit| limit.max);
        // The lease may have ended before.
        let too_soon = then == NextState::Available
            && pool.on_expiry == NextState::Available
            && !matches!(state, State::Available | State::Retired | State::Blocked)
            && generation < limit;
        too_soon.then(|| {
            format!("{place:?} became {state:?} by the return of generation {generation} to be available")
        })
    }
}
