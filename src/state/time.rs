//! Points in time as the words store them.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Seconds from the Unix epoch to 2020-01-01T00:00:00Z, where [`Timestamp`]s begin.
pub const EPOCH_UNIX_SECONDS: u64 = 1_577_836_800;

/// Whole seconds since 2020-01-01T00:00:00Z, in 31 bits: good until 2088.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Debug, Hash)]
pub struct Timestamp(u32);

impl Timestamp {
    /// The latest time that fits.
    pub const MAX: Self = Self((1 << 31) - 1);

    /// The time `seconds` after 2020-01-01T00:00:00Z, at most [`Self::MAX`].
    pub fn new(seconds: u32) -> Self {
        Self(seconds.min(Self::MAX.0))
    }

    /// The time `seconds` after 2020-01-01T00:00:00Z; `None` after [`Self::MAX`].
    #[inline]
    pub fn checked(seconds: u64) -> Option<Self> {
        (seconds <= u64::from(Self::MAX.0)).then_some(Self(seconds as u32))
    }

    /// Reads RFC 3339 in UTC; parts of a second are cut. `None` for another text, or a time that does not fit.
    pub fn parse(text: &str) -> Option<Self> {
        Self::of(humantime::parse_rfc3339(text).ok()?)
    }

    /// The whole second that a time of the system is in; `None` if it does not fit.
    pub fn of(time: SystemTime) -> Option<Self> {
        let since = time.duration_since(UNIX_EPOCH).ok()?.as_secs().checked_sub(EPOCH_UNIX_SECONDS)?;
        Self::checked(since)
    }

    /// Seconds since 2020-01-01T00:00:00Z.
    pub fn seconds(self) -> u32 {
        self.0
    }

    /// How many whole seconds are left until this time, at whichever instant of the second `now` one asks.
    pub fn seconds_after(self, now: Self) -> u32 {
        self.0.saturating_sub(now.0.saturating_add(1))
    }

    /// Seconds since the Unix epoch.
    pub fn unix_seconds(self) -> u64 {
        EPOCH_UNIX_SECONDS + u64::from(self.0)
    }

    /// The time as the standard library has it.
    pub fn system_time(self) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(self.unix_seconds())
    }

    /// The time `seconds` later, at most [`Self::MAX`]. Not for what a caller is told: see
    /// [`Self::checked`].
    #[must_use]
    pub fn after(self, seconds: u32) -> Self {
        Self::new(self.0.saturating_add(seconds))
    }
}

/// RFC 3339 in UTC, for example `2026-11-23T22:05:00Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        humantime::format_rfc3339_seconds(self.system_time()).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_as_rfc_3339() {
        assert_eq!(Timestamp::new(0).to_string(), "2020-01-01T00:00:00Z");
        assert_eq!(Timestamp::MAX.to_string(), "2088-01-19T03:14:07Z");
        assert_eq!(Timestamp::new(u32::MAX), Timestamp::MAX);
        assert_eq!(Timestamp::MAX.after(1), Timestamp::MAX);
        let last = u64::from(Timestamp::MAX.seconds());
        assert_eq!((Timestamp::checked(last), Timestamp::checked(last + 1)), (Some(Timestamp::MAX), None));
    }
}
