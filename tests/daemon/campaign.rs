//! A campaign by the script of its callers: 100,000 numbers in three zones, two pools that share lists, outcomes drawn
//! at random, opt-outs, a monthly replace, a kill in the middle, rounds, and two changes to daylight saving time.
//!
//! No number is leased outside its hours, none after its opt-out was confirmed, none a fourth time in a round. The
//! callers know the hours from the time zones alone.
//!
//! The first acts are against the real daemon in real time. The last one opens the same data directory in this
//! process, whose clock it can set.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::support::Client;
use crate::support::daemon::{Daemon, allotd};
use allotd::check::check_directory;
use allotd::domain::settings::NextState;
use allotd::engine::lists::operations::ListChange;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::ReturnItem;
use allotd::engine::{Engine, EngineConfig, Pool, Worker};
use allotd::journal::MIN_FILE_BYTES;
use allotd::numbers::number::{Number, NumberRange};
use allotd::state::number_state::State;
use jiff::tz::TimeZone;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};

/// Prefixes and their zones: at each hour of the day one of them is open, and one is closed.
const ZONES: [(u64, &str); 3] =
    [(4930, "Europe/Berlin"), (1213, "America/Los_Angeles"), (8133, "Asia/Tokyo")];
const OPENS: i8 = 8;
const CLOSES: i8 = 20;
/// Digits after a prefix.
const SPAN: u64 = 1_000_000;
/// Numbers of each zone: 100,002 in all.
const OF_ZONE: u64 = 33_334;
/// Each pool has these of each zone: some numbers are in both.
const POOLS: [(&str, std::ops::Range<u64>); 2] = [("north", 0..20_000), ("south", 14_000..OF_ZONE)];
const ATTEMPTS: u32 = 3;
const CALLERS: u64 = 2;
const ACT: Duration = Duration::from_secs(3);
/// Steps of the last act: each of half an hour.
const STEPS: usize = 120;
const STEP_SECONDS: u32 = 1_800;

fn first_of(zone: usize) -> u64 {
    ZONES[zone].0 * SPAN
}

fn any_number(random: &mut StdRng) -> u64 {
    first_of(random.random_range(0..ZONES.len())) + random.random_range(0..OF_ZONE)
}

/// Whether a number is open, by the time of day in its zone.
fn is_open(number: u64, unix_seconds: i64) -> bool {
    let (_, zone) = ZONES.iter().find(|(prefix, _)| number / SPAN == *prefix).unwrap();
    let zone = TimeZone::get(zone).unwrap();
    let hour = zone.to_datetime(jiff::Timestamp::from_second(unix_seconds).unwrap()).hour();
    (OPENS..CLOSES).contains(&hour)
}

fn wall_seconds() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs().cast_signed()
}

/// What the callers were told.
#[derive(Default)]
struct Book {
    /// By pool and number, in the round.
    attempts: HashMap<(usize, u64), u32>,
    opted_out: BTreeSet<u64>,
    /// What is on the monthly list, whatever a replace under way does.
    national: BTreeSet<u64>,
    leases: u64,
    last_attempts: u64,
}

impl Book {
    /// A lease that was told; `listed` is what was on the lists before the call began and still is.
    fn lease(&mut self, pool: usize, number: u64, listed: &BTreeSet<u64>, times: (i64, i64)) {
        let name = POOLS[pool].0;
        assert!(!listed.contains(&number), "{number} of {name} is on a list");
        let is_open = is_open(number, times.0) || is_open(number, times.1);
        assert!(is_open, "{number} of {name} is closed at {times:?}");
        let attempts = self.attempts.entry((pool, number)).or_default();
        *attempts += 1;
        assert!(*attempts <= ATTEMPTS, "{number} of {name} is leased {attempts} times in a round");
        self.leases += 1;
        self.last_attempts += u64::from(*attempts == ATTEMPTS);
    }

    fn listed(&self) -> BTreeSet<u64> {
        self.opted_out.union(&self.national).copied().collect()
    }
}

/// What becomes of a lease.
enum End {
    Outcome(&'static str),
    /// It runs out.
    None,
}

fn draw(random: &mut StdRng) -> End {
    match random.random_range(0..100) {
        0..10 => End::Outcome("answered"),
        10..40 => End::Outcome("no_answer"),
        40..80 => End::Outcome("busy"),
        80..84 => End::Outcome("do_not_call"),
        _ => End::None,
    }
}

/// The daemon and what its callers share.
struct Campaign {
    address: Mutex<SocketAddr>,
    book: Mutex<Book>,
    is_over: AtomicBool,
    lost_calls: AtomicU64,
}

impl Campaign {
    fn client(&self) -> Option<Client> {
        Client::connect(*self.address.lock().unwrap()).ok()
    }

    /// Calls until the act is over. A call whose answer is lost, as the daemon is killed, is not repeated.
    fn call(&self, seed: u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut client = None;
        while !self.is_over.load(Ordering::Relaxed) {
            client = client.or_else(|| self.client());
            let Some(connected) = &mut client else {
                thread::sleep(Duration::from_millis(10));
                continue;
            };
            if self.lease_and_return(connected, &mut random).is_none() {
                self.lost_calls.fetch_add(1, Ordering::Relaxed);
                client = None;
            }
        }
    }

    /// `None` if an answer is lost.
    fn lease_and_return(&self, client: &mut Client, random: &mut StdRng) -> Option<()> {
        let pool = random.random_range(0..POOLS.len());
        let path = format!("/v1/pools/{}", POOLS[pool].0);
        let (listed, begun) = (self.book.lock().unwrap().listed(), wall_seconds());
        let count = random.random_range(1..60);
        let answer = client.post(&format!("{path}/lease"), &json!({"count": count, "ttl": 2})).ok()?;
        let ended = wall_seconds();
        if answer.status != 200 {
            assert!([409, 503].contains(&answer.status), "{}", answer.body);
            thread::sleep(Duration::from_millis(5));
            return Some(());
        }
        let mut items = Vec::new();
        let mut opted_out = Vec::new();
        {
            let mut book = self.book.lock().unwrap();
            let still: BTreeSet<u64> = listed.intersection(&book.listed()).copied().collect();
            for lease in answer.json()["leases"].as_array().unwrap() {
                let number = lease["number"].as_u64().unwrap();
                book.lease(pool, number, &still, (begun, ended));
                if let End::Outcome(outcome) = draw(random) {
                    items.push(json!({"number": number, "token": lease["token"], "outcome": outcome}));
                    opted_out.extend((outcome == "do_not_call").then_some(number));
                }
            }
        }
        if items.is_empty() {
            return Some(());
        }
        let returned = client.post(&format!("{path}/return"), &json!({"leases": items})).ok()?;
        assert_eq!(returned.status, 200, "{}", returned.body);
        let results = returned.json()["results"].as_array().cloned().unwrap();
        // A lease of two seconds may have run out before, and its number be leased again.
        let is_stale = |result: &Value| result["result"] == "stale";
        let stale: BTreeSet<u64> =
            results.iter().filter(|r| is_stale(r)).map(|r| r["number"].as_u64().unwrap()).collect();
        opted_out.retain(|number| !stale.contains(number));
        self.book.lock().unwrap().opted_out.extend(opted_out);
        Some(())
    }

    /// Callers call while `direct` goes on, and for the rest of the act.
    fn act<T>(&self, seed: u64, direct: impl FnOnce() -> T) -> T {
        self.is_over.store(false, Ordering::Relaxed);
        let started = Instant::now();
        thread::scope(|scope| {
            for caller in 0..CALLERS {
                scope.spawn(move || self.call(seed + caller));
            }
            let result = direct();
            thread::sleep(ACT.saturating_sub(started.elapsed()));
            self.is_over.store(true, Ordering::Relaxed);
            result
        })
    }

    fn send(&self, method: &str, path: &str, content_type: &str, body: &str) -> Value {
        let answer = self.client().unwrap().send(method, path, content_type, body.as_bytes()).unwrap();
        assert!(answer.status < 300, "{method} {path}: {}", answer.body);
        answer.json()
    }

    /// Numbers that opt out by other ways than a call.
    fn opt_out(&self, random: &mut StdRng) {
        let numbers: BTreeSet<u64> = (0..200).map(|_| any_number(random)).collect();
        self.send("POST", "/v1/lists/optouts/numbers", "text/plain", &lines(&numbers));
        self.book.lock().unwrap().opted_out.extend(numbers);
    }

    /// Next month's list.
    fn replace(&self, random: &mut StdRng) {
        let next: BTreeSet<u64> = (0..5_000).map(|_| any_number(random)).collect();
        // While the replace is under way, what is on both lists is certain.
        let mut book = self.book.lock().unwrap();
        book.national = book.national.intersection(&next).copied().collect();
        drop(book);
        self.send("POST", "/v1/lists/national/replace", "text/plain", &lines(&next));
        self.book.lock().unwrap().national = next;
    }

    fn next_round(&self) {
        for (pool, _) in POOLS {
            self.send("POST", &format!("/v1/pools/{pool}/rounds"), "text/plain", "");
        }
        self.book.lock().unwrap().attempts.clear();
    }
}

fn lines(numbers: &BTreeSet<u64>) -> String {
    numbers.iter().flat_map(|number| [number.to_string(), "\n".to_owned()]).collect()
}

fn ranges_of(pool: usize) -> impl Iterator<Item = (u64, u64)> {
    let of_zone = &POOLS[pool].1;
    (0..ZONES.len()).map(|zone| (first_of(zone) + of_zone.start, first_of(zone) + of_zone.end - 1))
}

fn set_up(campaign: &Campaign) {
    campaign.send("PUT", "/v1/lists/optouts", "text/plain", "");
    campaign.send("PUT", "/v1/lists/national", "text/plain", "");
    let zones = ZONES.map(|(prefix, zone)| format!("{prefix},{zone}\n")).concat();
    let rule = json!({"days": "mon-sun", "from": format!("{OPENS:02}:00"), "to": format!("{CLOSES}:00")});
    let settings = json!({
        "hours": {"rules": [rule]},
        "attempts": {"max": ATTEMPTS, "then": "done"},
        "outcomes": {"answered": "done", "no_answer": {"rest": 1}, "do_not_call": {"list": "optouts"}},
    });
    for (pool, order) in [(0, "lowest"), (1, "random")] {
        let name = POOLS[pool].0;
        let ranges: Vec<_> = ranges_of(pool).map(|(first, last)| format!("{first},{last}\n")).collect();
        let path = format!("/v1/pools/{name}?order={order}&blocked_by=optouts,national");
        campaign.send("PUT", &path, "text/csv", &format!("first,last\n{}", ranges.concat()));
        let zones = format!("prefix,zones\n{zones}");
        campaign.send("PUT", &format!("/v1/pools/{name}/zones"), "text/csv", &zones);
        campaign.send("PATCH", &format!("/v1/pools/{name}"), "application/json", &settings.to_string());
    }
}

fn check(data: &Path) {
    let checked = allotd().arg("check").arg(data).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

/// The last act: days around the changes of daylight saving time, with a clock that is set.
struct LastAct {
    engine: Arc<Engine>,
    pools: Vec<Arc<Pool>>,
    worker: Worker,
    book: Book,
}

impl LastAct {
    fn new(data: &Path, book: Book) -> Self {
        let config = EngineConfig { journal_file_bytes: MIN_FILE_BYTES, ..EngineConfig::new(data, 4) };
        let engine = Engine::open(&config).unwrap();
        let pools = POOLS.iter().map(|(name, _)| engine.pool(name).unwrap()).collect();
        Self { worker: engine.worker(), engine, pools, book }
    }

    fn now(&self) -> i64 {
        self.engine.now().unix_seconds().cast_signed()
    }

    /// Skips to a day before the next change of a zone's offset.
    fn skip_to_change(&self, zone: &str) {
        let zone = TimeZone::get(zone).unwrap();
        let now = jiff::Timestamp::from_second(self.now()).unwrap();
        let change = zone.following(now).next().unwrap().timestamp().as_second();
        let seconds = change - 86_400 - self.now();
        if let Ok(seconds) = u32::try_from(seconds) {
            self.engine.clock().skip(seconds);
        }
    }

    fn step(&mut self, random: &mut StdRng) {
        self.engine.clock().skip(STEP_SECONDS);
        for pool in 0..POOLS.len() {
            let (listed, begun) = (self.book.listed(), self.now());
            let mut leases = Vec::new();
            let request = LeaseRequest { count: 200, ttl_seconds: Some(60), within: None };
            let answer = loop {
                match self.pools[pool].lease(&mut self.worker, &request, &mut leases) {
                    Err(LeaseError::HoursUnsettled) => thread::sleep(Duration::from_millis(2)),
                    answer => break answer,
                }
            };
            match answer {
                Err(LeaseError::Exhausted) => {
                    self.pools[pool].start_round().unwrap();
                    self.book.attempts.retain(|(of, _), _| *of != pool);
                    continue;
                }
                answer => answer.unwrap(),
            };
            let ended = self.now();
            let mut items = Vec::new();
            for lease in leases {
                let number = lease.number.get();
                self.book.lease(pool, number, &listed, (begun, ended));
                let then = match draw(random) {
                    End::Outcome("do_not_call") => NextState::List("optouts".parse().unwrap()),
                    End::Outcome("answered") => NextState::Done,
                    End::Outcome(_) => NextState::Rest(600),
                    End::None => continue,
                };
                self.book.opted_out.extend(then.list().map(|_| number));
                let lease = LeaseRef { number: lease.number, token: Some(lease.token) };
                items.push(ReturnItem { lease, then, outcome: None });
            }
            self.pools[pool].return_leases(&mut self.worker, &items, &mut Vec::new()).unwrap();
        }
    }

    /// What is on a list is leased from no pool: each number says so.
    fn look_up_listed(&self) {
        for number in self.book.listed() {
            for pool in &self.pools {
                let Some(found) = pool.lookup(Number::new(number).unwrap()) else { continue };
                assert_ne!(found.state, State::Available, "{number} of {} is on a list", pool.name());
                assert!(!pool.blocked_by(found.number).is_empty());
            }
        }
        for (name, count) in [("optouts", self.book.opted_out.len()), ("national", self.book.national.len())]
        {
            let list = self.engine.list(name.parse().unwrap()).unwrap();
            assert!(list.numbers() >= count as u64, "{name}: {} of {count}", list.numbers());
        }
    }
}

#[test]
fn a_campaign_keeps_its_rules() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let start = || Daemon::start_with(&data, &["--journal-file-mib", "2"]);
    let mut daemon = start();
    let campaign = Campaign {
        address: Mutex::new(daemon.address),
        book: Mutex::default(),
        is_over: AtomicBool::new(false),
        lost_calls: AtomicU64::new(0),
    };
    set_up(&campaign);
    campaign.act(seed, || {
        for _ in 0..5 {
            campaign.opt_out(&mut random);
            campaign.replace(&mut random);
        }
    });
    // A kill in the middle.
    daemon = campaign.act(seed + 10, || {
        thread::sleep(ACT / 3);
        campaign.opt_out(&mut random);
        daemon.kill();
        let daemon = start();
        *campaign.address.lock().unwrap() = daemon.address;
        campaign.replace(&mut random);
        daemon
    });
    assert!(campaign.lost_calls.load(Ordering::Relaxed) > 0, "nobody was cut off");
    assert!(campaign.book.lock().unwrap().last_attempts > 0, "no number was leased {ATTEMPTS} times");
    campaign.next_round();
    campaign.act(seed + 20, || {
        campaign.opt_out(&mut random);
        campaign.replace(&mut random);
    });
    assert_eq!(daemon.stop(), Some(0));
    check(&data);

    let mut last = LastAct::new(&data, campaign.book.into_inner().unwrap());
    let before = last.book.leases;
    for zone in ["Europe/Berlin", "America/Los_Angeles"] {
        last.skip_to_change(zone);
        for _ in 0..STEPS {
            last.step(&mut random);
        }
    }
    assert!(last.book.leases > before + 1_000, "{} leases", last.book.leases - before);
    // The last month's list, by which nothing of the one before is kept.
    let next: BTreeSet<u64> = (0..5_000).map(|_| any_number(&mut random)).collect();
    let ranges: Vec<_> = next.iter().map(|n| NumberRange::single(Number::new(*n).unwrap())).collect();
    let national = "national".parse().unwrap();
    last.engine.change_list(national, ListChange::Replace, NumberSource::Ranges(&ranges), false).unwrap();
    assert_eq!(last.engine.list(national).unwrap().numbers(), next.len() as u64);
    last.book.national = next;
    last.step(&mut random);
    last.look_up_listed();
    println!("{} leases, {} of them the last of a round", last.book.leases, last.book.last_attempts);
    drop(last);
    assert_eq!(check_directory(&data).unwrap().faults, []);
}
