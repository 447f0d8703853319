//! Renewing and returning leases.

use crate::coordinates::Rank;
use crate::domain::lease_token::Token;
use crate::domain::settings::NextState;
use crate::engine::counters::Total;
use crate::engine::counters::outcomes::OutcomeId;
use crate::engine::pool::Pool;
use crate::engine::segment::spans::SegmentIndex;
use crate::engine::segment::{Segment, Segments};
use crate::engine::worker::Worker;
use crate::journal::handle::JournalError;
use crate::journal::queue::Position;
use crate::numbers::number::Number;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::{LeaseOver, NextWord, Word};
use crate::sys::slot::Slot;

use super::lease::{self, LeaseError};

/// Maximum number of items of one renew or return call.
pub const MAX_ITEMS: usize = 65_536;
/// Items located before their words are written: enough for their memory fetches to overlap.
const ITEMS_AT_ONCE: usize = 32;

/// A number and the proof that the caller holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRef {
    /// The number.
    pub number: Number,
    /// The proof. `None` stands for text that is not a token; it is treated like any wrong token.
    pub token: Option<Token>,
}

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

/// The result of renewing one lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewResult {
    /// The lease lasts until `expires_at`.
    Renewed {
        /// When the lease ends.
        expires_at: Timestamp,
        /// When it would have ended without this call.
        before: Timestamp,
    },
    /// The lease is over, or the token is wrong.
    Stale,
    /// No such number.
    Unknown,
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
}

/// How much earlier than the last time a rest must end when a call begins, in seconds.
const REST_MARGIN_SECONDS: u32 = 3_600;

type Place = Option<(SegmentIndex, Rank)>;

impl Pool {
    /// Calls `change` with each item and where its number is, `None` if the pool does not have it; a lease that is
    /// due has ended. The places of several are located together.
    #[inline]
    fn for_each<T>(
        &self,
        worker: &mut Worker,
        items: &[T],
        number: impl Fn(&T) -> Number,
        mut change: impl FnMut(&mut Worker, &T, Option<(&Segment, Rank)>),
    ) {
        let (segments, on_expiry) = (self.segments.load(), self.on_expiry());
        for items in items.chunks(ITEMS_AT_ONCE) {
            let places = locate(&segments, worker, items.iter().map(&number));
            for (item, place) in items.iter().zip(places) {
                let place = place.map(|(segment, rank)| {
                    self.end_if_due(segments.get(segment), rank, on_expiry, worker.slot)
                });
                change(worker, item, place);
            }
        }
    }

    /// Renews leases; `results` gets one result per item, in order. Fails only if the pool does not allow
    /// `ttl_seconds` or the journal accepts no change, and then changes nothing.
    pub fn renew(
        &self,
        worker: &mut Worker,
        items: &[LeaseRef],
        ttl_seconds: Option<u32>,
        results: &mut Vec<RenewResult>,
    ) -> Result<Position, LeaseError> {
        results.clear();
        self.shared.journal.check()?;
        let ttl_seconds = lease::ttl(&self.settings(), ttl_seconds)?;
        let until = self.shared.clock.deadline(ttl_seconds).ok_or(LeaseError::EndsTooLate)?;
        let mut observed = false;
        self.for_each(
            worker,
            items,
            |item| item.number,
            |worker, item, place| {
                let Some((segment, rank)) = place else { return results.push(RenewResult::Unknown) };
                let renewed = self.renew_one(segment, rank, *item, until, worker.slot);
                observed |= renewed.is_none_or(|(before, after)| before == after);
                results.push(match renewed {
                    Some((before, after)) => RenewResult::Renewed {
                        expires_at: after.due().unwrap_or(until),
                        before: before.due().unwrap_or(until),
                    },
                    None => RenewResult::Stale,
                });
            },
        );
        Ok(worker.position(observed))
    }

    /// The word before and after. They are equal if an earlier renewal, perhaps over another connection, already
    /// set this end. `None` if the lease is over or the token is wrong.
    fn renew_one(
        &self,
        segment: &Segment,
        rank: Rank,
        item: LeaseRef,
        until: Timestamp,
        slot: Slot,
    ) -> Option<(Word, Word)> {
        let transition = self.begin_transition(slot);
        let (segment, rank, changed) = segment.change(rank, slot, |word| {
            self.check_token(item, word)?;
            word.renew(until)
        });
        let Ok((before, after)) = changed else {
            self.counters.count(slot, Total::Stale, 1);
            return None;
        };
        transition.changed(segment, rank, before, after);
        self.counters.count(slot, Total::Renewals, 1);
        Some((before, after))
    }

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
        let longest = items.iter().filter_map(|item| item.then.rest_seconds()).max();
        // What follows takes a moment, in which the end of a rest may move by some seconds.
        if longest.is_some_and(|rest| {
            self.shared.clock.deadline(rest.saturating_add(REST_MARGIN_SECONDS)).is_none()
        }) {
            return Err(ReturnError::RestEndsTooLate);
        }
        let mut observed = false;
        self.for_each(
            worker,
            items,
            |item| item.lease.number,
            |worker, item, place| {
                let Some((segment, rank)) = place else { return results.push(ReturnResult::Unknown) };
                let returned = self.return_one(segment, rank, item, worker.slot);
                observed |= returned.is_none_or(|(before, after)| before == after);
                results.push(
                    returned.map_or(ReturnResult::Stale, |(before, after)| self.returned(before, after)),
                );
            },
        );
        Ok(worker.position(observed))
    }

    fn returned(&self, before: Word, after: Word) -> ReturnResult {
        let seen = if after.state() == State::Available { after } else { self.seen(after) };
        let before = if before == after { None } else { before.due() };
        ReturnResult::Returned { state: seen.state(), available_at: seen.due(), before }
    }

    /// The word before and after. They are equal if an earlier return, perhaps over another connection, already
    /// did this, or if the lease had ended. `None` if the number was leased since or the token is wrong.
    fn return_one(
        &self,
        segment: &Segment,
        rank: Rank,
        item: &ReturnItem,
        slot: Slot,
    ) -> Option<(Word, Word)> {
        let next_word = self.next_word(item.then);
        let transition = self.begin_transition(slot);
        let (segment, rank, changed) = segment.change(rank, slot, |word| {
            self.check_token(item.lease, word)?;
            word.return_lease(next_word)
        });
        let Ok((before, after)) = changed else {
            self.counters.count(slot, Total::Stale, 1);
            return None;
        };
        if before != after {
            transition.changed(segment, rank, before, after);
            self.counters.count(slot, Total::Returns, 1);
            if let Some(outcome) = item.outcome {
                self.counters.returned(slot, outcome, 1);
            }
        }
        Some((before, after))
    }

    fn next_word(&self, then: NextState) -> NextWord {
        match then {
            NextState::Available => NextWord::Available,
            NextState::Rest(seconds) => {
                // `return_leases` has checked that it fits.
                NextWord::Rest(self.shared.clock.deadline(seconds).unwrap_or(Timestamp::MAX))
            }
            NextState::Done => NextWord::Done(self.round()),
            NextState::Retired => NextWord::Retired,
        }
    }

    #[inline]
    fn check_token(&self, item: LeaseRef, word: Word) -> Result<(), LeaseOver> {
        let right = item.token == Some(self.keys.token(item.number, word.generation()));
        if right && word.generation() > 0 { Ok(()) } else { Err(LeaseOver) }
    }
}

/// Locates up to [`ITEMS_AT_ONCE`] numbers and prefetches their words.
fn locate(
    segments: &Segments,
    worker: &mut Worker,
    numbers: impl Iterator<Item = Number>,
) -> [Place; ITEMS_AT_ONCE] {
    let mut places = [None; ITEMS_AT_ONCE];
    for (place, number) in places.iter_mut().zip(numbers) {
        *place = segments.locate(number, &mut worker.last_returned);
        if let Some((segment, rank)) = *place {
            segments.get(segment).state.prefetch(rank);
        }
    }
    places
}
