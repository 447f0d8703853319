//! What a confirmed change survives: the durability modes.

/// What a reply promises.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Durability {
    /// What it confirms is on the disk.
    #[default]
    Sync,
    /// What it confirms survives the process, and is on the disk after at most the given interval.
    Interval {
        /// Milliseconds between two syncs.
        sync_interval_ms: u32,
    },
    /// What it confirms survives the process.
    None,
}

impl Durability {
    /// The mode as flags and stats name it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sync => "sync",
            Self::Interval { .. } => "interval",
            Self::None => "none",
        }
    }
}
