//! `GET /v1/pools/{pool}/map`

use std::fmt::Write as _;
use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;

use crate::auth::role::Permission;
use crate::engine::operations::map::{DEFAULT_MAP_BUCKETS, MAX_MAP_BUCKETS, Map};
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::blocking::blocking;
use crate::http::calls::{Api, Handled, pool_of, query_of};
use crate::http::request::query::Query;
use crate::http::request::within::WithinField;
use crate::http::response::json;
use crate::http::response::problem::Problem;

/// Least width of a bucket for a caller that may not see numbers.
const MIN_COARSE_WIDTH: u64 = 100;
/// Approximate bytes of a bucket's text.
const BUCKET_BYTES: usize = 96;

/// The map of a pool: `buckets` and `within` in the query.
pub(crate) fn show(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let query = Query::parse(query_of(&request), &["buckets", "within"])?;
    let buckets = query.integer("buckets", "how many parts")?.unwrap_or(DEFAULT_MAP_BUCKETS);
    if !(1..=MAX_MAP_BUCKETS).contains(&buckets) {
        return Err(Problem::bad_request(format!("buckets is {buckets}: give 1 to {MAX_MAP_BUCKETS}")));
    }
    let within = query.text("within").map(WithinField::from_query).transpose()?;
    let shows_numbers = actor.may(Permission::Numbers);
    if within.is_some() && !shows_numbers {
        return Err(Problem::forbidden(
            "The map of a part of a pool can show single numbers: use a token that may see numbers, or leave out within",
        ));
    }
    // Too long for the threads that serve leases.
    Handled::later(blocking(move || {
        let mut map = pool.map(within.as_ref().map(|within| within.0.as_slice()), buckets);
        if let Some(Map { span, bucket_width, .. }) = &map
            && !shows_numbers
            && *bucket_width < MIN_COARSE_WIDTH
        {
            map = pool.map(None, u32::try_from(span.len() / MIN_COARSE_WIDTH).unwrap_or(buckets).max(1));
        }
        Ok(json::ok_json(map_json(&pool, map.as_ref())))
    }))
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
