//! A thread that leases, renews, returns and looks up, and is told what is committed, as a worker of the
//! daemon tells its callers.

use std::sync::Arc;
use std::time::Duration;

use allotd::engine::Once;
use allotd::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use allotd::engine::{NumberState, Pool, Worker};
use allotd::journal::{JournalError, Position};
use allotd::numbers::number::{Number, NumberRange};
use allotd::state::number_state::State;
use allotd::sys::simulation::{thread, world};

use super::life::{Focus, Life, POOLS};
use super::model::{Floor, KeyName, LeaseCall, Model, Telling, ToldKey, ToldLease};
use super::owners::{OWNERS, owner_name};
use super::register::Interval;
use super::speakers;

/// How long a thread waits for a commit before it looks again.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same in a cluster, where all members look around meanwhile.
const CLUSTER_PATIENCE: Duration = Duration::from_secs(5);
/// How long a thread waits for another call with its key, and how long before it looks again.
const KEY_WAIT: Duration = Duration::from_millis(500);
const KEY_PAUSE: Duration = Duration::from_millis(1);
const KEYS: u64 = 3;
/// Counts of the requests with a key, by the body.
const KEYED_COUNTS: [u32; 3] = [1, 3, 5];

type Tell = Box<dyn FnOnce(&mut Model, u64) + Send>;

/// A calling thread.
pub(crate) struct Caller {
    pub(crate) life: Arc<Life>,
    pub(crate) worker: Worker,
    /// What is told once the journal has committed a position.
    pending: Vec<(Position, Tell)>,
}

impl Caller {
    pub(crate) fn new(life: &Arc<Life>, worker: Worker) -> Self {
        Self { life: Arc::clone(life), worker, pending: Vec::new() }
    }

    /// Is woken by commits from now on.
    fn listen(&self) {
        let me = thread::current();
        self.life.engine.journal().on_commit(self.worker.slot(), move || me.unpark());
    }

    /// Makes some calls.
    pub(crate) fn run(mut self, calls: u64) {
        self.listen();
        let life = Arc::clone(&self.life);
        let run = &life.run;
        for _ in 0..calls {
            if life.is_ending() {
                break;
            }
            match run.below(20) {
                0..9 => self.lease(),
                9..12 => self.renew(),
                12..17 => self.return_lease(),
                17..19 => self.look_up(),
                _ => thread::sleep(Duration::from_micros(run.below(200_000))),
            }
            if run.below(3) > 0 && !self.settle() {
                break;
            }
        }
        self.settle();
        // The journal holds the callback, and the callback the thread's handle: nothing else is left.
        drop(self);
    }

    /// Tells all that is pending. Returns false if the journal fails first.
    fn settle(&mut self) -> bool {
        let journal = Arc::clone(self.life.engine.journal());
        let slot = self.worker.slot();
        let patience = if self.life.run.is_cluster { CLUSTER_PATIENCE } else { PATIENCE };
        for (position, tell) in std::mem::take(&mut self.pending) {
            while !journal.is_committed(slot, position) {
                if journal.is_poisoned() || self.life.disk.is_off() {
                    return false;
                }
                journal.wake_for(slot);
                journal.wait(slot);
                if journal.is_committed(slot, position) {
                    break;
                }
                let begun = world::now();
                thread::park_timeout(patience);
                if world::now() - begun >= patience && journal.is_committed(slot, position) {
                    let again = world::now();
                    thread::park_timeout(patience);
                    if world::now() - again >= patience && !journal.is_poisoned() {
                        self.life.run.model().find("no wake-up came after a commit".to_owned());
                    }
                }
            }
            if !speakers::may_answer() {
                return false;
            }
            let at = world::steps();
            tell(&mut self.life.run.model(), at);
        }
        true
    }

    /// Tells something once a position is committed.
    pub(crate) fn tell(&mut self, position: Position, tell: impl FnOnce(&mut Model, u64) + Send + 'static) {
        self.pending.push((position, Box::new(tell)));
    }

    /// Leases with a key, and tries again while another call with it is under way.
    fn lease_once(
        &mut self,
        pool: &Pool,
        key: u8,
        body: u8,
        request: &LeaseRequest<'_>,
        leases: &mut Vec<Lease>,
    ) -> Result<Position, LeaseError> {
        let begun = world::now();
        loop {
            let once = Once { key: &[b'k', key], body: &[body], share: None };
            let result = pool.lease_once(&mut self.worker, &once, request, leases);
            let result = result.map(|leased| leased.position);
            if result != Err(LeaseError::KeyPending) || world::now() - begun > KEY_WAIT {
                return result;
            }
            thread::sleep(KEY_PAUSE);
        }
    }

    /// A pool, and when it was found.
    pub(crate) fn some_pool(&self) -> Option<(&'static str, Arc<Pool>, u64)> {
        let run = &self.life.run;
        let name = match run.focus {
            Focus::OnePool => run.pick(&["c", "c", "c", "a"]),
            Focus::Rounds | Focus::Scarcity => "a",
            _ => run.pick(&["a", "a", "a", "b", "c"]),
        };
        let found_at = world::steps();
        Some((name, self.life.pool(name)?, found_at))
    }

    /// The numbers of a pool, or some of them.
    fn some_numbers(
        &self,
        pool: &Pool,
        name: &str,
    ) -> (Option<[NumberRange; 1]>, Vec<(Number, NumberState)>) {
        let run = &self.life.run;
        let first = POOLS.iter().find(|(other, _)| *other == name).expect("a known pool").1;
        let size = world::quietly(|| pool.numbers());
        let range = |first: u64, last: u64| {
            NumberRange::new(Number::new(first).unwrap(), Number::new(last).unwrap()).unwrap()
        };
        let (given, all) = if run.one_in(3) && size > 0 {
            let start = first + run.below(size);
            let part = range(start, start + run.below(4));
            (Some([part]), part)
        } else {
            (None, range(first, first + 400))
        };
        let states = world::quietly(|| {
            let numbers = (all.first().get()..=all.last().get()).map(|number| Number::new(number).unwrap());
            numbers.filter_map(|number| Some((number, pool.lookup(number)?))).collect()
        });
        (given, states)
    }

    fn lease(&mut self) {
        let Some((name, pool, found_at)) = self.some_pool() else { return };
        let life = Arc::clone(&self.life);
        let run = &life.run;
        let (ranges, before) = self.some_numbers(&pool, name);
        let key: Option<KeyName> = run
            .one_in(if run.focus == Focus::Keys { 1 } else { 4 })
            .then(|| (pool.id(), run.below(KEYS) as u8));
        let (body, count) = match key {
            Some((_, key)) => {
                let body = if run.one_in(10) { run.below(3) } else { u64::from(key) } as usize;
                (body as u8, KEYED_COUNTS[body])
            }
            None => (0, 1 + run.below(4) as u32),
        };
        let ranges = ranges.filter(|_| key.is_none());
        let has_holders = run.model().pools[&pool.id()].has_holders;
        let holder = (has_holders && key.is_none() && run.below(4) > 0).then(|| run.below(OWNERS) as u8);
        let within = ranges.as_ref().map(|ranges| pool.within(ranges));
        let ttl = run.one_in(2).then(|| 1 + run.below(30) as u32);
        let request =
            LeaseRequest { count, ttl_seconds: ttl.filter(|_| key.is_none()), within: within.as_ref() };
        let numbers: Vec<Number> = before.iter().map(|(number, _)| *number).collect();
        let begun_at = life.time();
        let call = life.follow(&pool, &numbers);
        let mut leases = Vec::new();
        world::note(|| {
            format!("lease {count} of {name}, {ranges:?}, key {key:?}, body {body}, for {holder:?}")
        });
        let leased = match (key, holder) {
            (Some((_, key)), _) => self.lease_once(&pool, key, body, &request, &mut leases),
            (None, Some(holder)) => {
                pool.lease_for(&mut self.worker, &owner_name(holder), &request, &mut leases)
            }
            (None, None) => pool.lease(&mut self.worker, &request, &mut leases),
        };
        // A refusal tells of what others did.
        let position = leased.as_ref().map_or_else(|_| self.worker.observed_position(), |position| *position);
        let result = leased.map(drop);
        let during = Interval { begun: call, ended: world::steps() };
        let exhausted = result == Err(LeaseError::Exhausted);
        life.unfollow(call, exhausted);
        let (now, times) = (life.now(), (begun_at, life.time()));
        world::note(|| format!("leased of {name}: {result:?} {}", listed(&leases)));
        if result == Err(LeaseError::KeyStale) {
            let key = key.expect("it has a key");
            return self.tell(position, move |model, _| told_stale(model, key, body, during, now));
        }
        let numbers = match result {
            // It may have leased some of these, and given them back.
            Err(LeaseError::Deleted | LeaseError::Deleting) => numbers.iter().map(|n| n.get()).collect(),
            _ => leases.iter().map(|lease| lease.number.get()).collect(),
        };
        run.model().lease_calls.push(LeaseCall { pool: pool.id(), during, numbers });
        self.check_answer(&pool, name, found_at, during, &result);
        if let (None, Some(ttl)) = (key, request.ttl_seconds)
            && leases.iter().any(|lease| lease.expires_at.seconds() < begun_at + ttl)
        {
            run.model().find(format!("a lease ends early: {leases:?}, begun at {begun_at} for {ttl} s"));
        }
        let id = pool.id();
        if exhausted {
            self.tell(position, move |model, _| told_taken(model, id, &before));
        }
        if result.is_ok() {
            self.tell(position, move |model, at| match key {
                Some(key) => {
                    told_with_key(model, key, ToldKey { during, told: at, body, count, leases }, now)
                }
                None => {
                    if let Some(holder) = holder {
                        model.check_most(id, holder, &leases, during, now);
                    }
                    let telling = Telling { holder, ..Telling::plain(during, now) };
                    for lease in leases {
                        model.told_lease(id, lease, telling);
                        let closed =
                            model.leased_though_closed((id, lease.number.get()), lease, during, times);
                        closed.into_iter().for_each(|finding| model.find(finding));
                    }
                }
            });
        }
    }

    /// Whether an answer can be: not paused, not deleted, not full for nothing.
    fn check_answer(
        &self,
        pool: &Pool,
        name: &'static str,
        found_at: u64,
        during: Interval,
        result: &Result<(), LeaseError>,
    ) {
        let mut model = self.life.run.model();
        let paused = match result {
            Err(LeaseError::Paused) => Some(true),
            // A call that began before a pause may lease after it.
            Ok(()) => Some(false),
            _ => None,
        };
        let finding = match (result, paused) {
            (_, Some(paused)) => {
                let register = &model.pools[&pool.id()].paused;
                let fits = register.allows(during, |value| *value == paused);
                // A repeated key tells its leases also while the pool is paused.
                (!fits && *result != Ok(()))
                    .then(|| format!("pool {name}: {result:?} {during:?}, {}", register.all()))
            }
            (Err(LeaseError::Deleted), _) => {
                let fits = model.may_be_deleted(name, found_at, during.ended);
                (!fits).then(|| format!("pool {name} is said to be deleted, {during:?}"))
            }
            (Err(LeaseError::Journal(JournalError::Full)), _) if !self.life.fills_up => {
                Some("the disk is said to be full".to_owned())
            }
            _ => None,
        };
        if let Some(finding) = finding {
            model.find(finding);
        }
    }

    fn look_up(&mut self) {
        let Some((name, pool, _)) = self.some_pool() else { return };
        let first = POOLS.iter().find(|(other, _)| *other == name).expect("a known pool").1;
        let number = Number::new(first + self.life.run.below(pool.numbers().max(1))).unwrap();
        let (begun, id) = (world::steps(), pool.id());
        let Some(seen) = pool.lookup(number) else { return };
        let during = Interval { begun, ended: world::steps() };
        let now = self.life.now();
        world::note(|| format!("looked up {name} {seen:?}"));
        self.life.run.model().saw((id, number.get()), &seen, during, now, "a lookup");
        let position = self.worker.observed_position();
        self.tell(position, move |model, _| {
            let floor = match (seen.state, seen.until) {
                (State::Leased, Some(until)) => Floor::Leased(seen.generation, until.seconds()),
                _ => Floor::Generation(seen.generation),
            };
            model.number((id, number.get())).must_be(floor);
        });
    }

    /// Leases all that can be leased. Uses all tokens.
    pub(crate) fn use_up(&mut self) {
        self.listen();
        for pool in self.life.engine.pools() {
            let request = LeaseRequest { count: 600, ttl_seconds: None, within: None };
            let (mut leases, begun) = (Vec::new(), world::steps());
            let result = pool.lease(&mut self.worker, &request, &mut leases);
            let (during, now) = (Interval { begun, ended: world::steps() }, self.life.now());
            match result {
                Ok(position) => self.tell(position, move |model, _| {
                    for lease in leases {
                        model.told_lease(pool.id(), lease, Telling::plain(during, now));
                    }
                }),
                Err(LeaseError::Exhausted | LeaseError::Paused | LeaseError::Busy) => {}
                Err(error) => self.life.run.model().find(format!("at the end: {error:?}")),
            }
        }
        self.settle();
    }

    /// A lease of any caller that was told of it, now or long ago.
    pub(crate) fn some_lease(&self) -> Option<(&'static str, Arc<Pool>, ToldLease)> {
        let (name, pool, _) = self.some_pool()?;
        let run = &self.life.run;
        let leases: Vec<ToldLease> = {
            let model = run.model();
            let numbers = model.numbers.range((pool.id(), 0)..=(pool.id(), u64::MAX));
            numbers.flat_map(|(_, number)| number.leases.iter().cloned()).collect()
        };
        if leases.is_empty() {
            return None;
        }
        let at = run.below(leases.len() as u64) as usize;
        Some((name, pool, leases[at].clone()))
    }
}

fn listed(leases: &[Lease]) -> String {
    let listed = leases
        .iter()
        .map(|lease| format!(" {}/{}..{}", lease.number, lease.generation, lease.expires_at.seconds()));
    listed.collect()
}

/// At some moment of a call none of its numbers was available. These are their states when it began.
fn told_taken(model: &mut Model, pool: u64, before: &[(Number, NumberState)]) {
    // A list or the hours may take a number and give it back without a change of its word.
    let may_block = !model.lists.is_empty() || model.has_hours(pool);
    for (number, seen) in before {
        let floor = match seen.state {
            State::Available if !may_block => Floor::Taken(seen.generation),
            _ => Floor::Generation(seen.generation),
        };
        model.number((pool, number.get())).must_be(floor);
    }
}

/// An earlier answer to the key, if all its leases lived until after a call.
fn living_answer(model: &Model, key: KeyName, body: u8, during: Interval, now: u32) -> Option<ToldKey> {
    let lives = |lease: &Lease| {
        let number = model.numbers.get(&(key.0, lease.number.get()));
        number.is_some_and(|number| {
            let told = number.leases.iter().find(|told| told.lease.token == lease.token);
            told.is_some_and(|told| {
                told.end_begun > during.ended
                    && now < lease.expires_at.seconds()
                    && !number.may_be_ended(told.during.begun, during.ended)
            })
        })
    };
    let is_living = |told: &&ToldKey| {
        told.told < during.begun
            && told.body == body
            && !told.leases.is_empty()
            && told.leases.iter().all(lives)
    };
    model.keys.get(&key).into_iter().flatten().find(is_living).cloned()
}

/// A call with a key was told that its leases are over.
fn told_stale(model: &mut Model, key: KeyName, body: u8, during: Interval, now: u32) {
    if let Some(earlier) = living_answer(model, key, body, during, now) {
        model.find(format!("key {key:?} is said to be stale, {during:?}, but {earlier:?} lives"));
    }
}

/// A call with a key was answered with leases.
fn told_with_key(model: &mut Model, key: KeyName, told: ToldKey, now: u32) {
    let pool = key.0;
    let is_old = |model: &Model, lease: &Lease| {
        let number = model.numbers.get(&(pool, lease.number.get()));
        number.is_some_and(|number| {
            number.leases.iter().any(|old| old.key == Some(key) && old.lease.token == lease.token)
        })
    };
    let earlier = living_answer(model, key, told.body, told.during, now);
    let set = |leases: &[Lease]| {
        leases.iter().map(|lease| (lease.number, lease.generation)).collect::<std::collections::BTreeSet<_>>()
    };
    if let Some(earlier) = &earlier
        // A lease that was renewed after its end may be told again.
        && !set(&earlier.leases).is_subset(&set(&told.leases))
    {
        let finding = format!("key {key:?} told {earlier:?} and then {told:?}");
        model.find(finding);
    }
    for lease in &told.leases {
        let place = (pool, lease.number.get());
        if !is_old(model, lease) {
            let telling = Telling { key: Some(key), ..Telling::plain(told.during, now) };
            model.told_lease(pool, *lease, telling);
            continue;
        }
        let number = model.number(place);
        let newer =
            number.later_than(lease.generation).find(|newer| newer.during.ended < told.during.begun).cloned();
        let old = number.lease_mut(lease.generation).expect("it is old").clone();
        if let Some(newer) = newer {
            model.find(format!("key {key:?} tells {lease:?}, {:?}, but another has {newer:?}", told.during));
        } else if old.returned_told < told.during.begun {
            model
                .find(format!("key {key:?} tells {lease:?}, {:?}, which was returned: {old:?}", told.during));
        } else if lease.expires_at.seconds() < old.until(told.during.begun) {
            model.find(format!("key {key:?} tells {lease:?}, {:?}, which ends later: {old:?}", told.during));
        }
    }
    model.keys.entry(key).or_default().push(told);
}
