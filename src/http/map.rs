//! `GET /v1/pools/{pool}/map`

use std::fmt::Write as _;
use std::sync::Arc;

use crate::engine::operations::map::{DEFAULT_MAP_BUCKETS, MAX_MAP_BUCKETS, Map};
use crate::engine::pool::Pool;

use super::problem::Problem;
use super::query::Query;
use super::routes::Reply;
use super::within::WithinField;
use super::{body, json};

/// Bytes of a bucket's text, about.
const BUCKET_BYTES: usize = 96;

/// The map of a pool: `buckets` and `within` in the query.
pub(super) async fn show(pool: Arc<Pool>, query: Result<Query, Problem>) -> Reply {
    let query = query?;
    let buckets = query.integer("buckets", "how many parts")?.unwrap_or(DEFAULT_MAP_BUCKETS);
    if !(1..=MAX_MAP_BUCKETS).contains(&buckets) {
        return Err(Problem::bad_request(format!("buckets is {buckets}: give 1 to {MAX_MAP_BUCKETS}")));
    }
    let within = query.text("within").map(WithinField::from_query).transpose()?;
    // Up to some milliseconds: not on the threads that serve leases.
    body::blocking(move || {
        let map = pool.map(within.as_ref().map(|within| within.0.as_slice()), buckets);
        Ok(crate::http::ok_json(map_json(&pool, map.as_ref())))
    })
    .await
}

/// The parameters of the call.
pub(super) fn query(text: Option<&str>) -> Result<Query, Problem> {
    Query::parse(text, &["buckets", "within"])
}

fn map_json(pool: &Pool, map: Option<&Map>) -> String {
    let name = json::quoted(pool.name().as_str());
    let Some(map) = map else {
        return format!(
            "{{\"pool\":{name},\"first\":null,\"last\":null,\"bucket_width\":null,\"buckets\":[]}}"
        );
    };
    let first = map.span.first().get();
    let mut text = String::with_capacity(BUCKET_BYTES * (map.buckets.len() + 1));
    // Writing to a string does not fail.
    let _ = write!(
        text,
        "{{\"pool\":{name},\"first\":{first},\"last\":{},\"bucket_width\":{},\"buckets\":[",
        map.span.last(),
        map.bucket_width
    );
    for (index, counts) in (0..).zip(&map.buckets) {
        let separator = if index > 0 { "," } else { "" };
        let _ = write!(
            text,
            "{separator}{{\"first\":{},{}}}",
            first + index * map.bucket_width,
            json::counts(counts)
        );
    }
    text.push_str("]}");
    text
}
