//! A call's place in the line of a pool, and what a pool tells its line.

use std::sync::Arc;
use std::time::Duration;

use crate::coordinates::Rank;
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::numbers::number::{Number, NumberRange};
use crate::state::number_state::State;
use crate::sys::atomics::Ordering;

use super::line::{Filter, Place};
use super::signal::Signal;

/// There are as many calls waiting as the pool allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0} calls wait for a number of this pool, as many as its max_waiters allows: try again, or raise it"
)]
pub struct TooManyWaiters(pub u32);

/// The calls that wait for a number of a pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Waiters {
    /// How many there are.
    pub calls: u64,
    /// How long the first of them has waited.
    pub oldest: Duration,
}

/// A call's place in the line of a pool, which it leaves when this is dropped.
pub struct Ticket {
    pool: Arc<Pool>,
    place: Place,
}

impl Ticket {
    /// To be called before each search of the call.
    pub fn begin(&self) {
        self.pool.waiting.line().begin(self.place);
    }

    /// To be called after a search that found the pool exhausted. Returns whether the call is to search again at once.
    pub fn rest(&self) -> bool {
        let mut line = self.pool.waiting.line();
        let again = line.rest(self.place);
        self.pool.set_precedence(line.has_precedence());
        again
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        let pool = &self.pool;
        let left = {
            let mut line = pool.waiting.line();
            let left = line.leave(self.place);
            pool.set_precedence(line.has_precedence());
            left
        };
        pool.waiting.calls.fetch_sub(1, Ordering::SeqCst);
        for signal in left.signals {
            signal.give();
        }
        // What this call was woken for and did not take.
        let is_available =
            |number: &Number| pool.lookup(*number).is_some_and(|seen| seen.state == State::Available);
        left.offers.into_iter().filter(is_available).for_each(|number| pool.waiting.offer(number));
    }
}

impl Pool {
    /// Whether calls with a filter wait: one that is to wait as well comes after them.
    pub fn has_line(&self, filter: &Filter) -> bool {
        self.waiting.is_used() && self.waiting.line().has_group(filter)
    }

    /// Puts a call into the line. Until it leaves, `signal` tells it when to search. If it is the first with its filter,
    /// the signal is given.
    pub fn join_line(
        self: &Arc<Self>,
        filter: Filter,
        signal: &Arc<Signal>,
    ) -> Result<Ticket, TooManyWaiters> {
        let limit = self.settings().max_waiters;
        let (place, is_first) = {
            let mut line = self.waiting.line();
            if line.len() >= limit as usize {
                return Err(TooManyWaiters(limit));
            }
            // Before its next search.
            self.waiting.calls.fetch_add(1, Ordering::SeqCst);
            line.join(filter, Arc::clone(signal))
        };
        if is_first {
            signal.give();
        }
        Ok(Ticket { pool: Arc::clone(self), place })
    }

    /// The calls that wait.
    pub fn waiters(&self) -> Waiters {
        if !self.waiting.is_used() {
            return Waiters::default();
        }
        let line = self.waiting.line();
        Waiters { calls: line.len() as u64, oldest: line.oldest().unwrap_or_default() }
    }

    /// Tells the line of a number that has become available and whose bit is in the free index, or beside it.
    #[inline]
    pub(crate) fn announce(&self, segment: &Segment, rank: Rank) {
        if self.waiting.is_used() {
            self.announce_number(segment, rank);
        }
    }

    #[cold]
    fn announce_number(&self, segment: &Segment, rank: Rank) {
        // Who unblocks a number that is not leased tells of it then.
        if segment.state.free.blocked().contains(rank) {
            return;
        }
        if let Some(number) = segment.set.select(rank) {
            self.shared.announcements.push(&self.waiting, number);
        }
    }

    /// Whether a call that does not wait has to leave what is available to one that does.
    #[cold]
    pub(crate) fn is_promised(&self, ranges: Option<&[NumberRange]>) -> bool {
        self.waiting.line().precedes(ranges)
    }
}
