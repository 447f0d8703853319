//! What a daemon says after a kill, held against what was answered before.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::json;

use super::NUMBERS;
use super::ledger::{Ledger, NextState, Row};
use super::load::{OtherPool, Possible};
use super::support::daemon::allotd;
use super::support::{Answer, Client};

/// `allotd check` finds nothing in what the kill left behind.
pub(crate) fn check_offline(data: &Path) {
    let output = allotd().arg("check").arg(data).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}

fn get(client: &mut Client, path: &str) -> Answer {
    let answer = client.call("GET", path).unwrap();
    assert_eq!(answer.status, 200, "{answer:?}");
    answer
}

fn export(client: &mut Client) -> String {
    client.get_as("/v1/pools/ru/numbers", "text/csv").unwrap().body
}

fn rows(export: &str) -> Vec<Row<'_>> {
    export.lines().skip(1).map(Row::parse).collect()
}

/// Every number against the ledger, and the daemon's counts against its numbers.
pub(crate) fn compare(client: &mut Client, ledger: &Ledger, lost_leases: u64) {
    let export = export(client);
    let rows = rows(&export);
    ledger.compare(&rows, lost_leases);
    for counts in [get(client, "/v1/pools/ru").json(), get(client, "/v1/stats").json()["pools"]["ru"].clone()]
    {
        assert_eq!(counts["numbers"], rows.len());
        for state in ["available", "leased", "resting", "done", "retired"] {
            assert_eq!(counts[state], rows.iter().filter(|row| row.state == state).count(), "{state}");
        }
    }
}

/// The operator's pool is one of those it may be.
pub(crate) fn compare_other(client: &mut Client, possible: &mut Possible) {
    let answer = client.call("GET", "/v1/pools/other").unwrap();
    let found = match answer.status {
        404 => None,
        _ => Some(OtherPool {
            numbers: answer.json()["numbers"].as_u64().unwrap(),
            ttl: answer.json()["settings"]["ttl"].as_u64().unwrap(),
        }),
    };
    assert!(possible.contains(&found), "{found:?} is none of {possible:?}");
    *possible = vec![found];
}

pub(crate) fn tokens_still_work(client: &mut Client, ledger: &Ledger) {
    let held = ledger.held();
    if !held.is_empty() {
        let batch = ledger.begin_renewal(&held);
        let answer = client.post("/v1/pools/ru/renew", &json!({"leases": batch.leases, "ttl": 80_000}));
        ledger.renewed(&batch, &answer.unwrap().json());
    }
}

/// Makes all that is not held available again, and leases and returns it all: the free numbers are exactly those
/// that nobody holds.
pub(crate) fn recycle(client: &mut Client, ledger: &Ledger) {
    let out_of_use = ledger.out_of_use();
    if !out_of_use.is_empty() {
        let list = out_of_use.iter().map(u64::to_string).collect::<Vec<_>>().join("\n");
        for action in ["retire", "reinstate"] {
            let path = format!("/v1/pools/ru/{action}");
            let answer = client.send("POST", &path, "text/plain", list.as_bytes()).unwrap();
            assert_eq!(answer.status, 200, "{answer:?}");
        }
        ledger.made_available(&out_of_use, &rows(&export(client)));
    }
    let held: BTreeSet<_> = ledger.held().into_iter().collect();
    if held.len() as u64 == NUMBERS.end - NUMBERS.start {
        return;
    }
    let answer = client.post("/v1/pools/ru/lease", &json!({"count": 65_536})).unwrap();
    let mut leased = ledger.leased(&answer.json());
    leased.sort_unstable();
    assert!(NUMBERS.filter(|number| !held.contains(number)).eq(leased.iter().copied()), "{leased:?}");
    let batch = ledger.begin_return(&leased, NextState::Available);
    let answer = client.post("/v1/pools/ru/return", &json!({"leases": batch.leases})).unwrap();
    ledger.returned(&batch, &answer.json());
}
