//! What the journal counts. Only the writer writes.

use std::time::Duration;

use histogram::AtomicHistogram;

use crate::sync::{AtomicU64, Ordering};

/// Latencies are kept with an error of at most 1 in 2^6.
const GROUPING_POWER: u8 = 6;
/// Longest latency kept: 2^36 ns, about a minute.
const MAX_VALUE_POWER: u8 = 36;

/// See the module.
#[derive(Debug)]
pub(super) struct JournalStats {
    bytes: AtomicU64,
    frames: AtomicU64,
    records: AtomicU64,
    syncs: AtomicU64,
    sync_nanoseconds: AtomicHistogram,
    longest_sync_nanoseconds: AtomicU64,
    pub(super) files: AtomicU64,
    pub(super) checkpoints: AtomicU64,
    /// Engine's seconds of the last checkpoint.
    pub(super) checkpoint_at_seconds: AtomicU64,
}

/// The counts at a moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JournalSnapshot {
    /// Bytes written.
    pub bytes: u64,
    /// Frames written.
    pub frames: u64,
    /// Records written.
    pub records: u64,
    /// Syncs, or writes that are durable by themselves.
    pub syncs: u64,
    /// How long these took, in nanoseconds: p50, p99 and the longest.
    pub sync_nanoseconds: [u64; 3],
    /// Files, spare ones included.
    pub files: u64,
    /// Checkpoints that ended.
    pub checkpoints: u64,
    /// Engine's time of the last one, in seconds since 2020; 0 for none.
    pub checkpoint_at_seconds: u64,
}

impl Default for JournalStats {
    fn default() -> Self {
        Self {
            bytes: AtomicU64::new(0),
            frames: AtomicU64::new(0),
            records: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
            sync_nanoseconds: AtomicHistogram::new(GROUPING_POWER, MAX_VALUE_POWER)
                .expect("the powers are constants that the histogram accepts"),
            longest_sync_nanoseconds: AtomicU64::new(0),
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

    pub(super) fn synced(&self, took: Duration) {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        let nanoseconds = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX).min((1 << MAX_VALUE_POWER) - 1);
        // Cannot fail: the value was cut to the histogram's range.
        let _ = self.sync_nanoseconds.increment(nanoseconds);
        self.longest_sync_nanoseconds.fetch_max(nanoseconds, Ordering::Relaxed);
    }

    /// The counts now.
    pub(super) fn snapshot(&self) -> JournalSnapshot {
        let longest = self.longest_sync_nanoseconds.load(Ordering::Relaxed);
        let histogram = self.sync_nanoseconds.load();
        let quantile = |q| {
            let bucket = histogram.quantile_bucket(q).ok().flatten();
            bucket.map_or(0, |bucket| bucket.end().min(longest))
        };
        JournalSnapshot {
            bytes: self.bytes.load(Ordering::Relaxed),
            frames: self.frames.load(Ordering::Relaxed),
            records: self.records.load(Ordering::Relaxed),
            syncs: self.syncs.load(Ordering::Relaxed),
            sync_nanoseconds: [quantile(0.5), quantile(0.99), longest],
            files: self.files.load(Ordering::Relaxed),
            checkpoints: self.checkpoints.load(Ordering::Relaxed),
            checkpoint_at_seconds: self.checkpoint_at_seconds.load(Ordering::Relaxed),
        }
    }
}
