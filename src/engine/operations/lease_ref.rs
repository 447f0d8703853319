//! Leases that callers name by number and token, and finding their numbers.

use crate::coordinates::Rank;
use crate::domain::lease_token::Token;
use crate::engine::pool::Pool;
use crate::engine::segment::spans::SegmentIndex;
use crate::engine::segment::{Segment, Segments};
use crate::engine::worker::Worker;
use crate::numbers::number::Number;
use crate::state::word::{LeaseOver, Word};
use crate::sys::slot::Slot;

/// Maximum number of items of one renew or return call.
pub const MAX_ITEMS: usize = 65_536;
/// Items located before their words are written: enough for their memory fetches to overlap.
const ITEMS_AT_ONCE: usize = 32;

/// A number and the proof that the caller holds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseRef {
    /// The number.
    pub number: Number,
    /// The proof. `None` stands for text that is not a token; it is treated like any wrong token.
    pub token: Option<Token>,
}

type Place = Option<(SegmentIndex, Rank)>;

impl Pool {
    /// Calls `change` with each item and where its number is, `None` if the pool does not have it; a lease that is
    /// due has ended. The places of several are located together.
    #[inline]
    pub(super) fn for_each<T>(
        &self,
        worker: &mut Worker,
        items: &[T],
        number: impl Fn(&T) -> Number,
        mut change: impl FnMut(&mut Worker, &T, Option<(&Segment, Rank)>),
    ) {
        let (segments, rules) = (self.segments.load(), self.end_rules());
        for items in items.chunks(ITEMS_AT_ONCE) {
            let places = locate(&segments, worker, items.iter().map(&number));
            for (item, place) in items.iter().zip(places) {
                let place = place
                    .map(|(segment, rank)| self.end_if_due(segments.get(segment), rank, rules, worker.slot));
                change(worker, item, place);
            }
        }
    }

    /// Calls `change` with where a number is; a lease that is due has ended. `None` if the pool does not have it.
    #[inline]
    pub(super) fn for_one<T>(
        &self,
        worker: &mut Worker,
        number: Number,
        change: impl FnOnce(&Segment, Rank, Slot) -> T,
    ) -> Option<T> {
        // Before the word changes, nobody waits for the journal: one record, and one of a lease that is due.
        self.shared.journal.make_room(worker.slot, 2);
        let segments = self.segments.load();
        let (segment, rank) = segments.locate(number, &mut worker.last_returned)?;
        let (segment, rank) = self.end_if_due(segments.get(segment), rank, self.end_rules(), worker.slot);
        Some(change(segment, rank, worker.slot))
    }

    #[inline]
    pub(super) fn check_token(&self, item: LeaseRef, word: Word) -> Result<(), LeaseOver> {
        let right = item.token == Some(self.keys.token(item.number, word.generation()));
        if right && word.generation() > 0 { Ok(()) } else { Err(LeaseOver) }
    }
}

/// Whether the result of a change tells of another call: the lease is over, or it was changed so before.
#[inline]
pub(super) fn has_observed(changed: Option<(Word, Word)>) -> bool {
    changed.is_none_or(|(before, after)| before == after)
}

/// Locates up to [`ITEMS_AT_ONCE`] numbers and prefetches their words.
fn locate(
    segments: &Segments,
    worker: &mut Worker,
    numbers: impl Iterator<Item = Number>,
) -> [Place; ITEMS_AT_ONCE] {
    let mut places = [None; ITEMS_AT_ONCE];
    for (place, number) in places.iter_mut().zip(numbers) {
        *place = segments.locate(number, &mut worker.last_returned);
        if let Some((segment, rank)) = *place {
            segments.get(segment).state.prefetch(rank);
        }
    }
    places
}
