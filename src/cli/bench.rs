//! `allotd bench`: puts load on a daemon and prints the figures.

use clap::Args;

use crate::bench;
use crate::bench::error::BenchError;
use crate::bench::plan::{self, MIN_SECONDS, Mix, Plan, PlanError};
use crate::domain::settings::Order;

use super::error::CliError;
use super::output;
use super::remote::Remote;

#[derive(Debug, Args)]
pub(super) struct BenchArgs {
    /// Name of the pool
    pool: String,
    /// Which calls to make: lease, lease+return, renew or lookup
    #[arg(long, value_name = "MIX", default_value = "lease")]
    mix: String,
    /// How many connections to open
    #[arg(long, value_name = "N", default_value_t = 64)]
    connections: usize,
    /// Most requests in flight on a connection
    #[arg(long, value_name = "N", default_value_t = 1)]
    pipeline: usize,
    /// Numbers per lease, renewal or return
    #[arg(long, value_name = "N", default_value_t = 1)]
    count: u32,
    /// Requests per second, in an open loop; without it, a connection sends again when all its requests are
    /// answered
    #[arg(long, value_name = "N")]
    rate: Option<f64>,
    /// How long the load runs before the measured time
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    warm_up_seconds: f64,
    /// How long to measure
    #[arg(long, value_name = "SECONDS", default_value_t = 10.0)]
    seconds: f64,
    /// How long a lease lasts [default: the pool's ttl]
    #[arg(long, value_name = "SECONDS")]
    ttl: Option<u32>,
    /// Set the pool's order before the load, and leave it so: random, sequential or lowest
    #[arg(long, value_name = "ORDER")]
    order: Option<Order>,
    /// Lease numbers before the load until this percentage of the pool is taken; these leases
    /// last as long as the pool allows
    #[arg(long, alias = "taken", value_name = "PERCENT")]
    fill: Option<f64>,
    /// How many threads make the load
    #[arg(long, value_name = "N", default_value_t = 1)]
    threads: usize,
    /// Process id of a daemon on this machine, to report its CPU time
    #[arg(long, value_name = "PID")]
    server_pid: Option<u32>,
    #[command(flatten)]
    remote: Remote,
}

impl From<PlanError> for CliError {
    fn from(error: PlanError) -> Self {
        Self::Usage(error.to_string())
    }
}

impl From<BenchError> for CliError {
    fn from(error: BenchError) -> Self {
        Self::Failed(error.to_string())
    }
}

impl BenchArgs {
    fn plan(&self) -> Result<Plan, CliError> {
        let plan = Plan {
            server: self.remote.server()?,
            server_pid: self.server_pid,
            pool: crate::cli::pool::name::checked_name(&self.pool)?,
            mix: self.mix.parse::<Mix>()?,
            count: self.count,
            ttl_seconds: self.ttl,
            order: self.order,
            fill_percent: self.fill,
            connections: self.connections,
            depth: self.pipeline,
            threads: self.threads,
            rate_per_second: self.rate,
            warm_up: plan::seconds("warm-up-seconds", self.warm_up_seconds, 0.0)?,
            time: plan::seconds("seconds", self.seconds, MIN_SECONDS)?,
        };
        Ok(plan.checked()?)
    }
}

pub(super) fn run(args: &BenchArgs) -> Result<(), CliError> {
    let report = bench::run(&args.plan()?)?;
    output::print(&if args.remote.json { format!("{}\n", report.json()) } else { report.text() })
}
