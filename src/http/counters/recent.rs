//! The counts of the last minute: the counts now, less those of a sample from a minute ago.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::histogram::DistributionSnapshot;

use super::refusals::Refusals;
use super::requests::{Call, CallSnapshot};

/// How often a sample is kept, in seconds.
pub const SAMPLE_INTERVAL_SECONDS: u64 = 5;
/// The age of the sample that the current counts are compared with.
const SPAN: Duration = Duration::from_secs(60);

/// All counts at a moment.
#[derive(Debug, Clone)]
pub struct Counts {
    /// Of the calls that were made at least once.
    pub requests: Vec<CallSnapshot>,
    /// Of all refusals.
    pub refusals: Refusals,
    /// Of those of a pool, by its id.
    pub refusals_by_pool: BTreeMap<u64, Refusals>,
    /// How long syncs took, in nanoseconds.
    pub syncs: DistributionSnapshot,
    /// How long responses waited for the journal, in nanoseconds.
    pub commit_waits: DistributionSnapshot,
}

/// The counts at a moment of the last minute.
#[derive(Debug, Clone)]
pub struct Sample {
    at: Instant,
    counts: Counts,
}

/// The samples of the last minute, oldest first.
#[derive(Debug, Default)]
pub struct Recent {
    samples: Mutex<VecDeque<Sample>>,
}

impl Recent {
    /// Keeps a sample, and drops those that are too old.
    pub fn keep(&self, counts: Counts) {
        let sample = Sample { at: Instant::now(), counts };
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        while samples.get(1).is_some_and(|second| sample.at.duration_since(second.at) >= SPAN) {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Returns the result of `read` on the sample from a minute ago, or else on the oldest sample, if any.
    pub fn with_oldest<T>(&self, read: impl FnOnce(Option<&Sample>) -> T) -> T {
        read(self.samples.lock().unwrap_or_else(PoisonError::into_inner).front())
    }
}

impl Sample {
    /// The counts of a call, if it had been made by then.
    pub fn request(&self, call: Call) -> Option<&CallSnapshot> {
        self.counts.requests.iter().find(|known| known.call == call)
    }

    /// How often requests had been refused with `code` by then.
    pub fn refused(&self, code: &str) -> u64 {
        self.counts.refusals.get(code).map_or(0, |refused| refused.count)
    }

    /// The same of a pool's requests.
    pub fn refused_of_pool(&self, pool: u64, code: &str) -> u64 {
        let of_pool = self.counts.refusals_by_pool.get(&pool);
        of_pool.and_then(|refusals| refusals.get(code)).map_or(0, |refused| refused.count)
    }

    /// How long the syncs by then had taken, in nanoseconds.
    pub fn syncs(&self) -> &DistributionSnapshot {
        &self.counts.syncs
    }

    /// How long the responses by then had waited for the journal, in nanoseconds.
    pub fn commit_waits(&self) -> &DistributionSnapshot {
        &self.counts.commit_waits
    }
}
