//! Leasing numbers, or proving that none is available.

use crate::domain::lease_token::Token;
use crate::domain::settings::Settings;
use crate::engine::counters::Total;
use crate::engine::pool::{Mode, Pool};
use crate::engine::segment::Segments;
use crate::engine::segment::within::Within;
use crate::engine::worker::{Claim, Worker};
use crate::journal::handle::JournalError;
use crate::numbers::number::Number;
use crate::state::mutations::Mutations;
use crate::state::time::Timestamp;
use crate::state::word::LeaseRefusal;
use crate::sys::sync::thread;

use super::picker::{Picker, Search};

/// Maximum count of one lease call.
pub const MAX_LEASE_COUNT: u32 = 65_536;
/// Numbers claimed before their words are written: enough for their memory fetches to overlap.
const CLAIMS_AT_ONCE: usize = 32;
/// Inconclusive searches before a lease gives up.
const MAX_SEARCHES: u32 = 10_000;
/// Searches through the tree before a search scans every leaf.
const TREE_SEARCHES: u32 = 4;
/// Searches between two yields of the processor.
const SEARCHES_PER_TURN: u32 = 16;

/// The parameters of a lease call.
#[derive(Debug, Clone, Copy)]
pub struct LeaseRequest<'a> {
    /// Maximum number of leases, 1 to [`MAX_LEASE_COUNT`].
    pub count: u32,
    /// Length of the leases, in seconds; the pool's `ttl` if `None`.
    pub ttl_seconds: Option<u32>,
    /// Choose only from these numbers.
    pub within: Option<&'a Within>,
}

/// One leased number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// The number.
    pub number: Number,
    /// The holder's proof.
    pub token: Token,
    /// How many times the number was leased, this one included.
    pub generation: u32,
    /// When the lease ends.
    pub expires_at: Timestamp,
}

/// Why a lease call returned no lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// At some instant during the call, no number that it could choose was available.
    #[error("no number is available: return some, wait for leases and rests to end, or add numbers")]
    Exhausted,
    /// An operator paused the pool.
    #[error("the pool is paused: renew and return still work, and an operator can resume it")]
    Paused,
    /// The pool was deleted during the call.
    #[error("the pool was deleted")]
    Deleted,
    /// A lease of this length is not allowed.
    #[error("ttl is {ttl_seconds} seconds: give 1 to {ttl_max_seconds}, the pool's ttl_max")]
    TtlOutOfBounds {
        /// The requested length, in seconds.
        ttl_seconds: u32,
        /// The pool's limit, in seconds.
        ttl_max_seconds: u32,
    },
    /// The count is 0 or too large.
    #[error("count is {0}: give 1 to {MAX_LEASE_COUNT}")]
    CountOutOfBounds(u32),
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The key was used with another body.
    #[error("the Idempotency-Key was used with another body: use a new key for another request")]
    KeyMismatch,
    /// No more keys can be stored now.
    #[error("too many leases under an Idempotency-Key are live: wait for some to end, or leave the key out")]
    TooManyKeys,
    /// Numbers came and went so fast that the call could neither take one nor prove that there was none.
    #[error("other calls took every number as it became available: try again")]
    Busy,
}

/// The length of a lease: the requested one, if the pool allows it, or the pool's default.
pub(crate) fn ttl(settings: &Settings, ttl_seconds: Option<u32>) -> Result<u32, LeaseError> {
    match ttl_seconds {
        None => Ok(settings.ttl),
        Some(ttl) if (1..=settings.ttl_max).contains(&ttl) => Ok(ttl),
        Some(ttl_seconds) => {
            Err(LeaseError::TtlOutOfBounds { ttl_seconds, ttl_max_seconds: settings.ttl_max })
        }
    }
}

impl Pool {
    /// Leases up to `request.count` numbers into `leases`, which is cleared first. Takes no lock, waits for
    /// no other caller, and allocates nothing per number once `leases` is large enough.
    pub fn lease(
        &self,
        worker: &mut Worker,
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<(), LeaseError> {
        leases.clear();
        if request.count == 0 || request.count > MAX_LEASE_COUNT {
            return Err(LeaseError::CountOutOfBounds(request.count));
        }
        self.shared.journal.check()?;
        let settings = self.settings();
        let until = self.shared.clock.deadline(ttl(&settings, request.ttl_seconds)?);
        match self.mode() {
            Mode::Open => {}
            Mode::Paused => return Err(LeaseError::Paused),
            Mode::Deleted => return Err(LeaseError::Deleted),
        }
        let current = self.segments.load();
        let within = request.within.unwrap_or(&current.whole);
        let segments = within.segments(&current);
        let picker = Picker {
            pool: self.id,
            segments,
            within,
            order: settings.order,
            cursor: &self.cursors[worker.slot.0],
        };
        let count = request.count as usize;
        while leases.len() < count {
            let want = (count - leases.len()).min(CLAIMS_AT_ONCE);
            picker.pick(worker, want, Search::Tree);
            if worker.claims.is_empty() {
                match self.pick_or_prove_none(&picker, worker, want) {
                    Ok(()) => {}
                    Err(_) if !leases.is_empty() => break,
                    Err(error) => {
                        worker.observed = true;
                        if error == LeaseError::Exhausted {
                            self.counters.count(worker.slot, Total::Exhausted, 1);
                        }
                        return Err(error);
                    }
                }
            }
            self.lease_claims(segments, worker, until, leases);
        }
        Ok(())
    }

    /// Writes the words of the claimed ranks.
    #[inline]
    fn lease_claims(
        &self,
        segments: &Segments,
        worker: &mut Worker,
        until: Timestamp,
        leases: &mut Vec<Lease>,
    ) {
        let segment_of = |claim: &Claim| &**segments.get(claim.segment);
        if worker.claims.len() > 1 {
            for claim in &worker.claims {
                segment_of(claim).state.words.prefetch(claim.rank);
            }
        }
        // Before the words change: the memory fetches of set lookups overlap, those of changes do not.
        let number = |claim| segment_of(claim).set.select_near(claim.rank, &mut worker.last_leased);
        worker.numbers.clear();
        worker.numbers.extend(worker.claims.iter().map(number));
        let mut transition = self.begin_transition(worker.slot);
        for (claim, number) in worker.claims.iter().zip(&worker.numbers) {
            let segment = segment_of(claim);
            match segment.state.lease(claim.rank, until) {
                Ok(word) => {
                    transition.leased(segment, claim.rank, word);
                    // A rank without a number means that the set is damaged, which `allotd check` reports.
                    // The word stays leased and nobody gets it.
                    let Some(number) = *number else { continue };
                    let generation = word.generation();
                    let token = self.key.token(number, generation);
                    leases.push(Lease { number, token, generation, expires_at: until });
                }
                // The free index was stale: the thread that makes the number available adds it again.
                Err(LeaseRefusal::NotAvailable) => {}
                Err(LeaseRefusal::GenerationsSpent) => {
                    if let Some((before, after)) = segment.state.retire_spent(claim.rank) {
                        transition.changed(segment, claim.rank, before, after);
                    }
                }
            }
        }
        transition.finish();
    }

    /// Claims ranks, sweeping first if something is due. Or proves that at some instant during this call
    /// nothing was available: no index had a bit, none was changing, and nothing was due.
    #[cold]
    fn pick_or_prove_none(
        &self,
        picker: &Picker<'_>,
        worker: &mut Worker,
        want: usize,
    ) -> Result<(), LeaseError> {
        let all = || picker.segments.list.iter().map(|segment| segment.state.free.mutations());
        let mut search = 0;
        while search < MAX_SEARCHES {
            let finished: u64 = all().map(Mutations::finished).sum();
            let how = if search < TREE_SEARCHES { Search::Tree } else { Search::Scan };
            picker.pick(worker, want, how);
            if !worker.claims.is_empty() {
                return Ok(());
            }
            let now = self.shared.clock.now();
            if picker.segments.list.iter().any(|segment| self.sweep_one(segment, now, &mut 0, worker.slot)) {
                continue;
            }
            let begun: u64 = all().map(Mutations::begun).sum();
            if begun == finished {
                return Err(LeaseError::Exhausted);
            }
            search += 1;
            if search.is_multiple_of(SEARCHES_PER_TURN) {
                thread::yield_now();
            }
        }
        Err(LeaseError::Busy)
    }
}
