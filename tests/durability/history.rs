//! What was done and what of it was confirmed, and whether an engine shows the same.
//!
//! Everything observable has a key. For each key the history has the values it was given: where in the
//! run each change began, and where it was confirmed, if it was. After a crash at some place the engine must
//! show the last value that was confirmed by then, or one of those that began after it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use allotd::check::check_directory;
use allotd::domain::lease_token::Token;
use allotd::engine::operations::lease::{LeaseError, LeaseRequest, MAX_LEASE_COUNT};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::renew::RenewResult;
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::numbers::number::Number;
use allotd::state::number_state::State;
use allotd::state::time::Timestamp;

use super::clocks::FakeClocks;
use super::config;

/// What can be observed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Key {
    /// Whether a pool is there.
    Pool(&'static str),
    /// Its setting `ttl`.
    Ttl(&'static str),
    /// Its round.
    Round(&'static str),
    /// The state of a number of it.
    Number(&'static str, u64),
}

/// The state of a number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: State,
    pub(crate) generation: u32,
    pub(crate) until: Option<u32>,
}

/// What it can be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Value {
    Absent,
    Present,
    Count(u32),
    Number(Seen),
}

#[derive(Debug, Clone, Copy)]
struct Change {
    begun: u64,
    confirmed: Option<u64>,
    value: Value,
    token: Option<Token>,
}

/// The changes of a run, by key.
#[derive(Debug, Default, Clone)]
pub(crate) struct History {
    changes: BTreeMap<Key, Vec<Change>>,
    /// Keys with changes that are not confirmed.
    pending: BTreeSet<Key>,
    /// Places from which on the clock showed a time.
    times: Vec<(u64, u64)>,
    /// Numbers whose rest after an expiry is not 0, by pool, in seconds.
    rests: BTreeMap<&'static str, u32>,
}

/// How much must have survived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Promise {
    /// All that was confirmed.
    Confirmed,
    /// All that was confirmed before this place.
    ConfirmedBefore(u64),
}

fn count(value: Option<u32>) -> Value {
    value.map_or(Value::Absent, Value::Count)
}

impl History {
    /// Says that leases of a pool that end are followed by a rest.
    pub(crate) fn rests(&mut self, pool: &'static str, seconds: u32) {
        self.rests.insert(pool, seconds);
    }

    /// Says what the clock shows from this place on.
    pub(crate) fn time(&mut self, at: u64, seconds: u64) {
        self.times.push((at, seconds));
    }

    /// Says that a change began.
    pub(crate) fn begin(&mut self, begun: u64, key: Key, value: Value, token: Option<Token>) {
        self.pending.insert(key.clone());
        self.changes.entry(key).or_default().push(Change { begun, confirmed: None, value, token });
    }

    /// Says that all that began is confirmed.
    pub(crate) fn confirm(&mut self, at: u64) {
        for key in std::mem::take(&mut self.pending) {
            for change in self.changes.get_mut(&key).into_iter().flatten() {
                change.confirmed.get_or_insert(at);
            }
        }
    }

    /// Takes for the truth what an engine that was opened after a killed one shows of all that was not
    /// confirmed. `begun` is before the opening, `at` after it: nothing that was seen is ever undone.
    pub(crate) fn look_again(&mut self, engine: &Engine, begun: u64, at: u64) -> Result<(), String> {
        let now = self.time_at(at);
        for key in std::mem::take(&mut self.pending) {
            let found = look(engine, &key);
            let possible = possible(&self.changes[&key], at, Promise::Confirmed);
            let fits = |change: &&Change| self.seen_at(&key, change.value, now) == found;
            let Some(change) = possible.iter().rev().find(fits) else {
                return Err(format!("{key:?} is {found:?}, possible are {possible:?}"));
            };
            let change = Change { begun, confirmed: Some(at), ..*change };
            self.changes.entry(key).or_default().push(change);
        }
        Ok(())
    }

    /// The token of a lease of a number.
    pub(crate) fn token_of(&self, key: &Key, generation: u32) -> Option<Token> {
        let same =
            |change: &&Change| matches!(change.value, Value::Number(seen) if seen.generation == generation);
        self.changes.get(key)?.iter().rev().filter(same).find_map(|change| change.token)
    }

    fn time_at(&self, at: u64) -> u64 {
        let after = self.times.partition_point(|(from, _)| *from <= at);
        self.times[..after].last().map_or(super::clocks::BEGINNING_SECONDS, |(_, seconds)| *seconds)
    }

    /// What a value is seen as later.
    fn seen_at(&self, key: &Key, value: Value, now: u64) -> Value {
        let (Key::Number(pool, _), Value::Number(mut seen)) = (key, value) else { return value };
        while let Some(until) = seen.until.filter(|until| u64::from(*until) <= now) {
            seen.until = None;
            match (seen.state, self.rests.get(pool)) {
                (State::Leased, Some(rest)) => {
                    seen.state = State::Resting;
                    seen.until = Some(until + rest);
                }
                _ => seen.state = State::Available,
            }
        }
        Value::Number(seen)
    }

    /// Whether anything was confirmed by then.
    pub(crate) fn has_confirmed(&self, at: u64) -> bool {
        self.changes.values().flatten().any(|change| change.confirmed.is_some_and(|place| place <= at))
    }

    /// A configuration as after a boot at a place.
    pub(crate) fn config_at(&self, dir: &Path, at: u64) -> EngineConfig {
        config(dir, &Arc::new(FakeClocks::at(self.time_at(at), 77)))
    }

    /// Opens a directory as after a crash at a place of the run and compares all that there is.
    pub(crate) fn verify(&self, dir: &Path, at: u64, promise: Promise) -> Result<(), String> {
        if self.has_confirmed(at) {
            let checked = check_directory(dir).map_err(|error| format!("check: {error}"))?;
            if let Some(fault) = checked.faults.first() {
                return Err(format!("check: {fault}"));
            }
        }
        let engine = Engine::open(&self.config_at(dir, at)).map_err(|error| format!("open: {error}"))?;
        self.verify_engine(&engine, at, promise)
    }

    /// Compares all that there is in an engine that has not been used since.
    pub(crate) fn verify_engine(&self, engine: &Engine, at: u64, promise: Promise) -> Result<(), String> {
        let now = self.time_at(at);
        if engine.now().seconds() < now as u32 {
            return Err(format!("time is {}, it was {now}", engine.now().seconds()));
        }
        let mut held: BTreeMap<&str, Vec<LeaseRef>> = BTreeMap::new();
        for (key, changes) in &self.changes {
            let possible = possible(changes, at, promise);
            let found = look(engine, key);
            let fits = |change: &Change| {
                let seen = self.seen_at(key, change.value, now);
                seen == found || (promise != Promise::Confirmed && is_opened(seen, found))
            };
            if !possible.iter().any(fits) {
                let tell = |change: &Change| (change.begun, change.value, change.confirmed);
                let possible: Vec<_> = possible.iter().map(tell).collect();
                return Err(format!("{key:?} is {found:?} at {now}, {promise:?}: possible are {possible:?}"));
            }
            if let (Key::Number(pool, number), [Change { value: Value::Number(seen), token, .. }]) =
                (key, possible.as_slice())
                && seen.state == State::Leased
                && seen.until.is_some_and(|until| u64::from(until) > now)
            {
                assert!(token.is_some(), "the script knows the token of {key:?}");
                let lease = LeaseRef { number: Number::new(*number).unwrap(), token: *token };
                held.entry(pool).or_default().push(lease);
            }
        }
        let mut worker = engine.worker();
        for pool in engine.pools() {
            use_up(&mut worker, &pool, held.get(pool.name().as_str()).map_or(&[][..], Vec::as_slice))?;
        }
        Ok(())
    }
}

/// The changes of a key of which one must be seen after a crash at a place; the first is confirmed.
fn possible(changes: &[Change], at: u64, promise: Promise) -> Vec<Change> {
    let before = match promise {
        Promise::Confirmed => at,
        Promise::ConfirmedBefore(place) => place.min(at),
    };
    let begun = changes.iter().take_while(|change| change.begun <= at).count();
    let confirmed = |change: &Change| change.confirmed.is_some_and(|confirmed| confirmed <= before);
    let absent = Change { begun: 0, confirmed: Some(0), value: Value::Absent, token: None };
    match changes[..begun].iter().rposition(confirmed) {
        Some(last) => changes[last..begun].to_vec(),
        None => [&[absent], &changes[..begun]].concat(),
    }
}

/// Whether a number that was done is available now. A round is opened durably at once: it may find a number
/// done of which a later change is lost.
fn is_opened(before: Value, after: Value) -> bool {
    let (Value::Number(before), Value::Number(after)) = (before, after) else { return false };
    before.generation == after.generation && (before.state, after.state) == (State::Done, State::Available)
}

fn look(engine: &Engine, key: &Key) -> Value {
    let pool = |name: &str| engine.pool(name);
    match key {
        Key::Pool(name) => pool(name).map_or(Value::Absent, |_| Value::Present),
        Key::Ttl(name) => count(pool(name).map(|pool| pool.settings().ttl)),
        Key::Round(name) => count(pool(name).map(|pool| pool.round())),
        Key::Number(name, number) => {
            let number = Number::new(*number).unwrap();
            let found = pool(name).and_then(|pool| pool.lookup(number));
            found.map_or(Value::Absent, |found| {
                let until = found.until.map(Timestamp::seconds);
                Value::Number(Seen { state: found.state, generation: found.generation, until })
            })
        }
    }
}

/// Leases all that can be leased: none of it may be held. And the holders can renew.
fn use_up(worker: &mut Worker, pool: &Pool, held: &[LeaseRef]) -> Result<(), String> {
    let request = LeaseRequest { count: MAX_LEASE_COUNT, ttl_seconds: None, within: None };
    let mut leases = Vec::new();
    let result = pool.lease(worker, &request, &mut leases);
    if !matches!(result, Ok(_) | Err(LeaseError::Exhausted | LeaseError::Paused)) {
        return Err(format!("lease: {result:?}"));
    }
    let handed_out: BTreeSet<u64> = leases.iter().map(|lease| lease.number.get()).collect();
    if let Some(twice) = held.iter().find(|lease| handed_out.contains(&lease.number.get())) {
        return Err(format!("{} has two holders", twice.number));
    }
    let mut results = Vec::new();
    pool.renew(worker, held, None, &mut results).map_err(|error| format!("renew: {error}"))?;
    match results.iter().position(|result| !matches!(result, RenewResult::Renewed { .. })) {
        Some(index) => Err(format!("{:?} cannot be renewed: {:?}", held[index], results[index])),
        None => Ok(()),
    }
}
