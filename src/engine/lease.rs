//! Leasing numbers, and saying truly that there are none.

use crate::journal::handle::JournalError;
use crate::numbers::number::{Number, Rank};
use crate::numbers::set::run::LastRun;
use crate::state::mutations::Mutations;
use crate::state::time::Timestamp;
use crate::state::word::{LeaseRefusal, State};

use super::counters::{Counts, Total};
use super::keys::{Kept, KeptLease};
use super::order::{Claim, Look, Picker, Worker};
use super::pool::{Mode, Pool};
use super::segment::{Segments, Within};
use super::settings::Settings;
use super::token::Token;

/// Most numbers of one lease call.
pub const MAX_LEASE_COUNT: u32 = 65_536;
/// Numbers claimed before their words are written: enough for the fetches of all to overlap.
const CLAIMS_AT_ONCE: usize = 32;
/// Searches without a believable answer before a lease gives up.
const MAX_SEARCHES: u32 = 10_000;
/// Searches through the tree before every leaf is looked at.
const TREE_SEARCHES: u32 = 4;
/// Searches between two of which the thread lets others run.
const SEARCHES_A_TURN: u32 = 16;
/// Blocks looked at to say when the next number comes.
const MAX_NEXT_BLOCKS: usize = 64;

/// What a lease call asks for.
#[derive(Debug, Clone, Copy)]
pub struct LeaseRequest<'a> {
    /// Up to so many numbers, 1 to [`MAX_LEASE_COUNT`].
    pub count: u32,
    /// How long, in seconds; the pool's `ttl` if not given.
    pub ttl_seconds: Option<u32>,
    /// Only these numbers.
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

/// Why a lease call got nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// At some instant during the call no number that it could have chosen was available.
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
        /// What was asked for, in seconds.
        ttl_seconds: u32,
        /// The pool's limit, in seconds.
        ttl_max_seconds: u32,
    },
    /// A count of 0 or too many.
    #[error("count is {0}: give 1 to {MAX_LEASE_COUNT}")]
    CountOutOfBounds(u32),
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The key was used with another body.
    #[error("the Idempotency-Key was used with another body: use a new key for another request")]
    KeyMismatch,
    /// No more keys can be remembered now.
    #[error("too many leases under an Idempotency-Key are live: wait for some to end, or leave the key out")]
    TooManyKeys,
    /// Numbers came and went so fast that neither one nor their absence could be made sure of.
    #[error("other calls took every number as it came: try again")]
    Busy,
}

/// The length of a lease: what the call asks for, if the pool allows it, or the pool's own.
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
    /// Leases up to `request.count` numbers into `leases`, which is cleared first. Takes no lock,
    /// waits for no other caller, allocates nothing a number once `leases` is large enough.
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
        let segments = self.segments.load();
        let picker = Picker {
            pool: self.id,
            segments: &segments,
            within: request.within.unwrap_or(&segments.whole),
            order: settings.order,
            cursor: &self.cursors[worker.slot.0],
        };
        let count = request.count as usize;
        while leases.len() < count {
            let want = (count - leases.len()).min(CLAIMS_AT_ONCE);
            picker.pick(worker, want, Look::Tree);
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
            self.lease_claims(&segments, worker, until, leases);
        }
        self.counters.moved(worker.slot, State::Available, State::Leased, leases.len() as u64);
        self.counters.count(worker.slot, Total::Leases, leases.len() as u64);
        Ok(())
    }

    /// As [`Self::lease`], but a repeated call with the same key and body gets the same leases again, for
    /// as long as they last.
    pub fn lease_once(
        &self,
        worker: &mut Worker,
        key: &[u8],
        body: &[u8],
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<(), LeaseError> {
        leases.clear();
        let keys = &self.shared.keys;
        let (key, body) = (keys.hash(self.id, key), keys.hash_body(body));
        let now = self.shared.clock.now();
        let mut shard = keys.lock(&key);
        if let Some(kept) = shard.get(&key, now) {
            worker.observed = true;
            if kept.body != body {
                return Err(LeaseError::KeyMismatch);
            }
            leases.extend(kept.leases.iter().filter_map(|lease| self.leased(lease, kept.until)));
            return Ok(());
        }
        if !shard.has_room(request.count, now) {
            return Err(LeaseError::TooManyKeys);
        }
        self.lease(worker, request, leases)?;
        let Some(first) = leases.first() else { return Ok(()) };
        let segments = self.segments.load();
        let kept = |lease: &Lease| {
            let (segment, rank) = segments.locate(lease.number, &mut LastRun::default())?;
            let segment = segments.list[segment as usize].id as u16;
            Some(KeptLease { segment, rank, generation: lease.generation })
        };
        let until = first.expires_at;
        let kept = Kept { pool: self.id, body, until, leases: leases.iter().filter_map(kept).collect() };
        for record in kept.records(&key) {
            self.shared.journal.push(worker.slot, record);
        }
        shard.insert(key, kept);
        Ok(())
    }

    /// A lease that was given out before.
    fn leased(&self, kept: &KeptLease, until: Timestamp) -> Option<Lease> {
        let segments = self.segments.load();
        let segment = segments.list.iter().find(|segment| segment.id as u16 == kept.segment)?;
        let number = segment.set.select(Rank(kept.rank))?;
        let token = self.key.token(number, kept.generation);
        Some(Lease { number, token, generation: kept.generation, expires_at: until })
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
        let segment_of = |claim: &Claim| &*segments.list[claim.segment as usize];
        if worker.claims.len() > 1 {
            for claim in &worker.claims {
                segment_of(claim).ranks.words.prefetch(claim.rank);
            }
        }
        // Before the words are changed: looks at the set wait for memory side by side, changes one after another.
        let number = |claim| segment_of(claim).set.select_near(Rank(claim.rank), &mut worker.last_leased);
        worker.numbers.clear();
        worker.numbers.extend(worker.claims.iter().map(number));
        let changing = self.shared.journal.change(worker.slot);
        for (claim, number) in worker.claims.iter().zip(&worker.numbers) {
            let segment = segment_of(claim);
            match segment.ranks.lease(claim.rank, until) {
                Ok(word) => {
                    changing.record(|| self.record(segment, claim.rank, word));
                    // A rank without a number is damage to the set that `allotd check` tells of: the
                    // word stays leased and nobody gets it.
                    let Some(number) = *number else { continue };
                    let generation = word.generation();
                    let token = self.key.token(number, generation);
                    leases.push(Lease { number, token, generation, expires_at: until });
                }
                // The hint was old: whoever makes the number available puts it back.
                Err(LeaseRefusal::NotAvailable) => {}
                Err(LeaseRefusal::WornOut) => {
                    if let Some(word) = segment.ranks.wear_out(claim.rank) {
                        changing.record(|| self.record(segment, claim.rank, word));
                        self.counters.moved(worker.slot, State::Available, State::Retired, 1);
                    }
                }
            }
        }
    }

    /// Claims ranks, helping the sweep if there is something due; or proves that at an instant during
    /// this call nothing was available: no index had a bit, none was changing, and nothing was due.
    #[cold]
    fn pick_or_prove_none(
        &self,
        picker: &Picker<'_>,
        worker: &mut Worker,
        want: usize,
    ) -> Result<(), LeaseError> {
        let all = || picker.segments.list.iter().map(|segment| segment.ranks.free.mutations());
        let mut search = 0;
        while search < MAX_SEARCHES {
            let finished: u64 = all().map(Mutations::finished).sum();
            let look = if search < TREE_SEARCHES { Look::Tree } else { Look::Leaves };
            picker.pick(worker, want, look);
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
            if search.is_multiple_of(SEARCHES_A_TURN) {
                std::thread::yield_now();
            }
        }
        Err(LeaseError::Busy)
    }

    /// How many of the numbers that a lease could have chosen are in each state. Looks at every word
    /// of `within`: to be called off the threads that serve when that is many.
    pub fn counts_within(&self, within: Option<&Within>) -> Counts {
        let Some(within) = within else { return self.counts() };
        let segments = self.segments.load();
        let (now, on_expiry, round) = (self.shared.clock.now(), self.on_expiry(), self.round());
        let mut counts = Counts::default();
        for span in &within.spans {
            let words = &segments.list[span.segment as usize].ranks.words;
            span.ranks
                .clone()
                .for_each(|rank| counts.add(words.get(rank).seen(now, on_expiry, round).state()));
        }
        counts
    }

    /// When the next number of those that a lease could have chosen becomes available by itself; not
    /// known (`None`) also when too many leases end first in ways that make none available.
    pub fn next_available_at(&self, within: Option<&Within>) -> Option<Timestamp> {
        let segments = self.segments.load();
        let on_expiry = self.on_expiry();
        let mut next: Option<Timestamp> = None;
        for span in &within.unwrap_or(&segments.whole).spans {
            let segment = &segments.list[span.segment as usize];
            let mut seen = Vec::new();
            while let Some((block, hint)) = segment.ranks.due.earliest_block(span.ranks.clone(), &seen) {
                if seen.len() == MAX_NEXT_BLOCKS || next.is_some_and(|next| next <= hint) {
                    break;
                }
                seen.push(block);
                let ranks = segment.ranks.due.ranks_of(block);
                for rank in ranks.start.max(span.ranks.start)..ranks.end.min(span.ranks.end) {
                    let at = segment.ranks.words.get(rank).available_at(on_expiry);
                    next = [next, at].into_iter().flatten().min();
                }
            }
        }
        next
    }
}
