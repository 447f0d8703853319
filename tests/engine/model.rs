//! A pool against a model that keeps a plain record for each number, under random calls and time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use allotd::domain::counts::Counts;
use allotd::domain::holder::HolderName;
use allotd::domain::list_name::ListName;
use allotd::domain::settings::{Attempts, NextState, Order, SettingsChange};
use allotd::engine::lists::operations::ListChange;
use allotd::engine::operations::export::Export;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::map::MAX_MAP_BUCKETS;
use allotd::engine::operations::renew::RenewResult;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};
use allotd::engine::{Engine, Pool, Worker};
use allotd::numbers::number::NumberRange;
use allotd::state::holder_column::HolderId;
use allotd::state::number_state::State;
use allotd::state::state_set::StateSet;
use allotd::state::time::Timestamp;
use proptest::prelude::*;

use super::{create, number, open, range};

#[derive(Debug, Clone, Copy)]
struct Record {
    state: State,
    generation: u32,
    until: Option<Timestamp>,
    round: u32,
    /// How often it was leased since attempts were last counted anew.
    attempts: u32,
    /// Whether the last lease can still be renewed or returned.
    holder: bool,
    /// Whom the last lease was for.
    held_by: Option<usize>,
}

impl Record {
    /// A number that was never leased.
    const NEW: Self = Self {
        state: State::Available,
        generation: 0,
        until: None,
        round: 0,
        attempts: 0,
        holder: false,
        held_by: None,
    };
}

impl Record {
    /// Released: nobody has the token of this generation.
    fn free(&mut self, floor: u32) {
        *self = Self {
            state: State::Available,
            generation: self.generation.max(floor) + 1,
            until: None,
            holder: false,
            held_by: None,
            ..*self
        };
    }
}

struct Model {
    numbers: BTreeMap<u64, Record>,
    on_expiry: NextState,
    attempts: Option<Attempts>,
    /// The largest generation when attempts were last counted anew.
    floor: u32,
    round: u32,
    paused: bool,
    lists: [BTreeSet<u64>; LISTS.len()],
    /// Which of them block the pool.
    blocked_by: [bool; LISTS.len()],
    tracks_holders: bool,
}

const HOLDERS: [&str; 3] =
    ["c-17", "Анна, 2-й стол", "a holder whose name takes several records of the journal"];

fn holder_name(holder: usize) -> HolderName {
    HOLDERS[holder].parse().unwrap()
}

const LISTS: [&str; 2] = ["optouts", "national"];

fn list_name(list: usize) -> ListName {
    LISTS[list].parse().unwrap()
}

impl Model {
    /// What follows the end of a lease that would be `then` otherwise.
    fn after_attempt(&self, record: &Record, then: NextState) -> NextState {
        match self.attempts {
            Some(limit) if then.comes_back() && record.attempts >= limit.max => limit.then,
            _ => then,
        }
    }

    fn count_anew(&mut self) {
        let largest = self.numbers.values().map(|record| record.generation).max().unwrap_or(0);
        self.floor = self.floor.max(largest);
        self.numbers.values_mut().for_each(|record| record.attempts = 0);
    }

    fn put_on_list(&mut self, list: ListName, number: u64) {
        let list = LISTS.iter().position(|name| *name == list.as_str()).unwrap();
        self.lists[list].insert(number);
    }

    fn is_blocked(&self, number: u64) -> bool {
        (0..LISTS.len()).any(|list| self.blocked_by[list] && self.lists[list].contains(&number))
    }

    /// The state that a number is shown in.
    fn shown(&self, number: u64, record: &Record) -> State {
        let is_blocked = record.state == State::Available && self.is_blocked(number);
        if is_blocked { State::Blocked } else { record.state }
    }

    /// Lets time pass: what has ended is over.
    fn tick(&mut self, now: Timestamp) {
        let mut listed = Vec::new();
        for (number, mut record) in self.numbers.clone() {
            while let Some(until) = record.until.filter(|until| *until <= now) {
                record.until = None;
                let then = match record.state {
                    State::Leased => self.after_attempt(&record, self.on_expiry),
                    _ => NextState::Available,
                };
                // A lease that just ended can still be renewed or returned, unless its
                // number has changed since.
                record.holder &= matches!(then, NextState::Available | NextState::List(_));
                match then {
                    NextState::Available => record.state = State::Available,
                    NextState::List(list) => {
                        record.state = State::Available;
                        listed.push((list, number));
                    }
                    NextState::Rest(seconds) => {
                        record.state = State::Resting;
                        record.until = Some(until.after(seconds));
                    }
                    NextState::Done => {
                        record.state = State::Done;
                        record.round = self.round;
                    }
                    NextState::Retired => record.state = State::Retired,
                }
            }
            self.numbers.insert(number, record);
        }
        for (list, number) in listed {
            self.put_on_list(list, number);
        }
    }

    fn count(&self, state: State) -> u64 {
        self.numbers.iter().filter(|(n, record)| self.shown(**n, record) == state).count() as u64
    }
}

#[derive(Debug, Clone)]
enum Event {
    Lease { count: u32, ttl: u32, within: Option<(u64, u64)>, holder: Option<usize> },
    Renew { which: usize, ttl: u32 },
    Return { which: usize, then: NextState },
    Skip { seconds: u32 },
    Retire { first: u64, len: u64 },
    Reinstate { first: u64, len: u64 },
    Release { first: u64, len: u64 },
    ReleaseStates { leased: bool, resting: bool, within: Option<(u64, u64)> },
    Add { first: u64, len: u64 },
    Merge { words: u64 },
    Round,
    Pause(bool),
    ExpiryRule(NextState),
    Attempts(Option<Attempts>),
    List { list: usize, change: ListChange, first: u64, len: u64 },
    BlockedBy([bool; LISTS.len()]),
    ReturnAll { holder: usize, then: NextState },
    ReleaseAll { holder: usize },
    TrackHolders(bool),
    Restart,
}

const FIRST: u64 = 79_000_000_000;
const SPREAD: u64 = 200_000;

fn then() -> impl Strategy<Value = NextState> {
    prop_oneof![
        Just(NextState::Available),
        (1u32..50).prop_map(NextState::Rest),
        Just(NextState::Done),
        Just(NextState::Retired)
    ]
}

fn holder() -> impl Strategy<Value = usize> {
    0..HOLDERS.len()
}

fn attempts() -> impl Strategy<Value = Option<Attempts>> {
    let then = prop_oneof![
        (1u32..50).prop_map(NextState::Rest),
        Just(NextState::Done),
        Just(NextState::Retired),
        (0..LISTS.len()).prop_map(|list| NextState::List(list_name(list))),
    ];
    prop::option::weighted(0.8, (1u32..4, then).prop_map(|(max, then)| Attempts { max, then }))
}

fn list_change() -> impl Strategy<Value = ListChange> {
    prop_oneof![3 => Just(ListChange::Add), 2 => Just(ListChange::Remove), 1 => Just(ListChange::Replace)]
}

fn event() -> impl Strategy<Value = Event> {
    let place = || (0..SPREAD).prop_map(|offset| FIRST + offset);
    prop_oneof![
        8 => (1u32..120, 1u32..100, prop::option::of((place(), 0..SPREAD / 4)), prop::option::of(holder()))
            .prop_map(|(count, ttl, within, holder)| Event::Lease { count, ttl, within, holder }),
        2 => (holder(), then()).prop_map(|(holder, then)| Event::ReturnAll { holder, then }),
        1 => (holder(), 0..LISTS.len())
            .prop_map(|(holder, list)| Event::ReturnAll { holder, then: NextState::List(list_name(list)) }),
        1 => holder().prop_map(|holder| Event::ReleaseAll { holder }),
        2 => prop::bool::weighted(0.7).prop_map(Event::TrackHolders),
        4 => (any::<usize>(), 1u32..100).prop_map(|(which, ttl)| Event::Renew { which, ttl }),
        8 => (any::<usize>(), then()).prop_map(|(which, then)| Event::Return { which, then }),
        2 => (any::<usize>(), 0..LISTS.len())
            .prop_map(|(which, list)| Event::Return { which, then: NextState::List(list_name(list)) }),
        6 => (0..LISTS.len(), list_change(), place(), 1..SPREAD / 8)
            .prop_map(|(list, change, first, len)| Event::List { list, change, first, len }),
        2 => any::<[bool; LISTS.len()]>().prop_map(Event::BlockedBy),
        6 => (0u32..60).prop_map(|seconds| Event::Skip { seconds }),
        1 => (place(), 1..SPREAD / 8).prop_map(|(first, len)| Event::Retire { first, len }),
        1 => (place(), 1..SPREAD / 4).prop_map(|(first, len)| Event::Reinstate { first, len }),
        1 => (place(), 1..SPREAD / 4).prop_map(|(first, len)| Event::Release { first, len }),
        1 => (any::<bool>(), any::<bool>(), prop::option::of((place(), 0..SPREAD / 4)))
            .prop_map(|(leased, resting, within)| Event::ReleaseStates { leased, resting, within }),
        1 => (place(), 1u64..300).prop_map(|(first, len)| Event::Add { first, len }),
        12 => (place(), 1u64..3).prop_map(|(first, len)| Event::Add { first, len }),
        4 => (1u64..60).prop_map(|words| Event::Merge { words }),
        1 => Just(Event::Round),
        1 => any::<bool>().prop_map(Event::Pause),
        1 => then().prop_map(Event::ExpiryRule),
        2 => attempts().prop_map(Event::Attempts),
        1 => Just(Event::Restart),
    ]
}

/// A pool, its model, and every lease that was ever given.
struct Run {
    dir: tempfile::TempDir,
    engine: Arc<Engine>,
    pool: Arc<Pool>,
    worker: Worker,
    model: Model,
    leases: Vec<Lease>,
    skipped: u32,
    added: bool,
}

impl Run {
    fn new(ranges: &[NumberRange], order: Order, tracks_holders: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = open(dir.path());
        let change =
            SettingsChange { order: Some(order), holders: Some(tracks_holders), ..SettingsChange::default() };
        for list in 0..LISTS.len() {
            engine.create_list(list_name(list), None).unwrap();
        }
        let pool = create(&engine, "p", ranges, &change);
        let numbers =
            ranges.iter().flat_map(|r| r.first().get()..=r.last().get()).map(|n| (n, Record::NEW)).collect();
        let on_expiry = NextState::Available;
        let (lists, blocked_by) = Default::default();
        let model = Model {
            numbers,
            on_expiry,
            attempts: None,
            floor: 0,
            round: 1,
            paused: false,
            lists,
            blocked_by,
            tracks_holders,
        };
        Self {
            worker: engine.worker(),
            dir,
            engine,
            pool,
            model,
            leases: Vec::new(),
            skipped: 0,
            added: false,
        }
    }

    fn apply(&mut self, event: &Event) {
        self.sweep_all();
        match *event {
            Event::Lease { count, ttl, within, holder } => self.lease(count, ttl, within, holder),
            Event::ReturnAll { holder, then } => self.return_all(holder, then),
            Event::ReleaseAll { holder } => self.release_all(holder),
            Event::TrackHolders(holders) => {
                let change = SettingsChange { holders: Some(holders), ..SettingsChange::default() };
                self.pool.change_settings(&change).unwrap();
                self.model.tracks_holders = holders;
            }
            Event::Renew { which, ttl } => self.renew(which, ttl),
            Event::Return { which, then } => self.return_leases(which, then),
            Event::Skip { seconds } => {
                self.engine.clock().skip(seconds);
                self.skipped += seconds;
            }
            Event::Retire { first, len } => self.mark(first, len, true),
            Event::Reinstate { first, len } => self.mark(first, len, false),
            Event::Release { first, len } => self.release(first, len),
            Event::ReleaseStates { leased, resting, within } => self.release_states(leased, resting, within),
            Event::Add { first, len } => self.add(first, len),
            Event::Merge { words } => self.pool.merge_now(words).unwrap(),
            Event::Round => {
                let done = self.model.count(State::Done);
                self.model.round += 1;
                let started = self.pool.start_round().unwrap();
                assert_eq!((started.round, started.available), (self.model.round, done));
                for record in self.model.numbers.values_mut().filter(|r| r.state == State::Done) {
                    record.state = State::Available;
                }
                if self.model.attempts.is_some() {
                    self.model.count_anew();
                }
            }
            Event::Pause(paused) => {
                if paused { self.pool.pause() } else { self.pool.resume() }.unwrap();
                self.model.paused = paused;
            }
            Event::ExpiryRule(then) => {
                let change = SettingsChange { on_expiry: Some(then), ..SettingsChange::default() };
                self.pool.change_settings(&change).unwrap();
                self.model.on_expiry = then;
            }
            Event::Attempts(attempts) => {
                let change = SettingsChange { attempts: Some(attempts), ..SettingsChange::default() };
                self.pool.change_settings(&change).unwrap();
                if attempts.is_some() && self.model.attempts.is_none() {
                    self.model.count_anew();
                }
                self.model.attempts = attempts;
            }
            Event::List { list, change, first, len } => self.list(list, change, first, len),
            Event::BlockedBy(blocked_by) => {
                let names = (0..LISTS.len()).filter(|list| blocked_by[*list]).map(list_name).collect();
                let change = SettingsChange { blocked_by: Some(names), ..SettingsChange::default() };
                self.pool.change_settings(&change).unwrap();
                self.model.blocked_by = blocked_by;
            }
            Event::Restart => self.restart(),
        }
    }

    fn sweep_all(&mut self) {
        self.pool.sweep_due(&mut self.worker);
        self.model.tick(self.engine.now());
    }

    fn lease(&mut self, count: u32, ttl: u32, within: Option<(u64, u64)>, holder: Option<usize>) {
        let within = within.map(|(first, len)| range(first, first + len));
        let chosen = within.map(|range| self.pool.within(&[range, range]));
        let request = LeaseRequest { count, ttl_seconds: Some(ttl), within: chosen.as_ref() };
        let mut leases = Vec::new();
        let answer = match holder {
            None => self.pool.lease(&mut self.worker, &request, &mut leases),
            Some(holder) => {
                self.pool.lease_for(&mut self.worker, &holder_name(holder), &request, &mut leases)
            }
        };
        let now = self.engine.now();
        if holder.is_some() && !self.model.tracks_holders {
            assert_eq!(answer, Err(LeaseError::NoHolders));
            return;
        }
        if self.model.paused {
            assert_eq!(answer, Err(LeaseError::Paused));
            return;
        }
        let candidates: Vec<u64> = self
            .model
            .numbers
            .iter()
            .filter(|(n, r)| {
                self.model.shown(**n, r) == State::Available && within.is_none_or(|w| w.contains(number(**n)))
            })
            .map(|(n, _)| *n)
            .collect();
        if answer == Err(LeaseError::Exhausted) {
            assert!(candidates.is_empty(), "exhausted with {} available", candidates.len());
            return;
        }
        answer.unwrap();
        assert_eq!(leases.len(), candidates.len().min(count as usize));
        if self.pool.settings().order == Order::Lowest {
            // Lowest of the first segment, then of the next ones.
            let got: Vec<u64> = leases.iter().map(|lease| lease.number.get()).collect();
            if !self.added {
                assert_eq!(got, candidates[..got.len()]);
            }
        }
        let floor = self.model.floor;
        for lease in leases {
            let record = self.model.numbers.get_mut(&lease.number.get()).unwrap();
            assert_eq!(record.state, State::Available, "{lease:?}");
            assert_eq!(lease.generation, record.generation.max(floor) + 1);
            assert!(lease.expires_at >= now.after(ttl) && lease.expires_at <= now.after(ttl + 1));
            *record = Record {
                state: State::Leased,
                generation: lease.generation,
                until: Some(lease.expires_at),
                round: 0,
                attempts: record.attempts + 1,
                holder: true,
                held_by: holder,
            };
            self.leases.push(lease);
        }
    }

    fn some_lease(&self, which: usize) -> Option<Lease> {
        (!self.leases.is_empty()).then(|| self.leases[which % self.leases.len()])
    }

    fn renew(&mut self, which: usize, ttl: u32) {
        let Some(lease) = self.some_lease(which) else { return };
        let mut results = Vec::new();
        let held = LeaseRef { number: lease.number, token: Some(lease.token) };
        self.pool.renew(&mut self.worker, &[held], Some(ttl), &mut results).unwrap();
        let is_blocked = self.model.is_blocked(lease.number.get());
        let record = self.model.numbers.get_mut(&lease.number.get()).unwrap();
        let same = record.generation == lease.generation;
        match results[0] {
            RenewResult::Blocked { expires_at } => {
                assert!(same && is_blocked && record.state == State::Leased, "{record:?} {lease:?}");
                assert_eq!(record.until, Some(expires_at));
            }
            RenewResult::Renewed { expires_at, .. } => {
                assert!(same && record.holder && !is_blocked, "{record:?} {lease:?}");
                assert!(expires_at >= self.engine.now().after(ttl));
                record.until = Some(expires_at);
                record.state = State::Leased;
            }
            RenewResult::Stale => {
                let is_over = !same || !record.holder || is_blocked && record.state != State::Leased;
                assert!(is_over, "{record:?} {lease:?}");
            }
            RenewResult::Unknown => panic!("unknown"),
        }
    }

    fn return_leases(&mut self, which: usize, then: NextState) {
        let Some(lease) = self.some_lease(which) else { return };
        let mut results = Vec::new();
        let held = LeaseRef { number: lease.number, token: Some(lease.token) };
        self.pool
            .return_leases(&mut self.worker, &[ReturnItem { lease: held, then, outcome: None }], &mut results)
            .unwrap();
        let then = self.model.after_attempt(&self.model.numbers[&lease.number.get()], then);
        let record = self.model.numbers.get_mut(&lease.number.get()).unwrap();
        if record.generation != lease.generation {
            assert_eq!(results[0], ReturnResult::Stale);
            return;
        }
        let ReturnResult::Returned { state, available_at, .. } = results[0] else {
            panic!("{results:?} {record:?}")
        };
        if record.holder {
            record.state = state_after(then);
            record.until = available_at;
            record.round = self.model.round;
        }
        record.holder = false;
        let record = *record;
        if let NextState::List(list) = then {
            self.model.put_on_list(list, lease.number.get());
        }
        assert_eq!(state, self.model.shown(lease.number.get(), &record));
    }

    /// The numbers that a holder has.
    fn held(&self, holder: usize) -> Vec<u64> {
        let is_held = |r: &Record| r.state == State::Leased && r.held_by == Some(holder);
        self.model.numbers.iter().filter(|(_, r)| is_held(r)).map(|(n, _)| *n).collect()
    }

    fn return_all(&mut self, holder: usize, then: NextState) {
        let held = self.held(holder);
        let returned = self.pool.return_all(&holder_name(holder), then, None).unwrap();
        assert_eq!((returned.returned, returned.ends.len()), (held.len() as u64, held.len()));
        for n in held {
            let until = self.pool.lookup(number(n)).unwrap().until;
            let then = self.model.after_attempt(&self.model.numbers[&n], then);
            assert_eq!(until.is_some(), matches!(then, NextState::Rest(_)));
            let record = self.model.numbers.get_mut(&n).unwrap();
            record.state = state_after(then);
            record.until = until;
            record.round = self.model.round;
            record.holder = false;
            if let NextState::List(list) = then {
                self.model.put_on_list(list, n);
            }
        }
    }

    fn release_all(&mut self, holder: usize) {
        let held = self.held(holder);
        for dry_run in [true, false] {
            let report = self.pool.release_all(&holder_name(holder), dry_run).unwrap();
            assert_eq!((report.changed, report.leased), (held.len() as u64, held.len() as u64));
        }
        let floor = self.model.floor;
        for n in held {
            self.model.numbers.get_mut(&n).unwrap().free(floor);
        }
    }

    fn compare_holders(&self) {
        let mut expected: Vec<(u64, HolderName)> = Vec::new();
        for holder in 0..HOLDERS.len() {
            let (name, held) = (holder_name(holder), self.held(holder));
            let leases = self.pool.held_by(&name, usize::MAX);
            assert_eq!(leases.iter().map(|lease| lease.number.get()).collect::<Vec<_>>(), held, "{name}");
            for lease in leases {
                let record = &self.model.numbers[&lease.number.get()];
                assert_eq!((lease.generation, Some(lease.expires_at)), (record.generation, record.until));
                let seen = self.pool.lookup(lease.number).unwrap();
                assert_eq!(self.pool.holder_name(seen.holder).as_ref(), Some(&name));
            }
            assert_eq!(self.pool.leases_of(&name), held.len() as u64);
            if !held.is_empty() {
                expected.push((held.len() as u64, name));
            }
        }
        expected.sort_by(|a, b| b.0.cmp(&a.0).then_with(|| a.1.cmp(&b.1)));
        let summary = self.pool.holder_summary(HOLDERS.len());
        let top: Vec<_> = summary.top.into_iter().map(|(name, leases)| (leases, name)).collect();
        assert_eq!(top, expected);
        assert_eq!(summary.leased, expected.iter().map(|(leases, _)| leases).sum::<u64>());
        for (n, record) in self.model.numbers.iter().filter(|(_, record)| record.held_by.is_none()) {
            assert_eq!(self.pool.lookup(number(*n)).unwrap().holder, HolderId::NOBODY, "{record:?}");
        }
    }

    /// Changes a list by every third number of a range, after a dry run.
    fn list(&mut self, list: usize, change: ListChange, first: u64, len: u64) {
        let numbers: BTreeSet<u64> = (first..first + len).step_by(3).collect();
        let ranges: Vec<_> = numbers.iter().map(|number| range(*number, *number)).collect();
        let (before, blocked) = (self.model.lists[list].clone(), self.blocked());
        let after: BTreeSet<u64> = match change {
            ListChange::Add => before.union(&numbers).copied().collect(),
            ListChange::Remove => before.difference(&numbers).copied().collect(),
            ListChange::Replace => numbers,
        };
        let (added, removed) = (after.difference(&before).count(), before.difference(&after).count());
        self.model.lists[list] = after;
        let now_blocked = self.blocked();
        let expected = (now_blocked.difference(&blocked).count(), blocked.difference(&now_blocked).count());
        for dry_run in [true, false] {
            let source = NumberSource::Ranges(&ranges);
            let report = self.engine.change_list(list_name(list), change, source, dry_run).unwrap();
            assert_eq!((report.added, report.removed), (added as u64, removed as u64));
            let effects = report.pools.iter().map(|pool| (pool.blocked as usize, pool.unblocked as usize));
            let expected = self.model.blocked_by[list].then_some(expected);
            assert_eq!(effects.collect::<Vec<_>>(), Vec::from_iter(expected), "dry run: {dry_run}");
        }
    }

    /// The pool's numbers that are blocked, whatever their state is.
    fn blocked(&self) -> BTreeSet<u64> {
        self.model.numbers.keys().copied().filter(|number| self.model.is_blocked(*number)).collect()
    }

    fn mark(&mut self, first: u64, len: u64, retire: bool) {
        let ranges = [range(first, first + len)];
        let (from, to) =
            if retire { (None, State::Retired) } else { (Some(State::Retired), State::Available) };
        let members: Vec<u64> = self.model.numbers.range(first..=first + len).map(|(n, _)| *n).collect();
        let changing: Vec<u64> = members
            .iter()
            .copied()
            .filter(|n| {
                let state = self.model.numbers[n].state;
                from.map_or(state != State::Retired, |from| state == from)
            })
            .collect();
        for dry_run in [true, false] {
            let source = NumberSource::Ranges(&ranges);
            let marked =
                if retire { self.pool.retire(source, dry_run) } else { self.pool.reinstate(source, dry_run) }
                    .unwrap();
            assert_eq!(marked.changed, changing.len() as u64);
            assert_eq!(marked.already, (members.len() - changing.len()) as u64);
            assert_eq!(marked.unknown, len + 1 - members.len() as u64);
        }
        let floor = self.model.floor;
        for n in changing {
            let record = self.model.numbers.get_mut(&n).unwrap();
            record.state = to;
            record.until = None;
            record.holder = false;
            if !retire {
                (record.generation, record.attempts) = (record.generation.max(floor) + 1, 0);
                record.held_by = None;
            }
        }
    }

    fn release(&mut self, first: u64, len: u64) {
        let members = self.model.numbers.range(first..=first + len).count() as u64;
        let held = |r: &Record| matches!(r.state, State::Leased | State::Resting);
        let records = self.model.numbers.range(first..=first + len).map(|(_, r)| r);
        let released = records.clone().filter(|r| held(r)).count() as u64;
        let leased = records.filter(|r| r.state == State::Leased).count() as u64;
        let ranges = [range(first, first + len)];
        for dry_run in [true, false] {
            let report = self.pool.release(NumberSource::Ranges(&ranges), dry_run).unwrap();
            assert_eq!((report.changed, report.leased), (released, leased));
            assert_eq!((report.already, report.unknown), (members - released, len + 1 - members));
        }
        let floor = self.model.floor;
        for record in self.model.numbers.range_mut(first..=first + len).map(|(_, r)| r) {
            // A lease that has ended cannot be renewed any more either.
            if held(record) || (record.state == State::Available && record.holder) {
                record.free(floor);
            }
        }
    }

    fn release_states(&mut self, leased: bool, resting: bool, within: Option<(u64, u64)>) {
        let wanted = [(State::Leased, leased), (State::Resting, resting)];
        let states = wanted.iter().filter(|(_, wanted)| *wanted);
        let states = states.fold(StateSet::default(), |set, (state, _)| set.with(*state));
        let within = within.map(|(first, len)| range(first, first + len));
        let chosen = within.map(|range| self.pool.within(&[range]));
        let is_meant = |n: u64, r: &Record| {
            states.contains(r.state) && within.is_none_or(|within| within.contains(number(n)))
        };
        let meant: Vec<_> = self.model.numbers.iter().filter(|(n, r)| is_meant(**n, r)).collect();
        let leased = meant.iter().filter(|(_, r)| r.state == State::Leased).count() as u64;
        for dry_run in [true, false] {
            let report = self.pool.release_states(states, chosen.as_ref(), dry_run).unwrap();
            assert_eq!((report.changed, report.leased), (meant.len() as u64, leased));
            assert_eq!((report.already, report.unknown), (0, 0));
        }
        let floor = self.model.floor;
        for (n, record) in &mut self.model.numbers {
            if is_meant(*n, record) {
                record.free(floor);
            }
        }
    }

    fn add(&mut self, first: u64, len: u64) {
        let ranges = [range(first, first + len - 1)];
        let added = self.pool.add_numbers(NumberSource::Ranges(&ranges)).unwrap();
        let before = self.model.numbers.len();
        for n in first..first + len {
            self.model.numbers.entry(n).or_insert(Record::NEW);
        }
        self.added = true;
        let new = (self.model.numbers.len() - before) as u64;
        assert_eq!((added.added, added.existing), (new, len - new));
    }

    /// Opens the directory anew; without a close, as after a kill, half of the time.
    fn restart(&mut self) {
        if self.skipped.is_multiple_of(2) {
            self.engine.close().unwrap();
        }
        let all_found = |pool: &Pool, numbers: &BTreeMap<u64, Record>| {
            numbers.keys().all(|n| pool.lookup(number(*n)).is_some())
        };
        assert!(all_found(&self.pool, &self.model.numbers));
        let empty = tempfile::tempdir().unwrap();
        self.engine = open(empty.path());
        self.pool = create(&self.engine, "p", &[range(1, 1)], &SettingsChange::default());
        self.worker = self.engine.worker();
        // Nothing refers to the old engine any more: its lock is free.
        self.engine = open(self.dir.path());
        self.engine.clock().skip(self.skipped);
        self.pool = self.engine.pool("p").unwrap();
        self.worker = self.engine.worker();
        self.model.tick(self.engine.now());
        if !self.model.tracks_holders {
            // A start drops the columns of a pool that tracks no holders any more.
            self.model.numbers.values_mut().for_each(|record| record.held_by = None);
        }
    }

    fn compare(&mut self) {
        self.sweep_all();
        let counts = self.pool.counts();
        let expected = State::ALL.map(|s| self.model.count(s));
        let (now, all) = (counts, self.pool.counts_within(Some(&self.pool.within(&[NumberRange::ALL]))));
        let by_state = |c: Counts| [c.available, c.leased, c.resting, c.done, c.retired, c.blocked];
        assert_eq!(by_state(now), expected, "counted");
        assert_eq!(by_state(all), expected, "by the words");
        let mut export = Export::new(self.pool.clone(), StateSet::all(), None);
        let (mut rows, mut exported) = (Vec::new(), Vec::new());
        while export.next_block(&mut rows) {
            exported.extend(rows.iter().map(|row| (row.number.get(), row.state, row.generation, row.until)));
        }
        let model: Vec<_> = self
            .model
            .numbers
            .iter()
            .map(|(n, r)| (*n, self.model.shown(*n, r), r.generation, r.until))
            .collect();
        assert_eq!(exported, model);
        for buckets in [1, 2, 3, 50, MAX_MAP_BUCKETS] {
            self.compare_map(None, buckets);
            // Two ranges that overlap.
            let (first, middle) = (FIRST + SPREAD / 5, FIRST + SPREAD / 2);
            self.compare_map(
                Some(&[range(first, middle), range(middle, middle), range(first, first)]),
                buckets,
            );
        }
    }

    fn compare_lists(&self) {
        for (list, model) in self.model.lists.iter().enumerate() {
            let list = self.engine.list(list_name(list)).unwrap();
            let snapshot = list.snapshot();
            let numbers = snapshot.ranges().flat_map(|range| range.first().get()..=range.last().get());
            assert_eq!(&numbers.collect::<BTreeSet<_>>(), model);
            assert_eq!(list.numbers(), model.len() as u64);
        }
    }

    fn compare_map(&self, ranges: Option<&[NumberRange]>, buckets: u32) {
        let chosen = |n: u64| ranges.is_none_or(|ranges| ranges.iter().any(|r| r.contains(number(n))));
        let chosen: Vec<_> = self.model.numbers.iter().filter(|(n, _)| chosen(**n)).collect();
        let map = self.pool.map(ranges, buckets);
        let (Some(&(first, _)), Some(&(last, _))) = (chosen.first(), chosen.last()) else {
            assert_eq!(map, None);
            return;
        };
        let map = map.unwrap();
        assert_eq!(map.span, range(*first, *last));
        assert!(map.buckets.len() <= buckets as usize);
        let mut expected = vec![Counts::default(); map.buckets.len()];
        for (n, record) in chosen {
            expected[((*n - *first) / map.bucket_width) as usize].add(self.model.shown(*n, record));
        }
        assert_eq!(map.buckets, expected);
    }
}

/// The state of a number after its return.
fn state_after(then: NextState) -> State {
    match then {
        NextState::Available | NextState::List(_) => State::Available,
        NextState::Rest(_) => State::Resting,
        NextState::Done => State::Done,
        NextState::Retired => State::Retired,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, max_shrink_iters: 400, ..ProptestConfig::default() })]
    #[test]
    fn the_pool_behaves_as_the_model(
        starts in prop::collection::btree_set(0..SPREAD / 100, 1..20),
        len in 1u64..100,
        order in prop_oneof![Just(Order::Random), Just(Order::Sequential), Just(Order::Lowest)],
        tracks_holders: bool,
        events in prop::collection::vec(event(), 1..80),
    ) {
        let ranges: Vec<NumberRange> =
            starts.into_iter().map(|s| range(FIRST + s * 100, FIRST + s * 100 + len - 1)).collect();
        let mut run = Run::new(&ranges, order, tracks_holders);
        for event in &events {
            run.apply(event);
        }
        run.compare();
        run.compare_holders();
        run.compare_lists();
    }
}
