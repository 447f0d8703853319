//! The counts of the last minute: the counts now, less those of a sample from a minute ago.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::refusals::Refusals;
use super::requests::{Call, CallSnapshot};

/// How often a sample is kept, in seconds.
pub const SAMPLE_INTERVAL_SECONDS: u64 = 5;
/// The age of the sample that the current counts are compared with.
const SPAN: Duration = Duration::from_secs(60);

/// All counts at a moment.
#[derive(Debug, Clone)]
pub struct Sample {
    at: Instant,
    requests: Vec<CallSnapshot>,
    refusals: Refusals,
}

/// The samples of the last minute, oldest first.
#[derive(Debug, Default)]
pub struct Recent {
    samples: Mutex<VecDeque<Sample>>,
}

impl Recent {
    /// Keeps a sample, and drops those that are too old.
    pub fn keep(&self, requests: Vec<CallSnapshot>, refusals: Refusals) {
        let sample = Sample { at: Instant::now(), requests, refusals };
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
        self.requests.iter().find(|known| known.call == call)
    }

    /// How often requests had been refused with `code` by then.
    pub fn refused(&self, code: &str) -> u64 {
        self.refusals.get(code).map_or(0, |refused| refused.count)
    }
}
