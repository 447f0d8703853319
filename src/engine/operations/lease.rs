//! Leasing numbers, or proving that none is available.

use std::time::Duration;

use crate::domain::lease_token::Token;
use crate::domain::settings::Order;
use crate::engine::counters::Total;
use crate::engine::holders::MAX_HOLDERS;
use crate::engine::pool::{Mode, Pool};
use crate::engine::segment::spans::Spans;
use crate::engine::segment::within::Within;
use crate::engine::segment::{Segments, Unsettled};
use crate::engine::terms::LeaseTerms;
use crate::engine::transition::Transition;
use crate::engine::worker::{Claim, Patience, Worker};
use crate::journal::cause::ChangeKind;
use crate::journal::handle::JournalError;
use crate::journal::queue::Position;
use crate::numbers::number::Number;
use crate::numbers::set::run::LastRun;
use crate::state::mutations::Mutations;
use crate::state::time::Timestamp;
use crate::state::word::{LeaseOver, LeaseRefusal, NextWord};
use crate::sys::slot::Slot;
use crate::sys::sync::{Instant, thread};

use super::lease_to::{HolderQuota, LeaseTo, Nobody};
use super::picker::{Picker, Search};

/// Maximum count of one lease call.
pub const MAX_LEASE_COUNT: u32 = 65_536;
/// Numbers claimed before their words are written: enough for their memory fetches to overlap.
const CLAIMS_AT_ONCE: usize = if cfg!(allotd_shuttle) { 4 } else { 32 };
/// How long a lease searches in vain before it gives up.
const MAX_SEARCH_TIME: Duration = Duration::from_millis(20);
/// Most due blocks that one lease sweeps.
const MAX_HELPED_BLOCKS: u32 = if cfg!(allotd_shuttle) { 2 } else { 64 };
/// Most words that a lease reads twice to prove that none is available.
const MAX_READ_TWICE: u64 = if cfg!(allotd_shuttle) { 6 } else { 4_096 };
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
    /// The lease would end after the last time that can be stored.
    #[error(
        "this lease would end after {}, the last time that can be stored: give a shorter ttl",
        Timestamp::MAX
    )]
    EndsTooLate,
    /// The count is 0 or too large.
    #[error("count is {0}: give 1 to {MAX_LEASE_COUNT}")]
    CountOutOfBounds(u32),
    /// The journal accepts no change.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The key was used with another body.
    #[error("the Idempotency-Key was used with another body: use a new key for another request")]
    KeyMismatch,
    /// A call with this key is under way.
    #[error("another call with this Idempotency-Key is under way: try again")]
    KeyPending,
    /// All leases that were made under the key are over.
    #[error("the leases that this Idempotency-Key stands for are over: use a new key to lease again")]
    KeyStale,
    /// No more keys can be stored now.
    #[error("too many leases under an Idempotency-Key are live: wait for some to end, or leave the key out")]
    TooManyKeys,
    /// No more keys of this caller can be stored now.
    #[error(
        "too many leases under this caller's Idempotency-Keys are live: wait for some to end, or leave the key out"
    )]
    TooManyOwnKeys,
    /// The pool is being deleted.
    #[error("the pool is being deleted: try again")]
    Deleting,
    /// The clock has gone on so far that it has to be worked out anew what is open.
    #[error("the pool's hours are being worked out: try again")]
    HoursUnsettled,
    /// A holder was named, but the pool tracks none.
    #[error("the pool tracks no holders: leave holder out, or set holders=true for the pool")]
    NoHolders,
    /// The pool cannot have more holders.
    #[error(
        "the pool has {MAX_HOLDERS} holders, as many as it can have: use fewer names, or wait until some have no lease for a while"
    )]
    TooManyHolders,
    /// The holder has as many leases as it may have.
    #[error("{0}")]
    HolderQuota(HolderQuota),
    /// Numbers came and went so fast that the call could neither take one nor prove that there was none. Or
    /// too many leases had ended for it to sweep.
    #[error(
        "other calls took every number as it became available, or many leases have just ended: try again"
    )]
    Busy,
}

impl LeaseError {
    /// Whether a later search may find a number.
    pub(crate) fn may_pass(self) -> bool {
        matches!(self, Self::Exhausted | Self::Busy | Self::Deleting | Self::HoursUnsettled)
    }
}

/// The length of a lease: the requested one, if the pool allows it, or the pool's default.
#[inline]
pub(crate) fn ttl(terms: LeaseTerms, ttl_seconds: Option<u32>) -> Result<u32, LeaseError> {
    let ttl_max_seconds = terms.ttl_max_seconds;
    match ttl_seconds {
        None => Ok(terms.ttl_seconds),
        Some(ttl) if (1..=ttl_max_seconds).contains(&ttl) => Ok(ttl),
        Some(ttl_seconds) => Err(LeaseError::TtlOutOfBounds { ttl_seconds, ttl_max_seconds }),
    }
}

impl Pool {
    /// Leases up to `request.count` numbers into `leases`, which is cleared first. Takes no lock, waits for
    /// no other caller, and allocates nothing per number once `leases` is large enough. Returns what must be
    /// committed before the leases may be told; what must be before a refusal is
    /// [`Worker::observed_position`].
    pub fn lease(
        &self,
        worker: &mut Worker,
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<Position, LeaseError> {
        leases.clear();
        if request.count == 0 || request.count > MAX_LEASE_COUNT {
            return Err(LeaseError::CountOutOfBounds(request.count));
        }
        self.shared.journal.check()?;
        let terms = self.terms.lease();
        let ttl_seconds = ttl(terms, request.ttl_seconds)?;
        self.check_open(worker, request)?;
        self.lease_more(worker, request, (terms.order, ttl_seconds), leases, &mut Nobody)
    }

    /// Adds leases to those of this call, if there are any yet.
    #[expect(
        clippy::inline_always,
        reason = "a lease of one number spends a part of its time on the arguments"
    )]
    #[inline(always)]
    pub(super) fn lease_more<H: LeaseTo>(
        &self,
        worker: &mut Worker,
        request: &LeaseRequest<'_>,
        (order, ttl_seconds): (Order, u32),
        leases: &mut Vec<Lease>,
        to: &mut H,
    ) -> Result<Position, LeaseError> {
        let mut until = self.shared.clock.deadline(ttl_seconds).ok_or(LeaseError::EndsTooLate)?;
        let current = self.segments.load();
        let (segments, within): (&Segments, _) = match request.within {
            None => (&current, &current.whole),
            Some(within) => (&within.segments, &within.spans),
        };
        let open = self.open_among(segments, within)?;
        let within = open.as_ref().unwrap_or(within);
        let picker = Picker { pool: self.id, segments, within, order, cursor: &self.cursors[worker.slot.0] };
        let count = request.count as usize;
        loop {
            let want = (count - leases.len()).min(CLAIMS_AT_ONCE);
            let mut transition = self.begin_claims(worker.slot, want);
            picker.pick(worker, want, Search::Tree);
            if worker.claims.is_empty() {
                drop(transition);
                match self.pick_or_prove_none(&picker, worker, want) {
                    Ok(begun) => transition = begun,
                    Err(LeaseError::Exhausted) if self.has_begun_merge_since(segments) => {
                        return self.lease_anew(worker, request, (order, ttl_seconds), leases, to);
                    }
                    Err(_) if !leases.is_empty() => break,
                    Err(error) => {
                        if error == LeaseError::Exhausted {
                            // Leases that a deletion makes other calls give back are no reason.
                            self.check_mode()?;
                            self.count_exhausted(worker);
                        }
                        return Err(error);
                    }
                }
                // The search may have taken long.
                until = self.shared.clock.deadline(ttl_seconds).unwrap_or(until);
            }
            self.lease_claims(segments, worker, transition, until, leases, to);
            if leases.len() >= count {
                break;
            }
            // A large batch takes no more of a journal that is full by now.
            match self.shared.journal.check() {
                Err(error) if leases.is_empty() => return Err(error.into()),
                Err(_) => break,
                Ok(()) => {}
            }
        }
        self.confirm_open(worker, segments, leases)?;
        // Fewer than asked for: that tells of other callers' leases.
        Ok(worker.position(leases.len() < count))
    }

    /// What is open of some ranks; `None` if the pool has no hours.
    #[inline]
    fn open_among(&self, segments: &Segments, within: &Spans) -> Result<Option<Spans>, LeaseError> {
        if segments.open.is_none() {
            return Ok(None);
        }
        let open = segments.open_among(within, self.shared.clock.now()).transpose();
        open.map_err(|Unsettled| LeaseError::HoursUnsettled)
    }

    /// Whether numbers can have moved to a segment that is not among these.
    ///
    /// A merge makes its segment known before it moves a number, and an available number is gone from its old
    /// place only during a mutation there. So a search that missed it sees the mutation or the new list.
    fn has_begun_merge_since(&self, segments: &Segments) -> bool {
        self.segments.load().merges_begun != segments.merges_begun
    }

    /// Continues a call among the present segments.
    #[cold]
    fn lease_anew<H: LeaseTo>(
        &self,
        worker: &mut Worker,
        request: &LeaseRequest<'_>,
        order_and_ttl: (Order, u32),
        leases: &mut Vec<Lease>,
        to: &mut H,
    ) -> Result<Position, LeaseError> {
        let within = request.within.map(|within| self.within(&within.ranges));
        let request = LeaseRequest { within: within.as_ref(), ..*request };
        self.lease_more(worker, &request, order_and_ttl, leases, to)
    }

    /// Begins a transition in which up to `want` ranks are claimed and leased. No thread waits for the journal
    /// between its claim of a rank and the change of its word, so its records must fit the queue.
    #[inline]
    fn begin_claims(&self, slot: Slot, want: usize) -> Transition<'_> {
        self.shared.journal.make_room(slot, want as u64);
        self.begin_transition(slot)
    }

    #[inline]
    pub(super) fn check_open(&self, worker: &Worker, request: &LeaseRequest<'_>) -> Result<(), LeaseError> {
        if self.is_open_to_all() { Ok(()) } else { self.check_precedence(worker, request) }
    }

    /// Fails if the pool is not open, or if what the call may choose is promised to calls that wait.
    #[cold]
    fn check_precedence(&self, worker: &Worker, request: &LeaseRequest<'_>) -> Result<(), LeaseError> {
        self.check_mode()?;
        if worker.patience != Patience::InLine
            && self.is_promised(request.within.map(|within| &*within.ranges))
        {
            self.count_exhausted(worker);
            return Err(LeaseError::Exhausted);
        }
        Ok(())
    }

    fn count_exhausted(&self, worker: &Worker) {
        if worker.patience == Patience::None {
            self.counters.count(worker.slot, Total::Exhausted, 1);
        }
    }

    /// Counts a call that has waited and found nothing.
    pub fn gave_up(&self, worker: &Worker) {
        self.counters.count(worker.slot, Total::Exhausted, 1);
    }

    pub(super) fn check_mode(&self) -> Result<(), LeaseError> {
        match self.mode() {
            Mode::Open => Ok(()),
            Mode::Paused => Err(LeaseError::Paused),
            Mode::Deleting => Err(LeaseError::Deleting),
            Mode::Deleted => Err(LeaseError::Deleted),
        }
    }

    /// Gives leases back if the pool is being deleted. A deletion first sets the mode, then looks for leased
    /// words; a lease first changes the word, then looks at the mode: in the single order of these `SeqCst`
    /// operations one of them sees the other.
    #[inline]
    fn confirm_open(
        &self,
        worker: &Worker,
        segments: &Segments,
        leases: &mut Vec<Lease>,
    ) -> Result<(), LeaseError> {
        match self.mode() {
            Mode::Open | Mode::Paused => Ok(()),
            mode => {
                self.give_back(worker, segments, leases);
                Err(if mode == Mode::Deleted { LeaseError::Deleted } else { LeaseError::Deleting })
            }
        }
    }

    #[cold]
    fn give_back(&self, worker: &Worker, segments: &Segments, leases: &mut Vec<Lease>) {
        for lease in leases.drain(..) {
            let Some((segment, rank)) = segments.locate(lease.number, &mut LastRun::default()) else {
                continue;
            };
            let segment = &**segments.get(segment);
            let transition = self.begin_transition(worker.slot);
            let (segment, rank, returned) = segment.change(rank, worker.slot, |word| {
                if word.generation() == lease.generation {
                    word.return_lease(NextWord::Available)
                } else {
                    Err(LeaseOver)
                }
            });
            if let Ok(returned) = returned {
                transition.changed(segment, rank, returned, ChangeKind::Returned);
            }
        }
    }

    /// Writes the words of the claimed ranks.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn lease_claims<H: LeaseTo>(
        &self,
        segments: &Segments,
        worker: &mut Worker,
        mut transition: Transition<'_>,
        until: Timestamp,
        leases: &mut Vec<Lease>,
        to: &mut H,
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
        let floors = self.floors();
        for (claim, number) in worker.claims.iter().zip(&worker.numbers) {
            let segment = segment_of(claim);
            match to.lease(segment, claim.rank, until, floors) {
                Ok(word) => {
                    transition.leased(segment, claim.rank, word, to.holder());
                    // A rank without a number means that the set is damaged, which `allotd check` reports.
                    // The word stays leased and nobody gets it.
                    let Some(number) = *number else { continue };
                    let generation = word.generation();
                    let token = self.keys.newest(number, generation);
                    leases.push(Lease { number, token, generation, expires_at: until });
                }
                // Not while a claim is the right to the word.
                Err(LeaseRefusal::NotAvailable) => debug_assert!(false, "a claim in vain"),
                Err(LeaseRefusal::GenerationsSpent) => {
                    if let Some(retired) = segment.state.retire_spent(claim.rank) {
                        transition.changed(segment, claim.rank, retired, ChangeKind::Retired);
                    }
                }
            }
        }
        transition.finish();
    }

    /// Claims ranks, sweeping first if something is due. Or proves that at some instant during this call
    /// nothing was available.
    ///
    /// Whoever makes a number unavailable holds its bit. So if no index has a bit, none is changing, and
    /// nothing is due, then each available word is about to be leased by another call that has claimed it.
    #[cold]
    fn pick_or_prove_none(
        &self,
        picker: &Picker<'_>,
        worker: &mut Worker,
        want: usize,
    ) -> Result<Transition<'_>, LeaseError> {
        let started = Instant::now();
        let mut helped = 0;
        for search in 0_u32.. {
            let finished = picker.sum_of_mutations(Mutations::finished);
            let how = if search < TREE_SEARCHES { Search::Tree } else { Search::Scan };
            let transition = self.begin_claims(worker.slot, want);
            picker.pick(worker, want, how);
            if !worker.claims.is_empty() {
                return Ok(transition);
            }
            drop(transition);
            // A full journal takes no records of a sweep, and without one nothing can be proved.
            self.shared.journal.check()?;
            let now = self.shared.clock.now();
            if self.help_sweep(picker, now, worker.slot) {
                helped += 1;
                if helped == MAX_HELPED_BLOCKS {
                    break;
                }
                continue;
            }
            let is_proved = picker.sum_of_mutations(Mutations::begun) == finished
                || (picker.within.positions() <= MAX_READ_TWICE
                    && picker.is_none_available(&mut worker.words, now));
            if is_proved {
                return Err(LeaseError::Exhausted);
            }
            if search % SEARCHES_PER_TURN == SEARCHES_PER_TURN - 1 {
                if started.elapsed() > MAX_SEARCH_TIME {
                    break;
                }
                thread::yield_now();
            }
        }
        Err(LeaseError::Busy)
    }

    /// Sweeps one due block among the numbers that the call can choose from.
    fn help_sweep(&self, picker: &Picker<'_>, now: Timestamp, slot: Slot) -> bool {
        let mut spans = picker.within.list.iter();
        spans.any(|span| self.sweep_one(picker.segment(span), &span.ranks, now, &mut 0, slot))
    }
}
