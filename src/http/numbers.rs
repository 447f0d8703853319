//! Operators' calls on the numbers of a pool: add, look up, retire, reinstate.

use std::sync::Arc;

use hyper::HeaderMap;
use hyper::body::Incoming;

use crate::engine::pool::Pool;
use crate::numbers::number::Number;

use super::body;
use super::pools::push_first_invalid;
use super::problem::{Code, Problem};
use super::query::Query;
use super::routes::Reply;
use super::source::{LIST_PARAMETERS, Source};

/// The parameters of adding numbers.
pub(super) fn add_query(text: Option<&str>) -> Result<Query, Problem> {
    Query::parse(text, &LIST_PARAMETERS)
}

/// The parameters of retire and reinstate.
pub(super) fn mark_query(text: Option<&str>) -> Result<Query, Problem> {
    Query::parse(text, &[LIST_PARAMETERS.as_slice(), &["dry_run"]].concat())
}

/// `POST /v1/pools/{pool}/numbers`
pub(super) async fn add(
    pool: Arc<Pool>,
    query: Result<Query, Problem>,
    headers: HeaderMap,
    body: Incoming,
) -> Reply {
    let source = Source::of(&headers, &query?)?;
    let added = body::upload(body, move |input| Ok(pool.add_numbers(source.over(input))?)).await?;
    let mut text = format!(
        "{{\"added\":{},\"existing\":{},\"duplicates\":{},\"invalid\":{}",
        added.added, added.existing, added.loaded.duplicates, added.loaded.invalid
    );
    push_first_invalid(&mut text, &added.loaded.first_invalid);
    text.push('}');
    Ok(crate::http::ok_json(text))
}

/// `POST /v1/pools/{pool}/retire`, or its way back.
pub(super) async fn mark(
    pool: Arc<Pool>,
    reinstate: bool,
    query: Result<Query, Problem>,
    headers: HeaderMap,
    body: Incoming,
) -> Reply {
    let query = query?;
    let dry_run = query.flag("dry_run")?;
    let source = Source::of(&headers, &query)?;
    let marked = body::upload(body, move |input| {
        let source = source.over(input);
        Ok(if reinstate { pool.reinstate(source, dry_run)? } else { pool.retire(source, dry_run)? })
    })
    .await?;
    Ok(crate::http::ok_json(if reinstate {
        format!(
            "{{\"reinstated\":{},\"already\":{},\"unknown\":{}}}",
            marked.changed, marked.already, marked.unknown
        )
    } else {
        format!(
            "{{\"retired\":{},\"already\":{},\"unknown\":{},\"leased\":{}}}",
            marked.changed, marked.already, marked.unknown, marked.leased
        )
    }))
}

/// `GET /v1/pools/{pool}/numbers/{number}`
pub(super) fn lookup(pool: &Pool, digits: &str) -> Reply {
    let number = Number::parse_digits(digits.as_bytes())
        .map_err(|error| Problem::bad_request(format!("\"{digits}\" is not a number: {error}")))?;
    let found = pool.lookup(number).ok_or_else(|| {
        Problem::new(Code::NumberNotFound, format!("{digits} is not in the pool {}", pool.name()))
    })?;
    let until = found.until.map(|until| format!(",\"until\":\"{until}\"")).unwrap_or_default();
    Ok(crate::http::ok_json(format!(
        "{{\"number\":{},\"state\":\"{}\",\"generation\":{}{until}}}",
        number.get(),
        found.state.as_str(),
        found.generation,
    )))
}
