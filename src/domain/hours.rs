//! When numbers may be called: rules in the numbers' own local time.

use std::collections::BTreeSet;

use jiff::Timestamp as Instant;
use jiff::civil::{Date, DateTime, Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};
use serde::{Deserialize, Deserializer, Serialize};

use super::hours_text::{MINUTES_PER_DAY, MINUTES_PER_HOUR};
use super::object::from_object;

pub use super::hours_text::{
    ClosedDay, Days, HoursError, MAX_CLOSED_DAYS, MAX_HOURS_RULES, TimeOfDay, ZoneName,
};

/// How far [`Hours::next_change`] looks, in days: every rule occurs within a week.
const CHANGE_DAYS: i64 = 9;

/// The hours of a pool, in the local time of each number.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Hours {
    /// The time zone of numbers that have none of their own. Without it these are closed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<ZoneName>,
    /// Days on which nothing is open.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub closed: BTreeSet<ClosedDay>,
    /// When numbers are open: within any of the rules.
    pub rules: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct HoursFields {
    #[serde(default)]
    zone: Option<ZoneName>,
    #[serde(default)]
    closed: BTreeSet<ClosedDay>,
    rules: Vec<Rule>,
}

impl<'de> Deserialize<'de> for Hours {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expecting = "hours as an object with rules, and closed and zone if need be";
        let HoursFields { zone, closed, rules } = from_object(deserializer, expecting)?;
        Ok(Self { zone, closed, rules })
    }
}

/// A span of time on some days of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The days on which it begins.
    pub days: Days,
    /// When it begins.
    pub from: TimeOfDay,
    /// When it ends; before `from` it is on the next day.
    pub to: TimeOfDay,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RuleFields {
    days: Days,
    from: TimeOfDay,
    to: TimeOfDay,
}

impl<'de> Deserialize<'de> for Rule {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expecting = "a rule as an object with days, from and to";
        let RuleFields { days, from, to } = from_object(deserializer, expecting)?;
        Ok(Self { days, from, to })
    }
}

impl Hours {
    /// Refuses what no pool may have.
    pub fn check(&self) -> Result<(), HoursError> {
        if self.rules.len() > MAX_HOURS_RULES {
            return Err(HoursError::TooManyRules(self.rules.len()));
        }
        if self.closed.len() > MAX_CLOSED_DAYS {
            return Err(HoursError::TooManyDays(self.closed.len()));
        }
        self.rules.iter().try_for_each(|rule| match (rule.from, rule.to) {
            (from, _) if from.0 == MINUTES_PER_DAY => Err(HoursError::FromMidnight),
            (from, to) if from == to => Err(HoursError::Empty(from)),
            _ => Ok(()),
        })
    }

    /// Whether numbers of a time zone are open.
    pub fn is_open(&self, zone: &TimeZone, at: Instant) -> bool {
        let local = zone.to_datetime(at);
        let (date, time) = (local.date(), local.time());
        if self.closed.contains(&ClosedDay(date)) {
            return false;
        }
        let minute = u16::from(time.hour().unsigned_abs()) * MINUTES_PER_HOUR
            + u16::from(time.minute().unsigned_abs());
        let weekday = date.weekday();
        self.rules.iter().any(|rule| rule.has(weekday, minute))
    }

    /// The first time after `after` at which numbers of a time zone open or close, as far as that is within the
    /// next days. Else a time up to which they stay as they are.
    pub fn next_change(&self, zone: &TimeZone, after: Instant) -> Change {
        let is_open = self.is_open(zone, after);
        let today = zone.to_datetime(after).date();
        let mut minutes: Vec<u16> = self.rules.iter().flat_map(|rule| [rule.from.0, rule.to.0]).collect();
        // Closed days begin and end at midnight.
        minutes.push(0);
        minutes.sort_unstable();
        minutes.dedup();
        let mut times: Vec<Instant> = Vec::new();
        for days in -1..CHANGE_DAYS {
            let Ok(date) = today.checked_add(Span::new().days(days)) else { break };
            times.extend(minutes.iter().flat_map(|minute| instants(zone, date, *minute)));
        }
        let end = after.saturating_add((24 * (CHANGE_DAYS - 2)).hours()).unwrap_or(Instant::MAX);
        // Where the clocks are put forward or back.
        times.extend(zone.following(after).map(|moved| moved.timestamp()).take_while(|moved| *moved <= end));
        times.retain(|time| *time > after && *time <= end);
        times.sort_unstable();
        match times.into_iter().find(|time| self.is_open(zone, *time) != is_open) {
            Some(time) => Change::At(time),
            None => Change::NotBefore(end),
        }
    }
}

/// When numbers open or close next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Then.
    At(Instant),
    /// Not before this time.
    NotBefore(Instant),
}

/// The instants at which a zone's clocks show a time: two where they are put back, and where they skip it
/// those that it would have been by the clocks before and after.
fn instants(zone: &TimeZone, date: Date, minute: u16) -> Vec<Instant> {
    let (date, minute) = if minute == MINUTES_PER_DAY {
        match date.tomorrow() {
            Ok(tomorrow) => (tomorrow, 0),
            Err(_) => return Vec::new(),
        }
    } else {
        (date, minute)
    };
    let hour = (minute / MINUTES_PER_HOUR) as i8;
    let Ok(time) = Time::new(hour, (minute % MINUTES_PER_HOUR) as i8, 0, 0) else { return Vec::new() };
    let local = zone.to_ambiguous_timestamp(DateTime::from_parts(date, time));
    [local.earlier(), local.later()].into_iter().flatten().collect()
}

impl Rule {
    fn has(self, weekday: Weekday, minute: u16) -> bool {
        let (from, to) = (self.from.0, self.to.0);
        if from < to {
            return self.days.has(weekday) && (from..to).contains(&minute);
        }
        // Over midnight: it belongs to the day on which it begins.
        (self.days.has(weekday) && minute >= from) || (self.days.has(weekday.previous()) && minute < to)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hours(json: &str) -> Hours {
        let hours: Hours = serde_json::from_str(json).unwrap();
        hours.check().unwrap();
        hours
    }

    fn zone(name: &str) -> TimeZone {
        name.parse::<ZoneName>().unwrap().zone().unwrap()
    }

    fn at(text: &str) -> Instant {
        text.parse().unwrap()
    }

    const WEEK: &str = r#"{"rules":[{"days":"mon-fri","from":"09:00","to":"21:00"},
        {"days":"sat","from":"10:00","to":"18:00"}],"closed":["2026-12-25"],"zone":"Europe/Moscow"}"#;

    #[test]
    fn texts_are_read_back() {
        for (text, shown) in
            [("mon-fri", "mon-fri"), ("sun", "sun"), ("fri-mon", "mon,fri-sun"), ("Mon, wed", "mon,wed")]
        {
            assert_eq!(text.parse::<Days>().unwrap().to_string(), shown);
        }
        for bad in ["", "monday", "mon-", "mon;tue", "1-5"] {
            assert!(bad.parse::<Days>().is_err(), "{bad}");
        }
        for good in ["00:00", "09:05", "24:00"] {
            assert_eq!(good.parse::<TimeOfDay>().unwrap().to_string(), good);
        }
        for bad in ["", "9:00", "24:01", "23:60", "0900", "+9:00", "12:00:00"] {
            assert!(bad.parse::<TimeOfDay>().is_err(), "{bad}");
        }
        assert_eq!("europe/moscow".parse::<ZoneName>().unwrap().as_str(), "Europe/Moscow");
        for bad in ["", "Moscow", "Europe/Nowhere", "+03:00"] {
            assert!(bad.parse::<ZoneName>().is_err(), "{bad}");
        }
        let week = hours(WEEK);
        assert_eq!(serde_json::from_str::<Hours>(&serde_json::to_string(&week).unwrap()).unwrap(), week);
    }

    #[test]
    fn what_is_not_an_object_or_a_text_is_refused_by_what_it_should_be() {
        let rule = r#"{"days":"mon","from":"09:00","to":"21:00"}"#;
        for (json, words) in [
            (format!(r"[null,[],[{rule}]]"), "hours as an object with rules"),
            (r#"{"rules":[["mon","09:00","21:00"]]}"#.to_owned(), "a rule as an object"),
            (format!(r#"{{"rules":{rule}}}"#), "a sequence"),
            (format!(r#"{{"rules":[{}]}}"#, rule.replace("\"mon\"", "[\"mon\"]")), "days as a text"),
            (format!(r#"{{"rules":[{}]}}"#, rule.replace("\"09:00\"", "9")), "a time of day as a text"),
            (r#"{"rules":[],"zone":3}"#.to_owned(), "such as \"Europe/Moscow\""),
            (r#"{"rules":[],"closed":[20261225]}"#.to_owned(), "a date as a text"),
            (r#"{"rules":[],"open":true}"#.to_owned(), "unknown field `open`"),
        ] {
            let error = serde_json::from_str::<Hours>(&json).unwrap_err().to_string();
            assert!(error.contains(words), "{json}: {error}");
        }
    }

    #[test]
    fn rules_without_length_are_refused() {
        for (from, to) in [("09:00", "09:00"), ("24:00", "09:00")] {
            let json = format!(r#"{{"rules":[{{"days":"mon","from":"{from}","to":"{to}"}}]}}"#);
            assert!(serde_json::from_str::<Hours>(&json).unwrap().check().is_err());
        }
    }

    #[test]
    fn open_and_closed_in_local_time() {
        let (week, moscow, chita) = (hours(WEEK), zone("Europe/Moscow"), zone("Asia/Chita"));
        // Friday, 09:00 in Moscow, 15:00 in Chita.
        assert!(week.is_open(&moscow, at("2026-11-27T06:00:00Z")));
        assert!(!week.is_open(&moscow, at("2026-11-27T05:59:59Z")));
        assert!(week.is_open(&chita, at("2026-11-27T05:59:59Z")));
        assert!(!week.is_open(&chita, at("2026-11-27T12:00:00Z")));
        assert!(!week.is_open(&moscow, at("2026-12-25T10:00:00Z")), "a closed day");
        let change = |from| week.next_change(&moscow, at(from));
        assert_eq!(change("2026-11-27T06:00:00Z"), Change::At(at("2026-11-27T18:00:00Z")));
        assert_eq!(change("2026-11-27T18:00:00Z"), Change::At(at("2026-11-28T07:00:00Z")));
        assert_eq!(change("2026-11-28T15:00:00Z"), Change::At(at("2026-11-30T06:00:00Z")));
        assert_eq!(change("2026-12-24T18:00:00Z"), Change::At(at("2026-12-26T07:00:00Z")));
    }

    #[test]
    fn a_night_belongs_to_the_day_on_which_it_begins() {
        let night = hours(r#"{"rules":[{"days":"fri","from":"22:00","to":"06:00"}]}"#);
        let berlin = zone("Europe/Berlin");
        for (time, open) in [
            ("2026-11-27T20:59:59Z", false),
            ("2026-11-27T21:00:00Z", true),
            ("2026-11-28T04:59:59Z", true),
            ("2026-11-28T05:00:00Z", false),
            ("2026-11-27T04:00:00Z", false),
        ] {
            assert_eq!(night.is_open(&berlin, at(time)), open, "{time}");
        }
    }

    #[test]
    fn clocks_are_put_forward_and_back() {
        let berlin = zone("Europe/Berlin");
        let day = hours(r#"{"rules":[{"days":"sun","from":"02:30","to":"04:00"}]}"#);
        // Forward from 02:00 to 03:00 at 01:00Z: open at once at 03:00.
        assert_eq!(
            day.next_change(&berlin, at("2026-03-29T00:00:00Z")),
            Change::At(at("2026-03-29T01:00:00Z"))
        );
        // Back from 03:00 to 02:00 at 01:00Z: open from 02:30 to 03:00, closed, and open again.
        let mut time = at("2026-10-25T00:00:00Z");
        let mut seen = Vec::new();
        for _ in 0..4 {
            let Change::At(next) = day.next_change(&berlin, time) else { panic!("a change") };
            seen.push(next.to_string());
            time = next;
        }
        assert_eq!(
            seen,
            ["2026-10-25T00:30:00Z", "2026-10-25T01:00:00Z", "2026-10-25T01:30:00Z", "2026-10-25T03:00:00Z"]
        );
    }

    #[test]
    fn changes_are_where_a_walk_by_minutes_finds_them() {
        let rules = [
            WEEK,
            r#"{"rules":[{"days":"mon-sun","from":"00:00","to":"24:00"}],"closed":["2026-03-29","2026-11-01"]}"#,
            r#"{"rules":[{"days":"mon-sun","from":"22:15","to":"02:45"},{"days":"sun","from":"02:00","to":"03:00"}]}"#,
        ];
        for (zone_name, begin) in [
            ("Europe/Berlin", "2026-03-27T00:00:00Z"),
            ("America/New_York", "2026-10-30T00:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-02T00:00:00Z"),
            ("Asia/Kathmandu", "2026-12-24T00:00:00Z"),
        ] {
            let zone = zone(zone_name);
            for rules in rules {
                let (hours, begin) = (hours(rules), at(begin));
                let mut known = hours.is_open(&zone, begin);
                let mut expected = hours.next_change(&zone, begin);
                for minute in 1..5 * 24 * 60 {
                    let time = begin + minute.minutes();
                    if hours.is_open(&zone, time) != known {
                        assert_eq!(expected, Change::At(time), "{zone_name} {rules}");
                        known = !known;
                        expected = hours.next_change(&zone, time);
                    }
                }
            }
        }
    }
}
