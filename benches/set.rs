//! What a lookup in a number set costs: a select and the rank of what it gave, in order and at random.
//!
//! `cargo bench --bench set` runs all; a filter such as `random/blocks` runs a part.

#![allow(clippy::unwrap_used, missing_docs)]

use std::hint::black_box;
use std::io::Cursor;
use std::time::Duration;

use allotd::coordinates::Rank;
use allotd::numbers::sample::{Spread, ru_mobile_sample};
use allotd::numbers::set::NumberSet;
use allotd::numbers::set::writer::SetWriter;
use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const SIZES: [u64; 2] = [40_000, 40_000_000];
const SEED: u64 = 2022;
/// Pairs of one measured call: the time of a call is divided by it.
const PAIRS: u32 = 1 << 14;
/// 2^64 divided by the golden ratio: multiplying by it spreads ranks over the whole set.
const SPREAD: u64 = 0x9E37_79B9_7F4A_7C15;

fn set_of(count: u64, spread: Spread) -> NumberSet<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let mut writer = SetWriter::new(&mut bytes).unwrap();
    for range in ru_mobile_sample(count, SEED, spread).unwrap() {
        writer.push(range).unwrap();
    }
    writer.finish().unwrap();
    NumberSet::open(bytes.into_inner()).unwrap()
}

/// Runs [`PAIRS`] pairs over the ranks that `next` gives. Each rank depends on the answer before it, so the pairs
/// do not overlap and what is measured is the latency of one.
fn pairs(set: &NumberSet<Vec<u8>>, from: u32, next: impl Fn(u32, u32) -> u32) -> u32 {
    let mut rank = from;
    for pair in 0..PAIRS {
        let number = set.select(Rank(rank)).unwrap();
        rank = next(set.rank(black_box(number)).unwrap().0, pair);
    }
    rank
}

fn bench_set(group: &mut BenchmarkGroup<'_, WallTime>, count: u64, name: &str, spread: Spread) {
    let set = set_of(count, spread);
    println!(
        "{name}, {count} numbers: {} bytes serialized, {} bytes of index",
        set.as_bytes().len(),
        set.index_bytes()
    );
    let len = set.len() as u32;
    let in_order = |rank: u32, _| if rank + 1 == len { 0 } else { rank + 1 };
    let at_random = |rank: u32, pair: u32| {
        let mixed = (u64::from(rank) + u64::from(pair)).wrapping_mul(SPREAD) >> 32;
        ((mixed * u64::from(len)) >> 32) as u32
    };
    // Every container is queried once, so that no measured call builds its counts.
    (0..len).step_by(100).for_each(|rank| assert!(set.select(Rank(rank)).is_some()));
    let mut rank = 0;
    group.bench_function(BenchmarkId::new(format!("sequential/{name}"), count), |bencher| {
        bencher.iter(|| rank = pairs(&set, rank, in_order));
    });
    group.bench_function(BenchmarkId::new(format!("random/{name}"), count), |bencher| {
        bencher.iter(|| rank = pairs(&set, rank, at_random));
    });
    group.bench_function(BenchmarkId::new(format!("ranges/{name}"), count), |bencher| {
        bencher.iter(|| set.ranges().take(PAIRS as usize).fold(0, |sum, range| sum ^ range.first().get()));
    });
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("set");
    group.throughput(Throughput::Elements(u64::from(PAIRS)));
    for count in SIZES {
        bench_set(&mut group, count, "blocks", Spread::Blocks);
        bench_set(&mut group, count, "random", Spread::Random);
    }
    group.finish();
}

criterion_group! {
    name = set;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = benches
}
criterion_main!(set);
