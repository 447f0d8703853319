//! What a lease costs by the number of connections, and by how many numbers a call leases.

use std::cell::RefCell;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use allotd::bench::callers::{Call, Caller};
use allotd::bench::connection::connect;
use allotd::client::{self, Server};
use hyper::Method;

use super::bare;
use super::engine::InProcess;
use super::load::{Per, Round};
use super::support::curve::{Curve, Job, take_turns};
use super::support::daemon::{Daemon, batch_lease, let_idle_threads_end, plain_lease};
use super::support::numbers::sample;
use super::support::options::Options;
use super::support::process::{Process, SERVER_CORE};

const CONNECTIONS: [usize; 7] = [1, 4, 16, 64, 256, 1_024, 4_096];
const BATCHES: [u32; 9] = [1, 4, 16, 64, 256, 1_024, 4_096, 16_384, 65_536];
const BATCH_CONNECTIONS: usize = 4;
/// Longer than a round, so that the sweep does nothing in it; rounds wait for it.
const TTL: &str = "ttl=2";
const DURABILITIES: [&str; 2] = ["none", "sync"];

fn numbers(options: &Options) -> u64 {
    if options.quick { 4_000_000 } else { 40_000_000 }
}

/// A daemon in each durability mode with a pool of its own.
fn start_both(options: &Options, dir: &Path) -> Vec<(&'static str, Daemon)> {
    let numbers = numbers(options);
    let ranges = sample(numbers);
    let start = |durability| {
        let flags = ["--workers", "1", "--durability", durability];
        let daemon = Daemon::start(&dir.join(durability), &[SERVER_CORE], &flags);
        daemon.create_pool("p", TTL, &ranges);
        daemon.touch_pages("p", numbers);
        daemon.wait_for_returns(0);
        (durability, daemon)
    };
    let daemons = DURABILITIES.map(start).into();
    let_idle_threads_end();
    daemons
}

/// By connections; the bare HTTP server beside it.
pub(crate) fn connections(options: &Options, dir: &Path) -> Curve {
    let daemons = start_both(options, dir);
    let body = daemons[0].1.send(client::Call::new(Method::POST, "/v1/pools/p/lease"));
    let mut command = Command::new(fs::read_link("/proc/self/exe").unwrap());
    let (bare, address) = Process::start_listening(command.args([bare::FLAG, &body]), &dir.join("bare.log"));
    let (bare, bare_server) = (&bare, &Server::tcp(address));
    let requests: &Arc<[Vec<u8>]> = &Arc::from([plain_lease("p")]);
    let mut jobs = Vec::new();
    for connections in CONNECTIONS {
        let round = Round::new(options, connections, 1);
        for (durability, daemon) in &daemons {
            jobs.push(Job::new(format!("allotd, {durability}"), connections as f64, move || {
                daemon.wait_for_returns(0);
                round.run(&daemon.process, |place| daemon.leasing(requests, place, 1))
            }));
        }
        jobs.push(Job::new("bare HTTP server, same answer", connections as f64, move || {
            let caller = || Caller::rotating(Arc::clone(requests), 0, Call::Lease, 1);
            round.run(bare, |_| Ok((connect(bare_server)?, caller())))
        }));
    }
    Curve {
        name: "connections".to_owned(),
        title: "A lease by connections".to_owned(),
        x_label: "connections, one request in flight on each".to_owned(),
        y_label: "server CPU, \u{b5}s per lease".to_owned(),
        x_names: Vec::new(),
        log_y: true,
        series: take_turns(jobs, options.rounds),
    }
}

/// By the numbers of a call.
pub(crate) fn batch(options: &Options, dir: &Path) -> Curve {
    let daemons = start_both(options, dir);
    let mut jobs = Vec::new();
    for count in BATCHES {
        let requests: Arc<[Vec<u8>]> = Arc::from([batch_lease("p", count)]);
        let time = Duration::from_millis(if options.quick { 150 } else { 600 });
        let round = Round { time, per: Per::Number, ..Round::new(options, BATCH_CONNECTIONS, 1) };
        for (durability, daemon) in &daemons {
            let requests = Arc::clone(&requests);
            jobs.push(Job::new(format!("HTTP, {durability}"), f64::from(count), move || {
                daemon.wait_for_returns(0);
                round.run(&daemon.process, |place| daemon.leasing(&requests, place, count))
            }));
        }
    }
    let mut series = take_turns(jobs, options.rounds);
    drop(daemons);
    let engine = RefCell::new(InProcess::open(&dir.join("none")));
    engine.borrow_mut().touch_pages("p", numbers(options));
    let time = Duration::from_millis(if options.quick { 100 } else { 300 });
    let engine = &engine;
    let job = |count: u32| {
        Job::new("engine alone", f64::from(count), move || engine.borrow_mut().batches("p", count, time))
    };
    series.extend(take_turns(BATCHES.map(job).into(), options.rounds));
    Curve {
        name: "batch".to_owned(),
        title: "A number by the count of its lease".to_owned(),
        x_label: "numbers of a lease; 4 connections".to_owned(),
        y_label: "server CPU, \u{b5}s per number".to_owned(),
        x_names: Vec::new(),
        log_y: true,
        series,
    }
}
