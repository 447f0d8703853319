//! Hours: leases are of open numbers only, by a walk through the rules, over changes, additions, merges and
//! restarts.

use std::collections::BTreeSet;
use std::time::Duration;

use allotd::check::check_directory;
use allotd::domain::counts::Counts;
use allotd::domain::hours::Hours;
use allotd::domain::settings::{NextState, SettingsChange};
use allotd::domain::zone_table::ZoneTable;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::{LeaseError, LeaseRequest};
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::ReturnItem;
use allotd::engine::operations::why::Reason;
use allotd::engine::{Engine, Pool, Worker};
use allotd::numbers::number::Number;
use allotd::state::number_state::State;
use allotd::state::time::Timestamp;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use super::{create, number, open, range};

const ZONES: &str = "prefix,zones\n1,Europe/Berlin\n11,America/New_York\n2,Asia/Kathmandu Europe/Berlin\n\
                     3,Pacific/Auckland\n";
const WEEK: &str = r#"{"rules":[{"days":"mon-fri","from":"09:00","to":"20:30"},
    {"days":"sat","from":"22:00","to":"03:00"}],"zone":"America/Sao_Paulo"}"#;
const ROUNDS: usize = 400;

fn hours(json: &str) -> SettingsChange {
    let hours: Hours = serde_json::from_str(json).unwrap();
    SettingsChange { hours: Some(Some(hours)), ..SettingsChange::default() }
}

fn instant(time: Timestamp) -> jiff::Timestamp {
    jiff::Timestamp::from_second(time.unix_seconds().cast_signed()).unwrap()
}

/// Whether a number is open, by the rules alone.
fn is_open(pool: &Pool, number: Number, time: Timestamp) -> bool {
    let settings = pool.settings();
    let Some(hours) = &settings.hours else { return true };
    let table = pool.zones();
    let zones = match table.as_ref().and_then(|table| table.zones_of(number)) {
        Some(zones) => zones.to_vec(),
        None => hours.zone.iter().cloned().collect(),
    };
    !zones.is_empty() && zones.iter().all(|zone| hours.is_open(&zone.zone().unwrap(), instant(time)))
}

/// A lease of up to `count`; waits while what is open is worked out.
fn lease(pool: &Pool, worker: &mut Worker, count: u32) -> Result<Vec<LeaseRef>, LeaseError> {
    let mut leases = Vec::new();
    let request = LeaseRequest { count, ttl_seconds: Some(600), within: None };
    loop {
        match pool.lease(worker, &request, &mut leases) {
            Err(LeaseError::HoursUnsettled) => std::thread::sleep(Duration::from_millis(5)),
            Err(error) => return Err(error),
            Ok(_) => {
                let held =
                    leases.iter().map(|lease| LeaseRef { number: lease.number, token: Some(lease.token) });
                return Ok(held.collect());
            }
        }
    }
}

fn give_back(pool: &Pool, worker: &mut Worker, leases: &[LeaseRef]) {
    let items: Vec<_> = leases
        .iter()
        .map(|lease| ReturnItem { lease: *lease, then: NextState::Available, outcome: None })
        .collect();
    pool.return_leases(worker, &items, &mut Vec::new()).unwrap();
}

/// Compares what is told of numbers and their counts with the rules.
fn compare_told(engine: &Engine, pool: &Pool, numbers: &[u64], random: &mut StdRng) {
    let before = engine.now();
    let told: Vec<_> = (0..8)
        .map(|_| number(numbers[random.random_range(0..numbers.len())]))
        .map(|number| (number, pool.why(number).unwrap()))
        .collect();
    let (counts, _) = pool.counts_by_hours();
    let buckets = pool.map(None, 7).unwrap().buckets;
    let open = |time| numbers.iter().filter(|value| is_open(pool, number(**value), time)).count() as u64;
    let expected = open(before);
    if expected != open(engine.now()) {
        return;
    }
    assert_eq!((counts.available, counts.closed), (expected, numbers.len() as u64 - expected));
    let sum = |of: fn(&Counts) -> u64| buckets.iter().map(of).sum::<u64>();
    assert_eq!(
        (sum(|counts| counts.available), sum(|counts| counts.closed)),
        (counts.available, counts.closed)
    );
    assert_eq!(pool.open_numbers(), Some(expected));
    for (number, report) in told {
        assert_eq!(report.number.state, State::Available);
        match report.reasons.as_slice() {
            [] => assert!(is_open(pool, number, before), "{number} at {before}"),
            [Reason::Closed(Some(opens))] => {
                let wait = opens.seconds() - before.seconds();
                assert!(is_open(pool, number, *opens), "{number} at {before}: {opens}");
                for _ in 0..5 {
                    let earlier = before.after(random.random_range(0..wait));
                    assert!(!is_open(pool, number, earlier), "{number} at {before}: {earlier}, not {opens}");
                }
            }
            other => panic!("{number} at {before}: {other:?}"),
        }
    }
}

/// Leases everything, compares with the rules, and gives it back.
fn compare(engine: &Engine, pool: &Pool, worker: &mut Worker, numbers: &[u64]) -> usize {
    let before = engine.now();
    let result = lease(pool, worker, 1_000);
    let after = engine.now();
    let got = match result {
        Ok(leases) => leases,
        Err(LeaseError::Exhausted) => Vec::new(),
        Err(error) => panic!("{error}"),
    };
    let leased: BTreeSet<u64> = got.iter().map(|lease| lease.number.get()).collect();
    for value in numbers {
        let (open_before, open_after) =
            (is_open(pool, number(*value), before), is_open(pool, number(*value), after));
        if open_before == open_after {
            assert_eq!(leased.contains(value), open_before, "{value} at {before}");
        }
    }
    give_back(pool, worker, &got);
    got.len()
}

#[test]
fn only_open_numbers_are_leased() {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let mut engine = open(&path);
    let ranges = [range(1_000, 1_099), range(1_100, 1_199), range(2_000, 2_050), range(3_000, 3_050)];
    let mut numbers: Vec<u64> = ranges.iter().flat_map(|r| r.first().get()..=r.last().get()).collect();
    let mut pool = create(&engine, "p", &ranges, &SettingsChange::default());
    assert_eq!(pool.change_zones(Some(ZoneTable::parse(ZONES).unwrap())).unwrap(), 4);
    let mut worker = engine.worker();
    assert_eq!(compare(&engine, &pool, &mut worker, &numbers), numbers.len(), "no hours yet");
    pool.change_settings(&hours(WEEK)).unwrap();
    let (mut none, mut some, mut all) = (0, 0, 0);
    for round in 0..ROUNDS {
        engine.clock().skip(random.random_range(1..8 * 3_600));
        let leased = compare(&engine, &pool, &mut worker, &numbers);
        compare_told(&engine, &pool, &numbers, &mut random);
        match leased {
            0 => none += 1,
            leased if leased == numbers.len() => all += 1,
            _ => some += 1,
        }
        let expected = numbers.iter().filter(|n| is_open(&pool, number(**n), engine.now())).count();
        assert_eq!(pool.open_hours(engine.now()).unwrap().open, expected as u64);
        if round % 10 == 0 {
            // With a zone, without one, between others.
            let value = [1_200, 2_100, 3_100, 4_000, 5_000][random.random_range(0..5)] + round as u64;
            let added = pool.add_numbers(NumberSource::Ranges(&[range(value, value)])).unwrap();
            numbers.extend((added.added == 1).then_some(value));
        }
        if round % 50 == 20 {
            pool.merge_now(u64::MAX).unwrap();
        }
        if round % 80 == 40 {
            drop(worker);
            drop(pool);
            engine.close().unwrap();
            drop(engine);
            engine = open(&path);
            pool = engine.pool("p").unwrap();
            worker = engine.worker();
            assert_eq!(pool.zones().unwrap().to_csv(), ZONES);
        }
        if round % 60 == 30 {
            let other = if round % 120 == 30 { "Asia/Tokyo" } else { "America/Sao_Paulo" };
            pool.change_settings(&hours(&WEEK.replace("America/Sao_Paulo", other))).unwrap();
        }
    }
    println!("none open {none} times, some {some}, all {all}");
    assert!(none > 10 && some > 50, "{none} {some}");
    pool.change_settings(&SettingsChange { hours: Some(None), ..SettingsChange::default() }).unwrap();
    assert_eq!(compare(&engine, &pool, &mut worker, &numbers), numbers.len());
    drop((worker, pool));
    engine.close().unwrap();
    drop(engine);
    let checked = check_directory(&path).unwrap();
    assert!(checked.faults.is_empty(), "{:?}", checked.faults);
}

#[test]
fn closed_numbers_and_their_opening_are_told() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir.path().join("data"));
    let pool = create(&engine, "p", &[range(1_000, 1_009)], &SettingsChange::default());
    let mut worker = engine.worker();
    // Always closed: no zone.
    pool.change_settings(&hours(r#"{"rules":[{"days":"mon-sun","from":"00:00","to":"24:00"}]}"#)).unwrap();
    assert_eq!(lease(&pool, &mut worker, 1), Err(LeaseError::Exhausted));
    let closed = pool.closed(None).unwrap();
    assert_eq!((closed.numbers, closed.opens_at), (10, None));
    // Open in an hour.
    let later = instant(engine.now()) + jiff::Span::new().hours(1);
    let from = jiff::tz::TimeZone::UTC.to_datetime(later).strftime("%H:%M").to_string();
    let json = format!(r#"{{"rules":[{{"days":"mon-sun","from":"{from}","to":"24:00"}}],"zone":"Etc/UTC"}}"#);
    if ("01:01".."23:00").contains(&from.as_str()) {
        pool.change_settings(&hours(&json)).unwrap();
        assert_eq!(lease(&pool, &mut worker, 1), Err(LeaseError::Exhausted));
        let opens_at = pool.closed(None).unwrap().opens_at.unwrap();
        let wait = opens_at.seconds() - engine.now().seconds();
        assert!((3_500..=3_600).contains(&wait), "{wait}");
        engine.clock().skip(wait);
        let held = lease(&pool, &mut worker, 4).unwrap();
        assert_eq!((held.len(), pool.closed(None).unwrap().numbers), (4, 0));
    }
}
