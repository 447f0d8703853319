//! How late numbers are back whose lease or rest has ended.

use crate::histogram::Distribution;

/// Relative error: an eighth. A pool has one of these, and there may be thousands.
const GROUPING_POWER: u8 = 3;
/// Longest kept: 2^24 ms, 4.7 hours; longer ones, as of a daemon that was down, count as that.
const MAX_VALUE_POWER: u8 = 24;

/// Times in milliseconds; none yet.
pub(crate) fn milliseconds() -> Distribution {
    Distribution::new(GROUPING_POWER, MAX_VALUE_POWER)
}
