//! One round of load on a server.

use std::cell::RefCell;
use std::time::Duration;

use allotd::bench::load::{self, Load};
use allotd::bench::plan::ANSWER_PATIENCE;

use super::support::curve::Sample;
use super::support::daemon::Opened;
use super::support::options::Options;
use super::support::process::Process;

/// With more refusals the figures are not those of leases.
const MAX_REFUSED_SHARE: f64 = 0.01;
const SUCCESS: u16 = 200;

/// The settings of a round.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Round {
    pub(crate) connections: usize,
    pub(crate) depth: usize,
    pub(crate) time: Duration,
    pub(crate) per: Per,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Per {
    Answer,
    Number,
}

impl Round {
    /// Answers to single calls.
    pub(crate) fn new(options: &Options, connections: usize, depth: usize) -> Self {
        let time = Duration::from_millis(if options.quick { 300 } else { 1_000 });
        Self { connections, depth, time, per: Per::Answer }
    }

    /// The server's processor time, in microseconds.
    pub(crate) fn run(&self, server: &Process, open: impl Fn(usize) -> Opened) -> Sample {
        let load = Load {
            threads: 1,
            connections: self.connections,
            depth: self.depth,
            rate_per_second: None,
            warm_up: self.time / 4,
            time: self.time,
            interval: self.time,
            patience: ANSWER_PATIENCE,
        };
        // Asked at both ends of the measured time.
        let kernel = RefCell::new(Vec::new());
        let probe = || {
            kernel.borrow_mut().push(server.kernel_counts());
            server.cpu()
        };
        let measured = load::run(&load, open, Some(&probe)).unwrap_or_else(|error| panic!("{error}"));
        let [before, after] = kernel.into_inner()[..] else { panic!("two marks") };
        let (tally, time) = (&measured.tally, measured.time.as_secs_f64());
        assert_eq!(tally.unanswered, 0, "requests were left unanswered");
        let refused = tally.kinds.iter().filter(|kind| kind.status != SUCCESS);
        let refused = refused.map(|kind| kind.answers).sum::<u64>() as f64;
        assert!(refused <= MAX_REFUSED_SHARE * tally.answers() as f64, "refused: {:?}", tally.kinds);
        let count = match self.per {
            Per::Answer => tally.answers(),
            Per::Number => tally.numbers(),
        } as f64;
        let cpu = measured.server_cpu.unwrap().as_secs_f64();
        Sample {
            value: cpu * 1e6 / count,
            facts: vec![
                ("a second", count / time),
                ("disk faults each", (after.disk_faults - before.disk_faults) as f64 / count),
                ("page faults each", (after.page_faults - before.page_faults) as f64 / count),
                ("thread switches each", (after.switches - before.switches) as f64 / count),
                ("server busy %", cpu / time * 100.0),
                ("client busy %", measured.own_cpu.as_secs_f64() / time * 100.0),
                ("p50 us", tally.quantile_nanoseconds(0.5) as f64 / 1e3),
            ],
        }
    }
}
