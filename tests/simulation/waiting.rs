//! Calls that wait for a number, with those that return, take, block and end them. In the end no call waits though a
//! number is available that it may choose.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Wake, Waker};
use std::time::Duration;

use allotd::domain::settings::{NextState, Settings, SettingsChange};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};
use allotd::engine::waiting::line::Filter;
use allotd::engine::waiting::signal::Signal;
use allotd::engine::waiting::ticket::Ticket;
use allotd::engine::worker::Patience;
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::journal::{Durability, MIN_FILE_BYTES};
use allotd::numbers::number::{Number, NumberRange};
use allotd::state::number_state::State;
use allotd::sys::simulation::{thread, world};

use super::disk::SimulatedDisk;
use super::life::Run;

const MOST_NUMBERS: u64 = 4;
const MOST_CALLERS: u64 = 5;
const MOST_CALLS: u64 = 5;
const MOST_CHANGES: u64 = 6;
/// How long a call waits that does not give up: far longer than the run.
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);
/// After this time nothing is under way any more.
const REST: Duration = Duration::from_secs(2);
const SEARCH_PAUSE: Duration = Duration::from_millis(1);

struct Unparked(thread::Thread);

impl Wake for Unparked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

struct Shared {
    run: Run,
    pool: Arc<Pool>,
    /// The filters of the calls that wait for long.
    waiting: Mutex<Vec<(u64, Filter)>>,
    held: Mutex<Vec<Number>>,
    /// Threads that may still make a number available.
    active: AtomicUsize,
}

fn number(value: u64) -> Number {
    Number::new(value).expect("a number")
}

fn range(first: u64, last: u64) -> NumberRange {
    NumberRange::new(number(first), number(last)).expect("a range")
}

impl Shared {
    fn find(&self, finding: String) {
        self.run.model().find(finding);
    }

    fn waiting<T>(&self, act: impl FnOnce(&mut Vec<(u64, Filter)>) -> T) -> T {
        act(&mut self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn held<T>(&self, act: impl FnOnce(&mut Vec<Number>) -> T) -> T {
        act(&mut self.held.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn filter(&self) -> Filter {
        match self.run.below(3) {
            0 => None,
            1 => Some([range(1, 1 + self.run.below(MOST_NUMBERS))].into()),
            _ => Some([range(2, MOST_NUMBERS + 2)].into()),
        }
    }
}

/// A thread that leases.
struct Caller {
    shared: Arc<Shared>,
    worker: Worker,
    id: u64,
}

impl Caller {
    fn run(mut self, calls: u64, waits: bool) {
        for _ in 0..calls {
            let leased = if waits { self.lease_or_wait() } else { self.lease(&None, Patience::None) };
            match leased {
                Ok(leases) => {
                    thread::sleep(Duration::from_micros(self.shared.run.below(2_000)));
                    self.give_back(&leases);
                }
                Err(LeaseError::Deleted) => break,
                Err(_) => thread::sleep(Duration::from_micros(self.shared.run.below(2_000))),
            }
        }
        self.shared.active.fetch_sub(1, Ordering::SeqCst);
    }

    fn lease(&mut self, filter: &Filter, patience: Patience) -> Result<Vec<Lease>, LeaseError> {
        let shared = Arc::clone(&self.shared);
        let within = filter.as_ref().map(|ranges| shared.pool.within(ranges));
        let count = 1 + shared.run.below(2) as u32;
        let request = LeaseRequest { count, ttl_seconds: None, within: within.as_ref() };
        let mut leases = Vec::new();
        self.worker.set_patience(patience);
        let leased = shared.pool.lease(&mut self.worker, &request, &mut leases);
        self.worker.set_patience(Patience::None);
        leased?;
        for lease in &leases {
            let is_new = shared.held(|held| {
                let is_new = !held.contains(&lease.number);
                held.push(lease.number);
                is_new
            });
            if !is_new {
                shared.find(format!("{} is leased twice", lease.number));
            }
        }
        Ok(leases)
    }

    fn give_back(&mut self, leases: &[Lease]) {
        let shared = Arc::clone(&self.shared);
        let item = |lease: &Lease| {
            let then = if shared.run.one_in(6) { NextState::Retired } else { NextState::Available };
            let lease = LeaseRef { number: lease.number, token: Some(lease.token) };
            ReturnItem { lease, then, outcome: None }
        };
        let items: Vec<_> = leases.iter().map(item).collect();
        shared.held(|held| held.retain(|number| leases.iter().all(|lease| lease.number != *number)));
        let mut results = Vec::new();
        let returned = shared.pool.return_leases(&mut self.worker, &items, &mut results);
        if returned.is_err() || results.iter().any(|result| !matches!(result, ReturnResult::Returned { .. }))
        {
            shared.find(format!("a return failed: {returned:?} {results:?}"));
        }
    }

    /// As a call of the daemon waits: `http/calls/waiting.rs`.
    fn lease_or_wait(&mut self) -> Result<Vec<Lease>, LeaseError> {
        let shared = Arc::clone(&self.shared);
        let (filter, signal) = (shared.filter(), Arc::<Signal>::default());
        let gives_up = shared.run.one_in(3);
        let limit = if gives_up { Duration::from_micros(shared.run.below(3_000)) } else { LONGEST_WAIT };
        let until = world::now() + limit;
        let mut ticket: Option<Ticket> = None;
        let join = |ticket: &mut Option<Ticket>| {
            *ticket = Some(shared.pool.join_line(filter.clone(), &signal).expect("room in the line"));
        };
        if shared.pool.has_line(&filter) {
            join(&mut ticket);
            self.wait(&signal, &filter, until, gives_up)?;
        }
        loop {
            let patience = if ticket.is_some() { Patience::InLine } else { Patience::MayWait };
            if let Some(ticket) = &ticket {
                ticket.begin();
            }
            match self.lease(&filter, patience) {
                Err(LeaseError::Exhausted) => {}
                Err(LeaseError::Busy | LeaseError::Deleting) => {
                    thread::sleep(SEARCH_PAUSE);
                    continue;
                }
                other => return other,
            }
            match &ticket {
                None => join(&mut ticket),
                Some(ticket) if ticket.rest() => continue,
                Some(_) => {}
            }
            self.wait(&signal, &filter, until, gives_up)?;
        }
    }

    /// Waits for the signal. Fails if the time is over.
    fn wait(
        &self,
        signal: &Signal,
        filter: &Filter,
        until: Duration,
        gives_up: bool,
    ) -> Result<(), LeaseError> {
        let waker = Waker::from(Arc::new(Unparked(thread::current())));
        let mut context = Context::from_waker(&waker);
        if !gives_up {
            self.shared.waiting(|waiting| waiting.push((self.id, filter.clone())));
        }
        let woken = loop {
            if signal.poll_given(&mut context).is_ready() {
                break true;
            }
            let now = world::now();
            if now >= until {
                break false;
            }
            thread::park_timeout(until - now);
        };
        if !gives_up {
            self.shared.waiting(|waiting| waiting.retain(|(id, _)| *id != self.id));
            if !woken {
                self.shared.find("a call was not told that its pool is deleted".to_owned());
            }
        }
        if woken { Ok(()) } else { Err(LeaseError::Exhausted) }
    }
}

/// Changes the pool, and leaves it open.
fn change(shared: &Shared, changes: u64) {
    for _ in 0..changes {
        let one = [range(1, 1 + shared.run.below(MOST_NUMBERS))];
        let source = || NumberSource::Ranges(&one);
        let done = match shared.run.below(5) {
            0 => shared.pool.pause().is_ok(),
            1 => shared.pool.resume().is_ok(),
            2 => shared.pool.reinstate(source(), false).is_ok(),
            3 => {
                let next = [range(MOST_NUMBERS + 1, MOST_NUMBERS + 1 + shared.run.below(2))];
                shared.pool.add_numbers(NumberSource::Ranges(&next)).is_ok()
            }
            _ => true,
        };
        if !done {
            shared.find("a change of the pool failed".to_owned());
        }
        thread::sleep(Duration::from_micros(shared.run.below(2_000)));
    }
    if shared.pool.resume().is_err()
        || shared.pool.reinstate(NumberSource::Ranges(&[range(1, 9)]), false).is_err()
    {
        shared.find("the pool is not opened".to_owned());
    }
    shared.active.fetch_sub(1, Ordering::SeqCst);
}

/// A call that waits though a number is available that it may choose.
fn forgotten(shared: &Shared) -> Option<String> {
    let is_available =
        |value: &u64| shared.pool.lookup(number(*value)).is_some_and(|seen| seen.state == State::Available);
    let available: Vec<u64> = (1..MOST_NUMBERS + 4).filter(is_available).collect();
    let fits = |filter: &Filter, value: u64| {
        filter.as_ref().is_none_or(|ranges| {
            ranges.iter().any(|range| (range.first().get()..=range.last().get()).contains(&value))
        })
    };
    let waiting = shared.waiting(|waiting| waiting.clone());
    let of = |(id, filter): (u64, Filter)| {
        let value = available.iter().find(|value| fits(&filter, **value))?;
        Some(format!("call {id} waits, and {value} is available to it"))
    };
    waiting.into_iter().find_map(of)
}

/// Runs one seed. Returns what was found.
pub(crate) fn run(seed: u64, scratch: &Path) -> Vec<String> {
    let _ = std::fs::remove_dir_all(scratch);
    std::fs::create_dir_all(scratch).expect("a directory");
    let run = Run::new(seed);
    let disk = Arc::new(SimulatedDisk::over(scratch, false));
    let callers = 2 + run.below(MOST_CALLERS - 1);
    let config = EngineConfig {
        durability: if run.one_in(2) { Durability::None } else { Durability::Sync },
        journal_file_bytes: MIN_FILE_BYTES,
        disk: disk as _,
        clocks: Arc::clone(&run.clocks) as _,
        ..EngineConfig::new(scratch, callers as usize)
    };
    let engine = Engine::open(&config).expect("an engine");
    let change_of = SettingsChange { ttl: Some(10_000), ..SettingsChange::default() };
    let settings = Settings::default().changed(&change_of).expect("valid settings");
    let numbers = [range(1, 1 + run.below(MOST_NUMBERS))];
    let name = "a".parse().expect("a name");
    engine.create_pool(&name, settings, NumberSource::Ranges(&numbers)).expect("a pool");
    let pool = engine.pool("a").expect("the pool");
    let shared = Arc::new(Shared {
        run,
        pool,
        waiting: Mutex::default(),
        held: Mutex::default(),
        active: AtomicUsize::new(callers as usize + 1),
    });
    let mut threads: Vec<_> = (0..callers)
        .map(|id| {
            let caller = Caller { shared: Arc::clone(&shared), worker: engine.worker(), id };
            let (calls, waits) = (1 + shared.run.below(MOST_CALLS), id < 2 || !shared.run.one_in(3));
            thread::spawn(move || caller.run(calls, waits))
        })
        .collect();
    let changed = Arc::clone(&shared);
    let changes = shared.run.below(MOST_CHANGES);
    threads.push(thread::spawn(move || change(&changed, changes)));
    // Until only calls are left that wait.
    while shared.active.load(Ordering::SeqCst) > shared.waiting(|waiting| waiting.len()) {
        thread::sleep(REST);
    }
    thread::sleep(REST);
    let is_quiet = shared.active.load(Ordering::SeqCst) == shared.waiting(|waiting| waiting.len());
    if is_quiet && let Some(finding) = forgotten(&shared) {
        shared.find(finding);
    }
    world::note(|| "the pool is deleted".to_owned());
    engine.delete_pool("a", true).expect("a deletion");
    for thread in threads {
        let _ = thread.join();
    }
    if shared.pool.waiters().calls > 0 {
        shared.find("somebody has left without leaving the line".to_owned());
    }
    let findings = std::mem::take(&mut shared.run.model().findings);
    drop(engine);
    findings
}
