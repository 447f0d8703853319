//! Renewing leases.

use crate::coordinates::Rank;
use crate::engine::counters::Total;
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::engine::worker::Worker;
use crate::journal::cause::ChangeKind;
use crate::journal::queue::Position;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::{LeaseOver, Word};
use crate::sys::slot::Slot;

use super::lease::{self, LeaseError};
use super::lease_ref::{LeaseRef, has_observed};

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
    /// The number is on a list that blocks the pool: the lease goes on until `expires_at` and is not renewed.
    Blocked {
        /// When the lease ends.
        expires_at: Timestamp,
    },
    /// The lease is over, or the token is wrong.
    Stale,
    /// No such number.
    Unknown,
}

/// Why a lease was not renewed.
#[derive(Debug, Clone, Copy)]
enum NotRenewed {
    /// It is over, or the token is wrong.
    Over,
    /// A list blocks the number, whose word this is.
    Blocked(Word),
}

impl From<LeaseOver> for NotRenewed {
    fn from(_: LeaseOver) -> Self {
        Self::Over
    }
}

impl Pool {
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
        let ttl_seconds = lease::ttl(self.terms.lease(), ttl_seconds)?;
        let until = self.shared.clock.deadline(ttl_seconds).ok_or(LeaseError::EndsTooLate)?;
        let mut observed = false;
        self.for_each(
            worker,
            items,
            |item| item.number,
            |worker, item, place| {
                let Some((segment, rank)) = place else { return results.push(RenewResult::Unknown) };
                let renewed = self.renew_one(segment, rank, *item, until, worker.slot);
                observed |= has_observed(renewed.ok());
                results.push(self.renewed(until, renewed));
            },
        );
        Ok(worker.position(observed))
    }

    /// The word before and after. They are equal if an earlier renewal, perhaps over another connection, already
    /// set this end.
    fn renew_one(
        &self,
        segment: &Segment,
        rank: Rank,
        item: LeaseRef,
        until: Timestamp,
        slot: Slot,
    ) -> Result<(Word, Word), NotRenewed> {
        let transition = self.begin_transition(slot);
        // Asked at the word's place, each time before its compare-exchange. Who blocks the number waits for this
        // thread to come to rest.
        let is_blocked = || segment.place_is_blocked(rank);
        let (segment, rank, changed) = segment.change(rank, slot, |word| {
            self.check_token(item, word)?;
            if is_blocked() { Err(NotRenewed::Blocked(word)) } else { Ok(word.renew(until)?) }
        });
        let changed = changed.inspect_err(|_| self.counters.count(slot, Total::Stale, 1))?;
        transition.changed(segment, rank, changed, ChangeKind::Renewed);
        self.counters.count(slot, Total::Renewals, 1);
        Ok((changed.before, changed.after))
    }

    /// Renews one lease, as [`Self::renew`] does; no vector is touched.
    pub fn renew_lease(
        &self,
        worker: &mut Worker,
        lease: LeaseRef,
        ttl_seconds: Option<u32>,
    ) -> Result<(RenewResult, Position), LeaseError> {
        self.shared.journal.check()?;
        let ttl_seconds = lease::ttl(self.terms.lease(), ttl_seconds)?;
        let until = self.shared.clock.deadline(ttl_seconds).ok_or(LeaseError::EndsTooLate)?;
        let renewed = self.for_one(worker, lease.number, |segment, rank, slot| {
            let renewed = self.renew_one(segment, rank, lease, until, slot);
            (self.renewed(until, renewed), has_observed(renewed.ok()))
        });
        let (result, observed) = renewed.unwrap_or((RenewResult::Unknown, false));
        Ok((result, worker.position(observed)))
    }

    /// The result of a renewal, from what its change saw: what the number's word or its lists say by now may be
    /// another thing.
    fn renewed(&self, until: Timestamp, words: Result<(Word, Word), NotRenewed>) -> RenewResult {
        match words {
            Ok((before, after)) => RenewResult::Renewed {
                expires_at: after.due().unwrap_or(until),
                before: before.due().unwrap_or(until),
            },
            Err(NotRenewed::Over) => RenewResult::Stale,
            Err(NotRenewed::Blocked(word)) => {
                let seen = self.seen(word);
                match seen.due().filter(|_| seen.state() == State::Leased) {
                    Some(expires_at) => RenewResult::Blocked { expires_at },
                    None => RenewResult::Stale,
                }
            }
        }
    }
}
