//! Leasing numbers, or proving that none is available.

use crate::domain::lease_token::Token;
use crate::domain::settings::Order;
use crate::engine::pool::Pool;
use crate::engine::pool_mode::Mode;
use crate::engine::segment::Segments;
use crate::engine::segment::choice::{Choice, Parts};
use crate::engine::segment::spans::Spans;
use crate::engine::segment::within::Within;
use crate::engine::terms::LeaseTerms;
use crate::engine::transition::Transition;
use crate::engine::worker::{Claim, Patience, Worker};
use crate::journal::cause::ChangeKind;
use crate::journal::queue::Position;
use crate::numbers::number::Number;
use crate::numbers::set::run::LastRun;
use crate::state::time::Timestamp;
use crate::state::word::{LeaseOver, LeaseRefusal, NextWord};

pub use super::lease_error::{LeaseError, MAX_LEASE_COUNT};
use super::lease_to::{LeaseTo, Nobody};
use super::pick_by_order::{Picker, Search};

/// Numbers claimed before their words are written: enough for their memory fetches to overlap.
const CLAIMS_AT_ONCE: usize = if cfg!(allotd_shuttle) { 4 } else { 32 };

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
    /// In how many seconds that is, rounded down, counted from when the call began.
    pub expires_in_seconds: u32,
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
        let current = self.segments.load();
        let segments: &Segments = request.within.map_or(&current, |within| &within.segments);
        let terms = (order, ttl_seconds);
        let whole = match (self.open(segments)?, request.within) {
            (None, None) => &segments.whole,
            (None, Some(within)) => &within.spans,
            (Some(open), None) => open,
            (Some(open), Some(within)) => {
                let parts = Parts::common(open, &within.spans);
                return self.lease_parts(worker, request, terms, (segments, &parts), leases, to);
            }
        };
        self.lease_among(worker, request, terms, (segments, whole), leases, to)
    }

    /// As [`Self::lease_among`]. Apart, so that other calls pay nothing for it.
    #[inline(never)]
    fn lease_parts<H: LeaseTo>(
        &self,
        worker: &mut Worker,
        request: &LeaseRequest<'_>,
        terms: (Order, u32),
        among: (&Segments, &Parts<'_>),
        leases: &mut Vec<Lease>,
        to: &mut H,
    ) -> Result<Position, LeaseError> {
        self.lease_among(worker, request, terms, among, leases, to)
    }

    /// Adds leases of some of the numbers to those of this call.
    #[expect(clippy::inline_always, reason = "as above")]
    #[inline(always)]
    fn lease_among<H: LeaseTo, C: Choice>(
        &self,
        worker: &mut Worker,
        request: &LeaseRequest<'_>,
        (order, ttl_seconds): (Order, u32),
        (segments, within): (&Segments, &C),
        leases: &mut Vec<Lease>,
        to: &mut H,
    ) -> Result<Position, LeaseError> {
        let mut until = self.shared.clock.deadline(ttl_seconds).ok_or(LeaseError::EndsTooLate)?;
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
            self.lease_claims(segments, worker, transition, (until, ttl_seconds), leases, to);
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

    /// What the hours leave open; `None` if the pool has none.
    #[inline]
    fn open<'s>(&self, segments: &'s Segments) -> Result<Option<&'s Spans>, LeaseError> {
        let Some(open) = &segments.open else { return Ok(None) };
        open.at(self.shared.clock.now()).map(Some).ok_or(LeaseError::HoursUnsettled)
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
        (until, ttl_seconds): (Timestamp, u32),
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
                    leases.push(Lease {
                        number,
                        token,
                        generation,
                        expires_at: until,
                        expires_in_seconds: ttl_seconds,
                    });
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
}
