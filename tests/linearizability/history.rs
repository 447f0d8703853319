//! Concurrent calls on the real engine, and when each began and was answered.

use std::cell::Cell;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use allotd::domain::settings::{Order, Settings, SettingsChange};
use allotd::engine::clock::Clocks;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::journal::{Durability, Journal, MIN_FILE_BYTES};
use allotd::numbers::number::NumberRange;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};

use super::spec::{Answer, Call, Entry, Op, Spec};
use super::subject::{Bug, Subject, Tokens, number};

/// Threads that call at the same time.
pub(crate) const THREADS: usize = 3;
/// Calls of each; the checker's work grows steeply with it.
const CALLS: usize = 5;
/// Longest lease and rest, in seconds.
const MAX_SECONDS: u32 = 6;
/// The time at the first start, in seconds.
const START_SECONDS: u64 = 1_000;
/// Longer than any lease or rest, in seconds.
const LONG_SECONDS: u32 = 100;
/// Numbers of each pool.
pub(crate) const POOL_NUMBERS: [usize; 3] = [2, 3, 4];
const ORDERS: [Order; 3] = [Order::Random, Order::Sequential, Order::Lowest];
/// Longest pause before a call, in iterations of an empty loop.
const MAX_PAUSE_SPINS: u32 = 50;
/// Iterations of an empty loop before the thread lets others run.
const SPINS_PER_TURN: u32 = 1_000;
/// Latest moment of a crash after the start of the calls, in microseconds.
const MAX_CRASH_MICROSECONDS: u64 = 1_500;

/// A clock that the test moves, by whole seconds.
#[derive(Debug)]
struct HandClock {
    seconds: AtomicU64,
}

impl HandClock {
    /// The engine's time too: it continues from there through all restarts.
    fn now(&self) -> u32 {
        self.seconds.load(Ordering::SeqCst) as u32
    }

    fn tick(&self, seconds: u32) {
        self.seconds.fetch_add(seconds.into(), Ordering::SeqCst);
    }
}

impl Clocks for HandClock {
    fn wall(&self) -> Duration {
        Duration::from_secs(allotd::state::time::EPOCH_UNIX_SECONDS + START_SECONDS)
    }

    fn boot_nanos(&self) -> u64 {
        self.seconds.load(Ordering::SeqCst) * 1_000_000_000
    }

    fn boot_id(&self) -> [u8; 16] {
        [1; 16]
    }
}

/// How a simulated crash ends the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Crash {
    /// The disk fails: the journal commits nothing more.
    Poison,
    /// It is dropped without being closed, while calls go on.
    Drop,
}

/// One thing that happened, in the order of all.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) at: u64,
    pub(crate) thread: usize,
    pub(crate) what: What,
}

#[derive(Debug, Clone)]
pub(crate) enum What {
    Call(Call),
    Answer(Answer),
}

/// What was done and what was known before it.
pub(crate) struct History {
    pub(crate) before: Spec,
    pub(crate) events: Vec<Event>,
    /// Whether the injected bug has taken effect.
    pub(crate) bug_shown: bool,
}

/// An engine with a few small pools, and its calling threads' handles; the last is the test's own.
pub(crate) struct Bench {
    clock: Arc<HandClock>,
    config: EngineConfig,
    engine: Option<Arc<Engine>>,
    workers: Vec<Worker>,
    epoch: u32,
    stamp: AtomicU64,
}

fn pool_name(pool: usize) -> String {
    format!("p{pool}")
}

impl Bench {
    /// In `dir`. Only a durable one can crash.
    pub(crate) fn new(dir: &Path, durability: Durability) -> Self {
        let clock = Arc::new(HandClock { seconds: AtomicU64::new(START_SECONDS) });
        let config = EngineConfig {
            durability,
            journal_file_bytes: MIN_FILE_BYTES,
            clocks: clock.clone(),
            ..EngineConfig::new(dir, THREADS + 1)
        };
        let (engine, workers, stamp) = (None, Vec::new(), AtomicU64::new(0));
        let mut bench = Self { clock, config, engine, workers, epoch: 0, stamp };
        bench.open();
        for (pool, numbers) in POOL_NUMBERS.into_iter().enumerate() {
            let change = SettingsChange { order: Some(ORDERS[pool]), ..SettingsChange::default() };
            let settings = Settings::of_new_pool(&change).unwrap();
            let range = NumberRange::new(number(0), number(numbers - 1)).unwrap();
            let name = pool_name(pool).parse().unwrap();
            bench.engine().create_pool(&name, settings, NumberSource::Ranges(&[range])).unwrap();
        }
        bench
    }

    fn open(&mut self) {
        let engine = Engine::open(&self.config).unwrap();
        assert_eq!(engine.now().seconds(), self.clock.now(), "time goes on over a restart");
        self.workers = (0..=THREADS).map(|_| engine.worker()).collect();
        self.engine = Some(engine);
    }

    fn engine(&self) -> &Arc<Engine> {
        self.engine.as_ref().unwrap()
    }

    fn pool(&self, pool: usize) -> Arc<Pool> {
        self.engine().pool(&pool_name(pool)).unwrap()
    }

    /// Makes a history on one of the pools.
    pub(crate) fn run(
        &mut self,
        pool: usize,
        crash: Option<Crash>,
        bug: Option<Bug>,
        random: &mut StdRng,
    ) -> History {
        let tokens = Tokens::default();
        let before = self.settle(pool, &tokens, random);
        if crash.is_some() {
            self.wait_for_the_journal();
        }
        let stage = Stage {
            pool: self.pool(pool),
            journal: self.engine().journal().clone(),
            numbers: POOL_NUMBERS[pool],
            tokens: &tokens,
            bug,
            bug_shown: AtomicBool::new(false),
            clock: self.clock.clone(),
            durable: crash.is_some(),
            crashed: AtomicBool::new(false),
            ready: AtomicUsize::new(0),
            epoch: self.epoch,
            stamp: &self.stamp,
        };
        let mut workers = std::mem::take(&mut self.workers);
        let mut events: Vec<Event> = std::thread::scope(|scope| {
            let threads: Vec<_> = workers[..THREADS]
                .iter_mut()
                .enumerate()
                .map(|(thread, worker)| {
                    let (stage, random) = (&stage, StdRng::seed_from_u64(random.random()));
                    scope.spawn(move || stage.calls(thread, worker, random))
                })
                .collect();
            if let Some(crash) = crash {
                std::thread::sleep(Duration::from_micros(random.random_range(0..MAX_CRASH_MICROSECONDS)));
                match crash {
                    Crash::Poison => stage.journal.poison("a test", &std::io::Error::other("simulated")),
                    Crash::Drop => self.engine = None,
                }
                stage.crashed.store(true, Ordering::SeqCst);
            }
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
        });
        let bug_shown = stage.bug_shown.load(Ordering::Relaxed);
        drop(stage);
        self.workers = workers;
        if crash.is_some() {
            events.extend(self.crash());
        }
        events.extend(self.look(pool, &tokens));
        events.sort_unstable_by_key(|event| event.at);
        note_claims(&mut events);
        History { before, events, bug_shown }
    }

    /// Brings all numbers into known states: leased by known tokens, returned or resting.
    fn settle(&mut self, pool: usize, tokens: &Tokens, random: &mut StdRng) -> Spec {
        self.clock.tick(LONG_SECONDS);
        let (pool, numbers) = (self.pool(pool), POOL_NUMBERS[pool]);
        let unknown = AtomicBool::new(false);
        let subject = Subject { pool: &pool, tokens, bug: None, shown: &unknown, waits_for: Cell::default() };
        let (worker, mut entries) = (&mut self.workers[THREADS], vec![Entry::default(); numbers]);
        for _ in 0..numbers {
            let ttl = random.random_range(1..=MAX_SECONDS);
            let (leased, _) = subject.call(worker, Op::Lease { ttl }, random).unwrap();
            let Answer::Leased { number, generation, until } = leased else { panic!("{leased:?}") };
            entries[number] = Entry { generation, until, ..Entry::default() };
        }
        for (number, entry) in entries.iter_mut().enumerate() {
            if random.random_ratio(1, 2) {
                let rest = if random.random() { 0 } else { random.random_range(1..=MAX_SECONDS) };
                let op = Op::Return { number, proof: Some(entry.generation), rest };
                let (returned, _) = subject.call(worker, op, random).unwrap();
                let Answer::Returned { until } = returned else { panic!("{returned:?}") };
                *entry = Entry { returned: true, until: until.unwrap_or_default(), ..*entry };
            }
        }
        Spec::new(self.clock.now(), self.epoch, entries)
    }

    /// Waits until all that was done is durable.
    fn wait_for_the_journal(&mut self) {
        let journal = self.engine().journal().clone();
        let worker = &mut self.workers[THREADS];
        let position = worker.observed_position();
        assert!(should_log(&journal, worker, position, || false));
    }

    /// Ends what is left of the engine and opens it again.
    fn crash(&mut self) -> [Event; 2] {
        self.workers.clear();
        self.engine = None;
        let call = Call::new(Op::Restart, 0, self.epoch);
        let began = self.stamp.fetch_add(1, Ordering::SeqCst);
        self.open();
        self.epoch += 1;
        let at = self.stamp.fetch_add(1, Ordering::SeqCst);
        [
            Event { at: began, thread: THREADS, what: What::Call(call) },
            Event { at, thread: THREADS, what: What::Answer(Answer::Done) },
        ]
    }

    /// Looks every number up, tries every newest token, and looks them up again.
    fn look(&mut self, pool: usize, tokens: &Tokens) -> Vec<Event> {
        let numbers = 0..POOL_NUMBERS[pool];
        let looks = numbers.map(|number| Op::Lookup { number });
        let given = tokens.all();
        let renewals = given.iter().rev().take(POOL_NUMBERS[pool]).map(|given| {
            let (number, proof) = given.proof();
            Op::Renew { number, proof, ttl: MAX_SECONDS }
        });
        let ops: Vec<_> = looks.clone().chain(renewals).chain(looks).collect();
        let pool = self.pool(pool);
        let unknown = AtomicBool::new(false);
        let subject = Subject { pool: &pool, tokens, bug: None, shown: &unknown, waits_for: Cell::default() };
        let (mut events, mut random) = (Vec::new(), StdRng::seed_from_u64(0));
        for op in ops {
            let earliest = self.clock.now();
            let what = What::Call(Call::new(op, earliest, self.epoch));
            let at = self.stamp.fetch_add(1, Ordering::SeqCst);
            events.push(Event { at, thread: THREADS, what });
            let (answer, _) = subject.call(&mut self.workers[THREADS], op, &mut random).unwrap();
            let at = self.stamp.fetch_add(1, Ordering::SeqCst);
            events.push(Event { at, thread: THREADS, what: What::Answer(answer) });
        }
        events
    }
}

/// Notes with each call the leases that overlapped it.
fn note_claims(events: &mut [Event]) {
    let end = |index: usize| {
        let thread = events[index].thread;
        (index + 1..events.len()).find(|end| events[*end].thread == thread)
    };
    let is_lease =
        |event: &Event| matches!(&event.what, What::Call(call) if matches!(call.op, Op::Lease { .. }));
    let leases: Vec<_> = (0..events.len())
        .filter(|index| is_lease(&events[*index]))
        .map(|index| (index, end(index)))
        .collect();
    let overlap = |one: (usize, Option<usize>), other: (usize, Option<usize>)| {
        one.1.is_none_or(|end| other.0 < end) && other.1.is_none_or(|end| one.0 < end)
    };
    let answers: Vec<_> = events.iter().map(|event| event.what.clone()).collect();
    for lease in &leases {
        let What::Call(call) = &mut events[lease.0].what else { continue };
        for other in leases.iter().filter(|other| *other != lease && overlap(*lease, **other)) {
            match other.1.map(|end| &answers[end]) {
                Some(What::Answer(Answer::Leased { number, generation, .. })) => {
                    call.claims.push((*number, *generation));
                }
                Some(_) => {}
                None => call.unknown_claims += 1,
            }
        }
    }
}

/// Waits until the journal releases an answer; returns false if the journal or the engine ends first.
fn should_log(
    journal: &Journal,
    worker: &Worker,
    position: allotd::journal::Position,
    is_over: impl Fn() -> bool,
) -> bool {
    journal.wake_writer();
    loop {
        if journal.is_committed(worker.slot(), position) {
            return true;
        }
        if journal.is_poisoned() || is_over() {
            return false;
        }
        std::thread::yield_now();
    }
}

/// What the threads of one history share.
struct Stage<'a> {
    pool: Arc<Pool>,
    journal: Arc<Journal>,
    numbers: usize,
    tokens: &'a Tokens,
    bug: Option<Bug>,
    bug_shown: AtomicBool,
    clock: Arc<HandClock>,
    /// Whether answers wait for the journal.
    durable: bool,
    crashed: AtomicBool,
    /// Threads that have started.
    ready: AtomicUsize,
    epoch: u32,
    stamp: &'a AtomicU64,
}

impl Stage<'_> {
    /// The calls of one thread, until the engine crashes.
    fn calls(&self, thread: usize, worker: &mut Worker, mut random: StdRng) -> Vec<Event> {
        let (bug, tokens) = (self.bug, self.tokens);
        let subject =
            Subject { pool: &self.pool, tokens, bug, shown: &self.bug_shown, waits_for: Cell::default() };
        let mut events = Vec::with_capacity(2 * CALLS);
        let stamp = || self.stamp.fetch_add(1, Ordering::SeqCst);
        self.start_together();
        for _ in 0..CALLS {
            if self.crashed.load(Ordering::SeqCst) {
                break;
            }
            for _ in 0..random.random_range(0..MAX_PAUSE_SPINS) {
                std::hint::spin_loop();
            }
            let op = self.op(&mut random);
            let earliest = self.clock.now();
            let what = What::Call(Call::new(op, earliest, self.epoch));
            events.push(Event { at: stamp(), thread, what });
            let answer = if let Op::Tick { seconds } = op {
                self.clock.tick(seconds);
                Answer::Done
            } else {
                let Ok((answer, position)) = subject.call(worker, op, &mut random) else { break };
                let crashed = || self.crashed.load(Ordering::SeqCst);
                if self.bug == Some(Bug::ToldTooEarly) {
                    self.bug_shown.store(true, Ordering::Relaxed);
                } else if self.durable && !should_log(&self.journal, worker, position, crashed) {
                    break;
                }
                answer
            };
            events.push(Event { at: stamp(), thread, what: What::Answer(answer) });
        }
        events
    }

    /// Returns at the same moment on all threads, should they have a processor each.
    fn start_together(&self) {
        self.ready.fetch_add(1, Ordering::SeqCst);
        let mut spins = 0;
        while self.ready.load(Ordering::SeqCst) < THREADS {
            std::hint::spin_loop();
            spins += 1;
            if spins % SPINS_PER_TURN == 0 {
                std::thread::yield_now();
            }
        }
    }

    fn op(&self, random: &mut StdRng) -> Op {
        let seconds = random.random_range(1..=MAX_SECONDS);
        let given = self.tokens.all();
        // Most of the time one of the newest, so that many are good.
        let newest = given.len().saturating_sub(self.numbers);
        let from = if random.random_ratio(3, 4) { &given[newest..] } else { &given[..] };
        let (number, mut proof) = from.choose(random).unwrap().proof();
        if random.random_ratio(1, 20) {
            proof = None;
        }
        match random.random_range(0..20) {
            0..7 => Op::Lease { ttl: seconds },
            7..10 => Op::Renew { number, proof, ttl: seconds },
            10..15 => Op::Return { number, proof, rest: if random.random() { 0 } else { seconds } },
            15..18 => Op::Lookup { number },
            _ => Op::Tick { seconds: seconds.div_ceil(2) },
        }
    }
}
