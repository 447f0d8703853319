//! Says when the system's clock and the time that leases are counted in differ.

use tracing::{info, warn};

/// How far they may differ, in seconds.
const MAX_OFF_SECONDS: f64 = 60.0;

/// Whether they differed when they were compared last.
#[derive(Debug, Default)]
pub(super) struct ClockWatch {
    is_off: bool,
}

impl ClockWatch {
    /// Logs a change. `ahead_seconds` is how far the system's clock is ahead.
    pub(super) fn look(&mut self, ahead_seconds: f64) {
        let is_off = ahead_seconds.abs() > MAX_OFF_SECONDS;
        if is_off == self.is_off {
            return;
        }
        self.is_off = is_off;
        if is_off {
            let (seconds, side) =
                (ahead_seconds.abs().round(), if ahead_seconds > 0.0 { "ahead of" } else { "behind" });
            warn!(
                event = "clock_off",
                ahead_seconds = ahead_seconds.round(),
                "the system's clock is {seconds} seconds {side} the time that leases are counted in, which expires_at shows: \
                 it was set to another time since the machine started, or the daemon started with a wrong clock; leases \
                 last as long as they were given"
            );
        } else {
            info!(event = "clock_right", "the system's clock shows the time that leases are counted in");
        }
    }
}
