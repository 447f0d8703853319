//! Events: what happened to each number, once and in order, through kills, rotation and restarts.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, allotd, one_line_failure};
use crate::support::histories::{
    all_events, assert_leads_to_the_states, assert_no_hole, follow, get, lines, seq, settled,
};
use crate::support::{Client, try_read_answer};
use serde_json::{Value, json};

const KEEP: [&str; 2] = ["--events-keep", "64MiB,24h"];
const NUMBERS: u64 = 60;
const FIRST: u64 = 1_000;
/// What events there are.
const NAMES: [&str; 11] = [
    "leased",
    "renewed",
    "returned",
    "expired",
    "released",
    "retired",
    "reinstated",
    "round",
    "blocked",
    "unblocked",
    "added",
];

fn start(data: &Path) -> Daemon {
    Daemon::start_with(data, &[&KEEP[..], &["--workers", "2", "--journal-file-mib", "8"]].concat())
}

fn create(daemon: &Daemon, numbers: u64, settings: &Value) {
    let list = format!("first,last\n{FIRST},{}\n", FIRST + numbers - 1);
    let mut client = daemon.client();
    let made = client.send("PUT", "/v1/pools/ru?ttl=60", "text/csv", list.as_bytes()).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let set = client.send("PATCH", "/v1/pools/ru", "application/json", settings.to_string().as_bytes());
    assert_eq!(set.unwrap().status, 200);
}

/// What was confirmed to callers.
#[derive(Default)]
struct Confirmed {
    /// Number and generation.
    leased: BTreeSet<(u64, u64)>,
    /// Number, generation and outcome.
    returned: BTreeSet<(u64, u64, String)>,
    renewed: BTreeSet<(u64, u64)>,
}

fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

/// Leases, renews, returns and lets leases end until told to stop, or until the daemon is gone.
fn holder(address: std::net::SocketAddr, seed: u64, stop: &AtomicBool, confirmed: &Mutex<Confirmed>) {
    let mut state = seed;
    let name = format!("holder {seed}");
    let Ok(mut client) = Client::connect(address) else { return };
    while !stop.load(Ordering::Relaxed) {
        let count = random(&mut state) % 4 + 1;
        let ttl = random(&mut state) % 3 + 1;
        let Ok(answer) =
            client.post("/v1/pools/ru/lease", &json!({"count": count, "ttl": ttl, "holder": name}))
        else {
            return;
        };
        if answer.status != 200 {
            std::thread::sleep(Duration::from_millis(2));
            continue;
        }
        for lease in answer.json()["leases"].as_array().unwrap() {
            let (number, generation) =
                (lease["number"].as_u64().unwrap(), lease["generation"].as_u64().unwrap());
            confirmed.lock().unwrap().leased.insert((number, generation));
            let lease = json!({"number": number, "token": lease["token"]});
            if random(&mut state).is_multiple_of(4) {
                let Ok(renewed) = client.post("/v1/pools/ru/renew", &json!({"leases": [lease], "ttl": 4}))
                else {
                    return;
                };
                if renewed.json()["results"][0]["result"] == "renewed" {
                    confirmed.lock().unwrap().renewed.insert((number, generation));
                }
            }
            let outcome =
                ["no_answer", "answered", "refused", "unheard_of", "optout"][random(&mut state) as usize % 5];
            if random(&mut state).is_multiple_of(6) {
                continue;
            }
            let body = json!({"leases": [lease], "outcome": outcome});
            let Ok(returned) = client.post("/v1/pools/ru/return", &body) else { return };
            if returned.json()["results"][0]["result"] == "returned" {
                let told = if outcome == "unheard_of" { "other" } else { outcome };
                confirmed.lock().unwrap().returned.insert((number, generation, told.to_owned()));
            }
        }
    }
}

/// Retires, reinstates, releases, opens rounds and changes a list; adds numbers if the daemon is not killed: a kill
/// during an addition makes the events begin anew.
fn operator(address: std::net::SocketAddr, stop: &AtomicBool, adds: bool) {
    const CALLS: [&str; 7] = [
        "/v1/pools/ru/rounds",
        "/v1/pools/ru/retire",
        "/v1/pools/ru/reinstate",
        "/v1/pools/ru/release",
        "/v1/lists/optouts/numbers",
        "/v1/lists/optouts/remove",
        "/v1/pools/ru/numbers",
    ];
    let (mut state, mut added) = (99, 0);
    let Ok(mut client) = Client::connect(address) else { return };
    while !stop.load(Ordering::Relaxed) {
        let mut number = FIRST + random(&mut state) % NUMBERS;
        let path = CALLS[random(&mut state) as usize % (CALLS.len() - usize::from(!adds))];
        if path == "/v1/pools/ru/numbers" {
            number = FIRST + NUMBERS + added;
            added += 1;
        }
        let done = if path == CALLS[0] {
            client.call("POST", path)
        } else {
            client.send("POST", path, "text/plain", format!("{number}\n").as_bytes())
        };
        if done.is_err() {
            return;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn load(daemon: &Daemon, seconds: f64, adds: bool, confirmed: &Mutex<Confirmed>, end: impl FnOnce()) {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for seed in 1..=4 {
            let stop = &stop;
            scope.spawn(move || holder(daemon.address, seed * 7_919, stop, confirmed));
        }
        scope.spawn(|| operator(daemon.address, &stop, adds));
        std::thread::sleep(Duration::from_secs_f64(seconds));
        end();
        stop.store(true, Ordering::Relaxed);
    });
}

#[test]
fn each_numbers_history_leads_to_its_state_through_kills_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let outcomes = json!({"no_answer": {"rest": 1}, "answered": "done", "refused": "retired", "optout": {"list": "optouts"}});
    let rules = json!({"outcomes": outcomes, "blocked_by": ["optouts"], "holders": true});
    let confirmed = Mutex::new(Confirmed::default());
    let mut daemon = start(dir.path());
    assert_eq!(daemon.client().call("PUT", "/v1/lists/optouts").unwrap().status, 201);
    create(&daemon, NUMBERS, &rules);
    for kill in 0..4 {
        load(&daemon, 1.5, kill == 3, &confirmed, || {
            if kill < 3 {
                crate::support::daemon::kill_process(daemon.id());
            }
        });
        if kill < 3 {
            drop(daemon);
            daemon = start(dir.path());
        }
    }
    // All that is leased or rests ends by itself.
    let begun = Instant::now();
    let ends = |state: &str| daemon.client().call("GET", "/v1/pools/ru").unwrap().json()[state] == 0;
    while !(ends("leased") && ends("resting")) {
        assert!(begun.elapsed() < Duration::from_secs(60), "leases do not end");
        std::thread::sleep(Duration::from_millis(100));
    }
    let events = settled(&daemon);
    assert_no_hole(&events);
    let last = follow(&events);
    assert_leads_to_the_states(&daemon, &last, FIRST..FIRST + NUMBERS);

    let has = |name: &str| events.iter().any(|event| event["event"] == name);
    for name in NAMES {
        assert!(has(name), "{name} did not happen, so the test shows nothing of it");
    }
    let of = |name: &str| events.iter().filter(|event| event["event"] == name).collect::<Vec<_>>();
    let key = |event: &&Value| (event["number"].as_u64().unwrap(), event["generation"].as_u64().unwrap());
    let leased: Vec<_> = of("leased").iter().map(key).collect();
    let distinct: BTreeSet<_> = leased.iter().copied().collect();
    assert_eq!(leased.len(), distinct.len(), "a lease is told twice");
    let confirmed = confirmed.into_inner().unwrap();
    assert!(confirmed.leased.len() > 100, "{}", confirmed.leased.len());
    assert!(confirmed.leased.is_subset(&distinct), "a confirmed lease is not told");
    assert!(confirmed.renewed.is_subset(&of("renewed").iter().map(key).collect()));
    let returned = of("returned").into_iter().map(|event| {
        let (number, generation) = key(&event);
        (number, generation, event["outcome"].as_str().unwrap().to_owned())
    });
    let returned: BTreeSet<_> = returned.collect();
    let told = |(number, generation, _): &(u64, u64, String)| {
        returned.iter().any(|(n, g, _)| (n, g) == (number, generation))
    };
    // One that repeats a return, or comes after the lease ended, changes nothing and is not told again.
    let missing: Vec<_> = confirmed.returned.iter().filter(|returned| !told(returned)).collect();
    for (number, generation, _) in missing {
        let ended = |event: &&Value| {
            event["generation"].is_u64() && key(event) == (*number, *generation) && event["event"] != "leased"
        };
        assert!(events.iter().any(|event| ended(&event)), "{number} {generation}");
    }
    let common = confirmed.returned.intersection(&returned).count();
    assert!(common > confirmed.returned.len() / 2, "{common} of {}", confirmed.returned.len());

    assert_eq!(all_events(&daemon, 97), events, "in pieces");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = start(dir.path());
    assert_eq!(all_events(&daemon, 100_000), events, "after a restart");
}

/// Sends numbers, and expects success.
fn send(client: &mut Client, method: &str, path: &str, numbers: &str) -> Value {
    let kind = if numbers.starts_with("first") { "text/csv" } else { "text/plain" };
    let answer = client.send(method, path, kind, numbers.as_bytes()).unwrap();
    assert!(answer.status < 300, "{path}: {}", answer.body);
    answer.json()
}

fn names(events: &[Value]) -> BTreeMap<String, usize> {
    let mut names = BTreeMap::new();
    for event in events {
        *names.entry(event["event"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    names
}

#[test]
fn lists_of_many_numbers_tell_what_the_pool_holds_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(dir.path());
    let mut client = daemon.client();
    send(&mut client, "PUT", "/v1/lists/big", "first,last\n1500,1507\n");
    send(&mut client, "PUT", "/v1/lists/other", "first,last\n2000,2001\n");
    create(&daemon, 3_000, &json!({}));
    // Two of each leaf of ranks, and all numbers beyond the pool.
    let patch = json!({"blocked_by": ["big", "other"]}).to_string();
    assert_eq!(
        client.send("PATCH", "/v1/pools/ru", "application/json", patch.as_bytes()).unwrap().status,
        200
    );
    let odd: Vec<_> = (0..1_500).map(|index| (FIRST + 2 * index + 1).to_string()).collect();
    let odd = odd.join("\n");
    let added = send(&mut client, "POST", "/v1/lists/big/numbers", &odd);
    assert_eq!(added["pools"][0]["blocked"], 1_500 - 4 - 1);
    let all = "first,last\n1,100000000\n";
    let replaced = send(&mut client, "POST", "/v1/lists/big/replace", all);
    assert_eq!(replaced["pools"][0]["blocked"], 1_500 - 4 - 1);
    let events = settled(&daemon);
    assert_eq!(names(&events), BTreeMap::from([("blocked".to_owned(), 3_000)]));
    let numbers: BTreeSet<u64> = events.iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, (FIRST..FIRST + 3_000).collect());
    assert!(events.iter().all(|event| event.get("generation").is_none() && event.get("state").is_none()));

    let few = "first,last\n3000,3010\n";
    assert_eq!(send(&mut client, "POST", "/v1/lists/big/replace", few)["pools"][0]["unblocked"], 2_987);
    assert_eq!(send(&mut client, "POST", "/v1/lists/big/remove", "3000\n")["pools"][0]["unblocked"], 1);
    // Numbers that come: many, few, with a history of their own, and on a list.
    send(&mut client, "POST", "/v1/pools/ru/numbers", "first,last\n4000,6999\n");
    send(&mut client, "POST", "/v1/lists/big/numbers", "7000\n");
    send(&mut client, "POST", "/v1/pools/ru/numbers", "7000\n7001\n");
    let states = "number,state,generation,until\n8000,retired,5,\n8001,available,0,\n8002,available,7,\n";
    let with_states = client.send("POST", "/v1/pools/ru/numbers", "text/csv", states.as_bytes()).unwrap();
    assert_eq!(with_states.status, 200, "{}", with_states.body);
    let later = settled(&daemon)[3_000..].to_vec();
    let expected = [("added", 3_005), ("blocked", 1), ("unblocked", 2_988)];
    let expected: BTreeMap<_, _> =
        expected.into_iter().map(|(name, count)| (name.to_owned(), count)).collect();
    assert_eq!(names(&later), expected);
    let of = |number: u64| {
        let of_number = later.iter().filter(move |event| event["number"] == number);
        of_number.map(|event| (event["event"].clone(), event["state"].clone(), event["generation"].clone()))
    };
    let added = |state: &str, generation: u64| (json!("added"), json!(state), json!(generation));
    assert_eq!(of(4_000).collect::<Vec<_>>(), [added("available", 0)]);
    assert_eq!(
        of(7_000).collect::<Vec<_>>(),
        [added("available", 0), (json!("blocked"), json!(null), json!(null))]
    );
    assert_eq!(of(8_000).map(|event| event.1).collect::<Vec<_>>(), [json!("retired")]);
    assert_eq!(of(8_001).collect::<Vec<_>>(), [added("available", 0)]);
    let export = client.get_as("/v1/pools/ru/numbers", "text/csv").unwrap().body;
    let rows = export.lines().filter(|row| row.starts_with("800"));
    for (row, number) in rows.zip(8_000..) {
        let generation = of(number).next().unwrap().2;
        assert_eq!(row.split(',').nth(2).unwrap(), generation.to_string(), "{row}");
    }
}

#[test]
fn events_name_who_had_the_number_also_when_an_operator_ends_it() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(dir.path());
    create(&daemon, 10, &json!({"holders": true, "order": "lowest"}));
    let mut client = daemon.client();
    let mut lease =
        |body: Value| client.post("/v1/pools/ru/lease", &body).unwrap().json()["leases"][0].clone();
    let (anna, boris) = (lease(json!({"holder": "Анна \"2\""})), lease(json!({"holder": "boris"})));
    lease(json!({}));
    let renew = json!({"leases": [{"number": anna["number"], "token": anna["token"]}], "ttl": 90});
    assert_eq!(client.post("/v1/pools/ru/renew", &renew).unwrap().status, 200);
    send(&mut client, "POST", "/v1/pools/ru/release", &format!("{}\n", anna["number"]));
    assert_eq!(client.call("POST", "/v1/pools/ru/release?holder=boris").unwrap().status, 200);
    send(&mut client, "POST", "/v1/pools/ru/release?", "1002\n");
    let told: Vec<_> = settled(&daemon)
        .iter()
        .map(|event| {
            (
                event["event"].as_str().unwrap().to_owned(),
                event["number"].clone(),
                event.get("holder").cloned(),
            )
        })
        .collect();
    let (anna_name, boris_name) = (Some(json!("Анна \"2\"")), Some(json!("boris")));
    let of = |name: &str, number: &Value, holder: &Option<Value>| {
        (name.to_owned(), number.clone(), holder.clone())
    };
    let nobody = json!(1_002);
    let expected = [
        of("leased", &anna["number"], &anna_name),
        of("leased", &boris["number"], &boris_name),
        of("leased", &nobody, &None),
        of("renewed", &anna["number"], &anna_name),
        of("released", &anna["number"], &anna_name),
        of("released", &boris["number"], &boris_name),
        of("released", &nobody, &None),
    ];
    assert_eq!(told, expected);
    // After a kill nobody has the numbers, and the next event names nobody.
    crate::support::daemon::kill_process(daemon.id());
    drop(daemon);
    let daemon = start(dir.path());
    let mut client = daemon.client();
    let seen = client.call("GET", &format!("/v1/pools/ru/numbers/{}", anna["number"])).unwrap().json();
    assert_eq!((seen["state"].as_str(), seen.get("holder")), (Some("available"), None), "{seen}");
    assert_eq!(client.post("/v1/pools/ru/lease", &json!({"count": 1})).unwrap().status, 200);
    let events = settled(&daemon);
    assert_eq!(
        (events.len(), events[7]["event"].as_str(), events[7].get("holder")),
        (8, Some("leased"), None)
    );
}

#[test]
fn a_kill_while_many_numbers_change_makes_the_events_begin_anew() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(dir.path());
    create(&daemon, 10, &json!({}));
    assert_eq!(daemon.client().post("/v1/pools/ru/lease", &json!({"count": 5})).unwrap().status, 200);
    let first = seq(&settled(&daemon)[0]);
    let unfinished = dir.path().join("events/unfinished");
    send(&mut daemon.client(), "POST", "/v1/pools/ru/numbers", "5000\n");
    assert!(!unfinished.exists(), "the journal has all of it");
    crate::support::daemon::kill_process(daemon.id());
    drop(daemon);
    // As a kill leaves it in the middle of a change.
    std::fs::write(&unfinished, "").unwrap();
    let daemon = start(dir.path());
    let gone = get(&mut daemon.client(), &format!("?from={first}"));
    assert_eq!(gone.problem(), (410, "gone".to_owned()));
    assert!(!unfinished.exists());
    assert_eq!(daemon.client().post("/v1/pools/ru/lease", &json!({})).unwrap().status, 200);
    assert_eq!(settled(&daemon).len(), 1);
}

#[test]
fn a_browser_resumes_after_the_last_event_that_it_saw() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(dir.path());
    create(&daemon, 10, &json!({}));
    let mut client = daemon.client();
    assert_eq!(client.post("/v1/pools/ru/lease", &json!({"count": 5})).unwrap().status, 200);
    let events = settled(&daemon);
    assert_eq!(events.len(), 5);
    let mut ask = |headers: &str| {
        let head =
            "GET /v1/pools/ru/events?wait=0 HTTP/1.1\r\nhost: localhost\r\naccept: text/event-stream\r\n";
        write!(client.connection.get_mut(), "{head}{headers}\r\n").unwrap();
        try_read_answer(&mut client.connection, false).unwrap()
    };
    let whole = ask("");
    assert_eq!(whole.header("content-type"), Some("text/event-stream"));
    let (retry, rest) = whole.body.split_once("\n\n").unwrap();
    assert!(retry.starts_with("retry: "), "{retry}");
    let blocks: Vec<&str> = rest.split_terminator("\n\n").collect();
    for (block, event) in blocks.iter().zip(&events) {
        let [id, name, data] = block.lines().collect::<Vec<_>>()[..] else { panic!("{block}") };
        assert_eq!(id, format!("id: {}", seq(event)));
        assert_eq!(name, "event: leased");
        let data: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
        assert_eq!(&data, event);
    }
    assert_eq!(blocks.len(), 5);
    let rest = ask(&format!("last-event-id: {}\r\n", seq(&events[2])));
    assert_eq!(rest.body.matches("id: ").count(), 2);
    assert!(rest.body.contains(&format!("id: {}\n", seq(&events[3]))), "{}", rest.body);
    let none = ask(&format!("last-event-id: {}\r\n", seq(&events[4])));
    assert_eq!((none.status, none.body.matches("id: ").count()), (200, 0));
}

#[test]
fn what_is_over_the_bound_is_gone_and_said_to_be() {
    let dir = tempfile::tempdir().unwrap();
    let flags = ["--events-keep", "64KiB,1h"];
    let daemon = Daemon::start_with(dir.path(), &flags);
    create(&daemon, 100, &json!({}));
    let mut client = daemon.client();
    let first = get(&mut client, "?from=1");
    assert_eq!(first.problem(), (410, "gone".to_owned()));
    let begin = first.json()["oldest"].as_u64().unwrap();
    for _ in 0..60 {
        let answer = client.post("/v1/pools/ru/lease", &json!({"count": 100})).unwrap();
        assert_eq!(answer.status, 200, "{}", answer.body);
        let leases = answer.json()["leases"].as_array().unwrap().clone();
        let leases: Vec<_> =
            leases.iter().map(|l| json!({"number": l["number"], "token": l["token"]})).collect();
        let returned = client.post("/v1/pools/ru/return", &json!({"leases": leases})).unwrap();
        assert_eq!(returned.status, 200);
    }
    // A reader of what is being removed is cut off.
    let started = Instant::now();
    while client.call("GET", "/v1/stats").unwrap().json()["events"]["count"] != 12_000 {
        assert!(started.elapsed() < Duration::from_secs(60), "not all is told");
        std::thread::sleep(Duration::from_millis(50));
    }
    let events = settled(&daemon);
    assert_no_hole(&events);
    assert_eq!(seq(events.last().unwrap()), begin + 12_000 - 1, "none is left out");
    let oldest = seq(&events[0]);
    assert!(oldest > begin && events.len() > 1_000, "{oldest} {}", events.len());
    let gone = get(&mut client, &format!("?from={}", oldest - 1));
    assert_eq!((gone.problem(), gone.json()["oldest"].as_u64()), ((410, "gone".to_owned()), Some(oldest)));
    let newest = begin + 12_000 - 1;
    let future = get(&mut client, &format!("?from={}", newest + 2));
    assert_eq!(future.problem(), (400, "bad_request".to_owned()));
    assert_eq!(future.json()["newest"].as_u64(), Some(newest));
    let next = get(&mut client, &format!("?from={}", newest + 1));
    assert_eq!((next.status, next.body.as_str()), (200, ""));
    let stats = client.call("GET", "/v1/stats").unwrap().json();
    assert_eq!(stats["pools"]["ru"]["events"], json!({"oldest": oldest, "newest": newest}));
    assert_eq!((&stats["events"]["count"], &stats["events"]["readers"]), (&json!(12_000), &json!(0)));
    assert_eq!(stats["events"]["per_second"], json!(200.0), "over the last minute");
    let bytes = stats["events"]["bytes"].as_u64().unwrap();
    assert!((16 << 10..=64 << 10).contains(&bytes), "{bytes}");
    assert_eq!(daemon.stop(), Some(0));

    let daemon = Daemon::start_with(dir.path(), &flags);
    let mut client = daemon.client();
    let gone = get(&mut client, &format!("?from={}", oldest - 1));
    assert_eq!(gone.json()["oldest"].as_u64(), Some(oldest), "a restart keeps what is kept");
    let leased = client.post("/v1/pools/ru/lease", &json!({})).unwrap();
    assert_eq!(leased.status, 200);
    let next = get(&mut client, &format!("?from={}&wait=10", newest + 1));
    let next = lines(&next.body);
    assert_eq!((next.len(), seq(&next[0]), &next[0]["event"]), (1, newest + 1, &json!("leased")));
}

#[test]
fn a_reader_waits_without_polling_and_is_answered_when_the_daemon_ends() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(dir.path());
    create(&daemon, 10, &json!({}));
    let answered = |daemon: &Daemon, from: u64| {
        let mut client = daemon.client();
        std::thread::spawn(move || {
            let answer = get(&mut client, &format!("?from={from}&wait=60"));
            (answer, Instant::now())
        })
    };
    let mut client = daemon.client();
    let begin = get(&mut client, "?from=0").json()["oldest"].as_u64().unwrap();
    let waits: Vec<_> = (0..20).map(|_| answered(&daemon, begin)).collect();
    std::thread::sleep(Duration::from_millis(300));
    assert!(waits.iter().all(|wait| !wait.is_finished()));
    let changed = Instant::now();
    assert_eq!(client.post("/v1/pools/ru/lease", &json!({})).unwrap().status, 200);
    for wait in waits {
        let (answer, at) = wait.join().unwrap();
        let events = lines(&answer.body);
        assert_eq!((events.len(), &events[0]["event"]), (1, &json!("leased")));
        assert!(at - changed < Duration::from_secs(5), "{:?}", at - changed);
    }
    let waits = answered(&daemon, begin + 1);
    std::thread::sleep(Duration::from_millis(300));
    assert!(!waits.is_finished());
    assert_eq!(daemon.stop(), Some(0));
    let (answer, _) = waits.join().unwrap();
    assert_eq!((answer.status, answer.body.as_str()), (200, ""));
}

#[test]
fn without_events_a_call_says_how_to_have_them() {
    let dir = tempfile::tempdir().unwrap();
    for flags in [&[][..], &["--durability", "none"]] {
        let daemon = Daemon::start_with(&dir.path().join("data"), flags);
        if flags.is_empty() {
            create(&daemon, 10, &json!({}));
        }
        let refused = get(&mut daemon.client(), "");
        assert_eq!(refused.problem(), (409, "events_off".to_owned()));
        assert!(refused.body.contains("--events-keep 64MiB,24h"), "{}", refused.body);
        assert_eq!(refused.body.contains("--durability sync"), !flags.is_empty());
        assert_eq!(daemon.stop(), Some(0));
    }
    let data = dir.path().join("data");
    let serve = |flags: &[&str]| {
        allotd().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).args(flags).output().unwrap()
    };
    for keep in ["64MiB", "24h", "1KiB,24h", "64MiB,0h", "64MiB,24", "xMiB,1h", "64MiB,9000h"] {
        one_line_failure(&serve(&["--events-keep", keep]), 2, "give bytes and hours");
    }
    let both = serve(&["--durability", "none", "--events-keep", "64MiB,24h"]);
    one_line_failure(&both, 2, "--durability none does not write");
}

#[test]
fn bad_questions_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(dir.path());
    create(&daemon, 10, &json!({}));
    let mut client = daemon.client();
    for (query, words) in [
        ("?from=x", "from is"),
        ("?from=-1", "from is"),
        ("?limit=0", "limit is 0"),
        ("?limit=1000001", "limit is 1000001"),
        ("?wait=61", "wait is 61"),
        ("?since=3", "not a parameter"),
        ("?from=9007199254740993", "has not happened"),
    ] {
        let refused = get(&mut client, query);
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()), "{query}");
        assert!(refused.body.contains(words), "{query}: {}", refused.body);
    }
    let refused = client.get_as("/v1/pools/ru/events", "image/png").unwrap();
    assert_eq!(refused.problem(), (400, "bad_request".to_owned()));
    let missing = client.call("GET", "/v1/pools/nope/events").unwrap();
    assert_eq!(missing.problem(), (404, "pool_not_found".to_owned()));
}

#[test]
fn the_command_prints_the_events() {
    let dir = tempfile::tempdir().unwrap();
    let daemon = start(dir.path());
    create(&daemon, 10, &json!({}));
    daemon.ok(&["lease", "ru", "--count", "3"]);
    let events = settled(&daemon);
    let text = |events: &[Value]| events.to_vec();
    assert_eq!(lines(&daemon.ok(&["events", "ru"])), text(&events));
    let second = seq(&events[1]).to_string();
    assert_eq!(lines(&daemon.ok(&["events", "ru", "--from", &second, "--limit", "1"])), text(&events[1..2]));
    assert_eq!(lines(&daemon.ok(&["events", "ru", "--follow", "--limit", "3"])), text(&events));
    let refused = daemon.run(&["events", "ru", "--from", "1"]);
    one_line_failure(&refused, 1, "not kept any more");
}
