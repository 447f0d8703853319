//! Operations on what a holder has: leasing for it, listing its leases, ending all of them.

use std::ops::Range;
use std::sync::Arc;

use crate::coordinates::Rank;
use crate::domain::holder::HolderName;
use crate::domain::settings::{Attempts, NextState, Settings};
use crate::engine::counters::outcomes::OutcomeId;
use crate::engine::holders::HolderSummary;
use crate::engine::holders::holder::{Holder, Taken};
use crate::engine::lists::list::List;
use crate::engine::pool::Pool;
use crate::engine::pool_error::ChangeError;
use crate::engine::pool_mode::Mode;
use crate::engine::segment::{Segment, Segments};
use crate::engine::shared::{BURST_RECORDS, SWEEPER_SLOT};
use crate::engine::worker::Worker;
use crate::journal::queue::Position;
use crate::numbers::number::Number;
use crate::state::floors::Floors;
use crate::state::holder_column::HolderId;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::{LeaseRefusal, Word};
use crate::sys::parallel;

use super::lease::{Lease, LeaseError, LeaseRequest, MAX_LEASE_COUNT, ttl};
use super::lease_ref::LeaseRef;
use super::lease_to::{HolderQuota, LeaseTo};
use super::retire::{Change, RetireReport};
use super::return_leases::{ReturnError, ReturnItem};

/// Most leases that a list of what a holder has shows.
pub const MAX_LISTED_LEASES: usize = 65_536;
/// Ranks that are looked at before what was found is worked on: it bounds what is kept of it.
const LOOK_RANKS: u32 = 1 << 22;
/// Most threads that look at the same time.
const MOST_LOOKERS: usize = 4;
/// Most records of the return of one lease: that of its end, its own, and before each that of a list.
const RECORDS_PER_RETURN: u32 = 4;

/// One lease of a holder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldLease {
    /// The number.
    pub number: Number,
    /// How many times it was leased, this time included.
    pub generation: u32,
    /// When the lease ends.
    pub expires_at: Timestamp,
}

/// What became of the leases of a holder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HolderReturned {
    /// How many were returned.
    pub returned: u64,
    /// When they would have ended.
    pub ends: Vec<Timestamp>,
}

/// A lease that was found, and where.
struct Found<'a> {
    segment: &'a Segment,
    rank: Rank,
    lease: HeldLease,
}

/// How the leases of a holder end.
struct End {
    then: NextState,
    outcome: Option<OutcomeId>,
    attempts: Option<Attempts>,
    /// The lists that numbers go onto, or may have to after their last attempt.
    lists: Vec<Arc<List>>,
}

/// The holder of a lease call, with the places that are taken in its count.
struct Reserved {
    holder: Arc<Holder>,
    left: u32,
}

impl Drop for Reserved {
    fn drop(&mut self) {
        self.holder.give_back(self.left);
    }
}

impl LeaseTo for Reserved {
    #[inline]
    fn lease(
        &mut self,
        segment: &Segment,
        rank: Rank,
        until: Timestamp,
        floors: Floors,
    ) -> Result<Word, LeaseRefusal> {
        let word = segment.state.lease_for(rank, until, floors, self.holder.id)?;
        self.left -= 1;
        Ok(word)
    }

    #[inline]
    fn holder(&self) -> HolderId {
        self.holder.id
    }
}

/// How many leases a holder may have.
fn most(settings: &Settings, has_returned: bool) -> (u64, bool) {
    let most = settings.max_per_holder.map_or(u64::MAX, u64::from);
    match settings.first_per_holder {
        Some(first) if !has_returned && u64::from(first) < most => (first.into(), true),
        _ => (most, false),
    }
}

impl Pool {
    /// As [`Self::lease`], for a holder. It gets fewer if it may have no more.
    pub fn lease_for(
        &self,
        worker: &mut Worker,
        name: &HolderName,
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<Position, LeaseError> {
        leases.clear();
        if request.count == 0 || request.count > MAX_LEASE_COUNT {
            return Err(LeaseError::CountOutOfBounds(request.count));
        }
        self.shared.journal.check()?;
        let settings = self.settings();
        if !settings.holders {
            return Err(LeaseError::NoHolders);
        }
        let terms = self.terms.lease();
        let ttl_seconds = ttl(terms, request.ttl_seconds)?;
        self.check_open(worker, request)?;
        let mut reserved = self.reserve(worker, name, request.count, &settings)?;
        let count = reserved.left;
        let limited = LeaseRequest { count, ..*request };
        let position =
            self.lease_more(worker, &limited, (terms.order, ttl_seconds), leases, &mut reserved)?;
        // That the holder may have no more tells of other calls.
        Ok(if count < request.count { worker.observed_position() } else { position })
    }

    /// Takes places in a holder's count for a call.
    #[inline]
    fn reserve(
        &self,
        worker: &Worker,
        name: &HolderName,
        count: u32,
        settings: &Settings,
    ) -> Result<Reserved, LeaseError> {
        loop {
            let entered = self.holders.enter(&self.shared.journal, worker.slot(), self.id, name);
            let holder = entered.map_err(|_| LeaseError::TooManyHolders)?;
            let (most, is_first) = most(settings, holder.has_returned());
            match holder.take(count, most) {
                Taken::Leases(left) => return Ok(Reserved { holder, left }),
                Taken::Full(has) => {
                    let [has, most] = [has, most].map(|count| u32::try_from(count).unwrap_or(u32::MAX));
                    return Err(LeaseError::HolderQuota(HolderQuota { has, most, is_first }));
                }
                Taken::Forgotten => {}
            }
        }
    }

    /// What the pool's holders have together, and the `top` of them.
    pub fn holder_summary(&self, top: usize) -> HolderSummary {
        self.holders.summary(top)
    }

    /// Whether leases may name who holds them.
    pub fn tracks_holders(&self) -> bool {
        self.settings().holders
    }

    /// The name of a holder that a number's state has; `None` for nobody, and for one that is forgotten.
    pub fn holder_name(&self, holder: HolderId) -> Option<HolderName> {
        self.holders.name(holder)
    }

    /// How many live leases a holder has.
    pub fn leases_of(&self, name: &HolderName) -> u64 {
        self.holders.find(name).map_or(0, |holder| holder.leases())
    }

    /// The leases of a holder, ascending by number, at most `most` of them. Blocks: in a large pool it reads
    /// much.
    pub fn held_by(&self, name: &HolderName, most: usize) -> Vec<HeldLease> {
        let Some(holder) = self.holders.find(name) else { return Vec::new() };
        let segments = self.segments.load_full();
        let mut leases = Vec::new();
        self.each_part(&segments, holder.id, |found| {
            leases.extend(found.iter().map(|found| found.lease));
            leases.len() < most
        });
        leases.sort_unstable();
        // A merge may have moved it while it was looked for.
        leases.dedup_by_key(|lease| lease.number);
        leases.truncate(most);
        leases
    }

    /// Returns all that a holder has, durably. A lease that it gets during the call may be left out.
    pub fn return_all(
        &self,
        name: &HolderName,
        then: NextState,
        outcome: Option<OutcomeId>,
    ) -> Result<HolderReturned, ReturnError> {
        self.shared.journal.check()?;
        self.check_rest(then.rest_seconds())?;
        let mut all = HolderReturned::default();
        let Some(holder) = self.holders.find(name) else { return Ok(all) };
        let attempts = self.attempts();
        let lists = self.lists_for(attempts, [then.list()], holder.leases())?;
        let end = End { then, outcome, attempts, lists };
        let segments = self.segments.load_full();
        self.each_part(&segments, holder.id, |found| {
            self.return_found(found, &end, &mut all);
            true
        });
        let (journal, slot) = (&self.shared.journal, SWEEPER_SLOT);
        let position = if end.lists.is_empty() {
            journal.observed_position(slot)
        } else {
            journal.settled_position(slot)
        };
        journal.wait_for(slot, position)?;
        Ok(all)
    }

    fn return_found(&self, found: &[Found<'_>], end: &End, all: &mut HolderReturned) {
        let item = |lease: HeldLease| {
            let token = Some(self.keys.token(lease.number, lease.generation));
            let lease = LeaseRef { number: lease.number, token };
            ReturnItem { lease, then: end.then, outcome: end.outcome }
        };
        for burst in found.chunks((BURST_RECORDS / RECORDS_PER_RETURN).max(1) as usize) {
            let rules = self.end_rules();
            self.shared.operate(|slot| {
                for found in burst {
                    let (segment, rank) = self.end_if_due(found.segment, found.rank, rules, slot);
                    let then = self.after_attempt(end.attempts, segment, rank, end.then);
                    let list = end.lists.iter().find(|list| then.list() == Some(list.name()));
                    let returned = self.return_one(segment, rank, &item(found.lease), (then, list), slot);
                    if let Some((before, after)) = returned
                        && before != after
                    {
                        all.returned += 1;
                        all.ends.extend(before.due());
                    }
                }
            });
        }
    }

    /// Ends all leases of a holder: their numbers are available now, and their tokens are stale. `dry_run` only
    /// counts.
    pub fn release_all(&self, name: &HolderName, dry_run: bool) -> Result<RetireReport, ChangeError> {
        self.shared.journal.check()?;
        let mut report = RetireReport::default();
        if let Some(holder) = self.holders.find(name) {
            let segments = self.segments.load_full();
            self.each_part(&segments, holder.id, |found| {
                for burst in found.chunks(BURST_RECORDS as usize) {
                    if dry_run {
                        report.changed += burst.len() as u64;
                        report.leased += burst.len() as u64;
                    } else {
                        self.release_found(burst, &mut report);
                    }
                }
                true
            });
        }
        if !dry_run {
            self.settle()?;
        }
        if self.mode() == Mode::Deleted { Err(ChangeError::Deleted) } else { Ok(report) }
    }

    fn release_found(&self, burst: &[Found<'_>], report: &mut RetireReport) {
        self.shared.operate(|slot| {
            for found in burst {
                let release = Change::ReleaseLease(found.lease.generation);
                if let Some(before) = self.change_rank(release, found.segment, found.rank, slot) {
                    self.mark(release, before, true, report);
                }
            }
        });
    }

    /// Calls `each` with the live leases of a holder, part by part of the pool, until it returns false.
    fn each_part(&self, segments: &Segments, holder: HolderId, mut each: impl FnMut(&[Found<'_>]) -> bool) {
        // A segment that a merge moves numbers into comes last: what has left its old place is there.
        for segment in &segments.list {
            let len = segment.ranks().end.0;
            let parts = (0..len).step_by(LOOK_RANKS as usize);
            let parts: Vec<_> = parts.map(|start| start..start.saturating_add(LOOK_RANKS).min(len)).collect();
            for parts in parts.chunks(parallel::processors().min(MOST_LOOKERS)) {
                let found = parallel::for_each(parts, |part| self.find_held(segment, part, holder));
                if !found.iter().all(|found| found.is_empty() || each(found)) {
                    return;
                }
            }
        }
    }

    /// The live leases of a holder among some ranks.
    fn find_held<'a>(&self, segment: &'a Segment, ranks: &Range<u32>, holder: HolderId) -> Vec<Found<'a>> {
        let mut found = Vec::new();
        if let Some(column) = segment.state.holders.get() {
            column.each_of(ranks.clone(), holder, |rank| found.extend(self.found(segment, rank, holder)));
        }
        found
    }

    /// The lease that the holder has of a rank whose entry named it, if it is live.
    fn found<'a>(&self, segment: &'a Segment, rank: Rank, holder: HolderId) -> Option<Found<'a>> {
        // Before the word, as in `Pool::look`.
        let now = self.shared.clock.now();
        let word = segment.state.words.get(rank);
        // After the word, and whole: the number may have been leased to another since its entry was looked at.
        let is_its = segment.state.holders.get()?.raw(rank) == (word.generation(), holder);
        let seen = word.seen(now, self.end_rules());
        if !is_its || seen.state() != State::Leased || segment.is_inert(rank) {
            return None;
        }
        let (number, expires_at) = (segment.set.select(rank)?, word.due()?);
        let lease = HeldLease { number, generation: word.generation(), expires_at };
        Some(Found { segment, rank, lease })
    }
}
