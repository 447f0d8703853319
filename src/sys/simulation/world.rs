//! The state of one simulated run: its time, its sleepers, its random numbers, what it did last.
//!
//! All threads of a run are coroutines on one thread of the system, so its state is local to that thread.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::panic::Location;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// How many of the last events are kept.
const KEPT_EVENTS: usize = 1_500;

/// The number of a thread.
pub type Task = usize;

/// What a sleeper is found by: when it wakes, and a number of its own.
pub(super) type SleeperId = (u64, u64);

type Watcher = Rc<dyn Fn(u64)>;

struct World {
    now_nanos: u64,
    /// How much time one step takes.
    step_nanos: u64,
    steps: u64,
    /// Threads that wait with a limit, by when it is over.
    sleepers: BTreeMap<SleeperId, Task>,
    /// Threads that are not to run.
    blocked: Vec<bool>,
    next_sleeper: u64,
    /// While set, atomics and locks are no places to switch.
    quiet: bool,
    random: StdRng,
    seed: u64,
    tracing: bool,
    events: VecDeque<String>,
    hash: u64,
    waits: HashMap<usize, &'static Location<'static>>,
    names: HashMap<usize, String>,
    tokens: HashMap<usize, Arc<AtomicBool>>,
    watcher: Option<Watcher>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::new(0, 0, false));
    static STOPPED: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
    static TRACING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl World {
    fn wake(&mut self, task: Task) {
        if let Some(blocked) = self.blocked.get_mut(task) {
            *blocked = false;
        }
    }

    fn wake_due(&mut self) {
        while let Some(first) = self.sleepers.first_entry()
            && first.key().0 <= self.now_nanos
        {
            let task = first.remove();
            self.wake(task);
        }
    }

    fn new(seed: u64, step_nanos: u64, tracing: bool) -> Self {
        Self {
            now_nanos: 1_000_000_000,
            step_nanos,
            steps: 0,
            sleepers: BTreeMap::new(),
            blocked: Vec::new(),
            next_sleeper: 0,
            quiet: false,
            random: StdRng::seed_from_u64(seed ^ 0x5EED),
            seed,
            tracing,
            events: VecDeque::new(),
            hash: 0,
            waits: HashMap::new(),
            names: HashMap::new(),
            tokens: HashMap::new(),
            watcher: None,
        }
    }
}

fn with<T>(act: impl FnOnce(&mut World) -> T) -> T {
    WORLD.with(|world| act(&mut world.borrow_mut()))
}

/// Makes the runs of this thread from now on keep what happens.
pub fn trace(on: bool) {
    TRACING.set(on);
}

/// Runs no further seed after this one.
pub fn stop() {
    STOPPED.set(true);
}

/// Whether [`stop`] was called since the last call of this.
pub(super) fn take_stop() -> bool {
    STOPPED.replace(false)
}

/// Begins a run.
pub(super) fn begin(seed: u64, step_nanos: u64) {
    let old = WORLD.with(|world| world.replace(World::new(seed, step_nanos, TRACING.get())));
    // What the old run left may use this thread's world while it is dropped.
    drop(old);
}

/// The seed of the run.
pub fn seed() -> u64 {
    with(|world| world.seed)
}

/// Fills bytes with the run's random numbers.
pub(crate) fn fill(bytes: &mut [u8]) {
    with(|world| world.random.fill_bytes(bytes));
}

/// The time since the run's boot.
pub fn now() -> Duration {
    Duration::from_nanos(with(|world| world.now_nanos))
}

/// How many steps the run has had.
pub fn steps() -> u64 {
    with(|world| world.steps)
}

/// A place where the scheduler may go on with another thread.
#[inline]
pub fn point() {
    if !with(|world| world.quiet) {
        shuttle::thread::sleep(Duration::ZERO);
    }
}

/// Does something during which no other thread runs: only reads, and nothing that waits.
pub fn quietly<T>(act: impl FnOnce() -> T) -> T {
    let before = with(|world| std::mem::replace(&mut world.quiet, true));
    let result = act();
    with(|world| world.quiet = before);
    result
}

/// Calls `watcher` after each step of the run with the number of steps. It may only read, quietly.
pub fn watch(watcher: Option<Watcher>) {
    let old = with(|world| std::mem::replace(&mut world.watcher, watcher));
    drop(old);
}

/// One step of a thread: time passes, and sleepers whose time has come wake up.
pub(super) fn step(task: Task) {
    let (watcher, steps) = with(|world| {
        world.steps += 1;
        world.now_nanos += world.step_nanos;
        world.hash = (world.hash ^ task as u64).wrapping_mul(0x0000_0100_0000_01B3).rotate_left(5);
        world.wake_due();
        (world.watcher.clone(), world.steps)
    });
    if let Some(watcher) = watcher {
        quietly(|| watcher(steps));
    }
}

/// Moves the time to the end of the next sleep, as nobody can run before.
pub(super) fn skip_to_next_sleeper() {
    let moved = with(|world| {
        let Some(((at, _), _)) = world.sleepers.first_key_value() else { return false };
        world.now_nanos = world.now_nanos.max(*at);
        world.wake_due();
        true
    });
    assert!(moved, "all threads wait for ever");
}

/// Whether a thread may run.
pub(super) fn is_runnable(task: Task) -> bool {
    with(|world| !world.blocked.get(task).copied().unwrap_or(false))
}

/// Lets the calling thread not run until it is woken.
pub(super) fn block() {
    let task = this_task();
    with(|world| {
        if world.blocked.len() <= task {
            world.blocked.resize(task + 1, false);
        }
        world.blocked[task] = true;
    });
    shuttle::thread::sleep(Duration::ZERO);
}

/// Lets a thread run again.
pub(super) fn wake(task: Task) {
    with(|world| world.wake(task));
}

/// Mixes which task ran into what tells two runs apart.
pub fn hash() -> u64 {
    with(|world| world.hash)
}

/// Adds the calling thread to the sleepers.
pub(super) fn add_sleeper(pause: Duration) -> SleeperId {
    let task = this_task();
    with(|world| {
        let at = world.now_nanos.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
        world.next_sleeper += 1;
        let id = (at, world.next_sleeper);
        world.sleepers.insert(id, task);
        id
    })
}

/// Removes a sleeper that need not be woken any more. Returns whether its time had come.
pub(super) fn remove_sleeper(id: SleeperId) -> bool {
    with(|world| world.sleepers.remove(&id)).is_none()
}

/// Whether the time of a sleeper has come.
pub(super) fn has_fired(id: SleeperId) -> bool {
    with(|world| !world.sleepers.contains_key(&id))
}

/// The token of a thread's `unpark`.
pub(super) fn token(task: usize) -> Arc<AtomicBool> {
    with(|world| Arc::clone(world.tokens.entry(task).or_default()))
}

/// Remembers the name of a thread.
pub(super) fn name(task: usize, name: &str) {
    with(|world| world.names.insert(task, name.to_owned()));
}

/// The number of the calling thread in its run.
pub fn this_task() -> Task {
    shuttle::current::try_get_current_task().map_or(usize::MAX, usize::from)
}

/// Notes where the calling thread waits; `None` when it goes on.
pub(super) fn waits_at(place: Option<&'static Location<'static>>) {
    let task = this_task();
    with(|world| match place {
        Some(place) => {
            world.waits.insert(task, place);
        }
        None => {
            world.waits.remove(&task);
        }
    });
}

/// Where each waiting thread waits.
pub fn waits() -> String {
    with(|world| {
        let mut waits: Vec<_> = world.waits.iter().collect();
        waits.sort();
        let name = |task: &usize| world.names.get(task).cloned().unwrap_or_else(|| format!("thread {task}"));
        waits.iter().map(|(task, place)| format!("  {} waits at {place}\n", name(task))).collect()
    })
}

/// Keeps an event, if events are kept.
pub fn note(event: impl FnOnce() -> String) {
    if !TRACING.get() {
        return;
    }
    let (event, task) = (event(), this_task());
    with(|world| {
        if !world.tracing {
            return;
        }
        if world.events.len() == KEPT_EVENTS {
            world.events.pop_front();
        }
        let thread = world.names.get(&task).cloned().unwrap_or_else(|| task.to_string());
        let seconds = world.now_nanos as f64 / 1e9;
        world.events.push_back(format!("{:>7} {seconds:>11.6} s {thread}: {event}", world.steps));
    });
}

/// The last events.
pub fn events() -> Vec<String> {
    with(|world| world.events.iter().cloned().collect())
}
