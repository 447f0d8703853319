//! In which order numbers are taken out of the free index.

use std::sync::Arc;

use crate::journal::handle::Journal;
use crate::journal::queue::Position;
use crate::numbers::number::{Number, Rank};
use crate::numbers::set::run::LastRun;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::slot::Slot;

use super::draws::{Draws, below};
use super::segment::{Segment, Segments, Span, Within};
use super::settings::Order;

/// Random places looked at before going on from the last one in order. Half full, one look nearly
/// always finds a number; nearly empty, each costs a cache miss for nothing.
const RANDOM_PROBES: u32 = 3;

/// A rank taken out of the free index, not leased yet.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Claim {
    pub(crate) segment: u32,
    pub(crate) rank: u32,
}

/// The handle of one thread that calls the engine: its counters' slot, its random numbers, its
/// scratch memory. A thread has its own; it is not shared.
pub struct Worker {
    pub(crate) slot: Slot,
    draws: Draws,
    pub(crate) claims: Vec<Claim>,
    /// The numbers of the claims.
    pub(crate) numbers: Vec<Option<Number>>,
    /// Where the last number was that it leased (or will look for one), and that it renewed or returned.
    pub(crate) last_leased: LastRun,
    pub(crate) last_held: LastRun,
    journal: Arc<Journal>,
    /// Whether an answer since the last look told of something that another thread may have changed.
    pub(crate) observed: bool,
}

impl Worker {
    pub(crate) fn new(slot: Slot, seed: [u8; 32], journal: Arc<Journal>) -> Self {
        Self {
            slot,
            draws: Draws::new(seed),
            claims: Vec::new(),
            numbers: Vec::new(),
            last_leased: LastRun::default(),
            last_held: LastRun::default(),
            journal,
            observed: false,
        }
    }

    /// Its slot among the engine's threads.
    pub fn slot(&self) -> Slot {
        self.slot
    }

    /// What the journal must have committed before the answers since the last look may be told.
    /// `observed` says that they tell of more than this thread's own changes.
    #[inline]
    pub fn take_position(&mut self, observed: bool) -> Position {
        if std::mem::take(&mut self.observed) || observed {
            self.journal.observed_position(self.slot)
        } else {
            self.journal.own_position(self.slot)
        }
    }
}

/// Where sequential leases of one thread go on: segment and rank in one word.
pub(crate) struct Cursor(AtomicU64);

impl Cursor {
    pub(crate) fn new(segment: u32, rank: u32) -> Self {
        Self(AtomicU64::new(u64::from(segment) << 32 | u64::from(rank)))
    }

    fn get(&self) -> (u32, u32) {
        let place = self.0.load(Ordering::Relaxed);
        ((place >> 32) as u32, place as u32)
    }

    fn set(&self, segment: u32, rank: u32) {
        self.0.store(u64::from(segment) << 32 | u64::from(rank), Ordering::Relaxed);
    }
}

/// How to look for free ranks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Look {
    /// Through the tree.
    Tree,
    /// At every leaf.
    Leaves,
}

/// Takes free ranks of some of a pool's numbers in the pool's order.
pub(crate) struct Picker<'a> {
    /// Which pool's.
    pub(crate) pool: u64,
    pub(crate) segments: &'a Segments,
    pub(crate) within: &'a Within,
    pub(crate) order: Order,
    pub(crate) cursor: &'a Cursor,
}

impl Picker<'_> {
    /// Takes up to `want` ranks into `worker.claims`, which is cleared first. None: none was seen.
    #[inline]
    pub(crate) fn pick(&self, worker: &mut Worker, want: usize, look: Look) {
        worker.claims.clear();
        if self.within.is_empty() {
            return;
        }
        match self.order {
            Order::Random => self.pick_random(worker, want, look),
            Order::Sequential => {
                let (segment, rank) = self.cursor.get();
                let (span, rank) = self.within.from(segment, rank);
                self.pick_onward(worker, (span, rank), want, look);
                if let Some(last) = worker.claims.last() {
                    self.cursor.set(last.segment, last.rank + 1);
                }
            }
            Order::Lowest => self.pick_onward(worker, self.within.at(0), want, look),
        }
    }

    fn segment(&self, span: &Span) -> &Segment {
        &self.segments.list[span.segment as usize]
    }

    /// A random place.
    #[inline]
    fn random_place(&self, worker: &mut Worker, want: usize) -> (usize, u32) {
        let draw = loop {
            match worker.draws.next() {
                Some(draw) => break draw,
                None => self.draw_ahead(worker, want),
            }
        };
        worker.last_leased = draw.run;
        self.place(draw.random)
    }

    /// The place that a random number leads to.
    #[inline]
    fn place(&self, random: u64) -> (usize, u32) {
        self.within.at(below(self.within.len(), random))
    }

    /// Draws the next places and asks for the memory of all.
    #[inline(never)]
    fn draw_ahead(&self, worker: &mut Worker, want: usize) {
        let segment_at = |random| {
            let (span, rank) = self.place(random);
            (self.segment(&self.within.spans[span]), rank)
        };
        let mut run = worker.last_leased;
        let draws = worker.draws.draw(run);
        for draw in &*draws {
            let (segment, rank) = segment_at(draw.random);
            segment.ranks.prefetch(rank);
            segment.set.prefetch(Rank(rank));
        }
        // Several numbers are looked up side by side anyway, once they are claimed.
        if want == 1 {
            for draw in draws {
                let (segment, rank) = segment_at(draw.random);
                segment.set.select_near(Rank(rank), &mut run);
                draw.run = run;
            }
        }
    }

    #[inline]
    fn pick_random(&self, worker: &mut Worker, want: usize, look: Look) {
        worker.draws.begin((self.pool, self.within.len()), want);
        'picks: while worker.claims.len() < want {
            let mut place = (0, 0);
            for _ in 0..RANDOM_PROBES {
                place = self.random_place(worker, want);
                let span = &self.within.spans[place.0];
                let near = self.segment(span).ranks.free.take_near(place.1..span.ranks.end, 1, worker.slot);
                if let Some(rank) = near.and_then(|taken| taken.ranks().next()) {
                    worker.claims.push(Claim { segment: span.segment, rank });
                    continue 'picks;
                }
            }
            let before = worker.claims.len();
            self.pick_onward(worker, place, before + 1, look);
            if worker.claims.len() == before {
                return;
            }
        }
    }

    /// Takes ranks from a place on through all spans and round to that place again, until there are
    /// `want` claims.
    fn pick_onward(&self, worker: &mut Worker, place: (usize, u32), want: usize, look: Look) {
        let spans = &self.within.spans;
        for step in 0..=spans.len() {
            let span = &spans[(place.0 + step) % spans.len()];
            let mut ranks = span.ranks.clone();
            if step == 0 {
                ranks.start = place.1;
            } else if step == spans.len() {
                ranks.end = place.1;
            }
            let free = &self.segment(span).ranks.free;
            while worker.claims.len() < want {
                let count = (want - worker.claims.len()).min(64) as u32;
                let taken = match look {
                    Look::Tree => free.take(ranks.clone(), count, worker.slot),
                    Look::Leaves => free.take_scanning(ranks.clone(), count, worker.slot),
                };
                let Some(taken) = taken else { break };
                for rank in taken.ranks() {
                    worker.claims.push(Claim { segment: span.segment, rank });
                    ranks.start = rank + 1;
                }
            }
            if worker.claims.len() >= want {
                return;
            }
        }
    }
}
