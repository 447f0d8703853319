//! What the code knows: its calls, its problems and its limits.

use std::collections::{BTreeMap, BTreeSet};

use allotd::domain::holder::MAX_HOLDER_BYTES;
use allotd::domain::list_name::MAX_LIST_NAME_BYTES;
use allotd::domain::note::MAX_NOTE_BYTES;
use allotd::domain::settings::{
    DEFAULT_TTL_MAX_SECONDS, DEFAULT_TTL_SECONDS, MAX_BLOCKING_LISTS, MAX_OUTCOME_BYTES, MAX_OUTCOMES,
    MAX_POOL_NAME_BYTES, MAX_REST_SECONDS, MAX_TTL_SECONDS,
};
use allotd::engine::events::{DEFAULT_EVENTS, MAX_EVENTS, MAX_EVENTS_WAIT_SECONDS};
use allotd::engine::idempotency::MAX_KEY_BYTES;
use allotd::engine::operations::by_holder::MAX_LISTED_LEASES;
use allotd::engine::operations::lease::MAX_LEASE_COUNT;
use allotd::engine::operations::lease_ref::MAX_ITEMS;
use allotd::engine::operations::lease_several::MAX_SEVERAL_POOLS;
use allotd::engine::operations::map::{DEFAULT_MAP_BUCKETS, MAX_MAP_BUCKETS};
use allotd::http::request::within::MAX_WITHIN_ITEMS;
use allotd::numbers::number::Number;
use serde_json::{Value, json};

/// `METHOD /path` of every call, as the docs of `Call` have them.
pub(crate) fn calls() -> BTreeSet<String> {
    let source = include_str!("../../src/http/counters/requests.rs");
    let docs = source.lines().filter_map(|line| line.trim().strip_prefix("/// "));
    let quoted = docs.flat_map(|doc| doc.split('`').skip(1).step_by(2));
    let calls: BTreeSet<_> = quoted.filter(|text| text.contains(" /")).map(str::to_owned).collect();
    assert!(calls.len() > 20, "{calls:?}");
    calls
}

/// Status and title of every problem, by its code: the arms of `Code::parts`.
pub(crate) fn problems() -> BTreeMap<String, (u16, String)> {
    let source = include_str!("../../src/http/response/code.rs");
    let arms = source.split("StatusCode::").skip(1);
    let arms = arms.filter_map(|arm| {
        let (status, rest) = arm.split_once(", \"").or_else(|| arm.split_once(",\n"))?;
        let status = status_of(status)?;
        let words: Vec<_> = rest.split('"').collect();
        // The split took the opening quote with it, unless the arm goes over several lines.
        let (code, title) =
            if rest.trim_start().starts_with('"') { (words[1], words[3]) } else { (words[0], words[2]) };
        Some((code.to_owned(), (status, title.to_owned())))
    });
    let problems: BTreeMap<_, _> = arms.collect();
    let variants = source.split_once("enum Code {").unwrap().1.split_once('}').unwrap().0;
    assert_eq!(problems.len(), variants.lines().filter(|line| line.trim().ends_with(',')).count());
    problems
}

fn status_of(name: &str) -> Option<u16> {
    let status = (400..600).find_map(|code| {
        let status = hyper::StatusCode::from_u16(code).ok()?;
        let reason = status.canonical_reason()?.to_uppercase().replace([' ', '-'], "_");
        (reason == name).then_some(code)
    });
    status.or_else(|| name.contains('_').then(|| panic!("StatusCode::{name} is not known here")))
}

/// The limits of the document, and what they must be.
pub(crate) fn limits() -> Vec<(&'static str, Value)> {
    vec![
        ("/components/schemas/Number/minimum", json!(Number::MIN.get())),
        ("/components/schemas/Number/maximum", json!(Number::MAX.get())),
        ("/components/schemas/PoolName/maxLength", json!(MAX_POOL_NAME_BYTES)),
        ("/components/schemas/ListName/maxLength", json!(MAX_LIST_NAME_BYTES)),
        ("/components/schemas/BlockedBy/maxItems", json!(MAX_BLOCKING_LISTS)),
        ("/components/schemas/Outcome/maxLength", json!(MAX_OUTCOME_BYTES)),
        ("/components/schemas/OutcomeRules/maxProperties", json!(MAX_OUTCOMES)),
        ("/components/schemas/OutcomeRules/propertyNames/maxLength", json!(MAX_OUTCOME_BYTES)),
        ("/components/schemas/Then/oneOf/1/properties/rest/maximum", json!(MAX_REST_SECONDS)),
        ("/components/schemas/Within/maxItems", json!(MAX_WITHIN_ITEMS)),
        ("/components/schemas/LeaseRequest/properties/count/maximum", json!(MAX_LEASE_COUNT)),
        ("/components/schemas/LeaseRequest/properties/ttl/maximum", json!(MAX_TTL_SECONDS)),
        ("/components/schemas/SeveralRequest/properties/pools/maxItems", json!(MAX_SEVERAL_POOLS)),
        ("/components/schemas/SeveralRequest/properties/count/maximum", json!(MAX_LEASE_COUNT)),
        ("/components/schemas/SeveralRequest/properties/ttl/maximum", json!(MAX_TTL_SECONDS)),
        ("/components/schemas/Leases/properties/leases/maxItems", json!(MAX_LEASE_COUNT)),
        ("/components/schemas/RenewRequest/properties/leases/maxItems", json!(MAX_ITEMS)),
        ("/components/schemas/RenewRequest/properties/ttl/maximum", json!(MAX_TTL_SECONDS)),
        ("/components/schemas/ReturnRequest/properties/leases/maxItems", json!(MAX_ITEMS)),
        ("/components/schemas/Settings/properties/ttl/maximum", json!(MAX_TTL_SECONDS)),
        ("/components/schemas/Settings/properties/rest/maximum", json!(MAX_REST_SECONDS)),
        ("/components/schemas/SettingsChange/properties/ttl_max/maximum", json!(MAX_TTL_SECONDS)),
        ("/components/schemas/SettingsChange/properties/rest/maximum", json!(MAX_REST_SECONDS)),
        ("/components/schemas/SettingsChange/properties/note/maxLength", json!(MAX_NOTE_BYTES)),
        ("/components/schemas/HolderName/maxLength", json!(MAX_HOLDER_BYTES)),
        ("/components/schemas/Holder/properties/leases/maxItems", json!(MAX_LISTED_LEASES)),
        ("/components/schemas/Map/properties/buckets/maxItems", json!(MAX_MAP_BUCKETS)),
        ("/paths/~1v1~1pools~1{pool}~1events/get/parameters/1/schema/maximum", json!(MAX_EVENTS)),
        (
            "/paths/~1v1~1pools~1{pool}~1events/get/parameters/2/schema/maximum",
            json!(MAX_EVENTS_WAIT_SECONDS),
        ),
        ("/components/parameters/Idempotency-Key/schema/maxLength", json!(MAX_KEY_BYTES)),
        ("/components/parameters/ttl/schema/maximum", json!(MAX_TTL_SECONDS)),
        ("/components/parameters/rest/schema/maximum", json!(MAX_REST_SECONDS)),
        ("/components/parameters/within/schema/maxItems", json!(MAX_WITHIN_ITEMS)),
        ("/components/parameters/buckets/schema/maximum", json!(MAX_MAP_BUCKETS)),
    ]
}

/// What parameters are without being given, by their descriptions. As a `default` of their schemas, generated clients would
/// send it with every call.
pub(crate) fn defaults() -> Vec<(&'static str, String)> {
    vec![
        ("/components/parameters/ttl", DEFAULT_TTL_SECONDS.to_string()),
        ("/components/parameters/ttl_max", DEFAULT_TTL_MAX_SECONDS.to_string()),
        ("/components/parameters/buckets", DEFAULT_MAP_BUCKETS.to_string()),
        ("/paths/~1v1~1pools~1{pool}~1events/get/parameters/1", DEFAULT_EVENTS.to_string()),
    ]
}
