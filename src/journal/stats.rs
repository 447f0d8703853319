//! The journal's counters.

use std::time::Duration;

use crate::histogram::{Distribution, DistributionSnapshot};
use crate::log;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::monotonic::monotonic_nanos;

/// Latencies are stored with an error of at most 1 in 2^6.
const GROUPING_POWER: u8 = 6;
/// Longest latency stored: 2^36 ns, about a minute.
const MAX_VALUE_POWER: u8 = 36;

/// The counters, written by the writer and the checkpointer.
#[derive(Debug)]
pub(super) struct JournalStats {
    /// The runs of the writer's loop, as [`super::handle::Journal::writer_turns`] reports them.
    pub(super) turns: AtomicU64,
    bytes: AtomicU64,
    frames: AtomicU64,
    records: AtomicU64,
    syncs: AtomicU64,
    sync_nanoseconds: Distribution,
    /// When the group that is being written was begun, by the monotonic clock; 0 for none.
    writing_since_nanos: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    /// Engine's time of the last checkpoint, in seconds since 2020; 0 for none.
    pub(super) checkpoint_at_seconds: AtomicU64,
}

/// The counts at a moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalSnapshot {
    /// Bytes written.
    pub bytes: u64,
    /// Frames written.
    pub frames: u64,
    /// Records written.
    pub records: u64,
    /// Syncs, and writes that are durable without one.
    pub syncs: u64,
    /// Durations of the syncs, in nanoseconds.
    pub sync_nanoseconds: DistributionSnapshot,
    /// Files, spare ones included.
    pub files: u64,
    /// Completed checkpoints.
    pub checkpoints: u64,
    /// Engine's time of the last one, in seconds since 2020; 0 for none.
    pub checkpoint_at_seconds: u64,
}

impl Default for JournalStats {
    fn default() -> Self {
        Self {
            turns: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            records: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            sync_nanoseconds: Distribution::new(GROUPING_POWER, MAX_VALUE_POWER),
            writing_since_nanos: AtomicU64::new(0),
            files: AtomicU64::new(0),
            checkpoints: AtomicU64::new(0),
            checkpoint_at_seconds: AtomicU64::new(0),
        }
    }
}

impl JournalStats {
    pub(super) fn wrote(&self, bytes: u64, records: u64) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.frames.fetch_add(1, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }

    /// Counts one run of the writer's loop.
    #[inline]
    pub(super) fn turn(&self) {
        self.turns.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn synced(&self, took: Duration) {
        log::slow_sync(took);
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.sync_nanoseconds.record(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Notes that a group is being written.
    pub(super) fn begin_write(&self) {
        self.writing_since_nanos.store(monotonic_nanos(), Ordering::Relaxed);
    }

    /// Notes that it is written.
    pub(super) fn end_write(&self) {
        self.writing_since_nanos.store(0, Ordering::Relaxed);
    }

    /// For how long the group that is being written has been; zero if there is none.
    pub(super) fn writing_for(&self) -> Duration {
        match self.writing_since_nanos.load(Ordering::Relaxed) {
            0 => Duration::ZERO,
            since => Duration::from_nanos(monotonic_nanos().saturating_sub(since)),
        }
    }

    /// The counts now.
    pub(super) fn snapshot(&self) -> JournalSnapshot {
        JournalSnapshot {
            bytes: self.bytes.load(Ordering::Relaxed),
            frames: self.frames.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            sync_nanoseconds: self.sync_nanoseconds.snapshot(),
            files: self.files.load(Ordering::Relaxed),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            checkpoint_at_seconds: self.checkpoint_at_seconds.load(Ordering::Relaxed),
        }
    }
}
