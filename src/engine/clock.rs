//! The engine's time: it continues from where it stopped, whatever the wall clock does.
//!
//! At startup the journal's last frame contains the engine's last time. If the system has not rebooted since,
//! the clock that counts from the boot gives the exact time since then, and the wall clock is not used.
//! Otherwise the engine uses the wall clock, or its own last time if that is later.
//!
//! As time never runs back, one start with a clock that is far ahead would end every lease for ever. So a
//! wall clock out of range, or far ahead of the last frame, is refused.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::journal::frame::FrameHead;
use crate::journal::frame_time::FrameTime;
use crate::state::time::{EPOCH_UNIX_SECONDS, Timestamp};
use crate::store::open_error::ClockError;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::monotonic::boot_nanos;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// The last second of the year 9999.
const MAX_RFC_3339_UNIX_SECONDS: u64 = 253_402_300_799;
/// How far the wall clock may be ahead of the last frame.
pub const MAX_CLOCK_AHEAD_YEARS: u64 = 10;
const MAX_AHEAD_NANOS: u64 = MAX_CLOCK_AHEAD_YEARS * 366 * 24 * 3600 * NANOS_PER_SECOND;
const BOOT_ID_PATH: &str = "/proc/sys/kernel/random/boot_id";

/// The clocks of a machine.
pub trait Clocks: fmt::Debug + Send + Sync + 'static {
    /// Time since the Unix epoch, which can step.
    fn wall(&self) -> Duration;
    /// Nanoseconds since the boot, including sleep, which cannot step.
    fn boot_nanos(&self) -> u64;
    /// The id of the boot; zeros if unknown.
    fn boot_id(&self) -> [u8; 16];
}

/// The clocks of this machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClocks;

impl Clocks for SystemClocks {
    fn wall(&self) -> Duration {
        SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
    }

    #[inline]
    fn boot_nanos(&self) -> u64 {
        boot_nanos()
    }

    fn boot_id(&self) -> [u8; 16] {
        let text = std::fs::read_to_string(BOOT_ID_PATH).unwrap_or_default();
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        let mut id = [0; 16];
        for (byte, pair) in id.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).unwrap_or_default();
            *byte = u8::from_str_radix(pair, 16).unwrap_or_default();
        }
        id
    }
}

/// The engine's clock. Tests can move it forward.
#[derive(Debug)]
pub struct Clock {
    clocks: Arc<dyn Clocks>,
    boot_id: [u8; 16],
    /// The engine's time at the boot, in nanoseconds since 2020. Wraps below zero: by a wall clock that is
    /// not set, the boot may be before 2020.
    at_boot_nanos: u64,
    skipped_nanos: AtomicU64,
}

/// A time since the Unix epoch, for messages.
fn rfc_3339(unix: Duration) -> String {
    // A clock that is far off is shown as the last time that the format has.
    let latest = Duration::from_secs(MAX_RFC_3339_UNIX_SECONDS);
    humantime::format_rfc3339_seconds(UNIX_EPOCH + unix.min(latest)).to_string()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

impl Clock {
    /// A clock that continues from the journal's last frame and the id of the boot it was written in. Fails if
    /// the wall clock is out of range, or far ahead of the frame unless `accept_ahead`.
    pub fn resume(
        clocks: Arc<dyn Clocks>,
        last: Option<(&FrameHead, &[u8; 16])>,
        accept_ahead: bool,
    ) -> Result<Self, ClockError> {
        let wall = clocks.wall();
        let clock = Self::resume_unchecked(clocks, last);
        let now = clock.nanos();
        let is_unset = last.is_none() && wall < Duration::from_secs(EPOCH_UNIX_SECONDS);
        if is_unset || Timestamp::checked(now / NANOS_PER_SECOND).is_none() {
            return Err(ClockError::OutOfRange(rfc_3339(wall)));
        }
        let ahead = last.filter(|(frame, _)| now > frame.time_nanos.saturating_add(MAX_AHEAD_NANOS));
        match ahead {
            Some((frame, _)) if !accept_ahead => Err(ClockError::Ahead {
                now: rfc_3339(wall),
                last: rfc_3339(
                    Duration::from_secs(EPOCH_UNIX_SECONDS) + Duration::from_nanos(frame.time_nanos),
                ),
                years: MAX_CLOCK_AHEAD_YEARS,
            }),
            _ => Ok(clock),
        }
    }

    /// Like [`Self::resume`], whatever the wall clock says. Not for an engine that makes promises.
    pub(crate) fn resume_unchecked(clocks: Arc<dyn Clocks>, last: Option<(&FrameHead, &[u8; 16])>) -> Self {
        let (wall, boot, boot_id) = (clocks.wall(), clocks.boot_nanos(), clocks.boot_id());
        let wall = nanos(wall.saturating_sub(Duration::from_secs(EPOCH_UNIX_SECONDS)));
        let now = match last {
            Some((frame, id)) if *id == boot_id && boot_id != [0; 16] && frame.boot_nanos <= boot => {
                frame.time_nanos.saturating_add(boot - frame.boot_nanos)
            }
            Some((frame, _)) => wall.max(frame.time_nanos),
            None => wall,
        };
        let at_boot_nanos = now.wrapping_sub(boot);
        Self { clocks, boot_id, at_boot_nanos, skipped_nanos: AtomicU64::new(0) }
    }

    /// A clock that starts from the wall clock's time.
    pub fn start() -> Self {
        Self::resume_unchecked(Arc::new(SystemClocks), None)
    }

    fn frame_parts(&self) -> (u64, u64) {
        let boot = self.clocks.boot_nanos();
        (self.at_boot_nanos.wrapping_add(boot).wrapping_add(self.skipped_nanos.load(Ordering::Relaxed)), boot)
    }

    fn nanos(&self) -> u64 {
        self.frame_parts().0
    }

    /// The time as stored in a frame of the journal.
    pub fn frame_time(&self) -> FrameTime {
        let (time_nanos, boot_nanos) = self.frame_parts();
        FrameTime { time_nanos, boot_nanos }
    }

    /// The id of the machine's current boot.
    pub fn boot_id(&self) -> [u8; 16] {
        self.boot_id
    }

    /// The time in nanoseconds since 2020.
    pub(crate) fn now_nanos(&self) -> u64 {
        self.nanos()
    }

    /// The last whole second.
    #[inline]
    pub fn now(&self) -> Timestamp {
        Timestamp::new(u32::try_from(self.nanos() / NANOS_PER_SECOND).unwrap_or(u32::MAX))
    }

    /// The time in milliseconds since 2020.
    pub fn milliseconds(&self) -> u64 {
        self.nanos() / 1_000_000
    }

    /// The first whole second at least `seconds` from now, so that a lease never ends early. `None` if that is
    /// later than a word can hold.
    #[inline]
    pub fn deadline(&self, seconds: u32) -> Option<Timestamp> {
        Timestamp::checked(self.nanos().div_ceil(NANOS_PER_SECOND) + u64::from(seconds))
    }

    /// How far the system's clock is ahead of this one, in seconds.
    pub fn system_ahead_seconds(&self) -> f64 {
        let own = Duration::from_secs(EPOCH_UNIX_SECONDS) + Duration::from_nanos(self.nanos());
        self.clocks.wall().as_secs_f64() - own.as_secs_f64()
    }

    /// Moves the time forward, for tests and benchmarks.
    pub fn skip(&self, seconds: u32) {
        self.skipped_nanos.fetch_add(u64::from(seconds) * NANOS_PER_SECOND, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deadline_is_never_early() {
        let clock = Clock::start();
        for seconds in [0, 1, 60] {
            let (before, deadline) = (clock.nanos(), clock.deadline(seconds).unwrap());
            assert!(
                u64::from(deadline.seconds()) * NANOS_PER_SECOND
                    >= before + u64::from(seconds) * NANOS_PER_SECOND
            );
            assert!(deadline <= clock.now().after(seconds + 1));
        }
        let now = clock.now();
        clock.skip(100);
        assert!(clock.now() >= now.after(100));
        let left = Timestamp::MAX.seconds() - clock.now().seconds();
        assert!(clock.deadline(left - 10).is_some());
        assert_eq!((clock.deadline(left + 1), clock.deadline(u32::MAX)), (None, None), "not cut");
    }

    #[derive(Debug, Clone, Copy)]
    struct Fake {
        wall_seconds: u64,
        boot_seconds: u64,
        boot: u8,
    }

    impl Clocks for Fake {
        fn wall(&self) -> Duration {
            Duration::from_secs(EPOCH_UNIX_SECONDS + self.wall_seconds)
        }
        fn boot_nanos(&self) -> u64 {
            self.boot_seconds * NANOS_PER_SECOND
        }
        fn boot_id(&self) -> [u8; 16] {
            [self.boot; 16]
        }
    }

    #[test]
    fn the_wall_clock_moves_time_only_over_a_boot_and_never_back() {
        let frame = FrameHead {
            time_nanos: 1_000 * NANOS_PER_SECOND,
            boot_nanos: 50 * NANOS_PER_SECOND,
            ..FrameHead::default()
        };
        let resumed = |wall_seconds, boot_seconds, boot| {
            let fake = Fake { wall_seconds, boot_seconds, boot };
            Clock::resume(Arc::new(fake), Some((&frame, &[7; 16])), false).unwrap().now().seconds()
        };
        assert_eq!(resumed(9_999_999, 80, 7), 1_030, "a step forward is not seen");
        assert_eq!(resumed(5, 80, 7), 1_030, "nor one back");
        assert_eq!(resumed(2_000, 3, 8), 2_000, "another boot: the wall clock");
        assert_eq!(resumed(5, 3, 8), 1_000, "but never back");
        assert_eq!(resumed(2_000, 3, 7), 2_000, "an id that is not to be believed");
        assert_eq!(resumed(2_000, 80, 0), 2_000, "a boot without an id");
        let boot_id = SystemClocks.boot_id();
        assert_eq!(boot_id, SystemClocks.boot_id());
    }

    #[test]
    fn how_far_the_system_is_ahead_is_told() {
        let frame = FrameHead {
            time_nanos: 1_000 * NANOS_PER_SECOND,
            boot_nanos: 50 * NANOS_PER_SECOND,
            ..FrameHead::default()
        };
        let ahead = |wall_seconds| {
            let fake = Fake { wall_seconds, boot_seconds: 80, boot: 7 };
            let clock = Clock::resume(Arc::new(fake), Some((&frame, &[7; 16])), false).unwrap();
            clock.system_ahead_seconds().round()
        };
        assert_eq!((ahead(1_030), ahead(87_430), ahead(30)), (0.0, 86_400.0, -1_000.0));
    }

    #[derive(Debug)]
    struct Unset;
    impl Clocks for Unset {
        fn wall(&self) -> Duration {
            Duration::from_secs(EPOCH_UNIX_SECONDS - 1)
        }
        fn boot_nanos(&self) -> u64 {
            3 * NANOS_PER_SECOND
        }
        fn boot_id(&self) -> [u8; 16] {
            [8; 16]
        }
    }

    #[test]
    fn a_clock_out_of_range_or_far_ahead_is_refused() {
        const YEAR: u64 = 366 * 24 * 3600;
        let frame = FrameHead { time_nanos: YEAR * NANOS_PER_SECOND, ..FrameHead::default() };
        let start = |wall_seconds, last: Option<&FrameHead>, accept| {
            let fake = Fake { wall_seconds, boot_seconds: 3, boot: 8 };
            let clock = Clock::resume(Arc::new(fake), last.map(|frame| (frame, &[7; 16])), accept);
            clock.map(|clock| clock.now().seconds())
        };
        let last = u64::from(Timestamp::MAX.seconds());
        assert_eq!(start(last, None, false), Ok(Timestamp::MAX.seconds()));
        for accept in [false, true] {
            for frame in [None, Some(&frame)] {
                assert!(matches!(start(last + 1, frame, accept), Err(ClockError::OutOfRange(_))));
                assert!(matches!(start(1 << 50, frame, accept), Err(ClockError::OutOfRange(_))));
            }
        }
        assert!(start(11 * YEAR, Some(&frame), false).is_ok());
        let refused = start(11 * YEAR + 1, Some(&frame), false).unwrap_err().to_string();
        assert!(
            refused.contains("2031-01-09T00:00:01Z") && refused.contains("2021-01-01T00:00:00Z"),
            "{refused}"
        );
        assert!(start(11 * YEAR + 1, Some(&frame), true).is_ok());
        assert!(matches!(Clock::resume(Arc::new(Unset), None, true), Err(ClockError::OutOfRange(_))));
        let kept = Clock::resume(Arc::new(Unset), Some((&frame, &[7; 16])), false).unwrap();
        assert_eq!(u64::from(kept.now().seconds()), YEAR, "the time of the journal counts");
    }
}
