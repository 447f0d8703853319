//! What holders do with their leases: renew and return.

use crate::domain::lease_token::Token;
use crate::domain::settings::NextState;
use crate::engine::counters::Total;
use crate::engine::counters::outcomes::OutcomeId;
use crate::engine::pool::Pool;
use crate::engine::segment::Segments;
use crate::engine::worker::Worker;
use crate::journal::handle::JournalError;
use crate::numbers::number::Number;
use crate::state::time::Timestamp;
use crate::state::word::{LeaseOver, NextWord, State, Word};

use super::lease::{self, LeaseError};

/// Most items of one renew or return call.
pub const MAX_ITEMS: usize = 65_536;
/// Items located before their words are written: enough for the fetches of all to overlap.
const ITEMS_AT_ONCE: usize = 32;

/// A number and the proof that the caller holds it. A text that is no token is `None`: wrong, as any
/// other wrong token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRef {
    /// The number.
    pub number: Number,
    /// The proof.
    pub token: Option<Token>,
}

/// A lease to return, and what becomes of its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReturnItem {
    /// The lease.
    pub lease: LeaseRef,
    /// What becomes of the number.
    pub then: NextState,
    /// What it is counted by; see [`Pool::outcome`].
    pub outcome: Option<OutcomeId>,
}

/// What a renewal came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RenewResult {
    /// The lease goes on until then.
    Renewed {
        /// When the lease ends.
        expires_at: Timestamp,
    },
    /// The lease is over, or the token is wrong.
    Stale,
    /// No such number.
    Unknown,
}

/// What a return came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReturnResult {
    /// The number is back, by this call or an earlier one.
    Returned {
        /// What it is seen as now.
        state: State,
        /// When its rest ends.
        available_at: Option<Timestamp>,
    },
    /// Someone else has leased it since, or the token is wrong.
    Stale,
    /// No such number.
    Unknown,
}

type Place = Option<(u32, u32)>;

impl Pool {
    /// Renews leases, one result each, in order. Fails only for a `ttl_seconds` that the pool does not
    /// allow, and then changes nothing.
    pub fn renew(
        &self,
        worker: &mut Worker,
        items: &[LeaseRef],
        ttl_seconds: Option<u32>,
        results: &mut Vec<RenewResult>,
    ) -> Result<(), LeaseError> {
        results.clear();
        self.shared.journal.check()?;
        let until = self.shared.clock.deadline(lease::ttl(&self.settings(), ttl_seconds)?);
        let segments = self.segments.load();
        for items in items.chunks(ITEMS_AT_ONCE) {
            let places = locate(&segments, worker, items.iter().map(|item| item.number));
            for (item, place) in items.iter().zip(places) {
                let result = self.renew_one(&segments, worker, *item, place, until);
                results.push(result);
            }
        }
        Ok(())
    }

    fn renew_one(
        &self,
        segments: &Segments,
        worker: &mut Worker,
        item: LeaseRef,
        place: Place,
        until: Timestamp,
    ) -> RenewResult {
        let slot = worker.slot;
        let Some((segment, rank)) = place else { return RenewResult::Unknown };
        let segment = &*segments.list[segment as usize];
        let transition = self.begin_transition(slot);
        let changed = segment.ranks.change(rank, slot, |word| {
            self.check_token(item, word)?;
            word.renew(until)
        });
        let Ok((before, after)) = changed else {
            worker.observed = true;
            self.counters.count(slot, Total::Stale, 1);
            return RenewResult::Stale;
        };
        if before == after {
            // An earlier renewal, perhaps over another connection, made it last this long.
            worker.observed = true;
        }
        transition.changed(segment, rank, before, after);
        self.counters.count(slot, Total::Renewals, 1);
        RenewResult::Renewed { expires_at: after.due().unwrap_or(until) }
    }

    /// Returns leases, one result each, in order. Fails only if the journal accepts no change, and then
    /// changes nothing.
    pub fn return_leases(
        &self,
        worker: &mut Worker,
        items: &[ReturnItem],
        results: &mut Vec<ReturnResult>,
    ) -> Result<(), JournalError> {
        results.clear();
        self.shared.journal.check()?;
        let segments = self.segments.load();
        for items in items.chunks(ITEMS_AT_ONCE) {
            let places = locate(&segments, worker, items.iter().map(|item| item.lease.number));
            for (item, place) in items.iter().zip(places) {
                let result = self.return_one(&segments, worker, item, place);
                results.push(result);
            }
        }
        Ok(())
    }

    fn return_one(
        &self,
        segments: &Segments,
        worker: &mut Worker,
        item: &ReturnItem,
        place: Place,
    ) -> ReturnResult {
        let slot = worker.slot;
        let Some((segment, rank)) = place else { return ReturnResult::Unknown };
        let segment = &*segments.list[segment as usize];
        let next_word = self.next_word(item.then);
        let transition = self.begin_transition(slot);
        let changed = segment.ranks.change(rank, slot, |word| {
            self.check_token(item.lease, word)?;
            word.return_lease(next_word)
        });
        let Ok((before, after)) = changed else {
            worker.observed = true;
            self.counters.count(slot, Total::Stale, 1);
            return ReturnResult::Stale;
        };
        if before == after {
            // An earlier return, perhaps over another connection.
            worker.observed = true;
        } else {
            transition.changed(segment, rank, before, after);
            drop(transition);
            self.counters.count(slot, Total::Returns, 1);
            if let Some(outcome) = item.outcome {
                self.counters.returned(slot, outcome, 1);
            }
        }
        let seen = if after.state() == State::Available { after } else { self.seen(after) };
        ReturnResult::Returned { state: seen.state(), available_at: seen.due() }
    }

    fn next_word(&self, then: NextState) -> NextWord {
        match then {
            NextState::Available => NextWord::Available,
            NextState::Rest(seconds) => NextWord::Rest(self.shared.clock.deadline(seconds)),
            NextState::Done => NextWord::Done(self.round()),
            NextState::Retired => NextWord::Retired,
        }
    }

    #[inline]
    fn check_token(&self, item: LeaseRef, word: Word) -> Result<(), LeaseOver> {
        let right = item.token == Some(self.key.token(item.number, word.generation()));
        if right && word.generation() > 0 { Ok(()) } else { Err(LeaseOver) }
    }
}

/// Where up to [`ITEMS_AT_ONCE`] numbers are; their words are on the way to the cache then.
fn locate(
    segments: &Segments,
    worker: &mut Worker,
    numbers: impl Iterator<Item = Number>,
) -> [Place; ITEMS_AT_ONCE] {
    let mut places = [None; ITEMS_AT_ONCE];
    for (place, number) in places.iter_mut().zip(numbers) {
        *place = segments.locate(number, &mut worker.last_returned);
        if let Some((segment, rank)) = *place {
            segments.list[segment as usize].ranks.prefetch(rank);
        }
    }
    places
}
