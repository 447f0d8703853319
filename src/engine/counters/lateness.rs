//! How late ended leases and rests are swept.

use crate::histogram::Distribution;

/// A relative error of an eighth: coarse, because each of up to thousands of pools has a histogram.
const GROUPING_POWER: u8 = 3;
/// Maximum value: 2^24 ms, 4.7 hours. Longer times, as after a daemon was down, count as this.
const MAX_VALUE_POWER: u8 = 24;

/// An empty distribution of times in milliseconds.
pub(crate) fn milliseconds() -> Distribution {
    Distribution::new(GROUPING_POWER, MAX_VALUE_POWER)
}
