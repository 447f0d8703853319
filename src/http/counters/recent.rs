//! What the daemon did in the last minute: the counts now less those that were kept from a minute ago.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::refusals::Refusals;
use super::requests::{Call, CallSnapshot};

/// How often a sample is to be kept, in seconds.
pub const SAMPLE_INTERVAL_SECONDS: u64 = 5;
/// How long ago the counts are from that the recent ones are told against.
const SPAN: Duration = Duration::from_secs(60);

/// Everything at a moment.
#[derive(Debug, Clone)]
pub struct Sample {
    at: Instant,
    requests: Vec<CallSnapshot>,
    refusals: Refusals,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Recent {
    samples: Mutex<VecDeque<Sample>>,
}

impl Recent {
    /// Keeps a sample; those that are not needed any more are forgotten.
    pub fn keep(&self, requests: Vec<CallSnapshot>, refusals: Refusals) {
        let sample = Sample { at: Instant::now(), requests, refusals };
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        while samples.get(1).is_some_and(|second| sample.at.duration_since(second.at) >= SPAN) {
            samples.pop_front();
        }
        samples.push_back(sample);
    }

    /// Answers with what `read` makes of the sample from a minute ago, or the oldest there is.
    pub fn with_oldest<T>(&self, read: impl FnOnce(Option<&Sample>) -> T) -> T {
        read(self.samples.lock().unwrap_or_else(PoisonError::into_inner).front())
    }
}

impl Sample {
    /// A call, if it had been made by then.
    pub fn request(&self, call: Call) -> Option<&CallSnapshot> {
        self.requests.iter().find(|known| known.call == call)
    }

    /// How often requests had been refused with a code by then.
    pub fn refused(&self, code: &str) -> u64 {
        self.refusals.get(code).map_or(0, |refused| refused.count)
    }
}
