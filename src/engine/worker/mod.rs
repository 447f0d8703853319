//! The handle of a thread that calls the engine.

pub(crate) mod lookahead;

use std::sync::Arc;

use crate::coordinates::Rank;
use crate::engine::segment::spans::SegmentIndex;
use crate::journal::handle::Journal;
use crate::journal::queue::Position;
use crate::numbers::number::Number;
use crate::numbers::set::run::LastRun;
use crate::state::word::Word;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::slot::Slot;

use lookahead::Lookahead;

/// A rank that was taken out of the free index and is not leased yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub(crate) segment: SegmentIndex,
    pub(crate) rank: Rank,
}

/// What a lease does that finds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Patience {
    /// It is refused.
    None,
    /// It joins the line of its pool. Only who gives up counts as one that found nothing.
    MayWait,
    /// It has a place in the line.
    InLine,
}

/// The handle of one thread that calls the engine: its slot, its random numbers, its scratch memory. Each
/// thread has its own.
pub struct Worker {
    pub(crate) slot: Slot,
    pub(crate) lookahead: Lookahead,
    pub(crate) claims: Vec<Claim>,
    /// The numbers of the claims.
    pub(crate) numbers: Vec<Option<Number>>,
    /// The run of the number leased last (or of the next candidate), and of the one renewed or returned last.
    pub(crate) last_leased: LastRun,
    pub(crate) last_returned: LastRun,
    /// Words read to prove that no number is available.
    pub(crate) words: Vec<Word>,
    pub(crate) patience: Patience,
    journal: Arc<Journal>,
}

impl Worker {
    pub(crate) fn new(slot: Slot, seed: [u8; 32], journal: Arc<Journal>) -> Self {
        Self {
            slot,
            lookahead: Lookahead::new(seed),
            claims: Vec::new(),
            numbers: Vec::new(),
            last_leased: LastRun::default(),
            last_returned: LastRun::default(),
            words: Vec::new(),
            patience: Patience::None,
            journal,
        }
    }

    /// Says what the leases that follow do if they find nothing.
    pub fn set_patience(&mut self, patience: Patience) {
        self.patience = patience;
    }

    /// The thread's slot.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// What the journal must have committed before a result may be told: `observed` if it reports more than
    /// this thread's own changes.
    #[inline]
    pub(crate) fn position(&self, observed: bool) -> Position {
        if observed { self.observed_position() } else { self.journal.own_position(self.slot) }
    }

    /// What the journal must have committed before it may be told that this thread put a number on a list.
    pub(crate) fn settled_position(&self) -> Position {
        self.journal.settled_position(self.slot)
    }

    /// What the journal must have committed before anything may be told that this thread saw so far.
    #[inline]
    pub fn observed_position(&self) -> Position {
        self.journal.observed_position(self.slot)
    }
}

/// Where sequential leases of one thread continue: segment and rank in one word.
pub(crate) struct Cursor(AtomicU64);

impl Cursor {
    pub(crate) fn new(segment: SegmentIndex, rank: Rank) -> Self {
        Self(AtomicU64::new(u64::from(segment.0) << 32 | u64::from(rank.0)))
    }

    pub(crate) fn get(&self) -> (SegmentIndex, Rank) {
        let place = self.0.load(Ordering::Relaxed);
        (SegmentIndex((place >> 32) as u32), Rank(place as u32))
    }

    pub(crate) fn set(&self, segment: SegmentIndex, rank: Rank) {
        self.0.store(u64::from(segment.0) << 32 | u64::from(rank.0), Ordering::Relaxed);
    }
}
