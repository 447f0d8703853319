//! What hours are written in: days, times of day, dates and time zones, each as a text.

use std::fmt;
use std::marker::PhantomData;
use std::str::FromStr;

use jiff::civil::{Date, Weekday};
use jiff::tz::TimeZone;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Most rules of a pool.
pub const MAX_HOURS_RULES: usize = 32;
/// Most closed days of a pool.
pub const MAX_CLOSED_DAYS: usize = 1_000;
/// Minutes of an hour.
pub(super) const MINUTES_PER_HOUR: u16 = 60;
/// Minutes of a day.
pub(super) const MINUTES_PER_DAY: u16 = 24 * MINUTES_PER_HOUR;
const DAY_NAMES: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

/// Why hours are not valid.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HoursError {
    /// The days of a rule.
    #[error("days is \"{0}\": give days and ranges of days such as \"mon-fri\" or \"mon,wed,sat-sun\"")]
    Days(String),
    /// A time of day.
    #[error("\"{0}\" is not a time of day: give HH:MM, from 00:00 to 24:00")]
    TimeOfDay(String),
    /// A rule without length.
    #[error("from and to are both {0}: for the whole day give 00:00 and 24:00")]
    Empty(TimeOfDay),
    /// A rule that begins at its day's end.
    #[error("from is 24:00: give 00:00 and the next day")]
    FromMidnight,
    /// A closed day.
    #[error("closed has \"{0}\": give dates such as \"2026-12-25\"")]
    Date(String),
    /// A time zone.
    #[error("\"{0}\" is not a time zone: give an IANA name such as Europe/Moscow")]
    Zone(String),
    /// Too many rules.
    #[error("{0} rules: a pool keeps at most {MAX_HOURS_RULES}")]
    TooManyRules(usize),
    /// Too many closed days.
    #[error("{0} closed days: a pool keeps at most {MAX_CLOSED_DAYS}")]
    TooManyDays(usize),
}

/// Days of the week; bit 0 is Monday.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days(u8);

/// Minutes since midnight, up to 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TimeOfDay(pub(super) u16);

/// A date on which nothing is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ClosedDay(pub(super) Date);

/// The name of a time zone in the bundled database.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ZoneName(String);

impl Days {
    pub(super) fn has(self, weekday: Weekday) -> bool {
        self.0 & 1 << weekday.to_monday_zero_offset() != 0
    }
}

impl FromStr for Days {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let unknown = || HoursError::Days(text.chars().take(100).collect());
        let day = |name: &str| {
            DAY_NAMES.iter().position(|known| known.eq_ignore_ascii_case(name.trim())).ok_or_else(unknown)
        };
        let mut bits = 0;
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (day(first)?, day(last)?);
            // A range may go over the end of the week.
            let days = (last + 7 - first) % 7;
            (first..=first + days).for_each(|day| bits |= 1 << (day % 7));
        }
        Ok(Self(bits))
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has = |day: usize| day < 7 && self.0 & 1 << day != 0;
        let mut separator = "";
        let mut first = 0;
        while first < 7 {
            if !has(first) {
                first += 1;
                continue;
            }
            let last = (first..7).take_while(|day| has(*day)).last().unwrap_or(first);
            match last - first {
                0 => write!(f, "{separator}{}", DAY_NAMES[first])?,
                _ => write!(f, "{separator}{}-{}", DAY_NAMES[first], DAY_NAMES[last])?,
            }
            separator = ",";
            first = last + 1;
        }
        Ok(())
    }
}

impl FromStr for TimeOfDay {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let unknown = || HoursError::TimeOfDay(text.chars().take(100).collect());
        let (hour, minute) = text.split_once(':').ok_or_else(unknown)?;
        let part = |digits: &str| {
            let is_two = digits.len() == 2 && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_two.then(|| digits.parse::<u16>().ok()).flatten().ok_or_else(unknown)
        };
        let (hour, minute) = (part(hour)?, part(minute)?);
        let minutes = hour * MINUTES_PER_HOUR + minute;
        if minute < MINUTES_PER_HOUR && minutes <= MINUTES_PER_DAY {
            Ok(Self(minutes))
        } else {
            Err(unknown())
        }
    }
}

impl fmt::Display for TimeOfDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / MINUTES_PER_HOUR, self.0 % MINUTES_PER_HOUR)
    }
}

impl FromStr for ClosedDay {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        text.parse().map(Self).map_err(|_| HoursError::Date(text.chars().take(100).collect()))
    }
}

impl fmt::Display for ClosedDay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl ZoneName {
    /// The zone.
    pub fn zone(&self) -> Result<TimeZone, HoursError> {
        TimeZone::get(&self.0).map_err(|_| HoursError::Zone(self.0.clone()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ZoneName {
    type Err = HoursError;

    fn from_str(text: &str) -> Result<Self, HoursError> {
        let unknown = || HoursError::Zone(text.chars().take(100).collect());
        let zone = TimeZone::get(text).map_err(|_| unknown())?;
        // As the database spells it.
        zone.iana_name().map(|name| Self(name.to_owned())).ok_or_else(unknown)
    }
}

impl fmt::Display for ZoneName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads a value from a text.
struct Text<T>(&'static str, PhantomData<T>);

impl<T: FromStr<Err = HoursError>> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// Written and read as text.
macro_rules! as_text {
    ($($name:ident: $expecting:literal),* $(,)?) => { $(
        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(Text($expecting, PhantomData))
            }
        }
    )* };
}

as_text! {
    Days: "days as a text such as \"mon-fri\" or \"mon,wed,sat-sun\"",
    TimeOfDay: "a time of day as a text such as \"09:00\"",
    ClosedDay: "a date as a text such as \"2026-12-25\"",
    ZoneName: "the name of a time zone as a text such as \"Europe/Moscow\"",
}
