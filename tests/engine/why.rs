//! Why a number is not leased: each reason alone, and several at a time.

use allotd::domain::hours::Hours;
use allotd::domain::settings::{NextState, SettingsChange};
use allotd::engine::Pool;
use allotd::engine::lists::operations::ListChange;
use allotd::engine::operations::import::NumberSource;
use allotd::engine::operations::lease::LeaseRequest;
use allotd::engine::operations::lease_ref::LeaseRef;
use allotd::engine::operations::return_leases::ReturnItem;
use allotd::engine::operations::why::Reason;
use allotd::state::number_state::State;

use super::{create, number, open, range};

fn reasons(pool: &Pool, value: u64) -> Vec<Reason> {
    pool.why(number(value)).unwrap().reasons
}

fn state(pool: &Pool, value: u64) -> State {
    pool.why(number(value)).unwrap().number.state
}

#[test]
fn each_reason_is_told_and_all_together() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(&dir.path().join("data"));
    let lists = ["national", "optouts"].map(|list| list.parse().unwrap());
    for list in lists {
        engine.create_list(list, None).unwrap();
    }
    let lowest = SettingsChange {
        order: Some("lowest".parse().unwrap()),
        blocked_by: Some(lists.to_vec()),
        ..SettingsChange::default()
    };
    let pool = create(&engine, "p", &[range(1, 9)], &lowest);
    let mut worker = engine.worker();
    let mut leases = Vec::new();
    pool.lease(&mut worker, &LeaseRequest { count: 4, ttl_seconds: Some(600), within: None }, &mut leases)
        .unwrap();
    let item = |index: usize, then| ReturnItem {
        lease: LeaseRef { number: leases[index].number, token: Some(leases[index].token) },
        then,
        outcome: None,
    };
    let then = [item(1, NextState::Rest(100)), item(2, NextState::Done), item(3, NextState::Retired)];
    pool.return_leases(&mut worker, &then, &mut Vec::new()).unwrap();
    let blocked = |value| {
        let change = ListChange::Add;
        let one = range(value, value);
        engine.change_list(lists[1], change, NumberSource::Ranges(&[one]), false).unwrap();
    };
    blocked(5);
    let is_leased = Reason::Leased(leases[0].expires_at);
    let resting = reasons(&pool, 2);
    assert!(
        matches!(resting[..], [Reason::Resting(until)]
            if until.seconds().abs_diff(engine.now().seconds() + 100) <= 60),
        "{resting:?}"
    );
    for (value, expected) in [
        (1, vec![is_leased.clone()]),
        (3, vec![Reason::Done]),
        (4, vec![Reason::Retired]),
        (5, vec![Reason::Blocked(vec![lists[1]])]),
        (6, vec![]),
    ] {
        assert_eq!(reasons(&pool, value), expected, "{value}");
    }
    let states = [1, 2, 3, 4, 5, 6].map(|value| state(&pool, value));
    let expected = ["leased", "resting", "done", "retired", "blocked", "available"];
    assert_eq!(states.map(State::as_str), expected);
    assert_eq!(pool.why(number(10)), None);

    // A number that is held, on both lists, never open, in a paused pool.
    blocked(1);
    engine.change_list(lists[0], ListChange::Add, NumberSource::Ranges(&[range(1, 1)]), false).unwrap();
    let hours: Hours = serde_json::from_str(r#"{"rules":[]}"#).unwrap();
    pool.change_settings(&SettingsChange { hours: Some(Some(hours)), ..SettingsChange::default() }).unwrap();
    pool.pause().unwrap();
    let all = vec![is_leased, Reason::Blocked(lists.to_vec()), Reason::Closed(None), Reason::Paused(None)];
    let report = pool.why(number(1)).unwrap();
    assert_eq!(
        (report.number.state, report.blocked_by(), &report.reasons),
        (State::Leased, &lists[..], &all)
    );
    assert_eq!(reasons(&pool, 6), [Reason::Closed(None), Reason::Paused(None)]);
    pool.resume().unwrap();
    pool.change_settings(&SettingsChange { hours: Some(None), ..SettingsChange::default() }).unwrap();
    assert_eq!(reasons(&pool, 6), []);
}
