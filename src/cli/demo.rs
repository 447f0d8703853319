//! `allotd demo`: the daemon with a pool of real ranges, and what to try.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::{CliError, output, serve};
use crate::config::ServeArgs;
use crate::engine::Engine;
use crate::engine::load::NumberSource;
use crate::engine::settings::{PoolName, Settings};
use crate::numbers::sample::{Spread, ru_mobile_sample};

/// The pool of the demo.
const POOL: &str = "demo";
/// The same numbers each time.
const SEED: u64 = 7979;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How many numbers
    #[arg(long, env = "ALLOTD_NUMBERS", default_value_t = 40_000_000, value_name = "N")]
    numbers: u32,
    #[command(flatten)]
    serve: ServeArgs,
}

const GREETING: &str = "\
Try, in another terminal:
  curl -X POST {url}/v1/pools/demo/lease
  curl -X POST {url}/v1/pools/demo/lease -H 'content-type: application/json' -d '{\"count\":3,\"within\":[\"7912\"]}'
  curl -X POST {url}/v1/pools/demo/renew -H 'content-type: application/json' -d '{\"leases\":[{\"number\":NUMBER,\"token\":\"TOKEN\"}],\"ttl\":600}'
  curl -X POST {url}/v1/pools/demo/return -H 'content-type: application/json' -d '{\"leases\":[{\"number\":NUMBER,\"token\":\"TOKEN\"}]}'
  curl {url}/v1/pools/demo/numbers/NUMBER
  curl {url}/v1/stats
";

pub(super) fn run(mut args: DemoArgs) -> Result<(), CliError> {
    let data = args.serve.data.take().unwrap_or_else(|| std::env::temp_dir().join("allotd-demo"));
    args.serve.data = Some(data);
    let config = args.serve.into_config()?;
    let started = Instant::now();
    let engine = serve::open(&config)?;
    step(&format!("opened {}", config.data_dir.display()), started)?;
    if engine.pool(POOL).is_none() {
        create(&engine, args.numbers)?;
    }
    serve::serve(&config, engine, GREETING)
}

fn step(what: &str, started: Instant) -> Result<(), CliError> {
    output::print(&format!("{what} in {:.2} s\n", started.elapsed().as_secs_f64()))
}

fn create(engine: &Arc<Engine>, numbers: u32) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let started = Instant::now();
    let sample = ru_mobile_sample(numbers.into(), SEED, Spread::Blocks);
    let ranges: Vec<_> = sample.map_err(|error| CliError::Usage(error.to_string()))?.collect();
    step(&format!("drew {numbers} numbers from the ranges of Russian mobile operators"), started)?;
    let started = Instant::now();
    let name: PoolName = POOL.parse().map_err(|error| failed(&error))?;
    let source = NumberSource::Ranges(&ranges);
    let loaded = engine.create_pool(&name, Settings::default(), source).map_err(|error| failed(&error))?;
    step(&format!("created the pool {POOL} of {} numbers", loaded.numbers), started)
}
