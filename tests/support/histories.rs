//! What the events of the pool `ru` tell of each number.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::daemon::Daemon;
use super::{Answer, Client};

pub(crate) fn lines(text: &str) -> Vec<Value> {
    text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
}

pub(crate) fn get(client: &mut Client, query: &str) -> Answer {
    client.call("GET", &format!("/v1/pools/ru/events{query}")).unwrap()
}

/// All events from the oldest on, read `limit` at a time.
pub(crate) fn all_events(daemon: &Daemon, limit: usize) -> Vec<Value> {
    let (mut client, mut events) = (daemon.client(), Vec::<Value>::new());
    loop {
        let from = events.last().map_or(String::new(), |last| format!("&from={}", seq(last) + 1));
        let answer = get(&mut client, &format!("?limit={limit}{from}"));
        if answer.status == 410 {
            // Overtaken while it was reading.
            events.clear();
            continue;
        }
        assert_eq!(answer.status, 200, "{}", answer.body);
        assert_eq!(answer.header("content-type"), Some("application/x-ndjson"));
        let more = lines(&answer.body);
        assert!(more.len() <= limit);
        if more.is_empty() {
            return events;
        }
        events.extend(more);
    }
}

pub(crate) fn seq(event: &Value) -> u64 {
    event["seq"].as_u64().unwrap()
}

pub(crate) fn assert_no_hole(events: &[Value]) {
    for pair in events.windows(2) {
        assert_eq!(seq(&pair[1]), seq(&pair[0]) + 1, "{pair:?}");
    }
}

/// Waits until the number of events stays the same.
pub(crate) fn settled(daemon: &Daemon) -> Vec<Value> {
    let started = Instant::now();
    loop {
        let before = all_events(daemon, 100_000);
        std::thread::sleep(Duration::from_millis(1_500));
        let after = all_events(daemon, 100_000);
        if before.len() == after.len() {
            return after;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it goes on by itself");
    }
}

/// What the events of a number lead to.
#[derive(Default)]
pub(crate) struct History {
    /// The last event that says something of its state.
    pub(crate) last: Option<Value>,
    is_blocked: bool,
    /// Its last lease that named a holder: the generation, and who.
    held: Option<(u64, Value)>,
}

pub(crate) fn generation(event: &Value) -> u64 {
    event["generation"].as_u64().unwrap()
}

impl History {
    /// Takes an event, which must be possible after those before it, and names who held the number.
    fn take(&mut self, event: &Value) {
        let name = event["event"].as_str().unwrap();
        if name == "blocked" || name == "unblocked" {
            assert_eq!(self.is_blocked, name == "unblocked", "{event}");
            self.is_blocked = name == "blocked";
            return;
        }
        let none = json!({"generation": 0, "state": "available", "event": "none"});
        let before = self.last.as_ref().unwrap_or(&none);
        let (was, is) = (generation(before), generation(event));
        let is_after = |names: &[&str]| names.contains(&before["event"].as_str().unwrap());
        let fits = match name {
            "added" => self.last.is_none() && event["state"] == "available",
            "leased" => is > was && event["state"] == "leased",
            // The late renewal of a lease that has ended by itself is one.
            "renewed" => {
                is == was && event["state"] == "leased" && is_after(&["leased", "renewed", "expired"])
            }
            "returned" => is == was && is_after(&["leased", "renewed", "expired"]),
            "expired" => is == was && before["state"] == "leased",
            "released" | "reinstated" => is > was && event["state"] == "available",
            "retired" => is == was && event["state"] == "retired" && before["state"] != "retired",
            other => panic!("{other}"),
        };
        assert!(fits, "{event} after {before}");
        if name == "leased" {
            self.held = Some((is, event["holder"].clone()));
        }
        let ends = name == "released" || name == "reinstated";
        let holder = self.held.as_ref().filter(|(held, _)| *held == if ends { was } else { is });
        assert_eq!(event.get("holder"), holder.map(|(_, who)| who), "{event} after {before}");
        self.last = Some(event.clone());
    }
}

/// Follows the history of each number.
pub(crate) fn follow(events: &[Value]) -> BTreeMap<u64, History> {
    let mut histories: BTreeMap<u64, History> = BTreeMap::new();
    for event in events.iter().filter(|event| event["event"] != "round") {
        histories.entry(event["number"].as_u64().unwrap()).or_default().take(event);
    }
    histories
}

/// Compares the states to which the events lead with those of the pool, in which no lease and no rest lasts any more.
pub(crate) fn assert_leads_to_the_states(
    daemon: &Daemon,
    histories: &BTreeMap<u64, History>,
    created_with: Range<u64>,
) {
    let mut client = daemon.client();
    let round = client.call("GET", "/v1/pools/ru").unwrap().json()["round"].as_u64().unwrap();
    let export = client.get_as("/v1/pools/ru/numbers", "text/csv").unwrap().body;
    let none = History::default();
    for row in export.lines().skip(1) {
        let fields: Vec<&str> = row.split(',').collect();
        let history = histories.get(&fields[0].parse().unwrap()).unwrap_or(&none);
        let (state, times) = match &history.last {
            None => ("available", 0),
            Some(event) => {
                let state = match event["state"].as_str().unwrap() {
                    "done" if event["round"].as_u64().unwrap() < round => "available",
                    // Its rest is over.
                    "resting" => "available",
                    other => other,
                };
                (state, generation(event))
            }
        };
        let shown = if state == "available" && history.is_blocked { "blocked" } else { state };
        assert_eq!((fields[1], fields[2]), (shown, times.to_string().as_str()), "{row}");
    }
    let numbers: BTreeSet<u64> =
        export.lines().skip(1).map(|row| row.split(',').next().unwrap().parse().unwrap()).collect();
    let told = created_with.chain(histories.keys().copied());
    assert_eq!(numbers, told.collect(), "each number was there from the beginning, or its addition is told");
}
