//! What an operator does during the load: new pools, more numbers, other settings. A confirmed change of
//! these must be on the disk just like a lease.

use std::io;

use serde_json::json;

use super::daemon::{Connection, Daemon, POOL};
use super::disk::LogPosition;
use super::load::{Asked, Durable};

pub(crate) const FIRST_NUMBER: u64 = 79_120_000_001;
pub(crate) const NUMBERS: u64 = 10_000;
/// How many numbers a change adds, each time behind those before.
const ADDED: u64 = 200;
/// The pool's ttl before its first change; each change makes it one second longer.
const TTL_SECONDS: u64 = 86_400;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    /// A further pool.
    Pool,
    /// Numbers added to the pool under load.
    Numbers,
    /// Its default ttl.
    Ttl,
}

/// The changes of each kind that were requested, in order.
#[derive(Debug, Default)]
pub(crate) struct Operator {
    changes: Vec<(Change, u64, Asked)>,
}

impl Operator {
    /// Creates the pool that the clients use.
    pub(crate) fn create_pool(daemon: &Daemon) {
        let numbers = format!("first,last\n{FIRST_NUMBER},{}\n", FIRST_NUMBER + NUMBERS - 1);
        let path = format!("{POOL}?ttl={TTL_SECONDS}&ttl_max=864000");
        let mut connection = daemon.connect().expect("a connection");
        let created = connection.call("PUT", &path, "text/csv", &numbers).expect("an answer");
        assert_eq!(created.status, 201, "{created:?}");
    }

    /// One change of each kind.
    pub(crate) fn work(
        &mut self,
        daemon: &Daemon,
        log: &LogPosition,
        durable: Durable<'_>,
    ) -> io::Result<()> {
        let mut connection = daemon.connect()?;
        for change in [Change::Pool, Change::Numbers, Change::Ttl] {
            let nth = self.changes.iter().filter(|(other, ..)| *other == change).count() as u64 + 1;
            let first = FIRST_NUMBER + NUMBERS + (nth - 1) * ADDED;
            let numbers = format!("first,last\n{first},{}\n", first + ADDED - 1);
            let sent = log.now();
            let answer = match change {
                Change::Pool => connection.call("PUT", &late_pool(nth), "text/csv", "first,last\n1,10\n"),
                Change::Numbers => connection.call("POST", &format!("{POOL}/numbers"), "text/csv", &numbers),
                Change::Ttl => {
                    let settings = json!({ "ttl": TTL_SECONDS + nth }).to_string();
                    connection.call("PATCH", POOL, "application/json", &settings)
                }
            }?;
            assert!(matches!(answer.status, 200 | 201), "{change:?}: {answer:?}");
            let acknowledged = Some(durable.position(log)?);
            self.changes.push((change, nth, Asked { sent, acknowledged }));
        }
        Ok(())
    }

    /// What is not as it was confirmed at a cut, or was not even requested.
    pub(crate) fn faults(&self, connection: &mut Connection, cut: u64) -> io::Result<Vec<String>> {
        let mut faults = Vec::new();
        let pool = connection.get(POOL, "application/json")?.json()?;
        for (change, nth, asked) in &self.changes {
            let is_there = match change {
                Change::Pool => {
                    let answer = connection.get(&late_pool(*nth), "application/json")?;
                    answer.status == 200 && answer.json()?["available"] == 10
                }
                Change::Numbers => pool["numbers"].as_u64() >= Some(NUMBERS + nth * ADDED),
                Change::Ttl => pool["settings"]["ttl"].as_u64() >= Some(TTL_SECONDS + nth),
            };
            if asked.is_kept(cut) && !is_there {
                faults.push(format!("a confirmed change is lost: {change:?} {nth}, {asked:?}: {pool}"));
            }
            if !asked.is_possible(cut) && is_there {
                faults.push(format!("nobody had asked for it: {change:?} {nth}, {asked:?}: {pool}"));
            }
        }
        Ok(faults)
    }
}

fn late_pool(nth: u64) -> String {
    format!("/v1/pools/late-{nth}")
}
