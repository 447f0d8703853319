//! The load generator of `allotd bench`: many connections, one thread (or more) that serves them with
//! epoll, requests built once, answers parsed for little more than status and length.
//!
//! [`load`] knows no protocol: each connection has a [`Protocol`]. [`callers`] has that of allotd's HTTP
//! calls; the benchmarks against other servers bring their own.
//!
//! How the figures are defined:
//!
//! 1. A request's time is when it is handed to its connection, or in an open loop when it was *due*,
//!    however late it could be sent. So a server that stalls cannot slow the load down and hide it.
//! 2. Operations are the answers that came within the measured time; latencies are those of the requests
//!    whose time lies within it, those answered after its end included.
//! 3. What was due but not sent, and what was not answered, counts with the time it waited so far: the
//!    least that its latency can be.

pub mod answers;
pub mod callers;
pub mod connection;
pub mod cpu;
pub mod error;
pub mod items;
pub mod load;
pub mod plan;
pub mod prepare;
pub mod protocol;
pub mod report;
pub(crate) mod requests;
pub mod schedule;
pub mod tally;
pub mod transport;
mod worker;

use std::sync::Arc;

use callers::Caller;
use error::BenchError;
use load::Load;
use plan::{Mix, Plan};
use report::{Occupancy, Report};
use requests::Requests;

pub use protocol::Protocol;

/// Prepares the pool, runs the load and measures.
pub fn run(plan: &Plan) -> Result<Report, BenchError> {
    if let Some(pid) = plan.server_pid {
        cpu::of_process(pid).map_err(|error| BenchError::Process { pid, error })?;
    }
    let pool = prepare::PoolCalls::new(plan);
    pool.set_order()?;
    let leased = prepare::leases_of_the_mix(plan, &pool)?;
    let occupied = pool.occupy()?;
    let before = pool.occupancy()?;
    let requests = Requests::new(plan);
    let rotations: Vec<Arc<[Vec<u8>]>> = match plan.mix {
        Mix::Lease | Mix::LeaseReturn => vec![Arc::from([requests.lease.clone()])],
        Mix::Lookup => vec![requests.lookups(&leased)],
        Mix::Renew => {
            let sets = leased.chunks(plan.numbers_renewed_per_connection());
            sets.map(|set| requests.renewals(set, plan)).collect()
        }
    };
    let load = Load {
        threads: plan.threads,
        connections: plan.connections,
        depth: plan.depth,
        rate_per_second: plan.rate_per_second,
        warm_up: plan.warm_up,
        time: plan.time,
        interval: report::INTERVAL,
        patience: plan::ANSWER_PATIENCE,
    };
    let open = |index: usize| {
        let caller = match plan.mix {
            Mix::LeaseReturn => Caller::leasing_and_returning(&requests.lease, &requests.return_head),
            mix => {
                let rotation = Arc::clone(&rotations[index % rotations.len()]);
                Caller::rotating(rotation, index, mix.only_call(), plan.count)
            }
        };
        Ok((connection::connect(&plan.server)?, caller))
    };
    let probe = plan.server_pid.map(|pid| move || cpu::of_process(pid));
    let probe = probe.as_ref().map(|probe| probe as &dyn Fn() -> std::io::Result<std::time::Duration>);
    let failed = |error| BenchError::Load { server: Box::new(plan.server.clone()), error };
    let measured = load::run(&load, open, probe).map_err(failed)?;
    let occupancy = Occupancy { occupied, before, after: pool.occupancy()?, leased: leased.len() as u64 };
    Ok(Report::new(plan, measured, occupancy))
}
