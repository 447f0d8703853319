//! How many numbers are in each state, and how often each event happened.

use serde::{Deserialize, Serialize};

use crate::state::block_counts::StateCounts;
use crate::state::number_state::State;

/// How many states a word can have: all but `Blocked`.
pub(crate) const STATES: usize = State::Retired as usize + 1;

/// How many numbers are in each state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All numbers.
    pub numbers: u64,
    /// Can be leased.
    pub available: u64,
    /// Held under a lease.
    pub leased: u64,
    /// Resting after a return or an expiry.
    pub resting: u64,
    /// Done for this round.
    pub done: u64,
    /// Not handed out until reinstated.
    pub retired: u64,
    /// Would be available, but are on a list that blocks them.
    pub blocked: u64,
    /// Would be available, but are outside their hours.
    pub closed: u64,
}

impl Counts {
    /// Counts one more number.
    pub fn add(&mut self, state: State) {
        self.numbers += 1;
        *match state {
            State::Available => &mut self.available,
            State::Leased => &mut self.leased,
            State::Resting => &mut self.resting,
            State::Done => &mut self.done,
            State::Retired => &mut self.retired,
            State::Blocked => &mut self.blocked,
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
        self.blocked += other.blocked;
        self.closed += other.closed;
    }

    /// Counts some of the available numbers as blocked.
    pub(crate) fn block(&mut self, blocked: u64) {
        // Both are counted while numbers change, one after the other.
        let blocked = blocked.min(self.available);
        self.available -= blocked;
        self.blocked += blocked;
    }

    /// Counts some of the available numbers as closed.
    pub fn close(&mut self, closed: u64) {
        let closed = closed.min(self.available);
        self.available -= closed;
        self.closed += closed;
    }

    /// Adds the counts of a block of words, of whose available ones some are blocked.
    pub(crate) fn add_block(&mut self, block: StateCounts, blocked: u64) {
        let [available, leased, resting, done, retired] = block.map(u64::from);
        let numbers = available + leased + resting + done + retired;
        let mut counts = Self { numbers, available, leased, resting, done, retired, blocked: 0, closed: 0 };
        counts.block(blocked);
        self.merge(counts);
    }

    pub(crate) fn from_states(states: [u64; STATES]) -> Self {
        // A reader can see one half of a move, so a state's count can be briefly too low, even below zero.
        let [available, leased, resting, done, retired] =
            states.map(|n| n.cast_signed().max(0).cast_unsigned());
        Self {
            numbers: available + leased + resting + done + retired,
            available,
            leased,
            resting,
            done,
            retired,
            blocked: 0,
            closed: 0,
        }
    }
}

/// How often each event happened since the pool was created.
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
    /// Items of renew and return calls with a wrong or outdated token.
    pub stale: u64,
}
