//! Lists that block numbers: the calls that change them, and the law that no lease of a number is given once it
//! was told that the number is on a list of the pool.

use std::collections::{BTreeMap, BTreeSet};

use allotd::domain::list_name::ListName;
use allotd::domain::settings::SettingsChange;
use allotd::engine::NumberState;
use allotd::engine::lists::operations::{ListChange, ListError};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::Lease;
use allotd::numbers::number::Number;
use allotd::state::number_state::State;
use allotd::sys::simulation::world;

use super::life::{Focus, Life};
use super::model::{Model, Place};
use super::register::{Interval, Register};

/// The lists that there can be.
pub(crate) const LISTS: [&str; 2] = ["x", "y"];

pub(crate) fn list_name(list: &str) -> ListName {
    list.parse().expect("a name")
}

/// The names that the bits of a pool's lists stand for.
pub(crate) fn names_of(bits: u8) -> Vec<ListName> {
    let named = LISTS.iter().enumerate().filter(|(at, _)| bits >> at & 1 == 1);
    named.map(|(_, list)| list_name(list)).collect()
}

/// The bits of a pool's lists.
pub(crate) fn lists_of(names: &[ListName]) -> u8 {
    let named = LISTS.iter().enumerate().filter(|(_, list)| names.contains(&list_name(list)));
    named.fold(0, |bits, (at, _)| bits | 1 << at)
}

/// What is known of one list.
#[derive(Debug, Clone)]
pub(crate) struct ListModel {
    there: Register<bool>,
    /// Whether a number is on it.
    numbers: BTreeMap<u64, Register<bool>>,
    /// Whether any other is. None is, but a call under way may take off what comes.
    others: Register<bool>,
}

/// A call under way that takes all numbers off a list, or all but some.
struct Clearing {
    numbers: Vec<(u64, usize)>,
    others: usize,
}

impl ListModel {
    /// A list that may come to be.
    fn coming() -> Self {
        Self::new(Register::new(false, 0), BTreeMap::new())
    }

    fn new(there: Register<bool>, numbers: BTreeMap<u64, Register<bool>>) -> Self {
        Self { there, numbers, others: Register::new(false, 0) }
    }

    fn number(&mut self, number: u64) -> &mut Register<bool> {
        self.numbers.entry(number).or_insert_with(|| self.others.clone())
    }

    /// A call begins that leaves only these numbers on it.
    fn begin_clearing(&mut self, left: &BTreeSet<u64>, at: u64) -> Clearing {
        for number in left {
            self.number(*number);
        }
        let numbers = self.numbers.iter_mut();
        let numbers = numbers.map(|(number, on)| (*number, on.begin(left.contains(number), at))).collect();
        Clearing { numbers, others: self.others.begin(false, at) }
    }

    /// It was told that it is done, or with `None` that it did nothing.
    fn end_clearing(&mut self, clearing: &Clearing, at: Option<u64>) {
        let end = |register: &mut Register<bool>, write| match at {
            Some(at) => register.confirm(write, at),
            None => register.withdraw(write),
        };
        let writes: BTreeMap<_, _> = clearing.numbers.iter().copied().collect();
        for (number, register) in &mut self.numbers {
            end(register, writes.get(number).copied().unwrap_or(clearing.others));
        }
        end(&mut self.others, clearing.others);
    }

    /// Whether a number can be on it, or not on it, when a call looks.
    fn allows(&self, number: u64, read: Interval, on: bool) -> bool {
        self.numbers.get(&number).map_or(!on, |register| register.allows(read, |value| *value == on))
    }
}

/// A change of one number of a list that is under way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listing {
    list: &'static str,
    write: usize,
}

impl Model {
    pub(crate) fn begin_listing(
        &mut self,
        list: &'static str,
        number: u64,
        on: bool,
        at: u64,
    ) -> Option<Listing> {
        let write = self.lists.get_mut(list)?.number(number).begin(on, at);
        Some(Listing { list, write })
    }

    /// It was told.
    pub(crate) fn end_listing(&mut self, Listing { list, write }: Listing, number: u64, at: u64) {
        // Unless it was forgotten meanwhile.
        if let Some(list) = self.lists.get_mut(list) {
            list.number(number).confirm(write, at);
        }
    }

    /// The list that blocks a number during all of a call.
    fn surely_blocked(&self, place: Place, during: Interval) -> Option<&'static str> {
        let blocked_by = &self.pools.get(&place.0)?.blocked_by;
        let (_, list) = LISTS.iter().enumerate().find(|(at, list)| {
            let is_used = !blocked_by.allows(during, |bits| bits >> at & 1 == 0);
            is_used && self.lists.get(*list).is_some_and(|list| !list.allows(place.1, during, false))
        })?;
        Some(list)
    }

    /// A lease that was given though its number was told to be on a list.
    pub(crate) fn leased_though_blocked(
        &self,
        place: Place,
        lease: Lease,
        during: Interval,
    ) -> Option<String> {
        let list = self.surely_blocked(place, during)?;
        Some(format!("{place:?} is on list {list}, and leased: {lease:?} {during:?}"))
    }

    /// A number that is shown as blocked, or as available, and cannot be.
    pub(crate) fn blocked_wrongly(
        &self,
        place: Place,
        seen: &NumberState,
        during: Interval,
    ) -> Option<String> {
        let blocked_by = &self.pools.get(&place.0)?.blocked_by;
        match seen.state {
            State::Available => {
                let list = self.surely_blocked(place, during)?;
                Some(format!("{place:?} is on list {list}, and available, {during:?}"))
            }
            State::Blocked => {
                let may_be = LISTS.iter().enumerate().any(|(at, list)| {
                    blocked_by.allows(during, |bits| bits >> at & 1 == 1)
                        && self.lists.get(list).is_some_and(|list| list.allows(place.1, during, true))
                });
                (!may_be).then(|| format!("{place:?} is blocked by no list, {during:?}"))
            }
            _ => None,
        }
    }
}

impl Life {
    /// Whether this run has lists at all.
    pub(crate) fn uses_lists(&self) -> bool {
        matches!(self.run.focus, Focus::Lists | Focus::Everything)
    }

    pub(crate) fn some_list(&self) -> &'static str {
        self.run.pick(&LISTS)
    }

    /// An operator's call on lists, or on which of them block a pool.
    pub(crate) fn operate_lists(&self, pool: &'static str) {
        let list = self.some_list();
        match self.run.below(12) {
            0 => self.delete_list(list),
            1 | 2 => self.create_list(list),
            3..5 => self.use_lists(pool),
            5 => self.change_list(list, ListChange::Replace, pool),
            6..8 => self.change_list(list, ListChange::Remove, pool),
            _ => self.change_list(list, ListChange::Add, pool),
        }
    }

    fn use_lists(&self, pool: &'static str) {
        let bits = self.run.below(4) as u8;
        let change = SettingsChange { blocked_by: Some(names_of(bits)), ..SettingsChange::default() };
        world::note(|| format!("lists of {pool}: {bits:02b}"));
        self.change(pool, bits, |pool| &mut pool.blocked_by, |pool| pool.change_settings(&change).map(drop));
    }

    /// Creates a list that is not there.
    pub(crate) fn create_list(&self, list: &'static str) {
        let begun = world::steps();
        let write = {
            let mut model = self.run.model();
            model.lists.entry(list).or_insert_with(ListModel::coming).there.begin(true, begun)
        };
        let created = self.engine.create_list(list_name(list), None);
        world::note(|| format!("created list {list}: {created:?}"));
        let (mut model, at) = (self.run.model(), world::steps());
        let Some(known) = model.lists.get_mut(list) else { return };
        match created {
            Ok(_) => known.there.confirm(write, at),
            Err(ListError::Exists(_)) => known.there.withdraw(write),
            Err(_) => {}
        }
    }

    fn delete_list(&self, list: &'static str) {
        let begun = world::steps();
        let (there, clearing) = {
            let mut model = self.run.model();
            let Some(known) = model.lists.get_mut(list) else { return };
            (known.there.begin(false, begun), known.begin_clearing(&BTreeSet::new(), begun))
        };
        let deleted = self.engine.delete_list(list_name(list));
        world::note(|| format!("deleted list {list}: {deleted:?}"));
        let (mut model, at) = (self.run.model(), world::steps());
        let Some(known) = model.lists.get_mut(list) else { return };
        let is_refused = matches!(deleted, Err(ListError::InUse { .. } | ListError::NotFound(_)));
        if deleted.is_ok() {
            known.there.confirm(there, at);
            known.end_clearing(&clearing, Some(at));
        } else if is_refused {
            known.there.withdraw(there);
            known.end_clearing(&clearing, None);
        }
    }

    fn change_list(&self, list: &'static str, change: ListChange, pool: &'static str) {
        let ranges = [self.some_of(pool)];
        let given: BTreeSet<u64> = (ranges[0].first().get()..=ranges[0].last().get()).collect();
        let (begun, on) = (world::steps(), change == ListChange::Add);
        let (writes, clearing) = {
            let mut model = self.run.model();
            let Some(known) = model.lists.get_mut(list) else { return };
            if change == ListChange::Replace {
                (Vec::new(), Some(known.begin_clearing(&given, begun)))
            } else {
                let begin = |number: &u64| (*number, known.number(*number).begin(on, begun));
                (given.iter().map(begin).collect(), None)
            }
        };
        world::note(|| format!("{change:?} {ranges:?} of list {list}"));
        let changed = self.engine.change_list(list_name(list), change, NumberSource::Ranges(&ranges), false);
        world::note(|| format!("changed list {list}: {changed:?}"));
        let (mut model, at) = (self.run.model(), world::steps());
        let Some(known) = model.lists.get_mut(list).filter(|_| changed.is_ok()) else { return };
        writes.into_iter().for_each(|(number, write)| known.number(number).confirm(write, at));
        if let Some(clearing) = clearing {
            known.end_clearing(&clearing, Some(at));
        }
    }

    /// Looks at all lists when nothing runs, and learns those that were not known.
    pub(crate) fn look_at_lists(&self, how: &str) {
        let at = world::steps();
        let during = Interval { begun: at, ended: at };
        let there = world::quietly(|| self.engine.lists());
        let mut model = self.run.model();
        for list in LISTS {
            let found = there.iter().find(|found| found.name() == list_name(list));
            let snapshot = found.map(|found| world::quietly(|| found.snapshot()));
            let numbers: Vec<u64> = snapshot
                .iter()
                .flat_map(|snapshot| snapshot.ranges())
                .flat_map(|range| range.first().get()..=range.last().get())
                .collect();
            let Some(known) = model.lists.get(list) else {
                if found.is_some() {
                    let numbers =
                        numbers.into_iter().map(|number| (number, Register::new(true, at))).collect();
                    model.lists.insert(list, ListModel::new(Register::new(true, at), numbers));
                }
                continue;
            };
            let mut findings = Vec::new();
            if !known.there.allows(during, |there| *there == found.is_some()) {
                let all = known.there.all();
                findings.push(format!("{how}: list {list} is there: {}, {all}", found.is_some()));
            }
            let all = known.numbers.keys().copied().chain(numbers.iter().copied());
            for number in all.collect::<BTreeSet<_>>() {
                let on = numbers.contains(&number);
                let alone = found
                    .map(|found| world::quietly(|| found.contains(Number::new(number).expect("a number"))));
                if !known.allows(number, during, on) {
                    let all = known.numbers.get(&number).map(Register::all);
                    findings.push(format!("{how}: {number} is on list {list}: {on}, {all:?}"));
                }
                if alone.is_some_and(|alone| alone != on) {
                    findings.push(format!("{how}: {number} is on list {list} by one way, not by another"));
                }
            }
            findings.into_iter().for_each(|finding| model.find(finding));
        }
    }
}
