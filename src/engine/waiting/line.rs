//! The calls that wait for a number of one pool, in the order in which they came.
//!
//! A waiting call is *idle* or *awake*: once woken it is awake until it leaves the line, or has looked for a number
//! in vain. Calls that may choose from the same numbers form a group, in which the first idle one is always the
//! first to be woken.
//!
//! What must hold whenever the line is left alone: for each available number that an idle call may choose, some
//! awake call that may choose it as well has it among its `offers`, is to pass
//! on (`passes_on`), or has not begun its search yet. It then takes the number, or sees that it is gone, or
//! hands the offer on when it leaves.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::numbers::number::{Number, NumberRange};
use crate::sys::sync::Instant;

use super::signal::Signal;

/// The ranges that a call may choose from, ascending and apart; `None` for all numbers.
pub type Filter = Option<Arc<[NumberRange]>>;

/// Most numbers that are offered to one awake call by name. Beyond that it passes on.
const MAX_OFFERS: usize = 8;
/// After this many searches in vain for a number that it was woken for, a call has precedence over calls that do not
/// wait.
pub(super) const LOSSES_UNTIL_PRECEDENCE: u32 = 3;

/// A call's place: a lower one came earlier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place(u64);

/// A call that waits.
struct Waiter {
    filter: Filter,
    signal: Arc<Signal>,
    since: Instant,
    is_awake: bool,
    /// Numbers that became available and that nobody else was woken for.
    offers: Vec<Number>,
    /// Whether numbers may be available that nobody was woken for: whoever leaves wakes the next of its group.
    passes_on: bool,
    /// Whether an offer came, or passing on, since its search began.
    is_outdated: bool,
    /// Searches in vain for an offer.
    losses: u32,
}

/// The calls with one filter.
#[derive(Default)]
struct Group {
    idle: BTreeSet<Place>,
    awake: BTreeSet<Place>,
}

/// The line of one pool.
#[derive(Default)]
pub(super) struct Line {
    next: u64,
    waiters: BTreeMap<Place, Waiter>,
    groups: HashMap<Filter, Group>,
    /// Calls that have lost too often.
    precedent: BTreeSet<Place>,
}

/// Signals to give once the line is unlocked.
pub(super) type Signals = Vec<Arc<Signal>>;

/// What a call that leaves hands on.
pub(super) struct Left {
    pub(super) offers: Vec<Number>,
    pub(super) signals: Signals,
}

/// Whether the numbers of a filter have a number.
fn has(filter: &Filter, number: Number) -> bool {
    let Some(ranges) = filter else { return true };
    let after = ranges.partition_point(|range| range.first() <= number);
    after > 0 && ranges[after - 1].last() >= number
}

/// Whether a filter has all numbers of some ranges.
fn covers(filter: &Filter, ranges: Option<&[NumberRange]>) -> bool {
    match (filter, ranges) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(filter), Some(ranges)) => ranges.iter().all(|range| {
            let after = filter.partition_point(|of| of.first() <= range.first());
            after > 0 && filter[after - 1].last() >= range.last()
        }),
    }
}

impl Waiter {
    /// Offers a number to it while it is awake.
    fn offer(&mut self, number: Number) {
        self.is_outdated = true;
        if self.offers.len() < MAX_OFFERS {
            self.offers.push(number);
        } else {
            self.passes_on = true;
        }
    }

    fn pass_on(&mut self) {
        self.is_outdated = true;
        self.passes_on = true;
    }
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    /// How long the first call waits.
    pub(super) fn oldest(&self) -> Option<Duration> {
        self.waiters.first_key_value().map(|(_, waiter)| waiter.since.elapsed())
    }

    /// Whether calls with a filter wait.
    pub(super) fn has_group(&self, filter: &Filter) -> bool {
        self.groups.contains_key(filter)
    }

    /// Whether a call that waits has precedence, and may choose all that a call may choose that does not wait.
    pub(super) fn precedes(&self, ranges: Option<&[NumberRange]>) -> bool {
        self.precedent.iter().any(|place| covers(&self.waiters[place].filter, ranges))
    }

    /// Whether any call has precedence.
    pub(super) fn has_precedence(&self) -> bool {
        !self.precedent.is_empty()
    }

    /// Adds a call. If it is the first of its group it is awake: what is available may be its own. Else it comes after
    /// the others.
    pub(super) fn join(&mut self, filter: Filter, signal: Arc<Signal>) -> (Place, bool) {
        let place = Place(self.next);
        self.next += 1;
        // Equal filters are kept once.
        let filter = self.groups.get_key_value(&filter).map_or(filter, |(known, _)| known.clone());
        let group = self.groups.entry(filter.clone()).or_default();
        let is_awake = group.idle.is_empty() && group.awake.is_empty();
        if is_awake {
            group.awake.insert(place);
        } else {
            if group.idle.is_empty()
                && let Some(last) = group.awake.last()
                && let Some(last) = self.waiters.get_mut(last)
            {
                // They may have begun to search before there was anybody to hand on to.
                last.pass_on();
            }
            group.idle.insert(place);
        }
        let waiter = Waiter {
            filter,
            signal,
            since: Instant::now(),
            is_awake,
            offers: Vec::new(),
            passes_on: false,
            is_outdated: false,
            losses: 0,
        };
        self.waiters.insert(place, waiter);
        (place, is_awake)
    }

    /// A call begins to search. Before it was woken it may do so if the pool changed.
    pub(super) fn begin(&mut self, place: Place) {
        let Some(waiter) = self.waiters.get_mut(&place) else { return };
        waiter.is_outdated = false;
        if !waiter.is_awake {
            waiter.is_awake = true;
            if let Some(group) = self.groups.get_mut(&waiter.filter) {
                group.idle.remove(&place);
                group.awake.insert(place);
            }
        }
    }

    /// A call has searched in vain. Returns whether it is to search again at once: something was offered meanwhile.
    pub(super) fn rest(&mut self, place: Place) -> bool {
        let Some(waiter) = self.waiters.get_mut(&place) else { return false };
        if waiter.is_outdated {
            return true;
        }
        if !waiter.offers.is_empty() {
            waiter.losses += 1;
            if waiter.losses >= LOSSES_UNTIL_PRECEDENCE {
                self.precedent.insert(place);
            }
        }
        // At some instant of the search nothing was available that it may choose.
        waiter.offers.clear();
        waiter.passes_on = false;
        waiter.is_awake = false;
        if let Some(group) = self.groups.get_mut(&waiter.filter) {
            group.awake.remove(&place);
            group.idle.insert(place);
        }
        false
    }

    /// A call leaves, with a number or without.
    pub(super) fn leave(&mut self, place: Place) -> Left {
        let mut left = Left { offers: Vec::new(), signals: Vec::new() };
        let Some(waiter) = self.waiters.remove(&place) else { return left };
        self.precedent.remove(&place);
        if let Some(group) = self.groups.get_mut(&waiter.filter) {
            group.idle.remove(&place);
            group.awake.remove(&place);
            if group.idle.is_empty() && group.awake.is_empty() {
                self.groups.remove(&waiter.filter);
            } else if waiter.passes_on {
                self.pass_on(&waiter.filter, &mut left.signals);
            }
        }
        // It may have been woken for numbers that fit calls of other groups; which ones is not known any more.
        if waiter.passes_on && waiter.offers.len() == MAX_OFFERS {
            self.wake_first(&mut left.signals);
        }
        left.offers = waiter.offers;
        left
    }

    /// Wakes the next call of a group.
    fn pass_on(&mut self, filter: &Filter, signals: &mut Signals) {
        let Some(group) = self.groups.get_mut(filter) else { return };
        let (place, is_idle) = match (group.idle.pop_first(), group.awake.first()) {
            (Some(place), _) => (place, true),
            (None, Some(place)) => (*place, false),
            (None, None) => return,
        };
        let Some(waiter) = self.waiters.get_mut(&place) else { return };
        waiter.pass_on();
        if is_idle {
            group.awake.insert(place);
            waiter.is_awake = true;
            signals.push(Arc::clone(&waiter.signal));
        }
    }

    /// Numbers have become available, nobody knows which: wakes the first call of each group, which wakes the next
    /// when it leaves.
    pub(super) fn wake_first(&mut self, signals: &mut Signals) {
        let filters: Vec<Filter> = self.groups.keys().cloned().collect();
        for filter in &filters {
            self.pass_on(filter, signals);
        }
    }

    /// Wakes every call: what it waits for may not come any more.
    pub(super) fn wake_all(&mut self, signals: &mut Signals) {
        for (place, waiter) in &mut self.waiters {
            waiter.is_outdated = true;
            if !waiter.is_awake {
                waiter.is_awake = true;
                if let Some(group) = self.groups.get_mut(&waiter.filter) {
                    group.idle.remove(place);
                    group.awake.insert(*place);
                }
            }
            signals.push(Arc::clone(&waiter.signal));
        }
    }

    /// A number has become available: wakes the call that came first of the idle ones that may choose it. If there is
    /// none, an awake one that may choose it looks once more.
    pub(super) fn offer(&mut self, number: Number) -> Option<Arc<Signal>> {
        let of = |first: fn(&Group) -> Option<&Place>| {
            let fitting = self.groups.iter().filter(|(filter, _)| has(filter, number));
            fitting.filter_map(|(_, group)| first(group)).min().copied()
        };
        let idle = of(|group| group.idle.first());
        let place = idle.or_else(|| of(|group| group.awake.first()))?;
        let waiter = self.waiters.get_mut(&place)?;
        waiter.offer(number);
        idle?;
        waiter.is_awake = true;
        if let Some(group) = self.groups.get_mut(&waiter.filter) {
            group.idle.remove(&place);
            group.awake.insert(place);
        }
        Some(Arc::clone(&waiter.signal))
    }
}

#[cfg(test)]
#[cfg(not(any(allotd_loom, allotd_shuttle)))]
mod tests;
