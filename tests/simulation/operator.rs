//! A thread that makes an operator's calls, moves the clock, and looks after the disk.

use std::sync::Arc;
use std::time::Duration;

use allotd::domain::settings::{NextState, Order, Settings, SettingsChange};
use allotd::engine::operations::import::{ImportError, NumberSource};
use allotd::engine::{ChangeError, DeleteError, Pool};
use allotd::numbers::number::{Number, NumberRange};
use allotd::state::number_state::State;
use allotd::sys::simulation::{thread, world};

use super::campaign::some_attempts;
use super::life::{Focus, Life, POOLS};
use super::listing::names_of;
use super::model::{Floor, PoolModel};
use super::register::{Interval, NEVER, Register};

/// Most numbers of a new pool, by its place in [`POOLS`].
const SIZES: [u64; 3] = [12, 140, 8];
/// The numbers that are added to a pool begin so far after its first.
const ADDED_AFTER: u64 = 300;

/// The longest lease.
pub(crate) const LONGEST_TTL_SECONDS: u64 = 1_000;

pub(crate) fn range(first: u64, last: u64) -> NumberRange {
    NumberRange::new(Number::new(first).unwrap(), Number::new(last).unwrap()).unwrap()
}

fn first_of(name: &str) -> u64 {
    POOLS.iter().find(|(other, _)| *other == name).expect("a known pool").1
}

impl Life {
    /// Makes some operator's calls.
    pub(crate) fn operate(&self, calls: u64) {
        let run = &self.run;
        for _ in 0..calls {
            if self.is_ending() {
                return;
            }
            let name = match run.focus {
                Focus::OnePool => "c",
                Focus::Rounds => "a",
                _ => run.pick(&["a", "a", "b", "c", "c"]),
            };
            match run.below(27) {
                26 => self.release(name),
                25 => self.end_all_of_one(name),
                24 => self.start_round("a"),
                _ if run.focus == Focus::Lists && run.below(3) > 0 => self.operate_lists(name),
                _ if run.focus == Focus::Holders && run.one_in(3) => self.end_all_of_one(name),
                _ if run.focus == Focus::Hours && run.one_in(2) => self.operate_hours(name),
                21 if run.focus == Focus::Everything => self.operate_hours(name),
                _ if run.focus == Focus::Attempts && run.one_in(4) => self.start_round("a"),
                _ if run.focus == Focus::Rounds && run.one_in(2) => self.start_round(name),
                _ if run.focus == Focus::OnePool && run.one_in(3) => self.delete(name),
                _ if run.focus == Focus::OnePool && run.one_in(3) => self.create(name),
                0..3 => self.pause(name, true),
                3..6 => self.pause(name, false),
                6..8 => self.change_ttl(name),
                8 if self.uses_lists() => self.operate_lists(name),
                8..10 => self.start_round(name),
                10 => self.add(name),
                11..13 => self.retire(name),
                13 => self.reinstate(name),
                14..16 => self.create(name),
                16..18 => self.delete(run.pick(&["c", "c", "b"])),
                18 if run.one_in(2) => self.back_up(),
                18..22 => {
                    let seconds = 1 + run.below(12);
                    world::note(|| format!("the clocks go on by {seconds} s"));
                    run.let_pass(seconds);
                    self.now();
                }
                _ => thread::sleep(Duration::from_millis(run.below(400))),
            }
        }
    }

    /// Creates a pool.
    pub(crate) fn create(&self, name: &'static str) {
        let run = &self.run;
        let at = POOLS.iter().position(|(other, _)| *other == name).expect("a known pool");
        let (first, size) = (POOLS[at].1, SIZES[at] / 2 + run.below(SIZES[at] / 2));
        let on_expiry = match run.below(8) {
            0 => NextState::Rest(1 + run.below(4) as u32),
            1 => NextState::Done,
            _ => NextState::Available,
        };
        let has_holders = run.one_in(if run.focus == Focus::Holders { 1 } else { 4 });
        let change = SettingsChange {
            order: Some(run.pick(&[Order::Random, Order::Sequential, Order::Lowest])),
            on_expiry: Some(on_expiry),
            ttl: Some(1 + run.below(40) as u32),
            ttl_max: Some(LONGEST_TTL_SECONDS as u32),
            blocked_by: Some(names_of(if self.uses_lists() { run.below(4) as u8 } else { 0 })),
            attempts: Some(some_attempts(self)),
            holders: Some(has_holders),
            max_per_holder: Some((has_holders && run.one_in(2)).then(|| 1 + run.below(6) as u32)),
            ..SettingsChange::default()
        };
        let settings = Settings::of_new_pool(&change).expect("valid settings");
        let begun = world::steps();
        let number =
            run.model().names.entry(name).or_insert_with(|| Register::new(false, 0)).begin(true, begun);
        let ranges = [range(first, first + size)];
        world::note(|| format!("create {name} of {size}"));
        let result =
            self.engine.create_pool(&name.parse().expect("a name"), settings, NumberSource::Ranges(&ranges));
        world::note(|| format!("created {name}: {result:?}"));
        let (at, fails) = (world::steps(), self.disk.is_off() || self.engine.journal().is_poisoned());
        let mut model = run.model();
        if result.is_ok() {
            model.names.get_mut(name).expect("it is known").confirm(number, at);
        } else if !fails && matches!(result, Err(ImportError::PoolExists(_))) {
            // Refused. After an error of the disk a loss of power can still bring the pool back.
            model.names.get_mut(name).expect("it is known").withdraw(number);
        }
    }

    fn delete(&self, name: &'static str) {
        let Some(pool) = self.pool(name) else { return };
        let force = self.run.one_in(2);
        let begun = world::steps();
        let (number, deletion) = {
            let mut model = self.run.model();
            model.deletions.push((name, Interval { begun, ended: NEVER }));
            let number = model.names.get_mut(name).expect("it was created").begin(false, begun);
            (number, model.deletions.len() - 1)
        };
        world::note(|| format!("delete {name}, force {force}"));
        let result = self.engine.delete_pool(name, force);
        world::note(|| format!("deleted {name}: {result:?}"));
        let (ended, now) = (world::steps(), self.now());
        let mut model = self.run.model();
        match result {
            Ok(()) => {
                model.names.get_mut(name).expect("it was created").confirm(number, ended);
                model.deletions[deletion].1.ended = ended;
                // Beside another deletion it may have been the name's next pool.
                let others = model.deletions.iter().enumerate().filter(|(at, _)| *at != deletion);
                let alone = others
                    .filter(|(_, (other, _))| *other == name)
                    .all(|(_, (_, other))| other.ended < begun || other.begun > ended);
                if !force && alone {
                    let id = pool.id();
                    let numbers = model.numbers.range((id, 0)..=(id, u64::MAX));
                    let leases =
                        numbers.flat_map(|(_, number)| number.leases.iter().map(move |l| (number, l)));
                    let live = leases.filter(|(number, lease)| {
                        lease.during.ended < begun
                            && lease.end_begun > ended
                            && now < lease.until(begun)
                            && !number.may_be_ended(lease.during.begun, ended)
                    });
                    let live = live.map(|(_, lease)| lease).next().cloned();
                    if let Some(lease) = live {
                        model.find(format!(
                            "{name} was deleted as unused at {begun}..{ended}, but for {lease:?}"
                        ));
                    }
                }
            }
            Err(DeleteError::NotFound(_) | DeleteError::InUse(_)) => {
                model.names.get_mut(name).expect("it was created").withdraw(number);
                // It may still have been the other deletion of the same moment that others saw.
                model.deletions[deletion].1 = Interval { begun: NEVER, ended: NEVER };
            }
            Err(_) => {}
        }
    }

    /// Changes what a register of a pool says.
    pub(crate) fn change<T: Clone + PartialEq + std::fmt::Debug, R: std::fmt::Debug>(
        &self,
        name: &'static str,
        value: T,
        register: impl Fn(&mut PoolModel) -> &mut Register<T>,
        act: impl FnOnce(&Arc<Pool>) -> Result<R, ChangeError>,
    ) -> Option<R> {
        let found_at = world::steps();
        let pool = self.pool(name)?;
        let mut model = self.run.model();
        let known = model.pools.get_mut(&pool.id()).expect("it is known");
        let number = register(known).begin(value, world::steps());
        drop(model);
        let result = act(&pool);
        let at = world::steps();
        world::note(|| format!("changed {name}: {result:?}"));
        let mut model = self.run.model();
        let deleted = matches!(result, Err(ChangeError::Deleted));
        if deleted && !model.may_be_deleted(name, found_at, at) {
            model.find(format!("pool {name} is said to be deleted, {found_at}..{at}"));
        }
        let register = register(model.pools.get_mut(&pool.id()).expect("it is known"));
        match result {
            Ok(result) => {
                register.confirm(number, at);
                Some(result)
            }
            Err(_) => {
                if deleted {
                    register.withdraw(number);
                }
                None
            }
        }
    }

    fn pause(&self, name: &'static str, paused: bool) {
        world::note(|| format!("pause {name}: {paused}"));
        self.change(
            name,
            paused,
            |pool| &mut pool.paused,
            |pool| if paused { pool.pause() } else { pool.resume() },
        );
    }

    fn change_ttl(&self, name: &'static str) {
        let ttl = 1 + self.run.below(40) as u32;
        let change = SettingsChange { ttl: Some(ttl), ..SettingsChange::default() };
        world::note(|| format!("ttl of {name}: {ttl}"));
        self.change(name, ttl, |pool| &mut pool.ttl, |pool| pool.change_settings(&change).map(drop));
    }

    fn start_round(&self, name: &'static str) {
        let Some(pool) = self.pool(name) else { return };
        let found_at = world::steps();
        world::note(|| format!("start a round of {name}"));
        // Rounds count up, whichever of two calls comes first.
        let begun = world::steps();
        // Others may see it before this call ends: the next, or the one after it if another call is between.
        let next = world::quietly(|| pool.round()) + 1;
        let (counting, expected) = {
            let mut model = self.run.model();
            let known = model.pools.get_mut(&pool.id()).expect("it is known");
            known.counted_anew.push(Interval { begun, ended: NEVER });
            let expected = [next, next + 1].map(|round| known.round.begin(round, begun));
            (known.counted_anew.len() - 1, expected)
        };
        let result = pool.start_round();
        let at = world::steps();
        world::note(|| format!("started a round of {name}: {result:?}"));
        let mut model = self.run.model();
        match result {
            Ok(started) => {
                let known = &mut model.pools.get_mut(&pool.id()).expect("it is known");
                known.counted_anew[counting].ended = at;
                expected.into_iter().for_each(|number| known.round.withdraw(number));
                let number = known.round.begin(started.round, begun);
                known.round.confirm(number, at);
            }
            Err(ChangeError::Deleted) => {
                if !model.may_be_deleted(name, found_at, at) {
                    model.find(format!("pool {name} is said to be deleted, {found_at}..{at}"));
                }
                let known = model.pools.get_mut(&pool.id()).expect("it is known");
                expected.into_iter().for_each(|number| known.round.withdraw(number));
            }
            Err(_) => {
                let next = world::quietly(|| pool.round()) + 1;
                for round in next - 1..=next + 1 {
                    model.pools.get_mut(&pool.id()).expect("it is known").round.begin(round, begun);
                }
            }
        }
    }

    fn add(&self, name: &'static str) {
        let Some(pool) = self.pool(name) else { return };
        let first = first_of(name) + ADDED_AFTER + self.run.below(20);
        let ranges = [range(first, first + self.run.below(3))];
        world::note(|| format!("add {ranges:?} to {name}"));
        let result = pool.add_numbers(NumberSource::Ranges(&ranges));
        world::note(|| format!("added to {name}: {result:?}"));
        if result.is_ok() {
            let mut model = self.run.model();
            for number in ranges[0].first().get()..=ranges[0].last().get() {
                model.number((pool.id(), number)).must_be(Floor::Generation(0));
            }
        }
    }

    pub(crate) fn some_of(&self, name: &'static str) -> NumberRange {
        let start = first_of(name) + self.run.below(10);
        range(start, start + self.run.below(3))
    }

    fn retire(&self, name: &'static str) {
        let Some(pool) = self.pool(name) else { return };
        let ranges = [self.some_of(name)];
        let numbers = || ranges[0].first().get()..=ranges[0].last().get();
        let begun = world::steps();
        let in_pool = |number: &u64| world::quietly(|| pool.lookup(Number::new(*number).unwrap())).is_some();
        let known: Vec<u64> = numbers().filter(in_pool).collect();
        for number in &known {
            let model = &mut self.run.model();
            model.number((pool.id(), *number)).endings.push(Interval { begun, ended: NEVER });
        }
        world::note(|| format!("retire {ranges:?} of {name}"));
        let result = pool.retire(NumberSource::Ranges(&ranges), false);
        world::note(|| format!("retired of {name}: {result:?}"));
        if result.is_err() {
            return;
        }
        let ended = world::steps();
        for number in known {
            let seen = world::quietly(|| pool.lookup(Number::new(number).unwrap()));
            let mut model = self.run.model();
            let model = model.number((pool.id(), number));
            for retire in model.endings.iter_mut().filter(|retire| retire.begun == begun) {
                retire.ended = ended;
            }
            // Otherwise it was reinstated meanwhile.
            if let Some(seen) = seen.filter(|seen| seen.state == State::Retired) {
                model.must_be(Floor::Retired(seen.generation));
                model.retired.push((ended, seen.generation));
            }
        }
    }

    fn reinstate(&self, name: &'static str) {
        let Some(pool) = self.pool(name) else { return };
        let ranges = [self.some_of(name)];
        let (begun, id) = (world::steps(), pool.id());
        for number in ranges[0].first().get()..=ranges[0].last().get() {
            self.run.model().number((id, number)).counted_anew.push(Interval { begun, ended: NEVER });
        }
        world::note(|| format!("reinstate {ranges:?} of {name}"));
        let result = pool.reinstate(NumberSource::Ranges(&ranges), false);
        world::note(|| format!("reinstated of {name}: {result:?}"));
        if result.is_err() {
            return;
        }
        let ended = world::steps();
        for number in ranges[0].first().get()..=ranges[0].last().get() {
            let mut model = self.run.model();
            let calls = &mut model.number((id, number)).counted_anew;
            calls.iter_mut().filter(|other| other.begun == begun).for_each(|other| other.ended = ended);
        }
    }

    fn back_up(&self) {
        let name = format!("{:09}", world::steps()).parse().expect("a name");
        world::note(|| "back up".to_owned());
        let made = self.engine.backup(Some(&name), &|| self.is_ending());
        world::note(|| format!("backed up: {made:?}"));
    }

    /// Repairs the disk after a while.
    pub(crate) fn repair(self: &Arc<Self>) {
        let pause = Duration::from_millis(50 + self.run.below(600));
        thread::sleep(pause);
        world::note(|| "the disk is repaired".to_owned());
        self.disk.heal();
    }
}
