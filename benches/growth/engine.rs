//! The engine in this process, without HTTP and without a journal.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use allotd::domain::settings::{NextState, Order, SettingsChange};
use allotd::engine::operations::lease::{Lease, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::{ReturnItem, ReturnResult};
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::journal::Durability;
use rustix::time::{ClockId, clock_gettime};

use super::support::curve::Sample;
use super::support::process::page_faults;

/// Leases per page of words before the rounds, as [`super::support::daemon::Daemon::touch_pages`].
const TOUCHES_PER_PAGE: u64 = 12;
const WORDS_PER_PAGE: u64 = 512;
const TOUCH_BATCH: u32 = 4_096;
/// Pairs between two readings of the clock.
const PAIRS_PER_LOOK: u32 = 256;
const OWN_STAT: &str = "/proc/thread-self/stat";

/// An engine and the one worker that calls it.
pub(crate) struct InProcess {
    engine: Arc<Engine>,
    worker: Worker,
    leases: Vec<Lease>,
    results: Vec<ReturnResult>,
}

/// Processor time of this thread so far.
fn thread_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

fn since(before: Duration) -> Duration {
    thread_time().saturating_sub(before)
}

fn request(count: u32) -> LeaseRequest<'static> {
    LeaseRequest { count, ttl_seconds: None, within: None }
}

impl InProcess {
    /// Opens the data directory of a daemon that has ended.
    pub(crate) fn open(data: &Path) -> Self {
        let config = EngineConfig { durability: Durability::None, ..EngineConfig::new(data, 1) };
        let engine = Engine::open(&config).unwrap();
        Self { worker: engine.worker(), engine, leases: Vec::new(), results: Vec::new() }
    }

    fn pool(&self, pool: &str, order: Order) -> Arc<Pool> {
        let pool = self.engine.pool(pool).unwrap();
        if pool.settings().order != order {
            pool.change_settings(&SettingsChange { order: Some(order), ..SettingsChange::default() })
                .unwrap();
        }
        pool
    }

    fn lease(&mut self, pool: &Pool, count: u32) {
        pool.lease(&mut self.worker, &request(count), &mut self.leases).unwrap();
    }

    fn return_leases(&mut self, pool: &Pool) {
        let item = |lease: &Lease| ReturnItem {
            lease: LeaseRef { number: lease.number, token: Some(lease.token) },
            then: NextState::Available,
            outcome: None,
        };
        let items: Vec<ReturnItem> = self.leases.iter().map(item).collect();
        pool.return_leases(&mut self.worker, &items, &mut self.results).unwrap();
    }

    /// Writes to every page of the words, or nearly.
    pub(crate) fn touch_pages(&mut self, pool: &str, numbers: u64) {
        let pool = self.pool(pool, Order::Random);
        for _ in 0..numbers.div_ceil(WORDS_PER_PAGE) * TOUCHES_PER_PAGE / u64::from(TOUCH_BATCH) {
            self.lease(&pool, TOUCH_BATCH.min((numbers / 4) as u32));
            self.return_leases(&pool);
        }
    }

    /// Leases and returns one number repeatedly: microseconds per operation.
    pub(crate) fn pairs(&mut self, pool: &str, order: Order, time: Duration) -> Sample {
        let pool = self.pool(pool, order);
        let (started, cpu, faults) = (Instant::now(), thread_time(), page_faults(OWN_STAT));
        let mut operations = 0_u64;
        while started.elapsed() < time {
            for _ in 0..PAIRS_PER_LOOK {
                pool.lease(&mut self.worker, &request(1), &mut self.leases).unwrap();
                let Lease { number, token, .. } = self.leases[0];
                let lease = LeaseRef { number, token: Some(token) };
                let item = ReturnItem { lease, then: NextState::Available, outcome: None };
                pool.return_leases(&mut self.worker, &[item], &mut self.results).unwrap();
            }
            operations += 2 * u64::from(PAIRS_PER_LOOK);
        }
        let spent = since(cpu).as_secs_f64();
        let [page, disk] = page_faults(OWN_STAT);
        let each = |after: u64, before: u64| (after - before) as f64 / operations as f64;
        Sample {
            value: spent * 1e6 / operations as f64,
            facts: vec![
                ("page faults each", each(page, faults[0])),
                ("disk faults each", each(disk, faults[1])),
            ],
        }
    }

    /// Leases of `count` numbers at once; their returns are not measured. Microseconds per number.
    pub(crate) fn batches(&mut self, pool: &str, count: u32, time: Duration) -> Sample {
        let pool = self.pool(pool, Order::Random);
        let (started, mut spent, mut numbers) = (Instant::now(), Duration::ZERO, 0);
        // The clock takes longer than a lease of one number: several are timed together.
        let calls = (PAIRS_PER_LOOK / count).max(1);
        let mut kept = Vec::new();
        while started.elapsed() < time {
            kept.clear();
            let cpu = thread_time();
            for _ in 0..calls {
                self.lease(&pool, count);
                kept.extend_from_slice(&self.leases);
            }
            spent += since(cpu);
            numbers += kept.len();
            std::mem::swap(&mut self.leases, &mut kept);
            self.return_leases(&pool);
            std::mem::swap(&mut self.leases, &mut kept);
        }
        Sample { value: spent.as_secs_f64() * 1e6 / numbers as f64, facts: Vec::new() }
    }
}
