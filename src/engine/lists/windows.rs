//! Refreshes many numbers whose place on a list has changed: window by window of numbers, and leaf by leaf of ranks.

use crate::coordinates::{self, Rank};
use crate::engine::pool::Pool;
use crate::engine::segment::Segment;
use crate::engine::shared::{BURST_RECORDS, Shared};
use crate::numbers::number::{Number, NumberRange};
use crate::numbers::pieces::pieces;
use crate::numbers::set::run::LastRun;
use crate::state::free_index::Taken;
use crate::state::number_state::State;
use crate::sys::slot::Slot;

use super::apply::Effects;
use super::list::List;
use super::{Lists, PoolEffect, WINDOW_SHIFT};

/// The last number of a number's window.
fn end_of_window(number: u64) -> u64 {
    number | ((1 << WINDOW_SHIFT) - 1)
}

/// A range cut at the ends of windows.
fn in_windows(range: NumberRange) -> impl Iterator<Item = NumberRange> {
    let mut next = Some(range.first().get());
    std::iter::from_fn(move || {
        let first = next?;
        let last = end_of_window(first).min(range.last().get());
        next = (last < range.last().get()).then_some(last + 1);
        NumberRange::new(Number::new(first).ok()?, Number::new(last).ok()?).ok()
    })
}

impl Lists {
    /// Refreshes ascending ranges of numbers whose place on a list has changed, on the operators' slot.
    pub(super) fn refresh_all(
        &self,
        shared: &Shared,
        list: &List,
        ranges: impl Iterator<Item = NumberRange>,
        effects: &mut Effects,
    ) {
        let mut window: Vec<NumberRange> = Vec::new();
        for range in ranges.flat_map(in_windows) {
            let follows = window.last().is_none_or(|last| {
                last.last() < range.first() && range.first().get() <= end_of_window(last.first().get())
            });
            if !follows {
                self.refresh_window(shared, list, &window, effects);
                window.clear();
            }
            window.push(range);
        }
        self.refresh_window(shared, list, &window, effects);
    }

    /// Refreshes ranges of one window in all pools that use the list.
    fn refresh_window(&self, shared: &Shared, list: &List, window: &[NumberRange], effects: &mut Effects) {
        let (Some(begin), Some(end)) = (window.first(), window.last()) else { return };
        let Ok(whole) = NumberRange::new(begin.first(), end.last()) else { return };
        // A number is marked once at most, where it is located.
        let room = if shared.events.is_some() { 1 << WINDOW_SHIFT } else { BURST_RECORDS.into() };
        for (pool, effect) in &mut effects.pools {
            shared.operate_with_room(room, |slot| {
                let _shard = self.shard(begin.first());
                let listed = list.ranges_in(whole);
                let pieces = pieces(window.iter().copied(), listed.into_iter().map(|range| (range, ())));
                let changed = pieces.filter(|piece| piece.in_first);
                let changed: Vec<_> = changed.map(|piece| (piece.range, piece.in_second.is_some())).collect();
                pool.refresh_ranges(list, &changed, slot, effect);
            });
        }
    }
}

/// Ranks of one leaf that are to be blocked, or not.
struct Leaf<'a> {
    pool: &'a Pool,
    segment: &'a Segment,
    slot: Slot,
    /// Whether the numbers are located in this segment,
    is_located: bool,
    /// and whether who follows the changes is told from here.
    is_told: bool,
    ranks: Taken,
    is_blocked: bool,
}

impl Leaf<'_> {
    fn add(&mut self, rank: Rank, is_blocked: bool, effect: &mut PoolEffect) {
        let one = Taken::one(rank);
        if one.base != self.ranks.base || is_blocked != self.is_blocked {
            self.apply(effect);
            (self.ranks.base, self.is_blocked) = (one.base, is_blocked);
        }
        self.ranks.bits |= one.bits;
    }

    /// Sets the bits of the ranks, and forgets them.
    fn apply(&mut self, effect: &mut PoolEffect) {
        let ranks = Taken { bits: std::mem::take(&mut self.ranks.bits), ..self.ranks };
        if ranks.bits == 0 {
            return;
        }
        let free = &self.segment.state.free;
        // Held for one leaf only: the journal's writer waits for its end.
        let changing = self.pool.shared.journal.change(self.slot);
        let changed = if self.is_blocked {
            free.block_in_leaf(ranks, self.slot)
        } else if free.blocked().among(ranks.base, ranks.bits) != 0 {
            free.unblock_in_leaf(ranks, self.slot)
        } else {
            0
        };
        if changed != 0 && self.is_told {
            let changed = Taken { bits: changed, ..ranks };
            self.pool.record_mark(self.segment, changed, self.is_blocked, &changing);
        }
        drop(changing);
        if changed == 0 || !self.is_located {
            return;
        }
        let changed = Taken { bits: changed, ..ranks };
        if !self.is_blocked {
            effect.unblocked += u64::from(changed.bits.count_ones());
            changed.ranks().for_each(|rank| self.pool.announce(self.segment, rank));
            return;
        }
        effect.blocked += u64::from(changed.bits.count_ones());
        let is_leased = |rank: &Rank| {
            // Most are not: they are not worth a look at the time.
            self.segment.word(*rank).state() == State::Leased
                && self.pool.look(self.segment, *rank).state() == State::Leased
        };
        effect.leased += changed.ranks().filter(is_leased).count() as u64;
    }
}

impl Pool {
    /// Sets the bits of ascending ranges of numbers, each with whether `list` has it, as the pool's lists say. The
    /// caller holds the window's shard.
    pub(super) fn refresh_window(
        &self,
        list: &List,
        ranges: &[(NumberRange, bool)],
        slot: Slot,
        effect: &mut PoolEffect,
    ) {
        let uses_list = self.blocking.lists().iter().any(|used| used.id == list.id);
        let uses_others = self.blocking.lists().iter().any(|used| used.id != list.id);
        let refresh = |segment: &Segment, (is_located, is_told), effect: &mut PoolEffect| {
            let (ranks, is_blocked) = (Taken { base: Rank(0), bits: 0 }, false);
            let mut leaf = Leaf { pool: self, segment, slot, is_located, is_told, ranks, is_blocked };
            let mut run = LastRun::default();
            for (range, is_listed) in ranges {
                let by_list = *is_listed && uses_list;
                let is_blocked =
                    |number| by_list || uses_others && self.blocking.is_blocked_besides(Some(list), number);
                if range.first() == range.last() {
                    if let Some(rank) = segment.set.rank_near(range.first(), &mut run) {
                        leaf.add(rank, is_blocked(range.first()), effect);
                    }
                    continue;
                }
                for rank in segment.set.rank_ranges(*range).flat_map(|ranks| coordinates::each(&ranks)) {
                    // A rank without a number is of a damaged set.
                    let number = if by_list || !uses_others { None } else { segment.set.select(rank) };
                    leaf.add(rank, by_list || number.is_some_and(is_blocked), effect);
                }
            }
            leaf.apply(effect);
        };
        // First those that come: see `Pool::places`.
        let incoming = self.blocking.incoming();
        for segment in incoming.iter() {
            refresh(segment, (false, !segment.merging.is_target()), effect);
        }
        let segments = self.segments.load();
        drop(incoming);
        for segment in &segments.list {
            let is_receiving =
                segments.receiving().is_some_and(|other| std::sync::Arc::ptr_eq(other, segment));
            refresh(segment, (!is_receiving, !is_receiving), effect);
        }
    }
}
