//! The scheduler: which thread goes on, from the seed of the run alone.

use rand::rngs::SmallRng;
use rand::seq::IndexedRandom;
use rand::{Rng, RngExt, SeedableRng};
use shuttle::scheduler::{Schedule, Scheduler, Task, TaskId};

use super::world;

/// How much time one step may take, in nanoseconds.
const STEP_NANOS: [u64; 4] = [50, 200, 1_000, 5_000];
/// In how many of 16 switches a random run goes on with the same thread.
const STAYS: [u32; 5] = [0, 8, 12, 14, 15];
/// The most changes of the priorities in one run.
const MAX_CHANGES: usize = 6;
/// In how many steps one thread stands still in a run with stalls,
const STALLS: [u32; 4] = [30, 100, 300, 1_000];
/// and for how many steps at most.
const MAX_STALL_STEPS: u64 = 2_000;
/// About how many steps a run has.
const STEPS: u64 = 12_000;

enum Policy {
    /// Any thread that can run, or with some probability the same.
    Random { stays: u32 },
    /// The thread of the highest priority; at a few steps the priorities change. Most bugs need few such
    /// changes (probabilistic concurrency testing).
    Priorities { order: Vec<u64>, changes: Vec<u64>, lowest: u64 },
    /// Any thread, but now and then one stands still for long, whatever it was about to do, while the others go on.
    Stalls { one_in: u32, until: Vec<u64> },
}

/// Runs the seeds from a first one on.
pub struct Seeds {
    next: u64,
    left: u64,
    stride: u64,
    random: SmallRng,
    policy: Policy,
    steps: u64,
    able: Vec<TaskId>,
}

impl std::fmt::Debug for Seeds {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} more from {}", self.left, self.next)
    }
}

impl Seeds {
    /// `runs` runs with the seeds `first`, `first + stride` and so on.
    pub fn new(first: u64, runs: u64, stride: u64) -> Self {
        let random = SmallRng::seed_from_u64(0);
        Self {
            next: first,
            left: runs,
            stride,
            random,
            policy: Policy::Random { stays: 0 },
            steps: 0,
            able: Vec::new(),
        }
    }

    fn draw_policy(&mut self) -> Policy {
        match self.random.random_range(0..10) {
            0..4 => return Policy::Random { stays: *STAYS.choose(&mut self.random).expect("not empty") },
            4..7 => {
                let one_in = *STALLS.choose(&mut self.random).expect("not empty");
                return Policy::Stalls { one_in, until: Vec::new() };
            }
            _ => {}
        }
        let changes = self.random.random_range(0..=MAX_CHANGES);
        let changes = (0..changes).map(|_| self.random.random_range(0..STEPS)).collect();
        Policy::Priorities { order: Vec::new(), changes, lowest: 0 }
    }
}

fn number(task: TaskId) -> usize {
    task.into()
}

impl Policy {
    fn pick(
        &mut self,
        tasks: &[TaskId],
        current: Option<TaskId>,
        yields: bool,
        step: u64,
        random: &mut SmallRng,
    ) -> TaskId {
        let current = current.filter(|current| tasks.contains(current));
        match self {
            Self::Random { stays } => {
                if let (Some(current), false) = (current, yields)
                    && random.random_range(0..16) < *stays
                {
                    return current;
                }
                *tasks.choose(random).expect("a thread that can run")
            }
            Self::Priorities { order, changes, lowest } => {
                let last = tasks.iter().map(|task| number(*task)).max().unwrap_or(0);
                while order.len() <= last {
                    order.push(random.random_range(1 << 32..1 << 33));
                }
                if let Some(current) = current
                    && (yields || changes.contains(&step))
                {
                    *lowest += 1;
                    order[number(current)] = (1 << 32) - *lowest;
                }
                *tasks.iter().max_by_key(|task| order[number(**task)]).expect("a thread that can run")
            }
            Self::Stalls { one_in, until } => {
                let last = tasks.iter().map(|task| number(*task)).max().unwrap_or(0);
                until.resize(until.len().max(last + 1), 0);
                if let Some(current) = current
                    && random.random_range(0..*one_in) == 0
                {
                    until[number(current)] = step + random.random_range(1..MAX_STALL_STEPS);
                }
                let goes_on = |task: &&TaskId| until[number(**task)] <= step;
                let count = tasks.iter().filter(goes_on).count();
                let any = (count > 0).then(|| random.random_range(0..count));
                any.and_then(|at| tasks.iter().filter(goes_on).nth(at))
                    .or_else(|| tasks.iter().min_by_key(|task| until[number(**task)]))
                    .copied()
                    .expect("a thread that can run")
            }
        }
    }
}

impl Scheduler for Seeds {
    fn new_execution(&mut self) -> Option<Schedule> {
        if world::take_stop() || self.left == 0 {
            return None;
        }
        let seed = self.next;
        self.left -= 1;
        self.next = self.next.wrapping_add(self.stride);
        self.random = SmallRng::seed_from_u64(seed);
        self.steps = 0;
        self.policy = self.draw_policy();
        world::begin(seed, *STEP_NANOS.choose(&mut self.random).expect("not empty"));
        Some(Schedule::new(seed))
    }

    fn next_task(&mut self, tasks: &[&Task], current: Option<TaskId>, yields: bool) -> Option<TaskId> {
        world::step(current.map_or(0, number));
        loop {
            self.able.clear();
            self.able.extend(tasks.iter().map(|task| task.id()).filter(|id| world::is_runnable(number(*id))));
            if !self.able.is_empty() {
                break;
            }
            world::skip_to_next_sleeper();
        }
        self.steps += 1;
        Some(self.policy.pick(&self.able, current, yields, self.steps, &mut self.random))
    }

    fn next_u64(&mut self) -> u64 {
        self.random.next_u64()
    }
}
