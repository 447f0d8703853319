//! Operators' calls on the numbers of a pool: add, look up, retire and reinstate.

use std::sync::Arc;

use hyper::Request;
use hyper::body::Incoming;

use crate::engine::pool::Pool;
use crate::http::calls::{Api, Handled, Reply, pool_of, query_of, upload};
use crate::http::request::number_list::{LIST_PARAMETERS, Source};
use crate::http::request::path;
use crate::http::request::query::{self, Query};
use crate::http::response::json::{self, push_first_invalid};
use crate::http::response::problem::{Code, Problem};
use crate::numbers::number::Number;

/// `POST /v1/pools/{pool}/numbers`
pub(crate) fn add(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let query = Query::parse(query_of(&request), &LIST_PARAMETERS)?;
    let source = Source::of(request.headers(), &query)?;
    Handled::later(add_from(Arc::clone(api), pool, source, request.into_body()))
}

async fn add_from(api: Arc<Api>, pool: Arc<Pool>, source: Source, body: Incoming) -> Reply {
    let added = upload(&api, body, move |input| Ok(pool.add_numbers(source.over(input))?)).await?;
    let mut text = format!(
        "{{\"added\":{},\"existing\":{},\"duplicates\":{},\"invalid\":{}",
        added.added, added.existing, added.loaded.duplicates, added.loaded.invalid
    );
    push_first_invalid(&mut text, &added.loaded.first_invalid);
    text.push('}');
    Ok(json::ok_json(text))
}

/// `POST /v1/pools/{pool}/retire`
pub(crate) fn retire(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    let (pool, dry_run, source) = read_retire(api, &request)?;
    let (api, body) = (Arc::clone(api), request.into_body());
    Handled::later(async move {
        let report = upload(&api, body, move |input| Ok(pool.retire(source.over(input), dry_run)?)).await?;
        Ok(json::ok_json(format!(
            "{{\"retired\":{},\"already\":{},\"unknown\":{},\"leased\":{}}}",
            report.changed, report.already, report.unknown, report.leased
        )))
    })
}

/// `POST /v1/pools/{pool}/reinstate`
pub(crate) fn reinstate(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    let (pool, dry_run, source) = read_retire(api, &request)?;
    let (api, body) = (Arc::clone(api), request.into_body());
    Handled::later(async move {
        let report =
            upload(&api, body, move |input| Ok(pool.reinstate(source.over(input), dry_run)?)).await?;
        Ok(json::ok_json(format!(
            "{{\"reinstated\":{},\"already\":{},\"unknown\":{}}}",
            report.changed, report.already, report.unknown
        )))
    })
}

fn read_retire(api: &Api, request: &Request<Incoming>) -> Result<(Arc<Pool>, bool, Source), Problem> {
    let pool = pool_of(api, request)?;
    let query = Query::parse(query_of(request), &[LIST_PARAMETERS.as_slice(), &["dry_run"]].concat())?;
    let dry_run = query.flag("dry_run")?;
    Ok((pool, dry_run, Source::of(request.headers(), &query)?))
}

/// `GET /v1/pools/{pool}/numbers/{number}`
pub(crate) fn lookup(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let pool = pool_of(api, &request)?;
    let digits = path::last_segment(&request);
    let number = Number::parse_digits(digits.as_bytes())
        .map_err(|error| Problem::bad_request(format!("\"{digits}\" is not a number: {error}")))?;
    let found = pool.lookup(number).ok_or_else(|| {
        Problem::new(Code::NumberNotFound, format!("{digits} is not in the pool {}", pool.name()))
    })?;
    let until = found.until.map(|until| format!(",\"until\":\"{until}\"")).unwrap_or_default();
    let lists: Vec<_> = pool.blocked_by(number).iter().map(|list| json::quoted(list.as_str())).collect();
    let blocked_by =
        if lists.is_empty() { String::new() } else { format!(",\"blocked_by\":[{}]", lists.join(",")) };
    Ok(json::ok_json(format!(
        "{{\"number\":{},\"state\":\"{}\",\"generation\":{}{until}{blocked_by}}}",
        number.get(),
        found.state.as_str(),
        found.generation,
    ))
    .into())
}
