//! The order in which numbers are taken out of the free index.

use std::ops::Range;

use crate::coordinates::{self, Rank};
use crate::domain::settings::Order;
use crate::engine::segment::choice::Choice;
use crate::engine::segment::spans::SegmentIndex;
use crate::engine::segment::{Segment, Segments};
use crate::engine::worker::lookahead::{Candidate, below};
use crate::engine::worker::{Claim, Cursor, Worker};
use crate::state::mutations::Mutations;
use crate::state::time::Timestamp;
use crate::state::word::Word;

/// Random places tried before the search continues in order from the last one. In a half-full pool the first
/// probe nearly always finds a number; in a nearly empty one each probe is a wasted cache miss.
const RANDOM_PROBES: u32 = 3;

/// How to search for free ranks.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Search {
    /// Through the tree.
    Tree,
    /// Through every leaf.
    Scan,
}

/// Takes free ranks from a part of a pool, in the pool's order.
pub(crate) struct Picker<'a, C> {
    /// The pool's id.
    pub(crate) pool: u64,
    pub(crate) segments: &'a Segments,
    pub(crate) within: &'a C,
    pub(crate) order: Order,
    pub(crate) cursor: &'a Cursor,
}

impl<C: Choice> Picker<'_, C> {
    /// Takes up to `want` ranks into `worker.claims`, which is cleared first and stays empty if none is
    /// seen.
    #[inline]
    pub(crate) fn pick(&self, worker: &mut Worker, want: usize, search: Search) {
        worker.claims.clear();
        if self.within.positions() == 0 {
            return;
        }
        match self.order {
            Order::Random => self.pick_random(worker, want, search),
            Order::Sequential => {
                let (segment, rank) = self.cursor.get();
                let (span, rank) = self.within.from(segment, rank);
                self.pick_onward(worker, (span, rank), want, search);
                if let Some(last) = worker.claims.last() {
                    self.cursor.set(last.segment, Rank(last.rank.0 + 1));
                }
            }
            Order::Lowest => self.pick_onward(worker, self.within.at(0), want, search),
        }
    }

    pub(crate) fn segment(&self, index: SegmentIndex) -> &Segment {
        self.segments.get(index)
    }

    /// The sum of a count of mutations over the ranks that can be picked.
    pub(crate) fn sum_of_mutations(&self, count: impl Fn(&Mutations, &Range<Rank>) -> u64) -> u64 {
        let of = |(segment, ranks)| count(self.segment(segment).state.free.mutations(), &ranks);
        self.within.iter().map(of).sum()
    }

    /// Whether no word was available at the instant between two passes over all of them. Words only grow, so
    /// one that both passes find the same was the same in between. `words` is scratch memory.
    pub(crate) fn is_none_available(&self, words: &mut Vec<Word>, now: Timestamp) -> bool {
        let all = || {
            let of = |(segment, ranks)| (self.segment(segment), coordinates::each(&ranks));
            // During a merge each number once, wherever its word is.
            let spans = self.within.iter().filter(|(segment, _)| self.segments.is_visible(*segment));
            spans.map(of).flat_map(|(segment, ranks)| {
                ranks.map(move |rank| (segment.word(rank), segment.state.free.blocked().contains(rank)))
            })
        };
        let unblocked = self.unblocked();
        words.clear();
        let is_none = all().all(|(word, is_blocked)| {
            words.push(word);
            is_blocked || !word.is_available() && word.due().is_none_or(|due| due > now)
        });
        // While no rank stops being blocked, what is blocked only grows too.
        is_none && all().map(|(word, _)| word).eq(words.iter().copied()) && self.unblocked() == unblocked
    }

    /// How often a rank stopped being blocked in the segments that can be picked from.
    fn unblocked(&self) -> u64 {
        self.within.iter().map(|(segment, _)| self.segment(segment).state.free.blocked().unblocked()).sum()
    }

    /// The next random place.
    #[inline]
    fn random_place(&self, worker: &mut Worker, want: usize) -> (usize, Rank) {
        let draw = loop {
            match worker.lookahead.next() {
                Some(draw) => break draw,
                None => self.draw_ahead(worker, want),
            }
        };
        worker.last_leased = draw.run;
        // What can be chosen may be other numbers by now, of the same count: hours change, numbers are added.
        let (span, rank) = draw.place;
        let is_one = span < self.within.len() && self.within.span(span).1.contains(&rank);
        if is_one { draw.place } else { self.place(draw.random) }
    }

    /// Maps a random number to a place.
    #[inline]
    fn place(&self, random: u64) -> (usize, Rank) {
        self.within.at(below(self.within.positions(), random))
    }

    /// Draws the next places and prefetches the memory of all of them.
    #[inline(never)]
    fn draw_ahead(&self, worker: &mut Worker, want: usize) {
        let segment_of = |draw: &Candidate| self.segment(self.within.span(draw.place.0).0);
        let mut run = worker.last_leased;
        let lookahead = worker.lookahead.draw(run);
        for draw in &mut *lookahead {
            draw.place = self.place(draw.random);
            let segment = segment_of(draw);
            segment.state.prefetch(draw.place.1);
            segment.set.prefetch(draw.place.1);
        }
        // For several numbers the lookups overlap anyway, once they are claimed.
        if want == 1 {
            for draw in lookahead {
                segment_of(draw).set.select_near(draw.place.1, &mut run);
                draw.run = run;
            }
        }
    }

    #[inline]
    fn pick_random(&self, worker: &mut Worker, want: usize, search: Search) {
        worker.lookahead.prepare((self.pool, self.within.positions()), want);
        'picks: while worker.claims.len() < want {
            let mut place = (0, Rank(0));
            for _ in 0..RANDOM_PROBES {
                place = self.random_place(worker, want);
                let (segment, ranks) = self.within.span(place.0);
                let near = self.segment(segment).state.free.take_near(place.1..ranks.end, 1, worker.slot);
                if let Some(rank) = near.and_then(|taken| taken.ranks().next()) {
                    worker.claims.push(Claim { segment, rank });
                    continue 'picks;
                }
            }
            let before = worker.claims.len();
            self.pick_onward(worker, place, before + 1, search);
            if worker.claims.len() == before {
                return;
            }
        }
    }

    /// Takes ranks from a place onward, through all spans and around to that place again, until there are
    /// `want` claims.
    fn pick_onward(&self, worker: &mut Worker, place: (usize, Rank), want: usize, search: Search) {
        let spans = self.within.len();
        for step in 0..=spans {
            let (segment, mut ranks) = self.within.span((place.0 + step) % spans);
            if step == 0 {
                ranks.start = place.1;
            } else if step == spans {
                ranks.end = place.1;
            }
            let free = &self.segment(segment).state.free;
            while worker.claims.len() < want {
                let count = (want - worker.claims.len()).min(64) as u32;
                let taken = match search {
                    Search::Tree => free.take(ranks.clone(), count, worker.slot),
                    Search::Scan => free.take_scanning(ranks.clone(), count, worker.slot),
                };
                let Some(taken) = taken else { break };
                for rank in taken.ranks() {
                    worker.claims.push(Claim { segment, rank });
                    ranks.start = Rank(rank.0 + 1);
                }
            }
            if worker.claims.len() >= want {
                return;
            }
        }
    }
}
