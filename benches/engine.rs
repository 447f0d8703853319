//! What a lease and its return cost inside the process: through the number set, the free index and
//! the word alone (`core`), and through all of the engine with tokens, clock and counters (`engine`).
//!
//! `cargo bench --bench engine` runs all; a filter such as `core/random` runs a part. Pools of 400
//! million numbers need 4 GiB of memory and of disk under the temporary directory.

#![allow(clippy::unwrap_used, clippy::cast_sign_loss, missing_docs)]

use std::cell::LazyCell;
use std::hint::black_box;
use std::io::Cursor;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allotd::coordinates::Rank;
use allotd::disk::device::RealDisk;
use allotd::disk::files::create_words;
use allotd::disk::{MappedWords, Sharing, huge_page_vec};
use allotd::domain::settings::{NextState, Order, Settings, SettingsChange};
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{Lease, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::journal::Durability;
use allotd::numbers::number::NumberRange;
use allotd::numbers::sample::{Spread, ru_mobile_sample};
use allotd::numbers::set::NumberSet;
use allotd::numbers::set::run::LastRun;
use allotd::numbers::set::writer::SetWriter;
use allotd::state::block_counts::BlockCounts;
use allotd::state::dirty_blocks::DirtyBlocks;
use allotd::state::due_hints::DueHints;
use allotd::state::floors::Floors;
use allotd::state::free_index::FreeIndex;
use allotd::state::segment_state::SegmentState;
use allotd::state::time::Timestamp;
use allotd::state::word::{NextWord, Word};
use allotd::state::word_table::WordTable;
use allotd::sys::slot::Slot;
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

const REFERENCE: u64 = 40_000_000;
const SIZES: [u64; 5] = [40_000, 400_000, 4_000_000, REFERENCE, 400_000_000];
/// How many of ten million numbers are free, and how much of the pool is then taken, in percent.
const FILLS: [(u64, &str); 5] =
    [(10_000_000, "0"), (5_000_000, "50"), (100_000, "99"), (1_000, "99.99"), (10, "99.9999")];
const ORDERS: [(Order, &str); 2] = [(Order::Sequential, "sequential"), (Order::Random, "random")];
const SEED: u64 = 2022;
const PROBES: u32 = 3;
/// Pairs that are timed together: short enough to often pass without an interruption.
const CHUNK: u64 = 1 << 14;

fn numbers(count: u64) -> Vec<NumberRange> {
    ru_mobile_sample(count, SEED, Spread::Blocks).unwrap().collect()
}

/// A segment of its own: set, words (a mapped file), index and hints.
struct Core {
    set: NumberSet<Vec<u8>>,
    ranks: SegmentState<MappedWords>,
    _dir: tempfile::TempDir,
}

impl Core {
    /// `free` of ten million numbers are free, spread evenly; the others are leased for long.
    fn new(count: u64, free: u64) -> Self {
        let mut bytes = Cursor::new(Vec::new());
        let mut writer = SetWriter::new(&mut bytes).unwrap();
        for range in numbers(count) {
            writer.push(range).unwrap();
        }
        writer.finish().unwrap();
        let set = NumberSet::open(bytes.into_inner()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("words");
        create_words(&RealDisk, &path, count as u32).unwrap();
        let words = WordTable::new(MappedWords::open(&path, count as u32, Sharing::Private).unwrap());
        let leased = Word::NEW.lease(Timestamp::MAX, Floors::NONE).unwrap();
        let is_free = |rank: u64| rank.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32 < (free << 32) / 10_000_000;
        let mut leaves: Vec<u64> = huge_page_vec(count.div_ceil(64) as usize);
        leaves.resize(leaves.capacity(), 0);
        for rank in 0..count {
            if is_free(rank) {
                leaves[(rank / 64) as usize] |= 1 << (rank % 64);
                // Touched, as in use: no page fault in the measurement.
                words.update(Rank(rank as u32), |word| word.lease(Timestamp::new(1), Floors::NONE)).unwrap();
                words.update(Rank(rank as u32), |word| word.return_lease(NextWord::Available)).unwrap();
            } else {
                words.update(Rank(rank as u32), |_| Ok::<_, ()>(leased)).unwrap();
            }
        }
        let (due, dirty) = (DueHints::new(count as u32), DirtyBlocks::new(count as u32));
        Self {
            set,
            ranks: SegmentState {
                words,
                free: FreeIndex::build(count as u32, 4, leaves),
                due,
                dirty,
                blocks: BlockCounts::new(count as u32),
                holders: std::sync::OnceLock::new(),
            },
            _dir: dir,
        }
    }

    /// Leases the rank, then returns it by its number.
    #[inline]
    fn pair(&self, rank: Rank, caller: &mut Caller) {
        if self.ranks.lease(rank, Timestamp::MAX, Floors::NONE).is_err() {
            return;
        }
        let number = black_box(self.set.select_near(rank, &mut caller.last_leased).unwrap());
        let rank = self.set.rank_near(number, &mut caller.last_returned).unwrap();
        self.ranks.change(rank, caller.slot, |word| word.return_lease(NextWord::Available)).unwrap();
    }

    #[inline]
    fn sequential_pair(&self, caller: &mut Caller) {
        let (len, slot) = (self.ranks.free.len(), caller.slot);
        let free = &self.ranks.free;
        let taken = free
            .take(Rank(caller.cursor)..Rank(len), 1, slot)
            .or_else(|| free.take(Rank(0)..Rank(len), 1, slot));
        let Some(rank) = taken.and_then(|taken| taken.ranks().next()) else { return };
        caller.cursor = rank.0 + 1;
        self.pair(rank, caller);
    }

    #[inline]
    fn random_pair(&self, caller: &mut Caller) {
        let (len, slot) = (self.ranks.free.len(), caller.slot);
        let free = &self.ranks.free;
        let mut rank = 0;
        let mut taken = None;
        for _ in 0..PROBES {
            rank = ((u64::from(caller.random.next_u32()) * u64::from(len)) >> 32) as u32;
            taken = free.take_near(Rank(rank)..Rank(len), 1, slot);
            if taken.is_some() {
                break;
            }
        }
        let taken = taken
            .or_else(|| free.take(Rank(rank)..Rank(len), 1, slot))
            .or_else(|| free.take(Rank(0)..Rank(len), 1, slot));
        let Some(rank) = taken.and_then(|taken| taken.ranks().next()) else { return };
        self.pair(rank, caller);
    }

    #[inline]
    fn pair_in(&self, order: Order, caller: &mut Caller) {
        if order == Order::Sequential { self.sequential_pair(caller) } else { self.random_pair(caller) }
    }
}

/// What a thread keeps between pairs.
struct Caller {
    slot: Slot,
    cursor: u32,
    random: StdRng,
    last_leased: LastRun,
    last_returned: LastRun,
}

impl Caller {
    fn new(slot: usize, cursor: u32) -> Self {
        let random = StdRng::seed_from_u64(SEED + slot as u64);
        let last = LastRun::default();
        Self { slot: Slot(slot), cursor, random, last_leased: last, last_returned: last }
    }
}

/// Time of `pairs` pairs at the pace of the fastest [`CHUNK`] of them: what they cost while nothing else
/// runs, which is what can be compared on a machine that is shared.
fn at_best(pairs: u64, mut pair: impl FnMut()) -> Duration {
    let mut best = Duration::MAX;
    for _ in 0..pairs.div_ceil(CHUNK) {
        let start = Instant::now();
        for _ in 0..CHUNK {
            pair();
        }
        best = best.min(start.elapsed());
    }
    best.mul_f64(pairs as f64 / CHUNK as f64)
}

fn core_fill(c: &mut Criterion) {
    let mut group = c.benchmark_group("core");
    for (free, name) in FILLS {
        let core = LazyCell::new(|| Core::new(REFERENCE, free));
        for (order, order_name) in ORDERS {
            let mut caller = Caller::new(0, 0);
            group.bench_function(BenchmarkId::new(format!("{order_name}/fill"), name), |b| {
                b.iter_custom(|pairs| at_best(pairs, || core.pair_in(order, &mut caller)));
            });
            group.bench_function(BenchmarkId::new(format!("{order_name}/two_threads/fill"), name), |b| {
                b.iter_custom(|pairs| two_threads(&core, order, pairs));
            });
        }
    }
}

/// Wall time of `pairs` pairs, half of them on each of two threads.
fn two_threads(core: &Core, order: Order, pairs: u64) -> Duration {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for thread in 0..2 {
            scope.spawn(move || {
                let mut caller = Caller::new(thread + 1, core.ranks.free.len() / 2 * thread as u32);
                for _ in 0..pairs.div_ceil(2) {
                    core.pair_in(order, &mut caller);
                }
            });
        }
    });
    start.elapsed()
}

fn core_size(c: &mut Criterion) {
    let mut group = c.benchmark_group("core");
    for size in SIZES {
        let core = LazyCell::new(|| Core::new(size, 5_000_000));
        for (order, order_name) in ORDERS {
            let mut caller = Caller::new(0, 0);
            group.bench_function(BenchmarkId::new(format!("{order_name}/size"), size), |b| {
                b.iter_custom(|pairs| at_best(pairs, || core.pair_in(order, &mut caller)));
            });
        }
    }
}

/// Without a journal: what the engine itself costs.
fn config(dir: &std::path::Path) -> EngineConfig {
    EngineConfig { durability: Durability::None, ..EngineConfig::new(dir, 4) }
}

struct WholeEngine {
    engine: Arc<Engine>,
    pool: Arc<Pool>,
    worker: Worker,
    _dir: tempfile::TempDir,
}

impl WholeEngine {
    fn new(count: u64, order: Order) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let engine = Engine::open(&config(dir.path())).unwrap();
        let change = SettingsChange { order: Some(order), ttl: Some(86_400), ..SettingsChange::default() };
        let settings = Settings::default().changed(&change).unwrap();
        let ranges = numbers(count);
        engine.create_pool(&"p".parse().unwrap(), settings, NumberSource::Ranges(&ranges)).unwrap();
        Self { pool: engine.pool("p").unwrap(), worker: engine.worker(), engine, _dir: dir }
    }

    fn lease(&mut self, count: u32, leases: &mut Vec<Lease>) {
        let request = LeaseRequest { count, ttl_seconds: None, within: None };
        self.pool.lease(&mut self.worker, &request, leases).unwrap();
    }

    fn return_leases(&mut self, leases: &[Lease], results: &mut Vec<ReturnResult>) {
        self.pool.return_leases(&mut self.worker, &items(leases), results).unwrap();
    }
}

fn items(leases: &[Lease]) -> Vec<ReturnItem> {
    let item = |lease: &Lease| ReturnItem {
        lease: LeaseRef { number: lease.number, token: Some(lease.token) },
        then: NextState::Available,
        outcome: None,
    };
    leases.iter().map(item).collect()
}

fn engine_pair(c: &mut Criterion) {
    let mut group = c.benchmark_group("engine");
    for (order, name) in
        [(Order::Sequential, "sequential"), (Order::Random, "random"), (Order::Lowest, "lowest")]
    {
        let mut whole = LazyCell::new(|| WholeEngine::new(REFERENCE, order));
        let (mut leases, mut results) = (Vec::new(), Vec::new());
        group.throughput(Throughput::Elements(1));
        group.bench_function(BenchmarkId::new("pair", name), |b| {
            b.iter(|| {
                whole.lease(1, &mut leases);
                whole.return_leases(&leases, &mut results);
            });
        });
        for count in [100, 10_000] {
            group.throughput(Throughput::Elements(count));
            group.bench_function(BenchmarkId::new(format!("batch/{name}"), count), |b| {
                b.iter_custom(|batches| {
                    let mut spent = Duration::ZERO;
                    for _ in 0..batches {
                        let start = Instant::now();
                        whole.lease(count as u32, &mut leases);
                        spent += start.elapsed();
                        whole.return_leases(&leases, &mut results);
                    }
                    spent
                });
            });
        }
    }
}

/// One million leases that end within the same second: until all are available again, and what
/// leases cost meanwhile. Printed, as criterion has no notion of one event.
fn storm(_: &mut Criterion) {
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-'));
    if filter.is_some_and(|filter| !"engine/storm".contains(&filter)) {
        return;
    }
    let mut whole = WholeEngine::new(REFERENCE, Order::Random);
    let mut leases = Vec::new();
    for _ in 0..20 {
        let request = LeaseRequest { count: 50_000, ttl_seconds: Some(60), within: None };
        whole.pool.lease(&mut whole.worker, &request, &mut leases).unwrap();
    }
    while whole.pool.counts().leased < 1_000_000 {
        whole.lease(1_000, &mut leases);
    }
    whole.engine.clock().skip(62);
    let start = Instant::now();
    let (mut latencies, mut results) = (Vec::new(), Vec::new());
    let back = loop {
        let call = Instant::now();
        whole.lease(1, &mut leases);
        latencies.push(call.elapsed());
        whole.return_leases(&leases, &mut results);
        if whole.pool.counts().leased == 0 {
            break start.elapsed();
        }
    };
    latencies.sort_unstable();
    let quantile = |q: f64| latencies[((latencies.len() - 1) as f64 * q) as usize];
    println!(
        "storm: 1,000,000 leases ended at once: all available after {back:.2?}; {} leases meanwhile: p50 {:.1?}, p99 {:.1?}, p99.9 {:.1?}, max {:.1?}",
        latencies.len(),
        quantile(0.5),
        quantile(0.99),
        quantile(0.999),
        quantile(1.0),
    );
}

/// A data directory with one pool of 40 million numbers, half of them leased.
fn half_leased() -> tempfile::TempDir {
    let WholeEngine { engine, pool, mut worker, _dir: dir } = WholeEngine::new(REFERENCE, Order::Sequential);
    let mut leases = Vec::new();
    let request = LeaseRequest { count: 50_000, ttl_seconds: None, within: None };
    for _ in 0..REFERENCE / 2 / 50_000 {
        pool.lease(&mut worker, &request, &mut leases).unwrap();
    }
    drop((pool, engine));
    dir
}

/// Opening [`half_leased`].
fn reopen(c: &mut Criterion) {
    let dir = LazyCell::new(half_leased);
    c.bench_function("engine/open", |b| {
        let config = config(dir.path());
        b.iter_custom(|times| {
            (0..times)
                .map(|_| {
                    let start = Instant::now();
                    let engine = Engine::open(&config).unwrap();
                    let spent = start.elapsed();
                    drop(engine);
                    spent
                })
                .sum()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(2));
    targets = core_fill, engine_pair, storm, reopen, core_size
}
criterion_main!(benches);
