//! Returning leases.

use std::sync::Arc;

use crate::coordinates::Rank;
use crate::domain::list_name::ListName;
use crate::domain::settings::{Attempts, NextState};
use crate::engine::counters::Total;
use crate::engine::counters::outcomes::OutcomeId;
use crate::engine::lists::NoSuchList;
use crate::engine::lists::list::{List, TooManyNumbers};
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::engine::worker::Worker;
use crate::journal::error::JournalError;
use crate::journal::queue::Position;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::{NextWord, Word};
use crate::sys::slot::Slot;

use super::lease_ref::{LeaseRef, has_observed};

/// A lease to return, and the next state of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnItem {
    /// The lease.
    pub lease: LeaseRef,
    /// The next state of the number.
    pub then: NextState,
    /// The counter of its outcome; see [`Pool::outcome`].
    pub outcome: Option<OutcomeId>,
}

/// The result of returning one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnResult {
    /// The number is returned, by this call or an earlier one.
    Returned {
        /// Its state as seen now.
        state: State,
        /// When its rest ends.
        available_at: Option<Timestamp>,
        /// When the lease would have ended, if this call ended it.
        before: Option<Timestamp>,
    },
    /// Another caller has leased the number since, or the token is wrong.
    Stale,
    /// No such number.
    Unknown,
}

/// Why a call returned no lease. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReturnError {
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// A rest would end after the last time that can be stored.
    #[error(
        "this rest would end after {}, the last time that can be stored: give a shorter one",
        Timestamp::MAX
    )]
    RestEndsTooLate,
    /// A number is to go onto a list that does not exist.
    #[error(transparent)]
    List(#[from] NoSuchList),
    /// A number is to go onto a list that is full.
    #[error(transparent)]
    ListFull(#[from] TooManyNumbers),
}

/// How much earlier than the last time a rest must end when a call begins, in seconds.
const REST_MARGIN_SECONDS: u32 = 3_600;

impl Pool {
    /// Returns leases; `results` gets one result per item, in order. Fails only if the journal accepts no
    /// change or a rest is too long, and then changes nothing.
    pub fn return_leases(
        &self,
        worker: &mut Worker,
        items: &[ReturnItem],
        results: &mut Vec<ReturnResult>,
    ) -> Result<Position, ReturnError> {
        results.clear();
        self.shared.journal.check()?;
        self.check_rest(items.iter().filter_map(|item| item.then.rest_seconds()).max())?;
        let attempts = self.attempts();
        let lists = self.lists_of(attempts, items)?;
        let (mut observed, mut listed) = (false, false);
        self.for_each(
            worker,
            items,
            |item| item.lease.number,
            |worker, item, place| {
                let Some((segment, rank)) = place else { return results.push(ReturnResult::Unknown) };
                let then = self.after_attempt(attempts, segment, rank, item.then);
                let list = lists.iter().find(|list| then.list() == Some(list.name()));
                let returned = self.return_one(segment, rank, item, (then, list), worker.slot);
                listed |= list.is_some();
                observed |= has_observed(returned);
                results.push(self.returned(segment, rank, returned));
            },
        );
        Ok(if listed { worker.settled_position() } else { worker.position(observed) })
    }

    /// Fails if the longest rest of a call would end too late.
    pub(super) fn check_rest(&self, seconds: Option<u32>) -> Result<(), ReturnError> {
        // What follows takes a moment, in which the end of a rest may move by some seconds.
        let ends = |rest: u32| self.shared.clock.deadline(rest.saturating_add(REST_MARGIN_SECONDS));
        if seconds.is_some_and(|rest| ends(rest).is_none()) {
            return Err(ReturnError::RestEndsTooLate);
        }
        Ok(())
    }

    /// Returns one lease, as [`Self::return_leases`] does; no vector is touched.
    #[inline]
    pub fn return_lease(
        &self,
        worker: &mut Worker,
        item: &ReturnItem,
    ) -> Result<(ReturnResult, Position), ReturnError> {
        self.shared.journal.check()?;
        self.check_rest(item.then.rest_seconds())?;
        let attempts = self.attempts();
        let lists = self.lists_of(attempts, std::slice::from_ref(item))?;
        let mut listed = false;
        let returned = self.for_one(worker, item.lease.number, |segment, rank, slot| {
            let then = self.after_attempt(attempts, segment, rank, item.then);
            let list = lists.iter().find(|list| then.list() == Some(list.name()));
            listed = list.is_some();
            let returned = self.return_one(segment, rank, item, (then, list), slot);
            (self.returned(segment, rank, returned), has_observed(returned))
        });
        let (result, observed) = returned.unwrap_or((ReturnResult::Unknown, false));
        let position = if listed { worker.settled_position() } else { worker.position(observed) };
        Ok((result, position))
    }

    /// The lists that numbers are to go onto, or may have to after their last attempt.
    fn lists_of(
        &self,
        attempts: Option<Attempts>,
        items: &[ReturnItem],
    ) -> Result<Vec<Arc<List>>, ReturnError> {
        self.lists_for(attempts, items.iter().map(|item| item.then.list()), items.len() as u64)
    }

    /// The lists of some ends of `count` leases, if they have room, and that of the last attempts.
    pub(super) fn lists_for(
        &self,
        attempts: Option<Attempts>,
        ends: impl IntoIterator<Item = Option<ListName>>,
        count: u64,
    ) -> Result<Vec<Arc<List>>, ReturnError> {
        let mut lists: Vec<Arc<List>> = Vec::new();
        let after_attempts = attempts.and_then(|attempts| attempts.then.list());
        for name in ends.into_iter().chain([after_attempts]).flatten() {
            if lists.iter().all(|list| list.name() != name) {
                let list = self.shared.lists.get(name)?;
                list.check_room(count)?;
                lists.push(list);
            }
        }
        Ok(lists)
    }

    /// The result of a return that left these words before and after.
    fn returned(&self, segment: &Segment, rank: Rank, words: Option<(Word, Word)>) -> ReturnResult {
        let Some((before, after)) = words else { return ReturnResult::Stale };
        let seen = if after.state() == State::Available { after } else { self.seen(after) };
        let before = if before == after { None } else { before.due() };
        ReturnResult::Returned { state: segment.shown(rank, seen), available_at: seen.due(), before }
    }

    /// The word before and after. They are equal if an earlier return, perhaps over another connection, already
    /// did this, or if the lease had ended. `None` if the number was leased since or the token is wrong.
    ///
    /// A number that is to go onto a list does so first: its record is before that of the return, so that no crash
    /// leaves it returned and not on the list, and it is blocked before it becomes available. It also goes onto the
    /// list if the lease had ended, as long as nobody has leased the number since.
    pub(super) fn return_one(
        &self,
        segment: &Segment,
        rank: Rank,
        item: &ReturnItem,
        (then, list): (NextState, Option<&Arc<List>>),
        slot: Slot,
    ) -> Option<(Word, Word)> {
        let next_word = self.next_word(then);
        let transition = self.begin_transition(slot);
        if let Some(list) = list
            && self.check_token(item.lease, segment.word(rank)).is_ok()
        {
            let now = self.shared.clock.now();
            self.shared.lists.put_one(list, item.lease.number, slot, now, transition.changing());
        }
        let (segment, rank, changed) = segment.change(rank, slot, |word| {
            self.check_token(item.lease, word)?;
            word.return_lease(next_word)
        });
        let Ok(changed) = changed else {
            self.counters.count(slot, Total::Stale, 1);
            return None;
        };
        if changed.is_change() {
            transition.returned(segment, rank, changed, item.outcome);
            self.counters.count(slot, Total::Returns, 1);
            if let Some(outcome) = item.outcome {
                self.counters.returned(slot, outcome, 1);
            }
        }
        Some((changed.before, changed.after))
    }

    fn next_word(&self, then: NextState) -> NextWord {
        match then {
            NextState::Available | NextState::List(_) => NextWord::Available,
            NextState::Rest(seconds) => {
                // `return_leases` has checked that it fits.
                NextWord::Rest(self.shared.clock.deadline(seconds).unwrap_or(Timestamp::MAX))
            }
            NextState::Done => NextWord::Done(self.round()),
            NextState::Retired => NextWord::Retired,
        }
    }
}
