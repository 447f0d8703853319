//! A pool of the real daemon that grows by single numbers.

use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;

/// More than a pool can have segments.
const ADDED: u64 = 1_500;

/// Adds single numbers, `count` in all, over one connection.
fn add(daemon: &Daemon, first: u64, count: u64) {
    let mut client = daemon.client();
    for number in first..first + count {
        let body = format!("{number}\n");
        let answer = client.send("POST", "/v1/pools/ru/numbers", "text/plain", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{number}: {}", answer.body);
        assert_eq!(answer.json()["added"], 1);
    }
}

fn start_with_pool(data: &std::path::Path) -> Daemon {
    let daemon = Daemon::start(data);
    let created = daemon.client().send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n1,10\n").unwrap();
    assert_eq!(created.status, 201);
    daemon
}

#[test]
fn single_additions_have_no_limit_and_survive_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let daemon = start_with_pool(&data);
    add(&daemon, 1_000, ADDED);
    let all = format!("{{\"count\":{}}}", ADDED + 10);
    let lease = |daemon: &Daemon, body: &str| {
        let sent = daemon.client().send("POST", "/v1/pools/ru/lease", "application/json", body.as_bytes());
        sent.unwrap().json()["leases"].as_array().unwrap().len() as u64
    };
    assert_eq!(lease(&daemon, &all), ADDED + 10);
    daemon.kill();
    let daemon = Daemon::start(&data);
    let pool = daemon.client().call("GET", "/v1/pools/ru").unwrap().json();
    assert_eq!((&pool["numbers"], &pool["leased"]), (&(ADDED + 10).into(), &(ADDED + 10).into()));
    add(&daemon, 5_000, 1);
    assert_eq!(lease(&daemon, "{}"), 1);
    assert_eq!(daemon.stop(), Some(0));
    let checked = crate::support::daemon::allotd().arg("check").arg(&data).output().unwrap();
    assert!(checked.status.success(), "{checked:?}");
}

/// Figures: `cargo test --test http growth::figures -- --ignored --nocapture`
#[test]
#[ignore = "takes long"]
fn figures_of_single_additions() {
    const COUNT: u64 = 20_000;
    const CONNECTIONS: u64 = 4;
    let dir = tempfile::tempdir().unwrap();
    let daemon = &start_with_pool(&dir.path().join("data"));
    let started = Instant::now();
    std::thread::scope(|scope| {
        for connection in 0..CONNECTIONS {
            let each = COUNT / CONNECTIONS;
            scope.spawn(move || add(daemon, 1_000_000 + connection * each, each));
        }
    });
    let took = started.elapsed();
    std::thread::sleep(Duration::from_secs(1));
    let files = std::fs::read_dir(dir.path().join("data/pools/ru")).unwrap().count();
    println!("{COUNT} single additions over {CONNECTIONS} connections: {took:.2?}, {files} files");
}
