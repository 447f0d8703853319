//! Random places drawn ahead, where leases in random order look for a number.
//!
//! In a large pool each place is on a page that was not used recently, and a lease mostly waits for the
//! translation of its address. Several translations that are requested together overlap. So a thread draws
//! its next places in a batch, prefetches the memory of all of them, and uses them one by one.

use std::ops::Range;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::coordinates::Rank;
use crate::numbers::set::run::LastRun;

/// Places drawn together. Fewer cost more per lease; more gain nothing.
const DRAWS_AHEAD: usize = 32;

/// A candidate place.
#[derive(Clone, Copy, Default)]
pub(crate) struct Candidate {
    /// A random number, which [`below`] maps to a place.
    pub(crate) random: u64,
    /// The span and the rank of that place when it was drawn.
    pub(crate) place: (usize, Rank),
    /// A run of numbers: the one at the place, if it was looked up.
    pub(crate) run: LastRun,
}

/// The set that places are drawn from: a pool's id, and how many of its numbers.
pub(crate) type Population = (u64, u64);

/// The draws of one thread.
pub(crate) struct Lookahead {
    random: StdRng,
    ahead: [Candidate; DRAWS_AHEAD],
    /// The indexes of unused candidates.
    left: Range<usize>,
    among: Population,
    /// How many are drawn together.
    at_once: usize,
}

impl Lookahead {
    pub(crate) fn new(seed: [u8; 32]) -> Self {
        let random = StdRng::from_seed(seed);
        Self { random, ahead: [Candidate::default(); DRAWS_AHEAD], left: 0..0, among: (0, 0), at_once: 1 }
    }

    /// Call it before taking the places of a lease. A thread that has just changed pools draws only the
    /// `want` places that it needs: prefetching more could be wasted.
    #[inline]
    pub(crate) fn prepare(&mut self, among: Population, want: usize) {
        if self.among == among {
            self.at_once = DRAWS_AHEAD;
        } else {
            self.among = among;
            self.at_once = want.clamp(1, DRAWS_AHEAD);
            self.left = 0..0;
        }
    }

    /// The next place, if one was drawn.
    #[inline]
    pub(crate) fn next(&mut self) -> Option<Candidate> {
        self.left.next().map(|place| self.ahead[place])
    }

    /// Draws a new batch; each candidate starts with the run `run`.
    pub(crate) fn draw(&mut self, run: LastRun) -> &mut [Candidate] {
        self.left = 0..self.at_once;
        let lookahead = &mut self.ahead[..self.at_once];
        for draw in lookahead.iter_mut() {
            *draw = Candidate { random: self.random.next_u64(), place: (0, Rank(0)), run };
        }
        lookahead
    }
}

/// Maps a random number to one below `bound`, which must not be 0.
#[inline]
pub(crate) fn below(bound: u64, random: u64) -> u64 {
    // The high half of a product: biased by less than bound / 2^64.
    ((u128::from(random) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn random(lookahead: &mut Lookahead, among: Population) -> u64 {
        lookahead.prepare(among, 1);
        let draw = lookahead.next().or_else(|| {
            lookahead.draw(LastRun::default());
            lookahead.next()
        });
        draw.unwrap().random
    }

    #[test]
    fn no_draw_is_used_twice_whatever_the_pool() {
        let mut lookahead = Lookahead::new([7; 32]);
        let mut seen = HashSet::new();
        for pool in [1, 1, 2, 2, 2, 1, 3].into_iter().cycle().take(700) {
            assert!(seen.insert(random(&mut lookahead, (pool, 9))));
        }
        for _ in 0..3 * DRAWS_AHEAD {
            assert!(seen.insert(random(&mut lookahead, (4, 9))));
        }
    }

    #[test]
    fn many_are_drawn_for_who_stays_and_as_many_as_wanted_for_who_comes() {
        let mut lookahead = Lookahead::new([7; 32]);
        let mut count_of = |among, want| {
            lookahead.prepare(among, want);
            while lookahead.next().is_some() {}
            lookahead.draw(LastRun::default()).len()
        };
        assert_eq!(count_of((1, 9), 1), 1);
        assert_eq!(count_of((1, 9), 1), DRAWS_AHEAD);
        assert_eq!(count_of((2, 9), 5), 5);
        assert_eq!(count_of((2, 8), 1_000), DRAWS_AHEAD);
        assert_eq!(count_of((1, 9), 1), 1);
    }

    #[test]
    fn what_was_drawn_for_one_pool_is_not_used_for_another() {
        let mut lookahead = Lookahead::new([7; 32]);
        lookahead.prepare((1, 9), 5);
        lookahead.draw(LastRun::default());
        lookahead.prepare((1, 9), 5);
        assert!(lookahead.next().is_some());
        lookahead.prepare((2, 9), 5);
        assert!(lookahead.next().is_none());
    }

    #[test]
    fn below_reaches_both_ends() {
        assert_eq!((below(10, 0), below(10, u64::MAX), below(1, u64::MAX)), (0, 9, 0));
    }
}
