//! How many numbers are in each state, and how often each thing happened.

use serde::{Deserialize, Serialize};

use crate::state::block_counts::StateCounts;
use crate::state::word::State;

/// How many states there are.
pub(crate) const STATES: usize = State::ALL.len();

/// How many numbers are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All of them.
    pub numbers: u64,
    /// That can be leased.
    pub available: u64,
    /// That someone holds.
    pub leased: u64,
    /// That rest after a return.
    pub resting: u64,
    /// That are done for this round.
    pub done: u64,
    /// That are never handed out.
    pub retired: u64,
}

impl Counts {
    /// Counts one number more.
    pub fn add(&mut self, state: State) {
        self.numbers += 1;
        *match state {
            State::Available => &mut self.available,
            State::Leased => &mut self.leased,
            State::Resting => &mut self.resting,
            State::Done => &mut self.done,
            State::Retired => &mut self.retired,
        } += 1;
    }

    /// Adds other counts to these.
    pub(crate) fn merge(&mut self, other: Self) {
        self.numbers += other.numbers;
        self.available += other.available;
        self.leased += other.leased;
        self.resting += other.resting;
        self.done += other.done;
        self.retired += other.retired;
    }

    /// Adds the counts of a block of words.
    pub(crate) fn add_block(&mut self, block: StateCounts) {
        let [available, leased, resting, done, retired] = block.map(u64::from);
        let numbers = available + leased + resting + done + retired;
        self.merge(Self { numbers, available, leased, resting, done, retired });
    }

    pub(crate) fn from_states(states: [u64; STATES]) -> Self {
        // A reader meets a move between its two halves: then a state can be one short for a moment.
        let [available, leased, resting, done, retired] =
            states.map(|n| n.cast_signed().max(0).cast_unsigned());
        Self {
            numbers: available + leased + resting + done + retired,
            available,
            leased,
            resting,
            done,
            retired,
        }
    }
}

/// How often each thing happened since the pool was created.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Totals {
    /// Numbers leased.
    pub leases: u64,
    /// Leases renewed.
    pub renewals: u64,
    /// Numbers returned; a repeated return does not count.
    pub returns: u64,
    /// Leases that ended without a return.
    pub expirations: u64,
    /// Lease calls that found no number available.
    pub exhausted: u64,
    /// Items of renew and return with a token that is not, or no longer, right.
    pub stale: u64,
}
