//! The time in a frame.

/// The engine's time and the system's since its boot, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct FrameTime {
    /// Since the beginning of 2020.
    pub time_nanos: u64,
    /// Since the boot.
    pub boot_nanos: u64,
}
