//! `allotd demo`: the daemon with a pool of real ranges, and what to try.

use std::io::Read;

use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use super::{CliError, output, serve};
use crate::config::ServeArgs;
use crate::engine::settings::{PoolName, Settings};
use crate::engine::{Engine, NumberSource};
use crate::numbers::sample::{Spread, ru_mobile_sample};
use crate::numbers::{ListOptions, NumberRange};

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
    let ranges = ru_mobile_sample(numbers.into(), SEED, Spread::Blocks);
    step(&format!("drew {numbers} numbers from the ranges of Russian mobile operators"), started)?;
    let started = Instant::now();
    let name: PoolName = POOL.parse().map_err(|error| failed(&error))?;
    let mut input = RangeLines { ranges: ranges.into_iter(), line: Vec::new(), at: 0 };
    let options = ListOptions::default();
    let source = NumberSource::List { input: &mut input, options, progress: &|_| () };
    let loaded = engine.create_pool(&name, Settings::default(), source).map_err(|error| failed(&error))?;
    step(&format!("created the pool {POOL} of {} numbers", loaded.numbers), started)
}

/// Ranges as the lines of a number list.
struct RangeLines<I> {
    ranges: I,
    line: Vec<u8>,
    at: usize,
}

impl<I: Iterator<Item = NumberRange>> Read for RangeLines<I> {
    fn read(&mut self, out: &mut [u8]) -> std::io::Result<usize> {
        if self.at == self.line.len() {
            let Some(range) = self.ranges.next() else { return Ok(0) };
            self.line = format!("{}-{}\n", range.first().get(), range.last().get()).into_bytes();
            self.at = 0;
        }
        let length = out.len().min(self.line.len() - self.at);
        out[..length].copy_from_slice(&self.line[self.at..self.at + length]);
        self.at += length;
        Ok(length)
    }
}
