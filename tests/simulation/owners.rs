//! Leases for holders: what one has is what it was told, and can be ended at once.

use std::sync::Arc;

use allotd::domain::holder::HolderName;
use allotd::domain::settings::NextState;
use allotd::engine::Pool;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::Lease;
use allotd::state::number_state::State;
use allotd::sys::simulation::world;

use super::life::Life;
use super::model::{Model, ToldLease};
use super::register::{Interval, NEVER};

/// How many holders there are.
pub(crate) const OWNERS: u64 = 3;
/// Most leases of a holder that are looked at.
const MOST_LISTED: usize = 1_000;

pub(crate) fn owner_name(owner: u8) -> HolderName {
    format!("holder {owner}").parse().expect("a name")
}

/// The told leases of a holder in a pool that are live for certain during all of a call.
fn living(model: &Model, pool: u64, owner: u8, during: Interval, now: u32) -> Vec<ToldLease> {
    let numbers = model.numbers.range((pool, 0)..=(pool, u64::MAX));
    let mut living = Vec::new();
    for (_, number) in numbers {
        living.extend(
            number
                .leases
                .iter()
                .filter(|told| {
                    told.holder == Some(owner)
                        && told.during.ended < during.begun
                        && now < told.until(during.begun)
                        && told.end_begun > during.ended
                        && !number.may_be_ended(told.during.begun, during.ended)
                })
                .cloned(),
        );
    }
    living
}

impl Life {
    /// Ends all that one holder has: returned, or released by an operator.
    pub(crate) fn end_all_of_one(&self, name: &'static str) {
        let Some(pool) = self.pool(name) else { return };
        let owner = self.run.below(OWNERS) as u8;
        let begun = world::steps();
        let ending = {
            let mut model = self.run.model();
            let id = pool.id();
            model.holder_endings.push((id, owner, Interval { begun, ended: NEVER }));
            let ending = model.holder_endings.len() - 1;
            for (_, number) in model.numbers.range_mut((id, 0)..=(id, u64::MAX)) {
                for told in number.leases.iter_mut().filter(|told| told.holder == Some(owner)) {
                    told.end_begun = told.end_begun.min(begun);
                }
            }
            ending
        };
        let before = told_before(&self.run.model(), pool.id(), owner, begun);
        let is_return = self.run.one_in(2);
        world::note(|| format!("end all of holder {owner} in {name}, a return: {is_return}"));
        let ended = if is_return {
            let then = if self.run.one_in(3) { NextState::Done } else { NextState::Available };
            pool.return_all(&owner_name(owner), then, None).map(drop).map_err(|error| error.to_string())
        } else {
            pool.release_all(&owner_name(owner), false).map(drop).map_err(|error| error.to_string())
        };
        world::note(|| format!("ended all of holder {owner}: {ended:?}"));
        if ended.is_ok() {
            self.run.model().holder_endings[ending].2.ended = world::steps();
            self.check_ended(&pool, &before);
        }
    }

    /// What a holder had before all of it was ended is not leased by the same lease after.
    fn check_ended(&self, pool: &Arc<Pool>, before: &[ToldLease]) {
        let now = self.now();
        // One that had run out is not ended, and may be renewed late.
        for told in before.iter().filter(|told| now < told.until(u64::MAX)) {
            let (lease, seen) = (told.lease, world::quietly(|| pool.lookup(told.lease.number)));
            if seen.is_some_and(|seen| seen.generation == lease.generation && seen.state == State::Leased) {
                self.run.model().find(format!("{lease:?} is leased after all of its holder's were ended"));
            }
        }
    }

    /// Releases some numbers.
    pub(crate) fn release(&self, name: &'static str) {
        let Some(pool) = self.pool(name) else { return };
        let ranges = [self.some_of(name)];
        let numbers = || ranges[0].first().get()..=ranges[0].last().get();
        let (begun, id) = (world::steps(), pool.id());
        for number in numbers() {
            let known = &mut self.run.model();
            known.number((id, number)).endings.push(Interval { begun, ended: NEVER });
        }
        world::note(|| format!("release {ranges:?} of {name}"));
        let released = pool.release(NumberSource::Ranges(&ranges), false);
        world::note(|| format!("released of {name}: {released:?}"));
        if released.is_err() {
            return;
        }
        let ended = world::steps();
        let mut model = self.run.model();
        for number in numbers() {
            for ending in &mut model.number((id, number)).endings {
                if ending.begun == begun {
                    ending.ended = ended;
                }
            }
        }
    }

    /// What each holder has when nothing runs.
    pub(crate) fn look_at_holders(&self, pool: &Arc<Pool>, during: Interval, now: u32, how: &str) {
        if !world::quietly(|| pool.tracks_holders()) {
            return;
        }
        for owner in 0..OWNERS as u8 {
            let name = owner_name(owner);
            let (held, count) = world::quietly(|| (pool.held_by(&name, MOST_LISTED), pool.leases_of(&name)));
            let mut model = self.run.model();
            for told in living(&model, pool.id(), owner, during, now) {
                let lease = told.lease;
                let has = |held: &allotd::engine::operations::by_holder::HeldLease| {
                    held.number == lease.number && held.generation == lease.generation
                };
                if !held.iter().any(has) {
                    model.find(format!("{how}: holder {owner} has {held:?}, but was told {told:?}"));
                }
            }
            for lease in &held {
                let number = model.number((pool.id(), lease.number.get()));
                let other = number.lease_mut(lease.generation).filter(|told| told.holder != Some(owner));
                if let Some(other) = other.cloned() {
                    model.find(format!("{how}: holder {owner} has {lease:?}, told otherwise: {other:?}"));
                }
            }
            if count < held.len() as u64 {
                model.find(format!("{how}: holder {owner} has {held:?}, but counts {count}"));
            }
        }
    }
}

/// What a holder was told before a call.
fn told_before(model: &Model, pool: u64, owner: u8, begun: u64) -> Vec<ToldLease> {
    let numbers = model.numbers.range((pool, 0)..=(pool, u64::MAX));
    let told = numbers.flat_map(|(_, number)| &number.leases);
    told.filter(|told| told.holder == Some(owner) && told.during.ended < begun).cloned().collect()
}

impl Model {
    /// Whether a holder got more than its pool allows.
    pub(crate) fn check_most(&mut self, pool: u64, owner: u8, leases: &[Lease], during: Interval, now: u32) {
        let Some(most) = self.pools.get(&pool).and_then(|pool| pool.most_per_holder) else { return };
        let has = living(self, pool, owner, during, now);
        if has.len() + leases.len() > most as usize {
            self.find(format!("holder {owner} may have {most}, has {has:?} and got {leases:?} {during:?}"));
        }
    }
}
