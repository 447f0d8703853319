//! A run of an engine that does a bit of everything, with the history of what it did.

use std::sync::Arc;

use allotd::domain::settings::{NextState, Order, Settings, SettingsChange};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::renew::RenewResult;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::journal::JournalError;
use allotd::numbers::number::{Number, NumberRange};
use allotd::state::number_state::State;
use allotd::state::time::Timestamp;
use rand::RngExt;
use rand::rngs::StdRng;

use super::clocks::FakeClocks;
use super::history::{History, Key, Seen, Value};

/// The pool that most happens in; leases that end make a number available.
pub(crate) const MAIN: &str = "main";
/// A small pool whose numbers rest after a lease has ended.
pub(crate) const RESTING: &str = "resting";
const REST_SECONDS: u32 = 500;
/// Numbers of the main pool at the beginning.
pub(crate) const NUMBERS: u64 = 2_000;
const SHORT_TTL_SECONDS: u32 = 10;
const LONG_TTL_SECONDS: u32 = 50_000;

pub(crate) fn range(first: u64, last: u64) -> NumberRange {
    NumberRange::new(Number::new(first).unwrap(), Number::new(last).unwrap()).unwrap()
}

/// Where in the run we are.
pub(crate) type Place = Box<dyn Fn() -> u64>;

/// A run in progress.
pub(crate) struct Script {
    config: EngineConfig,
    clocks: Arc<FakeClocks>,
    place: Place,
    pub(crate) history: History,
    running: Option<(Worker, Arc<Engine>)>,
    held: Vec<(&'static str, Lease)>,
    /// Above all numbers.
    next_number: u64,
}

/// Why a step did not come to its end.
pub(crate) type Failure = Box<dyn std::error::Error>;

impl Script {
    /// A run that has not begun.
    pub(crate) fn new(config: EngineConfig, clocks: Arc<FakeClocks>, place: Place) -> Self {
        let mut history = History::default();
        history.rests(RESTING, REST_SECONDS);
        Self { config, clocks, place, history, running: None, held: Vec::new(), next_number: 10_000 }
    }

    pub(crate) fn engine(&self) -> &Arc<Engine> {
        &self.running.as_ref().expect("it runs").1
    }

    /// Changes how it is opened next.
    pub(crate) fn set_config(&mut self, config: EngineConfig) {
        self.config = config;
    }

    /// Whether it is open.
    pub(crate) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    fn worker(&mut self) -> &mut Worker {
        &mut self.running.as_mut().expect("it runs").0
    }

    fn pool(&self, name: &str) -> Arc<Pool> {
        self.engine().pool(name).expect("it was created")
    }

    /// Opens the engine.
    pub(crate) fn open(&mut self) -> Result<(), Failure> {
        let begun = (self.place)();
        let engine = Engine::open(&self.config)?;
        let at = (self.place)();
        self.history.look_again(&engine, begun, at)?;
        let holds = |(pool, lease): &(&'static str, Lease)| {
            let found = engine.pool(pool).and_then(|pool| pool.lookup(lease.number));
            found.is_some_and(|found| found.generation == lease.generation)
        };
        self.held.retain(holds);
        self.running = Some((engine.worker(), engine));
        Ok(())
    }

    pub(crate) fn create_main(&mut self) -> Result<(), Failure> {
        self.create_pool(MAIN, 1, NUMBERS, NextState::Available)
    }

    pub(crate) fn create_resting(&mut self) -> Result<(), Failure> {
        self.create_pool(RESTING, 5_001, 5_040, NextState::Rest(REST_SECONDS))
    }

    /// The result of a call before which nothing is pending. If it failed, the engine shows how much of it
    /// took effect, unless its journal is poisoned.
    fn unless_refused<T, E>(&mut self, begun: u64, result: Result<T, E>) -> Result<T, Failure>
    where
        Failure: From<E>,
    {
        let engine = Arc::clone(self.engine());
        if result.is_err() && !engine.journal().is_poisoned() {
            self.history.look_again(&engine, begun, (self.place)())?;
        }
        Ok(result?)
    }

    fn create_pool(
        &mut self,
        name: &'static str,
        first: u64,
        last: u64,
        then: NextState,
    ) -> Result<(), Failure> {
        let change = SettingsChange {
            order: Some(Order::Sequential),
            on_expiry: Some(then),
            ttl_max: Some(LONG_TTL_SECONDS),
            ..SettingsChange::default()
        };
        let settings = Settings::of_new_pool(&change)?;
        let begun = (self.place)();
        self.history.begin(begun, Key::Pool(name), Value::Present, None);
        self.history.begin(begun, Key::Ttl(name), Value::Count(settings.ttl), None);
        self.history.begin(begun, Key::Round(name), Value::Count(1), None);
        self.numbers_come(begun, name, first, last);
        let source = [range(first, last)];
        let created = self.engine().create_pool(&name.parse()?, settings, NumberSource::Ranges(&source));
        self.unless_refused(begun, created)?;
        self.history.confirm((self.place)());
        Ok(())
    }

    fn numbers_come(&mut self, begun: u64, pool: &'static str, first: u64, last: u64) {
        let new = Value::Number(Seen { state: State::Available, generation: 0, until: None });
        for number in first..=last {
            self.history.begin(begun, Key::Number(pool, number), new, None);
        }
    }

    fn number_changed(&mut self, begun: u64, pool: &'static str, lease: &Lease) {
        let found = self.pool(pool).lookup(lease.number).expect("it was leased");
        let until = found.until.map(Timestamp::seconds);
        let seen = Seen { state: found.state, generation: found.generation, until };
        let key = Key::Number(pool, lease.number.get());
        self.history.begin(begun, key, Value::Number(seen), Some(lease.token));
    }

    /// Leases up to `count` numbers.
    pub(crate) fn lease(&mut self, name: &'static str, count: u32, ttl: u32) -> Result<(), Failure> {
        let (begun, pool) = ((self.place)(), self.pool(name));
        let mut leases = Vec::new();
        let request = LeaseRequest { count, ttl_seconds: Some(ttl), within: None };
        match pool.lease(self.worker(), &request, &mut leases) {
            Err(LeaseError::Exhausted) => {}
            result => drop(result?),
        }
        for lease in leases {
            self.number_changed(begun, name, &lease);
            self.held.push((name, lease));
        }
        Ok(())
    }

    /// Takes some of the leases that are held, of one pool.
    fn some_held(&mut self, most: usize, random: &mut StdRng) -> (&'static str, Vec<Lease>) {
        if self.held.is_empty() {
            return (MAIN, Vec::new());
        }
        let first = random.random_range(0..self.held.len());
        let pool = self.held[first].0;
        let same = self.held[first..].iter().take(most).take_while(|(other, _)| *other == pool).count();
        (pool, self.held.drain(first..first + same).map(|(_, lease)| lease).collect())
    }

    fn renew(&mut self, most: usize, random: &mut StdRng) -> Result<(), Failure> {
        let (name, leases) = self.some_held(most, random);
        let (begun, pool) = ((self.place)(), self.pool(name));
        let items: Vec<_> = leases.iter().map(proof).collect();
        let mut results = Vec::new();
        pool.renew(self.worker(), &items, Some(LONG_TTL_SECONDS), &mut results)?;
        for (lease, result) in leases.into_iter().zip(results) {
            if matches!(result, RenewResult::Renewed { .. }) {
                self.number_changed(begun, name, &lease);
                self.held.push((name, lease));
            }
        }
        Ok(())
    }

    pub(crate) fn return_leases(
        &mut self,
        most: usize,
        then: NextState,
        random: &mut StdRng,
    ) -> Result<(), Failure> {
        let (name, leases) = self.some_held(most, random);
        let (begun, pool) = ((self.place)(), self.pool(name));
        let items: Vec<_> =
            leases.iter().map(|lease| ReturnItem { lease: proof(lease), then, outcome: None }).collect();
        let mut results = Vec::new();
        pool.return_leases(self.worker(), &items, &mut results)?;
        for (lease, result) in leases.into_iter().zip(results) {
            if matches!(result, ReturnResult::Returned { .. }) {
                self.number_changed(begun, name, &lease);
            }
        }
        Ok(())
    }

    /// Waits, as the commit gate does, until all that was done may be confirmed; then it counts as confirmed.
    pub(crate) fn settle(&mut self) -> Result<(), Failure> {
        let (journal, worker) = (Arc::clone(self.engine().journal()), self.worker());
        let (position, slot) = (worker.observed_position(), worker.slot());
        journal.wake_for(slot);
        while !journal.is_committed(slot, position) {
            if journal.is_poisoned() {
                return Err(JournalError::Poisoned.into());
            }
            std::thread::yield_now();
        }
        self.history.confirm((self.place)());
        Ok(())
    }

    /// Retires or reinstates some numbers.
    pub(crate) fn mark(&mut self, retire: bool, random: &mut StdRng) -> Result<(), Failure> {
        self.settle()?;
        let first = random.random_range(1..NUMBERS - 40);
        let (begun, pool) = ((self.place)(), self.pool(MAIN));
        let numbers = [range(first, first + random.random_range(0..40))];
        let source = NumberSource::Ranges(&numbers);
        let marked = if retire { pool.retire(source, false) } else { pool.reinstate(source, false) };
        // Those that changed before it failed may be found changed.
        for number in numbers[0].first().get()..=numbers[0].last().get() {
            let found = pool.lookup(Number::new(number)?).ok_or("it is in the pool")?;
            let until = found.until.map(Timestamp::seconds);
            let seen = Seen { state: found.state, generation: found.generation, until };
            let token = self.history.token_of(&Key::Number(MAIN, number), found.generation);
            self.history.begin(begun, Key::Number(MAIN, number), Value::Number(seen), token);
        }
        self.unless_refused(begun, marked)?;
        self.history.confirm((self.place)());
        Ok(())
    }

    pub(crate) fn add_numbers(&mut self) -> Result<(), Failure> {
        // Few numbers go to a segment that grows, many to one of their own.
        let count = if self.next_number.is_multiple_of(400) { 100 } else { 4 };
        let (first, last) = (self.next_number, self.next_number + count - 1);
        self.next_number += 200;
        self.settle()?;
        let begun = (self.place)();
        self.numbers_come(begun, MAIN, first, last);
        let added = self.pool(MAIN).add_numbers(NumberSource::Ranges(&[range(first, last)]));
        self.unless_refused(begun, added)?;
        self.history.confirm((self.place)());
        Ok(())
    }

    /// Merges segments, which changes nothing that can be seen. What fails is retried by the next merge.
    pub(crate) fn merge(&mut self, random: &mut StdRng) {
        let _ = self.pool(MAIN).merge_now(random.random_range(1..400));
    }

    pub(crate) fn start_round(&mut self) -> Result<(), Failure> {
        self.settle()?;
        let (begun, pool) = ((self.place)(), self.pool(MAIN));
        for number in (1..=NUMBERS).chain(10_000..self.next_number) {
            let Some(found) = pool.lookup(Number::new(number)?) else { continue };
            if found.state == State::Done {
                let seen = Seen { state: State::Available, generation: found.generation, until: None };
                self.history.begin(begun, Key::Number(MAIN, number), Value::Number(seen), None);
            }
        }
        self.history.begin(begun, Key::Round(MAIN), Value::Count(pool.round() + 1), None);
        let started = pool.start_round();
        self.unless_refused(begun, started)?;
        self.history.confirm((self.place)());
        Ok(())
    }

    pub(crate) fn change_settings(&mut self, random: &mut StdRng) -> Result<(), Failure> {
        self.settle()?;
        let ttl = random.random_range(100..1_000);
        let begun = (self.place)();
        self.history.begin(begun, Key::Ttl(RESTING), Value::Count(ttl), None);
        let change = SettingsChange { ttl: Some(ttl), ..SettingsChange::default() };
        let changed = self.pool(RESTING).change_settings(&change);
        self.unless_refused(begun, changed)?;
        self.history.confirm((self.place)());
        Ok(())
    }

    /// Lets time pass, also over the end of short leases.
    pub(crate) fn advance(&mut self) -> Result<(), Failure> {
        // What ends in the middle of an unconfirmed change would make more than one thing possible.
        self.settle()?;
        self.clocks.advance(u64::from(SHORT_TTL_SECONDS) * 2);
        self.history.time((self.place)(), self.clocks.now());
        Ok(())
    }

    /// Stops the engine cleanly.
    pub(crate) fn close(&mut self) -> Result<(), Failure> {
        let (worker, engine) = self.running.take().expect("it runs");
        drop(worker);
        let closed = engine.close();
        drop(engine);
        closed?;
        self.history.confirm((self.place)());
        Ok(())
    }

    /// Ends the use of the engine as if the process were killed; its disk fails all calls meanwhile.
    pub(crate) fn drop_engine(&mut self) {
        self.running = None;
    }

    /// One random step.
    pub(crate) fn step(&mut self, random: &mut StdRng) -> Result<(), Failure> {
        let pool = if random.random_ratio(1, 5) { RESTING } else { MAIN };
        let ttl = if random.random_bool(0.5) { SHORT_TTL_SECONDS } else { LONG_TTL_SECONDS };
        let many = if random.random_ratio(1, 4) { 1_000 } else { 10 };
        let some = random.random_range(1..=many);
        match random.random_range(0..100) {
            0..40 => self.lease(pool, some as u32, ttl)?,
            40..50 => self.renew(some, random)?,
            50..80 => {
                let then = match random.random_range(0..8) {
                    0 => NextState::Rest(1_000),
                    1 => NextState::Done,
                    2 => NextState::Retired,
                    _ => NextState::Available,
                };
                self.return_leases(some, then, random)?;
            }
            80..88 => self.advance()?,
            88..92 => self.mark(true, random)?,
            92..95 => self.mark(false, random)?,
            95 => self.merge(random),
            96 => self.add_numbers()?,
            97 => self.start_round()?,
            _ => self.change_settings(random)?,
        }
        if random.random_ratio(2, 3) { self.settle() } else { Ok(()) }
    }
}

fn proof(lease: &Lease) -> LeaseRef {
    LeaseRef { number: lease.number, token: Some(lease.token) }
}
