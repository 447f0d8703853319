//! Renewals and returns, by whoever was ever told of the lease.

use std::sync::Arc;

use allotd::domain::settings::NextState;
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::renew::RenewResult;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};
use allotd::state::number_state::State;
use allotd::sys::simulation::world;

use super::caller::Caller;
use super::campaign::{hours_index, zones_index};
use super::life::{Focus, Life, POOLS};
use super::listing::{list_name, lists_of};
use super::model::{Floor, Model, Place, ToldLease};
use super::register::{Interval, NEVER, Register};

/// Why a lease may not be told to be stale, or not to be live.
fn check(
    model: &mut Model,
    place: Place,
    told: &ToldLease,
    during: Interval,
    now: u32,
    stale: bool,
    what: &str,
) {
    let number = model.number(place);
    let finding = if stale {
        // Live for certain, all the time.
        let by_operator = number.may_be_ended(told.during.begun, during.ended);
        let is_live = |told: &mut ToldLease| now < told.until(during.begun) && told.end_begun > during.ended;
        let live = number.lease_mut(told.lease.generation).is_some_and(is_live) && !by_operator;
        live.then(|| format!("{what} of {told:?} is stale at {now}, {during:?}"))
    } else {
        let newer = number.later_than(told.lease.generation).find(|newer| newer.during.ended < during.begun);
        newer.map(|newer| format!("{what} of {told:?} is accepted, {during:?}, but another has {newer:?}"))
    };
    if let Some(finding) = finding {
        model.find(finding);
    }
}

fn lease_ref(told: &ToldLease) -> LeaseRef {
    LeaseRef { number: told.lease.number, token: Some(told.lease.token) }
}

impl Caller {
    pub(crate) fn renew(&mut self) {
        let Some((name, pool, told)) = self.some_lease() else { return };
        let life = Arc::clone(&self.life);
        let (run, place, generation) =
            (&life.run, (pool.id(), told.lease.number.get()), told.lease.generation);
        let (begun, ttl) = (world::steps(), 1 + run.below(30) as u32);
        if let Some(lease) = run.model().number(place).lease_mut(generation) {
            lease.renewal_begun = lease.renewal_begun.min(begun);
        }
        let mut results = Vec::new();
        world::note(|| format!("renew {name} {}/{generation} for {ttl} s", place.1));
        let renewed = pool.renew(&mut self.worker, &[lease_ref(&told)], Some(ttl), &mut results);
        let Ok(position) = renewed else { return };
        let (during, now, result) = (Interval { begun, ended: world::steps() }, life.now(), results[0]);
        world::note(|| format!("renewed {name} {}/{generation}: {result:?}", place.1));
        self.tell(position, move |model, at| {
            check(model, place, &told, during, now, result == RenewResult::Stale, "a renewal");
            match result {
                RenewResult::Renewed { expires_at, .. } => {
                    let number = model.number(place);
                    if let Some(lease) = number.lease_mut(generation) {
                        lease.untils.push((at, expires_at.seconds()));
                    }
                    number.must_be(Floor::Leased(generation, expires_at.seconds()));
                }
                RenewResult::Unknown => model.find(format!("{place:?} is unknown")),
                _ => {}
            }
        });
    }

    pub(crate) fn return_lease(&mut self) {
        let Some((name, pool, told)) = self.some_lease() else { return };
        let life = Arc::clone(&self.life);
        let (run, place, generation) =
            (&life.run, (pool.id(), told.lease.number.get()), told.lease.generation);
        let list = run.one_in(if run.focus == Focus::Lists { 3 } else { 12 }).then(|| self.life.some_list());
        let then = match run.below(12) {
            _ if run.focus == Focus::Rounds => NextState::Done,
            _ if list.is_some() => NextState::List(list_name(list.expect("it is some"))),
            0 => NextState::Rest(1 + run.below(5) as u32),
            1 | 2 => NextState::Done,
            3 if run.one_in(4) => NextState::Retired,
            _ => NextState::Available,
        };
        let begun = world::steps();
        // A late return of an old lease ends nothing, if all is well: it is no excuse.
        if let Some(lease) = run.model().number(place).lease_mut(generation) {
            lease.end_begun = lease.end_begun.min(begun);
        }
        if list.is_some() {
            // A number that goes onto a list which does not block its pool is available after any attempt.
            let calls = &mut run.model();
            calls.number(place).counted_anew.push(Interval { begun, ended: NEVER });
        }
        let listing = list.and_then(|list| run.model().begin_listing(list, place.1, true, begun));
        let mut results = Vec::new();
        let item = ReturnItem { lease: lease_ref(&told), then, outcome: None };
        world::note(|| format!("return {name} {}/{generation}, then {then:?}", place.1));
        let Ok(position) = pool.return_leases(&mut self.worker, &[item], &mut results) else { return };
        let (during, now, result) = (Interval { begun, ended: world::steps() }, life.now(), results[0]);
        world::note(|| format!("returned {name} {}/{generation}: {result:?}", place.1));
        self.tell(position, move |model, at| {
            check(model, place, &told, during, now, result == ReturnResult::Stale, "a return");
            match result {
                ReturnResult::Returned { state, before, .. } => {
                    // A repeated one tells what the first one did.
                    let too_soon = before.and_then(|_| model.done_too_soon(place, generation, then, state));
                    too_soon.into_iter().for_each(|finding| model.find(finding));
                    if let Some(listing) = listing {
                        model.end_listing(listing, place.1, at);
                    }
                    let number = model.number(place);
                    if let Some(lease) = number.lease_mut(generation) {
                        lease.returned_told = lease.returned_told.min(at);
                    }
                    let retired = state == State::Retired;
                    number.must_be(if retired {
                        Floor::Retired(generation)
                    } else {
                        Floor::Returned(generation)
                    });
                }
                ReturnResult::Unknown => model.find(format!("{place:?} is unknown")),
                ReturnResult::Stale => {}
            }
        });
    }
}

impl Life {
    /// What must be seen when nothing runs: after an opening, or at the end.
    pub(crate) fn look_at_everything(&self, how: &str) {
        let (at, now) = (world::steps(), self.now());
        let during = Interval { begun: at, ended: at };
        let pools = world::quietly(|| self.engine.pools());
        self.look_at_lists(how);
        for pool in &pools {
            self.know(pool);
            let mut model = self.run.model();
            let (paused, ttl, round) =
                world::quietly(|| (pool.is_paused(), pool.settings().ttl, pool.round()));
            let (hours, zones) = world::quietly(|| (hours_index(&pool.settings()), zones_index(pool)));
            let blocked_by = lists_of(&world::quietly(|| pool.settings()).blocked_by);
            if let Some(name) = POOLS.iter().map(|(name, _)| *name).find(|name| *name == pool.name().as_str())
            {
                // After a restore.
                model.names.entry(name).or_insert_with(|| Register::new(true, at));
            }
            let known = &model.pools[&pool.id()];
            let fits = [
                (known.paused.allows(during, |value| *value == paused), "paused", known.paused.all()),
                (known.ttl.allows(during, |value| *value == ttl), "ttl", known.ttl.all()),
                (known.round.allows(during, |value| *value == round), "round", known.round.all()),
                (
                    known.blocked_by.allows(during, |value| *value == blocked_by),
                    "blocked_by",
                    known.blocked_by.all(),
                ),
                (known.hours.allows(during, |value| *value == hours), "hours", known.hours.all()),
                (known.zones.allows(during, |value| *value == zones), "zones", known.zones.all()),
            ];
            let wrong: Vec<String> = fits
                .into_iter()
                .filter(|(fits, _, _)| !fits)
                .map(|(_, what, all)| {
                    format!(
                        "{how}: pool {}: {what} is {paused} {ttl} {round} {blocked_by} {hours} {zones}, {during:?}: {all}",
                        pool.name()
                    )
                })
                .collect();
            wrong.into_iter().for_each(|finding| model.find(finding));
            for number in model.known_of(pool.id()) {
                let Ok(found) = allotd::numbers::number::Number::new(number) else { continue };
                match world::quietly(|| pool.lookup(found)) {
                    Some(seen) => model.saw((pool.id(), number), &seen, during, now, how),
                    None => model.find(format!("{how}: pool {} has no {number}", pool.name())),
                }
            }
            drop(model);
            self.look_at_holders(pool, during, now, how);
        }
        pools.iter().for_each(|pool| self.look_at_events(pool, how));
        let mut model = self.run.model();
        for (name, register) in model.names.clone() {
            let there = pools.iter().any(|pool| pool.name().as_str() == name);
            if !register.allows(during, |value| *value == there) {
                model.find(format!("{how}: pool {name} is there: {there}, {during:?}: {}", register.all()));
            }
        }
        for (id, known) in model.pools.clone() {
            let there = pools.iter().any(|pool| pool.id() == id);
            if !there && !model.may_be_deleted(&known.name, known.since, at) {
                model.find(format!("{how}: pool {} of id {id} is gone", known.name));
            }
        }
    }
}
