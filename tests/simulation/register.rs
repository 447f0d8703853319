//! Values that are set by calls and read by others: a pool's settings, whether it is paused, whether it is
//! there.

use std::fmt::Debug;

/// When a call began and ended, in steps of the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interval {
    pub(crate) begun: u64,
    pub(crate) ended: u64,
}

/// An end that has not come, or is not known.
pub(crate) const NEVER: u64 = u64::MAX;

#[derive(Debug, Clone)]
struct Write<T> {
    during: Interval,
    value: T,
}

/// All that was written to one value.
#[derive(Debug, Clone)]
pub(crate) struct Register<T>(Vec<Write<T>>);

impl<T: Clone + PartialEq + Debug> Register<T> {
    /// A value that was there at a step.
    pub(crate) fn new(value: T, at: u64) -> Self {
        Self(vec![Write { during: Interval { begun: at, ended: at }, value }])
    }

    /// A call begins to write. Returns its number.
    pub(crate) fn begin(&mut self, value: T, at: u64) -> usize {
        self.0.push(Write { during: Interval { begun: at, ended: NEVER }, value });
        self.0.len() - 1
    }

    /// The call has told that it is done.
    pub(crate) fn confirm(&mut self, number: usize, at: u64) {
        self.0[number].during.ended = at;
    }

    /// The call wrote nothing.
    pub(crate) fn withdraw(&mut self, number: usize) {
        self.0[number].during = Interval { begun: NEVER, ended: NEVER };
    }

    /// Whether a call that read this value could.
    pub(crate) fn allows(&self, read: Interval, fits: impl Fn(&T) -> bool) -> bool {
        self.0.iter().any(|write| {
            let overwritten =
                |other: &Write<T>| other.during.begun > write.during.ended && other.during.ended < read.begun;
            fits(&write.value) && write.during.begun <= read.ended && !self.0.iter().any(overwritten)
        })
    }

    /// Whether another value than this was ever there, or may have been.
    pub(crate) fn may_differ_from(&self, value: &T) -> bool {
        self.0.iter().any(|write| write.value != *value)
    }

    /// What was written, for a message.
    pub(crate) fn all(&self) -> String {
        format!("{:?}", self.0)
    }
}
