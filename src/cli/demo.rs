//! `allotd demo`: the daemon with a pool of real ranges, and commands to try.

use std::sync::Arc;
use std::time::Instant;

use clap::Args;

use crate::daemon::config::Config;
use crate::daemon::config::args::ServeArgs;
use crate::daemon::run;
use crate::domain::settings::{PoolName, Settings};
use crate::engine::operations::import::NumberSource;
use crate::engine::registry::Engine;
use crate::log::{self, Level};
use crate::numbers::sample::{Spread, ru_mobile_sample};
use crate::sys::umask;

use super::error::CliError;
use super::{output, serve};

/// The pool of the demo.
const POOL: &str = "demo";
/// Fixed, so that each demo has the same numbers.
const SEED: u64 = 7979;

#[derive(Debug, Args)]
pub(super) struct DemoArgs {
    /// How many numbers the pool has
    #[arg(long, env = "ALLOTD_NUMBERS", default_value_t = 40_000_000, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    numbers: u32,
    #[command(flatten)]
    serve: ServeArgs,
}

impl DemoArgs {
    pub(super) fn serve_args(&mut self) -> &mut ServeArgs {
        &mut self.serve
    }
}

const GREETING: &str = "\
Try, in another terminal:
  curl -X POST {url}/v1/pools/demo/lease
  curl {url}/v1/pools/demo/lease --json '{\"count\":3,\"within\":[\"7921\"]}'
  curl {url}/v1/pools/demo/renew --json '{\"leases\":[{\"number\":NUMBER,\"token\":\"TOKEN\"}],\"ttl\":600}'
  curl {url}/v1/pools/demo/return --json '{\"leases\":[{\"number\":NUMBER,\"token\":\"TOKEN\"}]}'
  curl {url}/v1/pools/demo/numbers/NUMBER
  curl {url}/v1/stats
";

pub(super) fn run(mut args: DemoArgs) -> Result<(), CliError> {
    let data = args.serve.data.take().unwrap_or_else(|| std::env::temp_dir().join("allotd-demo"));
    args.serve.data = Some(data);
    // The output is for a person, so by default the log has only warnings and errors.
    if args.serve.config.is_none() {
        args.serve.log_level.get_or_insert_with(|| Level::Warn.to_string());
    }
    umask::keep_private();
    let config = args.serve.into_config()?;
    let json = log::start(&config.log);
    serve::log_failure(|| demo(&config, args.numbers, json))
}

fn demo(config: &Config, numbers: u32, json: bool) -> Result<(), CliError> {
    if config.cluster.is_some() {
        let message = "a demo stands alone: leave --cluster out, or start a member with \"allotd serve\"";
        return Err(CliError::Usage(message.to_owned()));
    }
    // Before the work: a port in use is reported at once.
    let bound = run::bind(config)?;
    let opened = step(&format!("opening {}", config.data_dir.display()), || Ok(run::open(config, json)?))?;
    let engine = &opened.engine;
    match engine.pool(POOL) {
        None => create(engine, numbers)?,
        Some(pool) => output::print(&format!(
            "the pool {POOL} already exists, with {} numbers: remove {} to create it anew\n",
            pool.numbers(),
            config.data_dir.display()
        ))?,
    }
    // SIGHUP ends the demo with its terminal, instead of reading a config file again.
    let runtime = run::runtime()?;
    let shutdown = run::shutdown(&runtime)?;
    run::serve(&runtime, config, bound, opened, None, shutdown, |addresses| {
        output::print(&serve::welcome(config, addresses, GREETING))
    })
}

/// Prints what is being done, does it, and prints how long it took.
fn step<T>(what: &str, work: impl FnOnce() -> Result<T, CliError>) -> Result<T, CliError> {
    output::print(&format!("{what} ... "))?;
    let started = Instant::now();
    let done = work();
    let end =
        if done.is_ok() { format!("{:.2} s\n", started.elapsed().as_secs_f64()) } else { "\n".to_owned() };
    output::print(&end)?;
    done
}

fn create(engine: &Arc<Engine>, numbers: u32) -> Result<(), CliError> {
    let failed = |error: &dyn std::fmt::Display| CliError::Failed(error.to_string());
    let name: PoolName = POOL.parse().map_err(|error| failed(&error))?;
    let ranges: Vec<_> =
        step(&format!("drawing {numbers} numbers from the ranges of Russian mobile operators"), || {
            let sample = ru_mobile_sample(numbers.into(), SEED, Spread::Blocks);
            Ok(sample.map_err(|error| CliError::Usage(error.to_string()))?.collect())
        })?;
    step(&format!("creating the pool {POOL}"), || {
        let source = NumberSource::Ranges(&ranges);
        engine.create_pool(&name, Settings::default(), source).map_err(|error| failed(&error))
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_the_greeting_has_numbers() {
        let prefix = GREETING.split("within\":[\"").nth(1).unwrap().split('"').next().unwrap();
        for numbers in [400_000, 40_000_000] {
            let mut sample = ru_mobile_sample(numbers, SEED, Spread::Blocks).unwrap();
            assert!(
                sample.any(|range| range.first().to_string().starts_with(prefix)),
                "{prefix} of {numbers}"
            );
        }
    }
}
