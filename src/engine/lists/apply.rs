//! Applies lists to the ranks of pools.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::{Arc, Weak};

use crate::coordinates::{self, Rank};
use crate::domain::list_name::ListName;
use crate::domain::settings::Settings;
use crate::engine::pool::Pool;
use crate::engine::pool_mode::Mode;
use crate::engine::segment::Segment;
use crate::engine::shared::{BURST_RECORDS, OPERATOR_SLOT};
use crate::journal::handle::Changing;
use crate::journal::record::MarksRecord;
use crate::numbers::number::{Number, NumberRange};
use crate::numbers::pieces::common;
use crate::state::free_index::Taken;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::sys::slot::Slot;

use super::list::{List, Snapshot};
use super::{Lists, NoSuchList, PoolEffect, User};

/// Pools that use a list, and what a change of it means for each.
pub(super) struct Effects {
    pub(super) pools: Vec<(Arc<dyn User>, PoolEffect)>,
}

impl Effects {
    pub(super) fn new(lists: &Lists, list: &List) -> Self {
        let users = lists.users().into_iter().filter(|pool| pool.is_blocked_by(list));
        let effect = |pool: Arc<dyn User>| {
            let name = pool.pool_name();
            (pool, PoolEffect { pool: name, blocked: 0, unblocked: 0, leased: 0 })
        };
        Self { pools: users.map(effect).collect() }
    }

    /// Adds those of another change of the list.
    pub(super) fn add(&mut self, other: Self) {
        for (pool, effect) in other.pools {
            match self.pools.iter_mut().find(|(_, known)| known.pool == effect.pool) {
                Some((_, known)) => {
                    known.blocked += effect.blocked;
                    known.unblocked += effect.unblocked;
                    known.leased += effect.leased;
                }
                None => self.pools.push((pool, effect)),
            }
        }
    }

    pub(super) fn report(self) -> Vec<PoolEffect> {
        self.pools.into_iter().map(|(_, effect)| effect).collect()
    }
}

impl Pool {
    /// Calls `visit` with each place of a number, whether it is the one that the number is located at, and whether who
    /// follows the changes is told from there.
    fn places(&self, number: Number, mut visit: impl FnMut(&Segment, Rank, (bool, bool))) {
        // First those that come: one that is not there any more is among the pool's by then.
        for segment in self.blocking.incoming().iter() {
            if let Some(rank) = segment.set.rank(number) {
                visit(segment, rank, (false, !segment.merging.is_target()));
            }
        }
        let segments = self.segments.load();
        for segment in &segments.list {
            if let Some(rank) = segment.set.rank(number) {
                let is_receiving = segments.receiving().is_some_and(|other| Arc::ptr_eq(other, segment));
                visit(segment, rank, (!is_receiving, !is_receiving));
            }
        }
    }
}

impl User for Pool {
    fn pool_name(&self) -> String {
        self.name.to_string()
    }

    fn names(&self, list: ListName) -> bool {
        self.mode() != Mode::Deleted && self.settings().lists().any(|named| named == list)
    }

    fn named_lists(&self) -> BTreeSet<ListName> {
        if self.mode() == Mode::Deleted { BTreeSet::new() } else { self.settings().lists().collect() }
    }

    fn is_blocked_by(&self, list: &List) -> bool {
        self.mode() != Mode::Deleted && self.blocking.lists().iter().any(|used| used.id == list.id)
    }

    fn refresh_number(
        &self,
        list: &List,
        is_listed: bool,
        number: Number,
        slot: Slot,
        (effect, marks): (&mut PoolEffect, &mut Vec<MarksRecord>),
    ) {
        let is_blocked =
            is_listed && self.is_blocked_by(list) || self.blocking.is_blocked_besides(Some(list), number);
        // After the content has changed: see 1 and 2 of `super`.
        self.places(number, |segment, rank, (is_located, is_told)| {
            let is_change = set(segment, rank, is_blocked, slot);
            if is_change && is_told {
                marks.extend(self.list_mark(segment, Taken::one(rank), is_blocked));
            }
            if is_change && is_located {
                if !is_blocked {
                    self.announce(segment, rank);
                }
                let leased = || self.look(segment, rank).state() == State::Leased;
                effect.blocked += u64::from(is_blocked);
                effect.unblocked += u64::from(!is_blocked);
                effect.leased += u64::from(is_blocked && leased());
            }
        });
    }

    fn refresh_ranges(
        &self,
        list: &List,
        ranges: &[(NumberRange, bool)],
        slot: Slot,
        effect: &mut PoolEffect,
    ) {
        self.refresh_window(list, ranges, slot, effect);
    }

    fn count_numbers(&self, list: &List, range: NumberRange, is_listed: bool, effect: &mut PoolEffect) {
        let segments = self.segments.load();
        for (_, segment) in segments.visible() {
            for rank in segment.set.rank_ranges(range).flat_map(|ranks| coordinates::each(&ranks)) {
                let is_blocked = segment.state.free.blocked().contains(rank);
                if is_listed && !is_blocked {
                    effect.blocked += 1;
                    effect.leased += u64::from(self.look(segment, rank).state() == State::Leased);
                } else if !is_listed && is_blocked {
                    let number = segment.set.select(rank);
                    let stays =
                        number.is_some_and(|number| self.blocking.is_blocked_besides(Some(list), number));
                    effect.unblocked += u64::from(!stays);
                }
            }
        }
    }
}

impl Lists {
    /// Sets the bit of a number's rank in a segment of a pool as the pool's lists say. `changing` is of the thread with
    /// `slot`, whose queue has room for a record; `is_told` if who follows the changes is told.
    pub(crate) fn refresh(
        &self,
        pool: &Pool,
        segment: &Segment,
        (rank, number): (Rank, Number),
        is_told: bool,
        (slot, changing): (Slot, &Changing<'_>),
    ) {
        let _shard = self.shard(number);
        let is_blocked = pool.blocking.is_blocked_besides(None, number);
        if !set(segment, rank, is_blocked, slot) {
            return;
        }
        if is_told {
            pool.record_mark(segment, Taken::one(rank), is_blocked, changing);
        }
        if !is_blocked {
            pool.announce(segment, rank);
        }
    }

    /// Refreshes a number in all pools that use a list whose content has changed.
    fn refresh_users(
        &self,
        list: &List,
        number: Number,
        effects: &mut Effects,
        slot: Slot,
        changing: &Changing<'_>,
    ) {
        let shard = self.shard(number);
        let is_listed = list.contains(number);
        let mut marks = Vec::new();
        for (pool, effect) in &mut effects.pools {
            pool.refresh_number(list, is_listed, number, slot, (effect, &mut marks));
        }
        // Whoever waits for the number must not wait for the journal.
        drop(shard);
        for mark in marks {
            changing.record_marks(mark);
        }
    }

    /// Puts a number on a list, for a thread that changes words with `slot`: the records are pushed before those
    /// of what the thread does next. Confirm it only at [`Journal::settled_position`].
    ///
    /// [`Journal::settled_position`]: crate::journal::handle::Journal::settled_position
    pub(crate) fn put_one(
        &self,
        list: &List,
        number: Number,
        slot: Slot,
        now: Timestamp,
        changing: &Changing<'_>,
    ) {
        self.change_one(list, (number, true), slot, now, changing);
    }

    /// As [`Self::put_one`], or takes the number off the list. What follows from it is recorded with it: no kill parts
    /// them.
    pub(super) fn change_one(
        &self,
        list: &List,
        (number, on): (Number, bool),
        slot: Slot,
        now: Timestamp,
        changing: &Changing<'_>,
    ) -> Effects {
        let records = list.change(NumberRange::single(number), on, now);
        records.for_each(|record| changing.record_list(record));
        // After the list has changed: a pool that begins to use it later sees the change.
        let mut effects = Effects::new(self, list);
        self.refresh_users(list, number, &mut effects, slot, changing);
        effects
    }

    /// Counts what [`Self::refresh_all`] would do if numbers were on a list (`true`) or off it.
    pub(super) fn count_users(
        list: &List,
        changes: impl Iterator<Item = (NumberRange, bool)>,
        effects: &mut Effects,
    ) {
        for (range, is_listed) in changes {
            for (pool, effect) in &mut effects.pools {
                pool.count_numbers(list, range, is_listed, effect);
            }
        }
    }
}

/// The ranks of a segment whose numbers are on a list.
fn listed_ranks<'a>(list: &'a Snapshot, segment: &'a Segment) -> impl Iterator<Item = Range<Rank>> + 'a {
    let listed = common(list.ranges(), segment.set.runs());
    listed.flat_map(|range| segment.set.rank_ranges(range))
}

/// Sets the bit of a rank. Returns whether that changed it.
fn set(segment: &Segment, rank: Rank, is_blocked: bool, slot: Slot) -> bool {
    let free = &segment.state.free;
    if is_blocked {
        free.block(rank, slot)
    } else {
        free.blocked().contains(rank) && free.unblock(rank, slot)
    }
}

/// Calls `take` with up to [`BURST_RECORDS`] of the numbers at a time.
fn in_bursts<T>(items: impl Iterator<Item = T>, mut take: impl FnMut(&[T])) {
    let mut burst = Vec::with_capacity(BURST_RECORDS as usize);
    for item in items {
        burst.push(item);
        if burst.len() == BURST_RECORDS as usize {
            take(&burst);
            burst.clear();
        }
    }
    if !burst.is_empty() {
        take(&burst);
    }
}

impl Pool {
    /// Begins to use the lists that settings name, and refreshes all numbers. The settings are the pool's own, or
    /// will be; the pool is not deleted meanwhile.
    pub(crate) fn use_lists(self: &Arc<Self>, settings: &Settings) -> Result<(), NoSuchList> {
        let changing = self.shared.lists.begin_change();
        self.enter_lists(settings)?;
        drop(changing);
        // What a pool is created with is told nobody.
        self.refresh_blocked(false);
        Ok(())
    }

    /// Begins to use the lists that settings name, at a start: no other thread knows the pool or the lists yet.
    pub(crate) fn use_lists_at_start(self: &Arc<Self>, settings: &Settings) -> Result<(), NoSuchList> {
        self.enter_lists(settings)?;
        for list in self.blocking.lists().iter() {
            let snapshot = list.snapshot();
            for segment in &self.segments.load().list {
                let ranks = listed_ranks(&snapshot, segment).flat_map(|ranks| coordinates::each(&ranks));
                for rank in ranks {
                    segment.state.free.block(rank, OPERATOR_SLOT);
                }
            }
        }
        Ok(())
    }

    /// Begins to use the lists that settings name. The caller has [`Lists::begin_change`], and refreshes all numbers
    /// afterwards.
    pub(crate) fn enter_lists(self: &Arc<Self>, settings: &Settings) -> Result<(), NoSuchList> {
        let user: Weak<dyn User> = Arc::<Self>::downgrade(self);
        self.shared.lists.enter(&user, &self.blocking, settings)
    }

    /// Uses a new segment by `publish`, which adds it to the pool's segments, after its ranks are blocked.
    pub(crate) fn block_incoming<T>(&self, segment: &Arc<Segment>, publish: impl FnOnce() -> T) -> T {
        self.blocking.incoming().push(Arc::clone(segment));
        self.block_segment(segment, !segment.merging.is_target());
        let published = publish();
        self.blocking.incoming().retain(|other| !Arc::ptr_eq(other, segment));
        published
    }

    /// Blocks the ranks of a segment whose numbers are on the pool's lists.
    fn block_segment(&self, segment: &Segment, is_told: bool) {
        for list in self.blocking.lists().iter() {
            self.block_by(list, segment, is_told);
        }
    }

    fn block_by(&self, list: &List, segment: &Segment, is_told: bool) {
        let snapshot = list.snapshot();
        let ranks = listed_ranks(&snapshot, segment);
        self.refresh_ranks(segment, ranks.flat_map(|ranks| coordinates::each(&ranks)), is_told);
    }

    /// Refreshes ranks of a segment; `is_told` if who follows the changes is told.
    pub(crate) fn refresh_ranks(&self, segment: &Segment, ranks: impl Iterator<Item = Rank>, is_told: bool) {
        let shared = &self.shared;
        if !self.blocking.is_used() && !segment.state.free.blocked().is_used() {
            return;
        }
        in_bursts(ranks, |burst| {
            shared.operate(|slot| {
                for rank in burst {
                    if let Some(number) = segment.set.select(*rank) {
                        let changing = shared.journal.change(slot);
                        let at = (*rank, number);
                        shared.lists.refresh(self, segment, at, is_told, (slot, &changing));
                    }
                }
            });
        });
    }

    /// Refreshes all numbers of the pool, after it got other lists; `is_told` if who follows the changes is told.
    pub(crate) fn refresh_blocked(&self, is_told: bool) {
        // One that has asked the lists of before may still be about to block a number that no bit tells of yet.
        self.shared.lists.end_refreshes();
        let of = |segment: &Arc<Segment>, is_told| {
            self.block_segment(segment, is_told);
            let all = Rank(0)..Rank(segment.state.free.len());
            self.refresh_ranks(segment, segment.state.free.blocked().in_ranks(all), is_told);
        };
        let incoming = self.blocking.incoming().clone();
        for segment in &incoming {
            of(segment, is_told && !segment.merging.is_target());
        }
        let segments = self.segments.load();
        for segment in &segments.list {
            let is_receiving = segments.receiving().is_some_and(|other| Arc::ptr_eq(other, segment));
            of(segment, is_told && !is_receiving);
        }
    }
}
