//! How many changes are kept.

use std::str::FromStr;

/// The least that can be kept, in bytes.
pub const MIN_KEPT_BYTES: u64 = 64 << 10;
/// The longest that can be kept, in hours.
pub const MAX_KEPT_HOURS: u64 = 24 * 366;

/// How much is kept: whatever is reached first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Bytes of all files.
    pub bytes: u64,
    /// How long, in seconds.
    pub seconds: u32,
}

/// The text is not what is to be kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("give bytes and hours, such as 64MiB,24h: at least 64KiB, and 1h to {MAX_KEPT_HOURS}h")]
pub struct NotAKeep;

impl FromStr for Keep {
    type Err = NotAKeep;

    fn from_str(text: &str) -> Result<Self, NotAKeep> {
        let (bytes, hours) = text.split_once(',').ok_or(NotAKeep)?;
        let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("", 0)];
        let (digits, shift) = units
            .iter()
            .find_map(|(unit, shift)| Some((bytes.strip_suffix(unit)?, *shift)))
            .ok_or(NotAKeep)?;
        let number = |digits: &str| digits.trim().parse::<u64>().map_err(|_| NotAKeep);
        let bytes = number(digits)?.checked_mul(1 << shift).ok_or(NotAKeep)?;
        let hours = number(hours.trim().strip_suffix('h').ok_or(NotAKeep)?)?;
        if bytes < MIN_KEPT_BYTES || !(1..=MAX_KEPT_HOURS).contains(&hours) {
            return Err(NotAKeep);
        }
        Ok(Self { bytes, seconds: hours as u32 * 3_600 })
    }
}
