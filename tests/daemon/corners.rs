//! The daemon's promises where they were thin: keys, repeated calls, restored tokens, operators against each
//! other.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, allotd, can_trace};
use crate::support::{Answer, Client, PATIENCE_SECONDS, ranges_csv, try_read_answer};
use serde_json::{Value, json};

/// The smallest journal files, so that they fill up.
const SMALL_JOURNAL: [&str; 4] = ["--journal-file-mib", "2", "--workers", "2"];

fn create(daemon: &Daemon, pool: &str, settings: &str, numbers: &str) {
    let path = format!("/v1/pools/{pool}?{settings}");
    let created = daemon.client().send("PUT", &path, "text/csv", ranges_csv(numbers).as_bytes()).unwrap();
    assert_eq!(created.status, 201, "{}", created.body);
}

/// A lease with a key.
fn lease_once(client: &mut Client, pool: &str, key: &str, body: &Value) -> Answer {
    let body = body.to_string();
    let request = format!(
        "POST /v1/pools/{pool}/lease HTTP/1.1\r\nhost: localhost\r\nidempotency-key: {key}\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    client.connection.get_mut().write_all(request.as_bytes()).unwrap();
    try_read_answer(&mut client.connection, false).unwrap()
}

fn leases(answer: &Answer) -> Vec<Value> {
    assert_eq!(answer.status, 200, "{}", answer.body);
    answer.lasting()["leases"].as_array().unwrap().clone()
}

fn return_leases(client: &mut Client, pool: &str, leases: &[Value]) -> Answer {
    let items: Vec<_> =
        leases.iter().map(|lease| json!({"number": lease["number"], "token": lease["token"]})).collect();
    client.post(&format!("/v1/pools/{pool}/return"), &json!({ "leases": items })).unwrap()
}

/// Large batches, one of them under a key, fill the queues while the journal waits for a checkpoint.
#[test]
fn batches_under_keys_do_not_stop_the_daemon() {
    let data = tempfile::tempdir().unwrap();
    // A return of 60,000 takes 4 MB.
    let flags = [&SMALL_JOURNAL[..], &["--max-json", "8388608"]].concat();
    let daemon = Daemon::start_with(&data.path().join("data"), &flags);
    create(&daemon, "p", "ttl=600", "1000000-1999999");
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|caller| {
                let (daemon, done) = (&daemon, &done);
                scope.spawn(move || {
                    let mut client = daemon.client();
                    let mut round = 0;
                    while !done.load(Ordering::SeqCst) {
                        round += 1;
                        let got = if caller == 0 {
                            let key = format!("batch-{round}");
                            lease_once(&mut client, "p", &key, &json!({"count": 4_000, "ttl": 1}))
                        } else {
                            client.post("/v1/pools/p/lease", &json!({"count": 60_000})).unwrap()
                        };
                        // Too many keys are live.
                        if (caller, got.status) == (0, 503) {
                            continue;
                        }
                        let got = leases(&got);
                        assert_eq!(return_leases(&mut client, "p", &got).status, 200);
                    }
                })
            })
            .collect();
        std::thread::sleep(Duration::from_secs(4));
        assert_eq!(daemon.client().call("GET", "/healthz").unwrap().status, 200);
        done.store(true, Ordering::SeqCst);
        for caller in callers {
            caller.join().unwrap();
        }
    });
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_repeated_key_tells_what_the_words_say() {
    let data = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&data.path().join("data"));
    create(&daemon, "one", "order=lowest", "100");
    create(&daemon, "two", "order=lowest", "200-209");
    let mut client = daemon.client();
    // Returned, and leased by someone else.
    let first = leases(&lease_once(&mut client, "one", "a", &json!({})));
    assert_eq!(return_leases(&mut client, "one", &first).status, 200);
    for _ in 0..2 {
        let repeated = lease_once(&mut client, "one", "a", &json!({}));
        assert_eq!(repeated.problem(), (409, "stale".to_owned()));
        assert_eq!(repeated.json()["results"], json!([{"number": 100, "result": "stale"}]));
        client.call("POST", "/v1/pools/one/lease").unwrap();
    }
    // Some of them returned, the others renewed.
    let short = json!({"count": 3, "ttl": 2});
    let batch = leases(&lease_once(&mut client, "two", "b", &short));
    assert_eq!(return_leases(&mut client, "two", &batch[..1]).status, 200);
    let item = json!({"number": batch[1]["number"], "token": batch[1]["token"]});
    let renewed = client.post("/v1/pools/two/renew", &json!({"leases": [item], "ttl": 600})).unwrap();
    let until = renewed.json()["results"][0]["expires_at"].clone();
    let mut kept = batch[1].clone();
    kept["expires_at"] = until;
    assert_eq!(leases(&lease_once(&mut client, "two", "b", &short)), [kept.clone(), batch[2].clone()]);
    // Beyond the original end: also after the sweep and a restart.
    std::thread::sleep(Duration::from_millis(5_500));
    assert_eq!(leases(&lease_once(&mut client, "two", "b", &short)), [kept.clone()]);
    daemon.kill();
    let daemon = Daemon::start(&data.path().join("data"));
    assert_eq!(leases(&lease_once(&mut daemon.client(), "two", "b", &short)), [kept]);
}

/// The records of a key go into two journal files, the first of which is gone by the restart.
#[test]
fn a_batch_under_a_key_that_straddles_two_journal_files_is_remembered() {
    const KEYED: u32 = 8_000;
    for round in 0..8 {
        let data = tempfile::tempdir().unwrap();
        let data = data.path().join("data");
        let daemon = Daemon::start_with(&data, &SMALL_JOURNAL);
        create(&daemon, "p", "", "1000000-1299999");
        let mut client = daemon.client();
        // Each round begins elsewhere near the end of the file, which has room for some 60,000 records.
        client.post("/v1/pools/p/lease", &json!({"count": 40_000 + 2_000 * round})).unwrap();
        let body = json!({ "count": KEYED });
        let first = leases(&lease_once(&mut client, "p", "key", &body));
        // Until the checkpoint that recycles the first file.
        std::thread::sleep(Duration::from_millis(600));
        daemon.kill();
        let daemon = Daemon::start_with(&data, &SMALL_JOURNAL);
        let again = leases(&lease_once(&mut daemon.client(), "p", "key", &body));
        assert!(again == first, "round {round}: other leases than before");
    }
}

fn tokens(leases: &[Value]) -> BTreeSet<String> {
    leases.iter().map(|lease| lease["token"].as_str().unwrap().to_owned()).collect()
}

/// Leases made after a backup are unknown to what is restored from it, and their tokens fit nothing there.
#[test]
fn no_token_from_before_a_restore_fits_a_lease_made_after_it() {
    let data = tempfile::tempdir().unwrap();
    let (original, restored) = (data.path().join("data"), data.path().join("restored"));
    let daemon = Daemon::start(&original);
    create(&daemon, "p", "ttl=2", "100-499");
    let mut client = daemon.client();
    let kept = leases(&client.post("/v1/pools/p/lease", &json!({"count": 1, "ttl": 600})).unwrap());
    let backup = client.post("/v1/backup", &json!({"name": "b"})).unwrap();
    assert_eq!(backup.status, 200, "{}", backup.body);
    let lost = leases(&client.post("/v1/pools/p/lease", &json!({"count": 399})).unwrap());
    daemon.kill();
    let output =
        allotd().args(["restore", "--serve-at-once"]).arg(original.join("backups/b")).arg(&restored).output();
    let output = output.unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    std::thread::sleep(Duration::from_millis(3_100));
    let daemon = Daemon::start(&restored);
    let mut client = daemon.client();
    let new = leases(&client.post("/v1/pools/p/lease", &json!({"count": 399})).unwrap());
    assert!(tokens(&new).is_disjoint(&tokens(&lost)), "a token is given out twice");
    let late = return_leases(&mut client, "p", &lost);
    assert_eq!(late.problem(), (409, "stale".to_owned()));
    assert_eq!(return_leases(&mut client, "p", &kept).status, 200, "a lease from before the backup is kept");
    assert_eq!(return_leases(&mut client, "p", &new).status, 200);
}

/// With any rule but `available` a lease is over at its time, whether or not the sweep has come.
#[test]
fn a_late_renewal_is_answered_by_the_rule_for_expired_leases() {
    let data = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&data.path().join("data"));
    let mut client = daemon.client();
    for (pool, rule, renewed, state) in [
        ("a", "available", 200, "available"),
        ("r", "rest:600", 409, "resting"),
        ("d", "done", 409, "done"),
        ("x", "retired", 409, "retired"),
    ] {
        create(&daemon, pool, &format!("ttl=1&on_expiry={rule}"), "100-101");
        let leased = leases(&client.post(&format!("/v1/pools/{pool}/lease"), &json!({"count": 2})).unwrap());
        std::thread::sleep(Duration::from_millis(2_050));
        let item = json!({"number": leased[0]["number"], "token": leased[0]["token"]});
        let answer = client.post(&format!("/v1/pools/{pool}/renew"), &json!({"leases": [item]})).unwrap();
        assert_eq!(answer.status, renewed, "{rule}: {}", answer.body);
        assert!(renewed == 200 || answer.body.contains("on_expiry"), "{}", answer.body);
        let answer = return_leases(&mut client, pool, &leased[1..]);
        assert_eq!(answer.json()["results"][0]["state"], state, "{rule}: {}", answer.body);
    }
}

/// Calls of operators and callers on a few names, against each other, with deletions in between.
#[test]
fn operators_calls_against_each_other_end_nothing() {
    const NAMES: [&str; 2] = ["a", "b"];
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    for _ in 0..2 {
        let daemon = Daemon::start_with(&data, &SMALL_JOURNAL);
        let started = Instant::now();
        std::thread::scope(|scope| {
            for caller in 0..6_usize {
                let daemon = &daemon;
                scope.spawn(move || hammer(daemon, &NAMES, caller, started));
            }
        });
        let mut client = daemon.client();
        assert_eq!(client.call("GET", "/readyz").unwrap().status, 200);
        let before = client.call("GET", "/v1/pools").unwrap().json();
        daemon.kill();
        let daemon = Daemon::start_with(&data, &SMALL_JOURNAL);
        let after = daemon.client().call("GET", "/v1/pools").unwrap().json();
        assert_eq!(settled(&before), settled(&after), "what was told is kept");
        assert_eq!(daemon.stop(), Some(0));
        assert_eq!(check(&data), Some(0));
    }
}

/// What of the pools does not change by itself.
fn settled(pools: &Value) -> Vec<[Value; 5]> {
    let fields = ["pool", "numbers", "round", "paused", "settings"];
    pools["pools"].as_array().unwrap().iter().map(|pool| fields.map(|field| pool[field].clone())).collect()
}

fn check(data: &Path) -> Option<i32> {
    allotd().arg("check").arg(data).output().unwrap().status.code()
}

fn hammer(daemon: &Daemon, names: &[&str], caller: usize, started: Instant) {
    let mut client = daemon.client();
    let mut step = caller;
    while started.elapsed() < Duration::from_secs(3) {
        step += 7;
        let pool = format!("/v1/pools/{}", names[step % names.len()]);
        let answer = match (caller, step % 5) {
            (0, _) => client.send("PUT", &pool, "text/csv", b"first,last\n100,199\n"),
            (1, 0) => client.call("DELETE", &pool),
            (1, _) => client.call("DELETE", &format!("{pool}?force=true")),
            (2, 0..3) => client.post(&format!("{pool}/lease"), &json!({"count": 3, "ttl": 1})),
            (2, _) => client.call("GET", &pool),
            (3, 0) => client.call("POST", &format!("{pool}/pause")),
            (3, 1) => client.call("POST", &format!("{pool}/resume")),
            (3, _) => client.send(
                "PATCH",
                &pool,
                "application/json",
                format!("{{\"ttl\":{}}}", 60 + step % 9).as_bytes(),
            ),
            (4, 0) => client.call("POST", &format!("{pool}/rounds")),
            (4, 1) => client.call("POST", "/v1/backup"),
            (4, _) => client.send("POST", &format!("{pool}/retire"), "text/csv", b"first,last\n150,155\n"),
            _ => client.send(
                "POST",
                &format!("{pool}/numbers"),
                "text/plain",
                format!("{}", 200 + step).as_bytes(),
            ),
        };
        let answer = answer.unwrap();
        assert!(answer.status < 500 || answer.status == 503, "{pool}: {}", answer.body);
        assert!(started.elapsed() < Duration::from_secs(PATIENCE_SECONDS));
    }
}

/// The daemon with each write of the journal this slow; `None` if the machine has no strace.
fn start_slow(data: &Path, trace: &Path, write_us: u64, workers: &str) -> Option<Daemon> {
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "--seccomp-bpf", "-o"]).arg(trace);
    command.args(["-e", "trace=pwrite64", "-e", &format!("inject=pwrite64:delay_enter={write_us}")]);
    command.arg(env!("CARGO_BIN_EXE_allotd"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--workers", workers, "--data"]).arg(data);
    command.env("ALLOTD_LOG_LEVEL", "error");
    can_trace().then(|| Daemon::spawn(command).unwrap())
}

/// Sends a call whose answer is read later.
fn post(client: &mut Client, path: &str, body: &Value) {
    let body = body.to_string();
    write!(
        client.connection.get_mut(),
        "POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .unwrap();
}

/// The queue of a thread holds a part of a large batch, the rest waits for several writes of the journal.
#[test]
fn a_batch_beyond_the_queue_leaves_its_worker_to_others() {
    const COUNT: u64 = 60_000;
    let data = tempfile::tempdir().unwrap();
    let (data, trace) = (data.path().join("data"), data.path().join("trace"));
    let daemon = Daemon::start(&data);
    create(&daemon, "p", "ttl=3000", "1000001-1200000");
    assert_eq!(daemon.stop(), Some(0));
    let Some(daemon) = start_slow(&data, &trace, 300_000, "1") else { return };
    let [mut batch, mut other] = [(); 2].map(|()| daemon.client());
    let begun = Instant::now();
    post(&mut batch, "/v1/pools/p/lease", &json!({ "count": COUNT }));
    let mut slowest = Duration::ZERO;
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(20));
        let called = Instant::now();
        assert_eq!(other.call("GET", "/healthz").unwrap().status, 200);
        slowest = slowest.max(called.elapsed());
    }
    let got = leases(&try_read_answer(&mut batch.connection, false).unwrap());
    let took = begun.elapsed();
    assert_eq!(got.len() as u64, COUNT);
    assert!(took > Duration::from_secs(1), "the batch waited for several writes: {took:?}");
    assert!(slowest < Duration::from_millis(500), "another call of its worker took {slowest:?}");
    // What was told is durable.
    daemon.kill();
    let daemon = Daemon::start(&data);
    assert_eq!(daemon.client().call("GET", "/v1/pools/p").unwrap().json()["leased"], COUNT);
    for part in got.chunks(20_000) {
        assert_eq!(return_leases(&mut daemon.client(), "p", part).status, 200);
    }
    assert_eq!(daemon.client().call("GET", "/v1/pools/p").unwrap().json()["leased"], 0);
}

/// A refusal with counts tells of leases that another thread has just made: it leaves once they are durable.
#[test]
fn a_refusal_with_counts_leaves_after_what_it_counts_is_durable() {
    const NUMBERS: u64 = 200_000;
    const LAST: u64 = 4_000;
    let data = tempfile::tempdir().unwrap();
    let (data, trace) = (data.path().join("data"), data.path().join("trace"));
    let all = json!({"count": 50_000, "ttl": 3_000});
    let daemon = Daemon::start(&data);
    create(&daemon, "p", "order=lowest", &format!("1000001-{}", 1_000_000 + NUMBERS - LAST));
    for _ in 0..=(NUMBERS - LAST) / 50_000 {
        leases(&daemon.client().post("/v1/pools/p/lease", &all).unwrap());
    }
    let rest = format!("{}-{}", 1_000_001 + NUMBERS - LAST, 1_000_000 + NUMBERS);
    let added = daemon.client().send("POST", "/v1/pools/p/numbers", "text/plain", rest.as_bytes()).unwrap();
    assert_eq!(added.status, 200, "{}", added.body);
    assert_eq!(daemon.stop(), Some(0));
    let Some(daemon) = start_slow(&data, &trace, 2_000_000, "2") else { return };
    // Connections go to the two workers by turns.
    let [mut leasing, mut refused, _, mut other] = [(); 4].map(|()| daemon.client());
    post(&mut leasing, "/v1/pools/p/lease", &json!({"count": LAST, "ttl": 3_000}));
    std::thread::sleep(Duration::from_millis(100));
    post(&mut refused, "/v1/pools/p/lease", &json!({"within": ["1"]}));
    // Another answer of the same thread, before the counts are there.
    write!(other.connection.get_mut(), "GET /v1/pools/p HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    let answer = try_read_answer(&mut refused.connection, false).unwrap();
    assert_eq!(answer.problem(), (409, "exhausted".to_owned()));
    assert_eq!(answer.json()["leased"], NUMBERS);
    daemon.kill();
    let daemon = Daemon::start(&data);
    let pool = daemon.client().call("GET", "/v1/pools/p").unwrap().json();
    assert_eq!(pool["leased"], NUMBERS, "what was told is durable");
}

/// A restored pool gives no lease while one that it does not know can be live, unless somebody says that none is.
#[test]
fn a_restored_pool_waits_for_the_leases_that_it_does_not_know() {
    let data = tempfile::tempdir().unwrap();
    let (original, backup) = (data.path().join("data"), data.path().join("data/backups/b"));
    let daemon = Daemon::start(&original);
    create(&daemon, "short", "ttl=1&ttl_max=3", "100001-100009");
    create(&daemon, "long", "ttl=1&ttl_max=600", "200001-200009");
    create(&daemon, "closed", "ttl=1&ttl_max=1", "300001-300009");
    assert_eq!(daemon.client().call("POST", "/v1/pools/closed/pause").unwrap().status, 200);
    assert_eq!(daemon.client().post("/v1/backup", &json!({"name": "b"})).unwrap().status, 200);
    assert_eq!(daemon.stop(), Some(0));
    let lease = |daemon: &Daemon, pool: &str| {
        daemon.client().post(&format!("/v1/pools/{pool}/lease"), &json!({})).unwrap()
    };
    let restore = |name: &str, flags: &[&str]| {
        let target = data.path().join(name);
        let output = allotd().arg("restore").args(flags).arg(&backup).arg(&target).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        (target, String::from_utf8(output.stdout).unwrap())
    };

    let (restored, said) = restore("waits", &[]);
    assert!(said.contains("paused until") && said.contains("--serve-at-once"), "{said}");
    let begun = Instant::now();
    let daemon = Daemon::start(&restored);
    assert_eq!(lease(&daemon, "short").problem(), (409, "paused".to_owned()));
    let shown = daemon.client().call("GET", "/v1/pools/short").unwrap().json();
    assert!(shown["paused"] == true && shown["paused_until"].is_string(), "{shown}");
    while lease(&daemon, "short").status != 200 {
        assert!(begun.elapsed() < Duration::from_secs(PATIENCE_SECONDS), "it stays paused");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(begun.elapsed() > Duration::from_millis(1_900), "{:?}", begun.elapsed());
    let shown = daemon.client().call("GET", "/v1/pools/short").unwrap().json();
    assert!(shown["paused"] == false && shown.get("paused_until").is_none(), "{shown}");
    // An operator's word goes before the time, and lasts.
    assert_eq!(lease(&daemon, "long").problem(), (409, "paused".to_owned()));
    assert_eq!(daemon.client().call("POST", "/v1/pools/long/resume").unwrap().status, 200);
    assert_eq!(lease(&daemon, "long").status, 200);
    assert_eq!(lease(&daemon, "closed").problem(), (409, "paused".to_owned()));
    assert_eq!(daemon.stop(), Some(0));
    let daemon = Daemon::start(&restored);
    assert_eq!(lease(&daemon, "long").status, 200);
    assert_eq!(daemon.stop(), Some(0));

    let (restored, said) = restore("at-once", &["--serve-at-once"]);
    assert!(!said.contains("paused"), "{said}");
    let daemon = Daemon::start(&restored);
    assert_eq!((lease(&daemon, "long").status, lease(&daemon, "closed").status), (200, 409));
    assert_eq!(daemon.stop(), Some(0));

    let (restored, _) = restore("told-later", &[]);
    let daemon = Daemon::start_with(&restored, &["--serve-at-once"]);
    assert_eq!((lease(&daemon, "long").status, lease(&daemon, "closed").status), (200, 409));
}

/// Without its secret a directory is served only after somebody has said that all tokens may go.
#[test]
fn a_lost_secret_is_not_replaced_in_silence() {
    let data = tempfile::tempdir().unwrap();
    let data = data.path().join("data");
    let daemon = Daemon::start(&data);
    create(&daemon, "p", "ttl=600", "100001-100010");
    let held = leases(&daemon.client().post("/v1/pools/p/lease", &json!({})).unwrap());
    assert_eq!(daemon.stop(), Some(0));
    std::fs::remove_file(data.join("secret")).unwrap();
    let served = allotd().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output().unwrap();
    let said = String::from_utf8(served.stderr).unwrap();
    assert_eq!(served.status.code(), Some(1), "{said}");
    assert!(said.contains("is missing") && said.contains("allotd new-secret"), "{said}");
    assert!(!allotd().arg("check").arg(&data).status().unwrap().success());
    let made = allotd().arg("new-secret").arg(&data).output().unwrap();
    assert!(made.status.success() && String::from_utf8_lossy(&made.stdout).contains("stale"), "{made:?}");
    assert!(allotd().arg("check").arg(&data).status().unwrap().success());
    let daemon = Daemon::start(&data);
    assert_eq!(return_leases(&mut daemon.client(), "p", &held).problem(), (409, "stale".to_owned()));
    assert_eq!(daemon.client().call("GET", "/v1/pools/p").unwrap().json()["leased"], 1);
}
