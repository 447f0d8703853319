//! Stats, metrics and maps over HTTP, from the real binary.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use crate::support::daemon::Daemon;
use crate::support::{Client, PATIENCE_SECONDS, ranges_csv};
use serde_json::{Value, json};

const STATS_PAGE: &str = include_str!("../../docs/stats.md");
const DRAWN_ANSWER: &str = include_str!("../fixtures/stats.json");
const METRICS_PAGE: &str = include_str!("../../docs/operations/metrics.md");
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0";
/// A trend takes six samples, 5 seconds apart.
const TREND_PATIENCE: Duration = Duration::from_secs(90);

fn stats(client: &mut Client) -> Value {
    let answer = client.call("GET", "/v1/stats").unwrap();
    assert_eq!(answer.header("content-type"), Some("application/json"));
    answer.json()
}

fn create(client: &mut Client, name: &str, settings: &str, numbers: &str) {
    let path = format!("/v1/pools/{name}?{settings}");
    assert_eq!(client.send("PUT", &path, "text/csv", ranges_csv(numbers).as_bytes()).unwrap().status, 201);
}

fn lease(client: &mut Client, count: u32) -> Vec<Value> {
    let answer = client.post("/v1/pools/ru/lease", &json!({"count": count})).unwrap();
    assert_eq!(answer.status, 200, "{}", answer.body);
    let leases = answer.json()["leases"].as_array().unwrap().clone();
    leases.into_iter().map(|lease| json!({"number": lease["number"], "token": lease["token"]})).collect()
}

fn return_leases(client: &mut Client, body: &Value) {
    assert_eq!(client.post("/v1/pools/ru/return", body).unwrap().status, 200);
}

fn wait_for(what: &str, mut holds: impl FnMut() -> bool) {
    let started = Instant::now();
    while !holds() {
        assert!(started.elapsed() < Duration::from_secs(PATIENCE_SECONDS), "never: {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// A daemon of which every field of the stats has a value, and every metric a sample.
fn busy(data: &Path) -> Daemon {
    let daemon = Daemon::start_with(data, &["--journal-file-mib", "2", "--events-keep", "16MiB,1h"]);
    let mut client = daemon.client();
    create(&mut client, "ru", "ttl=60&holders=true", "79120000000-79120000999\n");
    assert_eq!(client.post("/v1/pools/ru/lease", &json!({"holder": "c-17"})).unwrap().status, 200);
    let outcomes = json!({"outcomes": {"no_answer": {"rest": 60}}});
    let changed = client.send("PATCH", "/v1/pools/ru", "application/json", outcomes.to_string().as_bytes());
    assert_eq!(changed.unwrap().status, 200);
    let leases = lease(&mut client, 5);
    return_leases(&mut client, &json!({"leases": [leases[0]], "outcome": "no_answer"}));
    return_leases(&mut client, &json!({"leases": [leases[1]], "outcome": "made up"}));
    assert_eq!(client.call("POST", "/v1/pools/none/lease").unwrap().status, 404);
    assert_eq!(client.call("GET", "/v1/pools/ru/numbers/1").unwrap().status, 404);
    create(&mut client, "night", "", "500-599\n");
    let hours = json!({"hours": {"rules": []}}).to_string();
    let changed = client.send("PATCH", "/v1/pools/night", "application/json", hours.as_bytes());
    assert_eq!(changed.unwrap().status, 200);
    assert_eq!(client.send("PUT", "/v1/lists/optouts", "text/plain", b"79120000000\n").unwrap().status, 201);
    assert_eq!(client.call("POST", "/v1/backup").unwrap().status, 200);
    daemon
}

/// The paths of all values, with each name in them replaced by what it names.
fn paths(value: &Value, path: &str, found: &mut BTreeSet<String>) {
    let Some(object) = value.as_object() else {
        found.insert(path.to_owned());
        return;
    };
    for (key, value) in object {
        let key = match path {
            "pools" => "{pool}",
            "requests" => "{call}",
            "refusals" => "{code}",
            "lists" => "{list}",
            _ if path.ends_with(".refusals") => "{code}",
            _ if path.ends_with(".by_status") => "{status}",
            _ if path.ends_with(".returns_by_outcome") => "{outcome}",
            _ => key,
        };
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        paths(value, &path, found);
    }
}

/// What the tables of a page describe: the first cell of each row, if it is code. Without what only a daemon with
/// tokens has, which tests/tokens looks at, and what only a member of a cluster has (tests/cluster).
fn described(page: &str) -> BTreeSet<String> {
    let first_cells = page.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` |"));
    let is_of_tokens = |name: &str| name.starts_with("principals.") || name.starts_with("allotd_principal_");
    let is_of_clusters = |name: &str| name.starts_with("cluster.") || name.starts_with("allotd_cluster_");
    let names = first_cells.map(|(name, _)| name.to_owned());
    names.filter(|name| !is_of_tokens(name) && !is_of_clusters(name)).collect()
}

#[test]
fn every_field_is_described_and_every_described_field_is_there() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = busy(directory.path());
    let mut found = BTreeSet::new();
    paths(&stats(&mut daemon.client()), "", &mut found);
    assert_eq!(found, described(STATS_PAGE));
    let mut kept = BTreeSet::new();
    paths(&serde_json::from_str(DRAWN_ANSWER).unwrap(), "", &mut kept);
    assert_eq!(kept, found, "tests/fixtures/stats.json is what the screen of the statistics is tested with");
    let shown = daemon.ok(&["stats"]);
    for words in ["ready, up ", "no_answer", "pool_not_found", "No such pool", "commit wait", "free of "] {
        assert!(shown.contains(words), "{words} is not in\n{shown}");
    }
    for line in STATS_PAGE.lines().filter(|line| line.starts_with("| `")) {
        assert!(line.ends_with(". |"), "one sentence a field: {line}");
    }
}

/// An alert takes another start time for a restart.
#[test]
fn the_start_time_is_the_same_in_every_scrape() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let mut client = daemon.client();
    // At each tenth of a second.
    let times = (0..12).map(|_| {
        std::thread::sleep(Duration::from_millis(110));
        let metrics = client.get_as("/metrics", OPEN_METRICS).unwrap().body;
        metrics.lines().find(|line| line.starts_with("process_start_time_seconds ")).unwrap().to_owned()
    });
    assert_eq!(times.collect::<BTreeSet<_>>().len(), 1);
}

#[test]
fn every_metric_is_described_and_both_formats_tell_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = busy(directory.path());
    let mut client = daemon.client();
    // Falling for long enough that there is an estimate.
    let started = Instant::now();
    while stats(&mut client)["pools"]["ru"]["exhaustion_seconds"].is_null() {
        assert!(started.elapsed() < TREND_PATIENCE, "never: an estimate of the exhaustion");
        lease(&mut client, 5);
        std::thread::sleep(Duration::from_millis(500));
    }
    let open = client.get_as("/metrics", OPEN_METRICS).unwrap();
    assert!(open.header("content-type").unwrap().starts_with(OPEN_METRICS));
    assert!(open.body.ends_with("# EOF\n"));
    let types = open.body.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '));
    let names: BTreeSet<String> = types
        .map(|(name, kind)| if kind == "counter" { format!("{name}_total") } else { name.to_owned() })
        .collect();
    let mut described = described(METRICS_PAGE);
    // There only after the first checkpoint.
    assert!(described.remove("allotd_checkpoint_age_seconds"));
    assert_eq!(names, described);
    let plain = client.get_as("/metrics", "*/*").unwrap();
    assert_eq!(plain.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(plain.body.contains("# TYPE allotd_pool_leases_total counter\n"), "{}", plain.body);
    assert!(!plain.body.contains("# UNIT") && !plain.body.contains("# EOF"));
    let leases = stats(&mut client)["pools"]["ru"]["totals"]["leases"].clone();
    for body in [&open.body, &plain.body] {
        assert!(body.contains(&format!("\nallotd_pool_leases_total{{pool=\"ru\"}} {leases}\n")), "{body}");
        assert!(body.contains("{pool=\"ru\",outcome=\"no_answer\"} 1\n"));
        assert!(body.contains("\nallotd_commit_wait_seconds_bucket{le=\"+Inf\"} "), "{body}");
        assert!(body.contains("{pool=\"ru\",outcome=\"other\"} 1\n") && !body.contains("made up"));
    }
}

#[test]
fn a_lease_that_finds_nothing_counts_once_whichever_way_it_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut client = daemon.client();
    let always =
        json!({"hours": {"zone": "Etc/UTC", "rules": [{"days": "mon-sun", "from": "00:00", "to": "24:00"}]}});
    let changes = [("none", json!({})), ("never", json!({"hours": {"rules": []}})), ("always", always)];
    for (pool, change) in changes {
        create(&mut client, pool, "ttl=600", "7\n");
        let (path, change) = (format!("/v1/pools/{pool}"), change.to_string());
        assert_eq!(client.send("PATCH", &path, "application/json", change.as_bytes()).unwrap().status, 200);
        let lease = format!("{path}/lease");
        client.call("POST", &lease).unwrap();
        let before = stats(&mut client)["pools"][pool]["totals"]["exhausted"].as_u64().unwrap();
        let several = json!({"pools": [pool]});
        for (path, body) in
            [(&lease, None), (&lease, Some(json!({"count": 2}))), (&"/v1/lease".to_owned(), Some(several))]
        {
            let answer = match &body {
                None => client.call("POST", path).unwrap(),
                Some(body) => client.post(path, body).unwrap(),
            };
            assert_eq!(answer.problem(), (409, "exhausted".to_owned()), "{pool} {body:?}");
        }
        let after = stats(&mut client)["pools"][pool]["totals"]["exhausted"].as_u64().unwrap();
        assert_eq!(after - before, 3, "{pool}");
    }
}

#[test]
fn lists_and_hours_are_counted_everywhere() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut client = daemon.client();
    let list = |client: &mut Client, path: &str, body: &str| {
        let answer = client.send("POST", path, "text/plain", body.as_bytes()).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    assert_eq!(client.send("PUT", "/v1/lists/optouts", "text/plain", b"").unwrap().status, 201);
    let created = stats(&mut client)["lists"]["optouts"].clone();
    assert_eq!((&created["numbers"], &created["pools"]), (&json!(0), &json!(0)));
    create(&mut client, "ru", "blocked_by=optouts", "1000-1099\n2000-2049\n");
    list(&mut client, "/v1/lists/optouts/numbers", "1000\n1001\n9999\n");
    let zones = "prefix,zones\n1,Etc/UTC\n";
    assert_eq!(client.send("PUT", "/v1/pools/ru/zones", "text/csv", zones.as_bytes()).unwrap().status, 200);
    // Always open, but for numbers without a zone.
    let hours = json!({"hours": {"rules": [{"days": "mon-sun", "from": "00:00", "to": "24:00"}]}});
    let changed = client.send("PATCH", "/v1/pools/ru", "application/json", hours.to_string().as_bytes());
    assert_eq!(changed.unwrap().status, 200);
    lease(&mut client, 10);
    let expected = [("numbers", 150), ("available", 88), ("leased", 10), ("blocked", 2), ("closed", 50)];
    let shown = client.call("GET", "/v1/pools/ru").unwrap().json();
    let figures = stats(&mut client);
    let pool = &figures["pools"]["ru"];
    for (name, count) in expected {
        assert_eq!((&shown[name], &pool[name]), (&json!(count), &json!(count)), "{name}");
    }
    assert_eq!((&pool["open"], &pool["next_open_at"]), (&json!(100), &Value::Null));
    let metrics = client.get_as("/metrics", OPEN_METRICS).unwrap().body;
    for line in [
        "allotd_pool_numbers{pool=\"ru\",state=\"closed\"} 50",
        "allotd_pool_numbers{pool=\"ru\",state=\"blocked\"} 2",
        "allotd_pool_numbers{pool=\"ru\",state=\"available\"} 88",
        "allotd_pool_open_numbers{pool=\"ru\"} 100",
        "allotd_list_numbers{list=\"optouts\"} 3",
        "allotd_list_pools{list=\"optouts\"} 1",
    ] {
        assert!(metrics.lines().any(|other| other.replace(".0", "") == line), "{line} is not in\n{metrics}");
    }
    let map = client.call("GET", "/v1/pools/ru/map?buckets=2").unwrap().json();
    let closed = |bucket: usize| map["buckets"][bucket]["closed"].as_u64().unwrap();
    assert_eq!((closed(0), closed(1)), (0, 50), "{map}");
    // When it changed is known again after a restart, to a checkpoint.
    let changed_at = figures["lists"]["optouts"]["changed_at"].as_str().unwrap().to_owned();
    assert!(changed_at.as_str() >= created["changed_at"].as_str().unwrap());
    for words in ["optouts", "next open", "closed"] {
        assert!(daemon.ok(&["stats"]).contains(words), "{words}");
    }
    daemon.kill();
    let daemon = Daemon::start(directory.path());
    let again = stats(&mut daemon.client())["lists"]["optouts"].clone();
    assert_eq!(again["numbers"], 3);
    assert!(again["changed_at"].as_str().unwrap() >= changed_at.as_str(), "{again}");
}

/// The totals of the pool `ru`.
fn totals(daemon: &Daemon) -> Value {
    stats(&mut daemon.client())["pools"]["ru"]["totals"].clone()
}

#[test]
fn totals_go_on_across_restarts() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = busy(directory.path());
    let before = totals(&daemon);
    assert_eq!((&before["leases"], &before["returns"]), (&json!(6), &json!(2)));
    assert_eq!(before["returns_by_outcome"], json!({"no_answer": 1, "other": 1}));
    assert_eq!(daemon.stop(), Some(0));
    let daemon = Daemon::start(directory.path());
    assert_eq!(totals(&daemon), before);
    lease(&mut daemon.client(), 7);
    let before = totals(&daemon);
    assert_eq!(before["leases"], 13);
    // Saved once per second.
    std::thread::sleep(Duration::from_millis(2_500));
    daemon.kill();
    let daemon = Daemon::start(directory.path());
    assert_eq!(totals(&daemon), before);
    assert!(daemon.ok(&["backup", "--name", "b"]).contains("backup    b"));
    assert_eq!(daemon.stop(), Some(0));
    let restored = directory.path().join("restored");
    let backup = directory.path().join("backups/b");
    let output = crate::support::daemon::allotd().arg("restore").args([&backup, &restored]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(totals(&Daemon::start(&restored)), before);
}

#[test]
fn what_is_refused_is_told_by_its_code() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut client = daemon.client();
    create(&mut client, "ru", "ttl=60", "100-109\n");
    create(&mut client, "other", "", "100-109\n");
    assert_eq!(client.call("POST", "/v1/pools/other/resume?x=1").unwrap().status, 400);
    assert_eq!(client.call("DELETE", "/v1/pools/other").unwrap().status, 200);
    create(&mut client, "other", "", "100-109\n");
    lease(&mut client, 10);
    for _ in 0..3 {
        assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 409);
    }
    assert_eq!(client.call("POST", "/v1/pools/ru/pause").unwrap().status, 200);
    assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 409);
    let stats = stats(&mut client);
    let refusals = &stats["refusals"];
    assert_eq!((&refusals["exhausted"]["count"], &refusals["exhausted"]["count_1m"]), (&json!(3), &json!(3)));
    assert_eq!(refusals["paused"]["count"], 1);
    assert!(refusals["paused"]["last_at"].as_str().unwrap().ends_with('Z'));
    // A pool has its own, also one of the name of a pool that was deleted.
    let of_pool = &stats["pools"]["ru"]["refusals"]["exhausted"];
    assert_eq!((&of_pool["count"], &of_pool["count_1m"]), (&json!(3), &json!(3)));
    assert_eq!(stats["pools"]["other"]["refusals"], json!({}));
    let pool = &stats["pools"]["ru"];
    assert_eq!((&pool["totals"]["exhausted"], &pool["paused"]), (&json!(3), &json!(true)));
    let next = pool["next_available_at"].as_str().unwrap();
    assert!(next > humantime::format_rfc3339(std::time::SystemTime::now()).to_string().as_str(), "{next}");
    assert!(pool["leases_per_second"]["1m"].as_f64().unwrap() > 0.0);
}

#[test]
fn how_long_the_calls_of_a_pool_take_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut client = daemon.client();
    create(&mut client, "ru", "", "100-199\n");
    create(&mut client, "other", "", "100-199\n");
    for _ in 0..100 {
        let leases = lease(&mut client, 1);
        return_leases(&mut client, &json!({"leases": leases}));
        assert_eq!(client.call("GET", "/v1/pools/other/numbers/100").unwrap().status, 200);
    }
    let stats = stats(&mut client);
    let latency = &stats["pools"]["ru"]["latency_us"];
    let [p50, p99, max] = ["p50", "p99", "max"].map(|name| latency[name].as_f64().unwrap());
    assert!(p50 > 0.0 && p50 <= p99 && p99 <= max, "{latency}");
    // A look-up is none of them.
    assert_eq!(stats["pools"]["other"].get("latency_us"), None);
}

#[test]
fn how_late_numbers_come_back_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut client = daemon.client();
    create(&mut client, "ru", "ttl=1", "100-199\n");
    lease(&mut client, 50);
    wait_for("the leases end", || stats(&mut client)["pools"]["ru"]["totals"]["expirations"] == 50);
    let lateness = stats(&mut client)["pools"]["ru"]["expiry_lateness_ms"].clone();
    let [p50, p99, max] = ["p50", "p99", "max"].map(|name| lateness[name].as_u64().unwrap());
    assert!(p50 <= p99 && p99 <= max && max < 5_000, "{lateness}");
}

#[test]
fn a_map_tells_where_the_numbers_are() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut client = daemon.client();
    create(&mut client, "ru", "order=lowest", "1000-1999\n5000-5999\n");
    lease(&mut client, 1_500);
    let map = client.call("GET", "/v1/pools/ru/map?buckets=5").unwrap().json();
    assert_eq!(
        (&map["pool"], &map["first"], &map["last"], &map["bucket_width"]),
        (&json!("ru"), &json!(1_000), &json!(5_999), &json!(1_000))
    );
    let bucket = |first: u64, available: u64, leased: u64| json!({"first": first, "available": available, "leased": leased, "resting": 0, "done": 0, "retired": 0, "blocked": 0, "closed": 0});
    let expected = [
        bucket(1_000, 0, 1_000),
        bucket(2_000, 0, 0),
        bucket(3_000, 0, 0),
        bucket(4_000, 0, 0),
        bucket(5_000, 500, 500),
    ];
    assert_eq!(map["buckets"], json!(expected));
    let part = client.call("GET", "/v1/pools/ru/map?buckets=1&within=5400-5599").unwrap().json();
    assert_eq!(part["buckets"], json!([bucket(5_400, 100, 100)]));
    let empty = client.call("GET", "/v1/pools/ru/map?within=3000-3999").unwrap().json();
    assert_eq!(
        empty,
        json!({"pool": "ru", "first": null, "last": null, "bucket_width": null, "buckets": []})
    );
    assert_eq!(
        client.call("GET", "/v1/pools/ru/map").unwrap().json()["buckets"].as_array().unwrap().len(),
        1_000
    );
    for (query, words) in [
        ("buckets=0", "1 to 4096"),
        ("buckets=4097", "1 to 4096"),
        ("within=x", "within"),
        ("a=1", "buckets"),
    ] {
        let answer = client.call("GET", &format!("/v1/pools/ru/map?{query}")).unwrap();
        assert_eq!(answer.problem(), (400, "bad_request".to_owned()));
        assert!(answer.body.contains(words), "{query}: {}", answer.body);
    }
    assert_eq!(client.call("POST", "/v1/pools/ru/map").unwrap().header("allow"), Some("GET, HEAD"));
    assert_eq!(client.call("GET", "/v1/pools/none/map").unwrap().status, 404);
}
