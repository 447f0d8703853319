//! Five hundred holders who wait for a number, call, die in the middle and come back, over a daemon that is killed: afterwards
//! the history of every number leads to exactly its state, no number had two holders, and everybody who waited was served in
//! turn or told why not.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::Client;
use crate::support::daemon::{Daemon, kill_process};
use crate::support::histories::{assert_leads_to_the_states, assert_no_hole, follow, generation, settled};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

const HOLDERS: u64 = 500;
/// Fewer than holders: some always wait.
const NUMBERS: u64 = 240;
const FIRST: u64 = 79_000_000_000;
const ACTS: u32 = 3;
const ACT: Duration = Duration::from_secs(4);
/// Leases of those who die end so soon.
const TTL_SECONDS: u64 = 3;
/// Longer than an act: nobody gives up while numbers come.
const WAIT_SECONDS: u64 = 30;
/// Who asked so much earlier is served first.
const TURN: Duration = Duration::from_millis(1_500);
const PATIENCE: Duration = Duration::from_secs(60);

/// What the holders were told.
#[derive(Default)]
struct Told {
    /// Who was given a number, by number and generation.
    leases: BTreeMap<(u64, u64), String>,
    /// Of the act: when those who got a number had asked for it, and when they got it.
    served: Vec<(Instant, Instant)>,
    refusals: BTreeMap<String, u64>,
    /// Calls that ended with their connection, deaths, and returns of everything after one.
    cut: u64,
    deaths: u64,
    came_back: u64,
}

fn start(data: &Path) -> Daemon {
    Daemon::start_with(data, &["--workers", "2", "--journal-file-mib", "8", "--events-keep", "256MiB,24h"])
}

fn set_up(daemon: &Daemon) {
    let mut client = daemon.client();
    assert_eq!(client.call("PUT", "/v1/lists/optouts").unwrap().status, 201);
    let list = format!("first,last\n{FIRST},{}\n", FIRST + NUMBERS - 1);
    let query = "holders=true&max_per_holder=1&blocked_by=optouts";
    let made = client.send("PUT", &format!("/v1/pools/ru?{query}"), "text/csv", list.as_bytes()).unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
    let outcomes =
        json!({"answered": {"rest": 1}, "no_answer": "available", "do_not_call": {"list": "optouts"}});
    let settings = json!({"outcomes": outcomes}).to_string();
    let set = client.send("PATCH", "/v1/pools/ru", "application/json", settings.as_bytes()).unwrap();
    assert_eq!(set.status, 200, "{}", set.body);
}

/// A holder, by its name.
struct Volunteer<'a> {
    name: String,
    address: SocketAddr,
    random: StdRng,
    told: &'a Mutex<Told>,
}

impl Volunteer<'_> {
    fn told(&self) -> std::sync::MutexGuard<'_, Told> {
        self.told.lock().unwrap()
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.random_range(0..100) < percent
    }

    /// Works until the act is over or the daemon is gone. Each death closes the connection.
    fn work(&mut self, is_over: &AtomicBool) {
        while !is_over.load(Ordering::Relaxed) {
            let Ok(mut client) = Client::connect(self.address) else { return };
            if self.come_back(&mut client).is_none() {
                return;
            }
            while !is_over.load(Ordering::Relaxed) {
                match self.lease_and_return(&mut client) {
                    None => return self.told().cut += 1,
                    Some(true) => {}
                    Some(false) => break,
                }
            }
            self.told().deaths += 1;
            thread::sleep(Duration::from_millis(self.random.random_range(0..200)));
        }
    }

    /// Gives back what it had when it died. `None` if the daemon is gone.
    fn come_back(&self, client: &mut Client) -> Option<()> {
        let path = format!("/v1/pools/ru/holders/{}/return", self.name);
        let answer = client.post(&path, &json!({"outcome": "no_answer"})).ok()?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        self.told().came_back += answer.json()["returned"].as_u64().unwrap();
        Some(())
    }

    /// Whether it lives on; `None` if the daemon is gone.
    fn lease_and_return(&mut self, client: &mut Client) -> Option<bool> {
        let asked = Instant::now();
        let body = json!({"holder": self.name, "wait": WAIT_SECONDS, "ttl": TTL_SECONDS});
        let answer = client.post("/v1/pools/ru/lease", &body).ok()?;
        if answer.status != 200 {
            let code = answer.json()["code"].as_str().unwrap().to_owned();
            *self.told().refusals.entry(code).or_default() += 1;
            return Some(false);
        }
        let lease = answer.json()["leases"][0].clone();
        let number = lease["number"].as_u64().unwrap();
        {
            let mut told = self.told();
            told.served.push((asked, Instant::now()));
            let before = told.leases.insert((number, generation(&lease)), self.name.clone());
            assert_eq!(before, None, "{lease} was given to two");
        }
        if self.chance(5) {
            return Some(false);
        }
        thread::sleep(Duration::from_millis(self.random.random_range(1..30)));
        // So few opt out that numbers are left.
        let outcome = match self.random.random_range(0..2_000) {
            0 => "do_not_call",
            1..600 => "answered",
            _ => "no_answer",
        };
        let item = json!({"number": number, "token": lease["token"]});
        let answer =
            client.post("/v1/pools/ru/return", &json!({"leases": [item], "outcome": outcome})).ok()?;
        assert_eq!(answer.status, 200, "{}", answer.body);
        Some(true)
    }
}

/// Nobody was served who asked much later than another who was served later.
fn assert_in_turn(served: &[(Instant, Instant)]) {
    let mut by_end = served.to_vec();
    by_end.sort_unstable_by_key(|(_, got)| *got);
    let mut latest_asked: Option<Instant> = None;
    let mut seen = by_end.iter().peekable();
    for (asked, got) in &by_end {
        // The latest who asked, of those who were served well before this one.
        while let Some((earlier, _)) = seen.next_if(|(_, earlier_got)| *earlier_got + TURN < *got) {
            latest_asked = latest_asked.max(Some(*earlier));
        }
        let is_in_turn = latest_asked.is_none_or(|latest| latest <= *asked + TURN);
        assert!(
            is_in_turn,
            "asked {:?} before another, and was served {TURN:?} later",
            latest_asked.map(|at| at - *asked)
        );
    }
}

fn act(daemon: &Daemon, act: u32, seed: u64, told: &Mutex<Told>) {
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        for holder in 0..HOLDERS {
            let random = StdRng::seed_from_u64(seed + u64::from(act) * HOLDERS + holder);
            let name = format!("volunteer-{holder}");
            let mut volunteer = Volunteer { name, address: daemon.address, random, told };
            let is_over = &is_over;
            scope.spawn(move || volunteer.work(is_over));
        }
        thread::sleep(ACT);
        is_over.store(true, Ordering::Relaxed);
        if act + 1 < ACTS {
            kill_process(daemon.id());
        }
        // The last act ends with the wait of those whom nobody serves any more: all leases end before.
    });
    let served = std::mem::take(&mut told.lock().unwrap().served);
    assert!(served.len() > 500, "{} were served in an act", served.len());
    assert_in_turn(&served);
}

/// No lease of a number begins while another lasts.
fn assert_no_two_holders(events: &[Value]) {
    let mut held: BTreeMap<u64, String> = BTreeMap::new();
    for event in events.iter().filter(|event| event["number"].is_u64()) {
        let number = event["number"].as_u64().unwrap();
        if event["event"] == "leased"
            && let Some(until) = held.remove(&number)
        {
            assert!(
                event["at"].as_str().unwrap() >= until.as_str(),
                "{event} while another lasts until {until}"
            );
        }
        match (event["state"].as_str(), event["until"].as_str()) {
            (Some("leased"), Some(until)) => _ = held.insert(number, until.to_owned()),
            (Some(_), _) => _ = held.remove(&number),
            (None, _) => {}
        }
    }
}

#[test]
fn five_hundred_holders_wait_die_and_come_back() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let dir = tempfile::tempdir().unwrap();
    let told = Mutex::new(Told::default());
    let mut daemon = start(dir.path());
    set_up(&daemon);
    for number in 0..ACTS {
        act(&daemon, number, seed, &told);
        if number + 1 < ACTS {
            drop(daemon);
            daemon = start(dir.path());
        }
    }
    let begun = Instant::now();
    let counts = || daemon.client().call("GET", "/v1/pools/ru").unwrap().json();
    while counts()["leased"] != 0 || counts()["resting"] != 0 {
        assert!(begun.elapsed() < PATIENCE, "leases do not end: {}", counts());
        thread::sleep(Duration::from_millis(100));
    }

    let told = told.into_inner().unwrap();
    let events = settled(&daemon);
    assert_no_hole(&events);
    assert_no_two_holders(&events);
    assert_leads_to_the_states(&daemon, &follow(&events), FIRST..FIRST + NUMBERS);
    let of_leases: BTreeMap<(u64, u64), &str> = events
        .iter()
        .filter(|event| event["event"] == "leased")
        .map(|event| {
            ((event["number"].as_u64().unwrap(), generation(event)), event["holder"].as_str().unwrap())
        })
        .collect();
    for (lease, holder) in &told.leases {
        assert_eq!(of_leases.get(lease), Some(&holder.as_str()), "{lease:?}");
    }
    println!(
        "{} leases, {} deaths, {} returned after one, {} cut off, {:?}",
        told.leases.len(),
        told.deaths,
        told.came_back,
        told.cut,
        told.refusals
    );
    assert!(told.deaths > 100 && told.came_back > 20 && told.cut >= HOLDERS / 2);
    // Who died leaves a lease; its holder is told so until it has given that back.
    assert!(
        told.refusals.keys().all(|code| ["exhausted", "quota_exceeded"].contains(&code.as_str())),
        "{:?}",
        told.refusals
    );
    assert!(counts()["blocked"].as_u64().unwrap() > 0, "nobody opted out");
    assert_eq!(daemon.stop(), Some(0));
}
