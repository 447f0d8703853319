//! One life of a simulated daemon: what its threads share, and what is looked at after each step.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allotd::engine::{Engine, Pool};
use allotd::numbers::number::Number;
use allotd::state::number_state::State;
use allotd::sys::simulation::{thread, world};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::campaign::{hours_index, zones_index};
use super::clocks::SimulatedClocks;
use super::disk::SimulatedDisk;
use super::listing::lists_of;
use super::model::{LeaseCall, Model, PoolModel};
use super::register::{Interval, Register};

/// The pools that there can be, and the first number of each.
pub(crate) const POOLS: [(&str, u64); 3] = [("a", 1), ("b", 1_000), ("c", 2_000)];
/// Most numbers of which a call's availability is followed.
const MOST_FOLLOWED: usize = 24;
/// Most available numbers that a moment is kept with.
const MOST_AVAILABLE: usize = 10;

/// The most time that passes at once for the members of a cluster, who look around meanwhile.
const MOST_SECONDS_PASSED: u64 = 15;

fn unpoisoned<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What a run does most: faults show sooner where calls meet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Focus {
    Everything,
    Keys,
    Rounds,
    /// Operators' calls on one pool that comes and goes.
    OnePool,
    /// Leases of more than there is.
    Scarcity,
    /// Lists that block numbers.
    Lists,
    /// Leases for holders, and the end of all that one has.
    Holders,
    /// Hours in which numbers may be leased.
    Hours,
    /// Limits of how often a number is leased in a round.
    Attempts,
}

/// What all lives of a run share.
pub(crate) struct Run {
    random: Mutex<StdRng>,
    model: Mutex<Model>,
    pub(crate) clocks: Arc<SimulatedClocks>,
    pub(crate) focus: Focus,
    /// Whether changes are kept for those who follow them.
    pub(crate) has_events: bool,
    /// Whether its daemons are members of a cluster.
    pub(crate) is_cluster: bool,
    latest: AtomicU32,
    /// Whether a bit was flipped. Then it may refuse to open, also when the file is used again.
    pub(crate) has_damage: AtomicBool,
}

impl Run {
    pub(crate) fn new(seed: u64) -> Self {
        Self::of(seed, false)
    }

    /// A run, of a cluster or of one daemon.
    pub(crate) fn of(seed: u64, is_cluster: bool) -> Self {
        let focuses = [
            Focus::Everything,
            Focus::Keys,
            Focus::Rounds,
            Focus::OnePool,
            Focus::Scarcity,
            Focus::Lists,
            Focus::Holders,
            Focus::Hours,
            Focus::Attempts,
        ];
        let mut random = StdRng::seed_from_u64(seed);
        Self {
            focus: focuses[random.random_range(0..focuses.len())],
            has_events: random.random_range(0..4) == 0,
            random: Mutex::new(random),
            model: Mutex::default(),
            clocks: Arc::default(),
            is_cluster,
            latest: AtomicU32::new(0),
            has_damage: AtomicBool::new(false),
        }
    }

    /// Lets time pass: at once, or for all members of a cluster with their turns.
    pub(crate) fn let_pass(&self, seconds: u64) {
        if self.is_cluster {
            thread::sleep(Duration::from_secs(seconds.min(MOST_SECONDS_PASSED)));
        } else {
            self.clocks.advance(seconds);
        }
    }

    /// Use it without any call that waits.
    pub(crate) fn model(&self) -> MutexGuard<'_, Model> {
        unpoisoned(&self.model)
    }

    /// One of `0..below`.
    pub(crate) fn below(&self, below: u64) -> u64 {
        unpoisoned(&self.random).random_range(0..below)
    }

    pub(crate) fn one_in(&self, count: u64) -> bool {
        self.below(count) == 0
    }

    pub(crate) fn pick<T: Copy>(&self, items: &[T]) -> T {
        items[self.below(items.len() as u64) as usize]
    }

    pub(crate) fn has_found(&self) -> bool {
        !self.model().findings.is_empty()
    }
}

/// The available numbers of a call from a step on; `None` if there are many.
type Moment = (u64, Option<Vec<u64>>);

/// A lease call under way.
struct Followed {
    call: u64,
    pool: Arc<Pool>,
    numbers: Vec<Number>,
    /// The number found available last is looked at first.
    first: usize,
    /// Whether at some moment none was available.
    none_available: bool,
    moments: Vec<Moment>,
}

/// An "exhausted" that is true only if other calls were about to take the rest.
pub(crate) struct Suspect {
    pool: u64,
    during: Interval,
    moments: Vec<Moment>,
}

/// One life of the daemon.
pub(crate) struct Life {
    pub(crate) run: Arc<Run>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) disk: Arc<SimulatedDisk>,
    /// Whether the disk can be full in this life.
    pub(crate) fills_up: bool,
    stopping: AtomicBool,
    followed: Mutex<Vec<Followed>>,
    suspects: Mutex<Vec<Suspect>>,
}

impl Life {
    pub(crate) fn new(
        run: &Arc<Run>,
        engine: Arc<Engine>,
        disk: &Arc<SimulatedDisk>,
        fills_up: bool,
    ) -> Self {
        Self {
            run: Arc::clone(run),
            engine,
            disk: Arc::clone(disk),
            fills_up,
            stopping: AtomicBool::new(false),
            followed: Mutex::default(),
            suspects: Mutex::default(),
        }
    }

    /// Whether its threads should make no more calls.
    pub(crate) fn is_ending(&self) -> bool {
        self.stopping.load(Ordering::Relaxed) || self.disk.is_off() || self.run.has_found()
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    /// The engine's time.
    pub(crate) fn time(&self) -> u32 {
        world::quietly(|| self.engine.now().seconds())
    }

    /// The latest time that the engine had. After a boot with a slow wall clock it may have another: what
    /// ended before has ended.
    pub(crate) fn now(&self) -> u32 {
        let time = self.time();
        self.run.latest.fetch_max(time, Ordering::Relaxed).max(time)
    }

    /// A pool by name; checks that there may be one.
    pub(crate) fn pool(&self, name: &'static str) -> Option<Arc<Pool>> {
        let begun = world::steps();
        world::point();
        let pool = self.engine.pool(name);
        let read = Interval { begun, ended: world::steps() };
        let mut model = self.run.model();
        if let Some(register) = model.names.get(name)
            && !register.allows(read, |there| *there == pool.is_some())
        {
            let finding = format!("pool {name} is there: {}, {read:?}, {}", pool.is_some(), register.all());
            model.find(finding);
        }
        drop(model);
        let pool = pool?;
        self.know(&pool);
        Some(pool)
    }

    /// Remembers a pool that was not seen before.
    pub(crate) fn know(&self, pool: &Pool) {
        let at = world::steps();
        let (paused, ttl, round) = world::quietly(|| (pool.is_paused(), pool.settings().ttl, pool.round()));
        let (settings, zones) = world::quietly(|| (pool.settings(), zones_index(pool)));
        self.run.model().pools.entry(pool.id()).or_insert_with(|| PoolModel {
            name: pool.name().to_string(),
            since: at,
            paused: Register::new(paused, at),
            ttl: Register::new(ttl, at),
            round: Register::new(round, at),
            blocked_by: Register::new(lists_of(&settings.blocked_by), at),
            has_holders: settings.holders,
            most_per_holder: settings.max_per_holder,
            on_expiry: settings.on_expiry,
            attempts: settings.attempts,
            counted_anew: Vec::new(),
            hours: Register::new(hours_index(&settings), at),
            zones: Register::new(zones, at),
        });
    }

    /// Follows which of some numbers are available during a lease call, if they are few.
    pub(crate) fn follow(&self, pool: &Arc<Pool>, numbers: &[Number]) -> u64 {
        let call = world::steps();
        if numbers.len() <= MOST_FOLLOWED {
            let mut followed = Followed {
                call,
                pool: Arc::clone(pool),
                numbers: numbers.to_vec(),
                first: 0,
                none_available: false,
                moments: Vec::new(),
            };
            world::quietly(|| followed.look(call));
            unpoisoned(&self.followed).push(followed);
        }
        call
    }

    /// Looks at all calls that are followed.
    pub(crate) fn look(&self, step: u64) {
        for followed in unpoisoned(&self.followed).iter_mut() {
            followed.look(step);
        }
    }

    /// Ends the following of a call, and keeps what is suspect about its "exhausted".
    pub(crate) fn unfollow(&self, call: u64, exhausted: bool) {
        let mut all = unpoisoned(&self.followed);
        let Some(at) = all.iter().position(|followed| followed.call == call) else { return };
        let followed = all.swap_remove(at);
        drop(all);
        // An available number may be closed.
        let has_hours = self.run.model().has_hours(followed.pool.id());
        if exhausted && !followed.none_available && !has_hours {
            let during = Interval { begun: call, ended: world::steps() };
            let suspect = Suspect { pool: followed.pool.id(), during, moments: followed.moments };
            unpoisoned(&self.suspects).push(suspect);
        }
    }

    /// Judges the suspects, once all calls have ended.
    pub(crate) fn judge_suspects(&self) {
        let suspects = std::mem::take(&mut *unpoisoned(&self.suspects));
        let mut model = self.run.model();
        for suspect in suspects {
            if !suspect.is_true(&model.lease_calls) {
                let Suspect { pool, during, moments } = suspect;
                model.find(format!(
                    "exhausted is false in pool {pool}, {during:?}: available were {moments:?}"
                ));
            }
        }
    }
}

impl Followed {
    fn look(&mut self, step: u64) {
        if self.none_available {
            return;
        }
        let count = self.numbers.len();
        let mut available = Vec::new();
        for offset in 0..count {
            let at = (self.first + offset) % count;
            let seen = self.pool.lookup(self.numbers[at]);
            if seen.is_some_and(|seen| seen.state == State::Available) {
                available.push(self.numbers[at].get());
                if available.len() == 1 {
                    self.first = at;
                }
                if available.len() > MOST_AVAILABLE {
                    break;
                }
            }
        }
        if available.is_empty() {
            self.none_available = true;
            self.moments.clear();
            return;
        }
        available.sort_unstable();
        let moment = (available.len() <= MOST_AVAILABLE).then_some(available);
        if self.moments.last().is_none_or(|(_, last)| *last != moment) {
            self.moments.push((step, moment));
        }
    }
}

impl Suspect {
    /// Whether at some moment each available number was about to be leased by a call under way.
    fn is_true(&self, calls: &[LeaseCall]) -> bool {
        let ends = self.moments.iter().skip(1).map(|(step, _)| *step).chain([self.during.ended]);
        self.moments.iter().zip(ends).any(|((from, available), to)| {
            let Some(available) = available else { return false };
            available.iter().all(|number| {
                calls.iter().any(|call| {
                    call.pool == self.pool
                        && call.during.begun <= to
                        && call.during.ended >= *from
                        && call.numbers.contains(number)
                })
            })
        })
    }
}
