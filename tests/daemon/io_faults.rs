//! System calls of the real daemon that fail, under load: `strace` injects the errors. After a failure that
//! is not a full disk the daemon ends with one line and an exit code, unless nothing confirmed depends on it;
//! with a full disk it refuses changes until there is space again. Either way a start without faults finds
//! what was acknowledged.
//!
//! `ALLOTD_FAULTS` sets up to which call of its kind each one fails once.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, can_trace};
use crate::support::{Client, PATIENCE_SECONDS};
use serde_json::{Value, json};

const CLIENTS: usize = 2;
/// Calls of each client at most; then the daemon is stopped, which is where later faults show.
const CALLS: usize = 150;
const NUMBERS: u64 = 10_000;

/// A data directory with a pool, and what the runs on it leave behind.
struct Bench {
    directory: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self { directory: tempfile::tempdir().unwrap() };
        let daemon = Daemon::start_with(&bench.data(), &["--journal-file-mib", "2"]);
        let list = format!("first,last\n1,{NUMBERS}\n");
        let created = daemon.client().send("PUT", "/v1/pools/ru", "text/csv", list.as_bytes()).unwrap();
        assert_eq!(created.status, 201, "{created:?}");
        assert_eq!(daemon.stop(), Some(0));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    /// Starts the daemon with a fault; the exit code if it shows at once.
    fn start(&self, durability: &[&str], fault: &str) -> Result<Daemon, Option<i32>> {
        let call = fault.split(':').next().unwrap();
        let mut command = Command::new("strace");
        // -D: the daemon is the child of this process, and strace is not.
        // -y: with the paths of files.
        command.args(["-D", "-f", "-y", "--seccomp-bpf", "-o"]).arg(self.path("trace"));
        command.args(["-e", &format!("trace={call}"), "-e", &format!("inject={fault}")]);
        command.arg(env!("CARGO_BIN_EXE_allotd"));
        command.args(["serve", "--listen", "127.0.0.1:0", "--journal-file-mib", "2", "--data"]);
        command.arg(self.data()).args(durability);
        command.stderr(File::create(self.path("stderr")).unwrap());
        Daemon::spawn(command)
    }

    fn was_injected(&self) -> bool {
        fs::read_to_string(self.path("trace")).unwrap().contains("(INJECTED)")
    }

    /// Whether the failed call has to do with what was confirmed; `None` if it depends on when it was made.
    fn ends_the_daemon(&self) -> Option<bool> {
        let trace = fs::read_to_string(self.path("trace")).unwrap();
        let failed = trace.lines().find(|line| line.contains("(INJECTED)"))?;
        if failed.contains("/totals-") || failed.contains("/staging/") {
            return Some(false);
        }
        // The directory itself: at the start, or for a new file of totals.
        (!failed.contains(&format!("<{}>", self.data().display()))).then_some(true)
    }

    /// Whether the log of the last run has such an event.
    fn has_told(&self, event: &str) -> bool {
        fs::read_to_string(self.path("stderr")).unwrap().contains(&format!("\"event\":\"{event}\""))
    }

    /// The last line of the log, and the only one that says why the daemon ended.
    fn last_words(&self) -> String {
        let said = fs::read_to_string(self.path("stderr")).unwrap();
        let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let ends = lines.iter().filter(|line| line["event"] == "failed").count();
        assert!(ends == 1 && lines[lines.len() - 1]["event"] == "failed", "{said}");
        lines[lines.len() - 1]["message"].as_str().unwrap().to_owned()
    }

    /// Starts without a fault and compares: all that was acknowledged and at most one more lease per client.
    fn compare(&self, acknowledged: &[Value]) {
        let numbers: BTreeSet<_> =
            acknowledged.iter().map(|lease| lease["number"].as_u64().unwrap()).collect();
        assert_eq!(numbers.len(), acknowledged.len(), "a number was given out twice");
        let daemon = Daemon::start(&self.data());
        let mut client = daemon.client();
        let leased = client.call("GET", "/v1/pools/ru").unwrap().json()["leased"].as_u64().unwrap();
        let most = numbers.len() + CLIENTS;
        assert!((numbers.len()..=most).contains(&(leased as usize)), "{leased} leased, {}", numbers.len());
        if !acknowledged.is_empty() {
            let answer = client.post("/v1/pools/ru/renew", &json!({"leases": acknowledged})).unwrap().json();
            for (lease, result) in acknowledged.iter().zip(answer["results"].as_array().unwrap()) {
                assert_eq!(result["result"], "renewed", "{lease} was acknowledged and is lost");
            }
        }
        assert_eq!(daemon.stop(), Some(0));
    }
}

/// Leases until the connection fails or it was enough; what was acknowledged, and how many were refused
/// because the disk was full.
fn client(address: SocketAddr) -> (Vec<Value>, usize) {
    let (mut leases, mut refused) = (Vec::new(), 0);
    let Ok(mut client) = Client::connect(address) else { return (leases, refused) };
    let started = Instant::now();
    while leases.len() < CALLS && started.elapsed() < Duration::from_secs(PATIENCE_SECONDS) {
        let Ok(answer) = client.post("/v1/pools/ru/lease", &json!({"ttl": 3600})) else { break };
        match answer.status {
            200 => {
                let lease = &answer.json()["leases"][0];
                leases.push(json!({"number": lease["number"], "token": lease["token"]}));
            }
            // The daemon ends.
            503 => break,
            _ => {
                assert_eq!(answer.problem(), (507, "storage_full".to_owned()));
                refused += 1;
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
    (leases, refused)
}

fn load(address: SocketAddr) -> (Vec<Value>, usize) {
    let clients: Vec<_> = (0..CLIENTS).map(|_| std::thread::spawn(move || client(address))).collect();
    let (mut leases, mut refused) = (Vec::new(), 0);
    for client in clients {
        let (more, count) = client.join().unwrap();
        leases.extend(more);
        refused += count;
    }
    (leases, refused)
}

#[test]
fn a_failed_call_ends_the_daemon_and_loses_nothing() {
    const SYNC: &[&str] = &["--durability", "sync"];
    const INTERVAL: &[&str] = &["--durability", "interval", "--sync-interval-ms", "5"];
    const NONE: &[&str] = &["--durability", "none"];
    if !can_trace() {
        return;
    }
    let faults = [
        ("pwrite64", SYNC, [1, 2, 10].as_slice()),
        ("pwrite64", INTERVAL, &[3]),
        ("fsync", SYNC, &[1, 3]),
        ("fsync", INTERVAL, &[2, 5]),
        ("msync", NONE, &[1]),
    ];
    let (mut injected, mut poisoned) = (0, 0);
    for (call, durability, counts) in faults {
        let longer = std::env::var("ALLOTD_FAULTS").ok().map(|text| text.parse().expect("a number"));
        let counts = longer.map_or_else(|| counts.to_vec(), |most: u32| (1..=most).collect());
        for count in counts {
            let bench = Bench::new();
            let fault = format!("{call}:error=EIO:when={count}");
            let (code, leases) = match bench.start(durability, &fault) {
                Err(code) => (code, Vec::new()),
                Ok(daemon) => {
                    let (leases, refused) = load(daemon.address);
                    assert_eq!(refused, 0);
                    daemon.terminate();
                    (daemon.wait(), leases)
                }
            };
            let hit = bench.was_injected();
            println!(
                "{fault} {}: exit code {code:?}, {} acknowledged, hit: {hit}",
                durability[1],
                leases.len()
            );
            let ends = if hit { bench.ends_the_daemon() } else { Some(false) };
            if let Some(ends) = ends {
                assert_eq!(code, Some(i32::from(ends)), "{fault} {durability:?}");
            }
            if hit && code != Some(0) {
                let line = bench.last_words();
                assert!(line.contains("Input/output error"), "{line}");
                injected += 1;
                poisoned += usize::from(bench.has_told("poisoned"));
            }
            bench.compare(&leases);
        }
    }
    assert!(injected >= 6, "hardly any fault was met: {injected}");
    assert!(poisoned > 0, "the log did not tell when it happened");
}

#[test]
fn a_full_disk_delays_or_refuses_and_the_daemon_goes_on() {
    if !can_trace() {
        return;
    }
    let bench = Bench::new();
    let fault = "pwrite64:error=ENOSPC:when=10..12";
    let daemon = bench.start(&["--durability", "sync"], fault).unwrap();
    let (leases, refused) = load(daemon.address);
    println!("{fault}: {} acknowledged, {refused} refused", leases.len());
    assert!(bench.was_injected());
    assert_eq!(leases.len(), CLIENTS * CALLS, "the daemon did not go on by itself");
    assert_eq!(daemon.stop(), Some(0));
    assert!(bench.has_told("storage_full") && bench.has_told("storage_free"));
    bench.compare(&leases);

    // The second of each thread: the first of one makes a journal file before the daemon is ready.
    let daemon = bench.start(&["--durability", "sync"], "fallocate:error=ENOSPC:when=2").unwrap();
    let mut client = daemon.client();
    let mut refused = 0;
    for index in 0..8 {
        let path = format!("/v1/pools/more{index}");
        let mut create = || client.send("PUT", &path, "text/csv", b"first,last\n1,9\n").unwrap();
        let mut answer = create();
        while answer.status != 201 && refused < 50 {
            assert_eq!(answer.problem(), (507, "storage_full".to_owned()));
            assert!(!bench.data().join(&path["/v1/".len()..]).exists());
            refused += 1;
            answer = create();
        }
        assert_eq!(answer.status, 201, "with space again it works: {answer:?}");
    }
    assert!(refused > 0 && bench.was_injected());
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_write_that_hangs_is_told_by_readiness_and_the_last_minute() {
    const HANGS: Duration = Duration::from_secs(9);
    if !can_trace() {
        return;
    }
    let bench = Bench::new();
    let fault = format!("pwrite64:delay_enter={}:when=30", HANGS.as_micros());
    let daemon = bench.start(&["--durability", "sync"], &fault).unwrap();
    let mut caller = daemon.client();
    let waits = std::thread::spawn(move || {
        (0..CALLS).any(|_| {
            let begun = Instant::now();
            caller.call("POST", "/v1/pools/ru/lease").unwrap().status == 200 && begun.elapsed() > HANGS / 2
        })
    });
    let mut asker = daemon.client();
    let deadline = Instant::now() + Duration::from_secs(PATIENCE_SECONDS);
    let answer = loop {
        let answer = asker.call("GET", "/readyz").unwrap();
        if answer.status != 200 || Instant::now() > deadline {
            break answer;
        }
        std::thread::sleep(Duration::from_millis(100));
    };
    assert_eq!(answer.problem(), (503, "not_ready".to_owned()));
    assert!(answer.body.contains("has not ended for 5 s"), "{}", answer.body);
    assert!(waits.join().unwrap(), "no lease waited");
    assert_eq!(asker.call("GET", "/readyz").unwrap().status, 200);
    let journal = asker.call("GET", "/v1/stats").unwrap().json()["journal"].clone();
    assert!(journal["waiting_seconds"].as_f64().unwrap() < 1.0, "{journal}");
    for figure in ["sync_1m_us", "commit_wait_1m_us"] {
        let longest = Duration::from_secs_f64(journal[figure]["max"].as_f64().unwrap() / 1e6);
        assert!(longest > HANGS / 2, "{figure} of {journal}");
    }
    assert_eq!(daemon.stop(), Some(0));
}
