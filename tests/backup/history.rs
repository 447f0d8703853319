//! Clients that change numbers while backups are made, and the answers that they got, with their times.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

use super::support::Client;

/// Numbers of one request.
const BATCH: usize = 500;
/// A client with more numbers returns some.
const MAX_HELD: usize = 5_000;
/// Longer than any run, in seconds.
const TTL_SECONDS: std::ops::Range<u32> = 50_000..90_000;

/// A state of a number. Later ones of one number are greater: generation, whether it was returned, end.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Seen {
    pub(crate) generation: u64,
    pub(crate) returned: bool,
    pub(crate) until: String,
}

impl Seen {
    /// Reads `number,state,generation,until`.
    pub(crate) fn of_row(line: &str) -> (u64, Self) {
        let fields: Vec<_> = line.split(',').collect();
        let [number, state, generation, until] = fields[..] else { panic!("{line:?}") };
        let generation = generation.parse().unwrap();
        let returned = state != "leased" && generation > 0;
        (number.parse().unwrap(), Self { generation, returned, until: until.to_owned() })
    }
}

/// What an answer said of one number at one time.
pub(crate) struct Told {
    pub(crate) number: u64,
    pub(crate) at: SystemTime,
    pub(crate) seen: Seen,
}

struct Held {
    number: u64,
    token: String,
    generation: u64,
}

/// The answers that one client got.
#[derive(Default)]
pub(crate) struct History {
    pub(crate) told: Vec<Told>,
    /// The tokens, by number and generation.
    pub(crate) tokens: HashMap<(u64, u64), String>,
}

/// Leases, renews and returns until `stop` is set.
pub(crate) fn client(address: SocketAddr, stop: &AtomicBool, seed: u64) -> History {
    let mut random = StdRng::seed_from_u64(seed);
    let mut client = Client::connect(address).unwrap();
    let (mut history, mut held) = (History::default(), Vec::<Held>::new());
    while !stop.load(Ordering::Relaxed) {
        let ttl = random.random_range(TTL_SECONDS);
        let choice = random.random_range(0..10);
        if held.len() < BATCH || (held.len() < MAX_HELD && choice < 5) {
            let answer =
                client.post("/v1/pools/ru/lease", &json!({"count": BATCH, "ttl": ttl})).unwrap().json();
            history.leased(&answer, &mut held);
        } else if choice < 7 {
            let first = random.random_range(0..=held.len() - BATCH);
            let batch = &held[first..first + BATCH];
            let body = json!({"leases": leases(batch), "ttl": ttl});
            let answer = client.post("/v1/pools/ru/renew", &body).unwrap().json();
            history.changed(&answer, batch, false, "expires_at");
        } else {
            let batch = held.split_off(held.len() - BATCH);
            let then = if choice == 9 { json!({"rest": ttl}) } else { json!("available") };
            let body = json!({"leases": leases(&batch), "then": then});
            let answer = client.post("/v1/pools/ru/return", &body).unwrap().json();
            history.changed(&answer, &batch, true, "available_at");
        }
    }
    history
}

fn leases(held: &[Held]) -> Vec<Value> {
    held.iter().map(|held| json!({"number": held.number, "token": held.token})).collect()
}

impl History {
    fn leased(&mut self, answer: &Value, held: &mut Vec<Held>) {
        let at = SystemTime::now();
        for lease in answer["leases"].as_array().unwrap() {
            let (number, generation) =
                (lease["number"].as_u64().unwrap(), lease["generation"].as_u64().unwrap());
            let (token, until) = (text(&lease["token"]), text(&lease["expires_at"]));
            self.told.push(Told { number, at, seen: Seen { generation, returned: false, until } });
            self.tokens.insert((number, generation), token.clone());
            held.push(Held { number, token, generation });
        }
    }

    fn changed(&mut self, answer: &Value, batch: &[Held], returned: bool, until: &str) {
        let at = SystemTime::now();
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), batch.len());
        for (result, held) in results.iter().zip(batch) {
            let done = if returned { "returned" } else { "renewed" };
            assert_eq!((result["number"].as_u64(), &result["result"]), (Some(held.number), &json!(done)));
            let seen = Seen { generation: held.generation, returned, until: text(&result[until]) };
            self.told.push(Told { number: held.number, at, seen });
        }
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
