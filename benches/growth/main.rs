//! How costs grow: what an operation costs the daemon by the size of the pool, by how much of it is taken, by
//! connections, batch, pools and workers, and how much memory a number takes.
//!
//! `cargo bench --bench growth` (about ten minutes), `-- --quick` (one round of small pools, to see that it works),
//! `-- --only pool_size,fill` (of `pool_size`, `fill`, `connections`, `batch`, `pools`, `workers`, `memory`),
//! `-- --rounds 5`, `-- --dir DIR` (on a disk). The server runs on core 0, the client, which is the loop of
//! `allotd bench`, on core 1. The places of a curve alternate round by round. Printed are medians of the rounds
//! with their lowest and highest, of the user and system time of the server's process. They are written to
//! `target/growth.json`; curves that were not measured stay in it.
//!
//! `-- --plot` measures nothing: it draws the curves of `target/growth.json` and `target/stress.json` to
//! `docs/plots`.

#![allow(clippy::unwrap_used, clippy::cast_sign_loss, missing_docs)]

#[path = "../bare/mod.rs"]
mod bare;
mod engine;
mod load;
mod over_load;
mod over_pool;
mod over_server;
mod plot;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;
use std::time::Instant;

use bytes::Bytes;
use serde_json::json;

use self::support::curve::{Curve, read_curves, write_curves};
use self::support::options::Options;
use self::support::{machine, process};

type Measure = fn(&Options, &Path) -> Curve;

const CURVES: [(&str, Measure); 7] = [
    ("pool_size", over_pool::pool_size),
    ("fill", over_pool::fill),
    ("connections", over_load::connections),
    ("batch", over_load::batch),
    ("pools", over_server::pools),
    ("workers", over_server::workers),
    ("memory", over_server::memory),
];

fn main() {
    let args: Vec<String> = std::env::args().collect();
    if let Some(at) = args.iter().position(|arg| arg == bare::FLAG) {
        return bare::serve(&Bytes::from(args[at + 1].clone()));
    }
    let options = Options::read(&args);
    if options.has("--plot") {
        for bench in ["growth", "stress"] {
            read_curves(bench).iter().for_each(plot::draw);
        }
        return;
    }
    let started = Instant::now();
    machine::check_on_disk(&options.dir);
    let about = json!({ "machine": machine::describe(), "rounds": options.rounds, "quick": options.quick });
    process::run_as_client();
    process::end_at_signals();
    for (name, measure) in CURVES {
        if options.wants(name) {
            let dir = tempfile::tempdir_in(&options.dir).unwrap();
            let curve = measure(&options, dir.path());
            curve.print();
            // Each is written once it is measured: a later one may fail.
            write_curves("growth", &about, vec![curve]);
        }
    }
    println!("\n{} s in all", started.elapsed().as_secs());
}
