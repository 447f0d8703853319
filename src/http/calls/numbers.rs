//! Operators' calls on the numbers of a pool: add, look up, retire and reinstate.

use std::fmt::Write as _;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::engine::operations::import::ImportReport;
use crate::engine::pool::Pool;
use crate::http::calls::{Api, Handled, Reply, pool_of, preview, query_of, upload};
use crate::http::request::number_list::{LIST_PARAMETERS, Source};
use crate::http::request::path;
use crate::http::request::query::{self, Query};
use crate::http::response::body::Body;
use crate::http::response::json::{self, push_first_invalid};
use crate::http::response::problem::{Code, Problem};
use crate::numbers::number::Number;

/// `POST /v1/pools/{pool}/numbers`
pub(crate) fn add(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let query = Query::parse(query_of(&request), &LIST_PARAMETERS)?;
    let source = Source::of(request.headers(), &query)?;
    let (api, body) = (Arc::clone(api), request.into_body());
    if query.flag("dry_run")? {
        return Handled::later(preview::of_addition(api, pool, source, body));
    }
    Handled::later(add_from(api, pool, source, body))
}

async fn add_from(api: Arc<Api>, pool: Arc<Pool>, source: Source, body: Incoming) -> Reply {
    let added = upload(&api, body, move |input| Ok(pool.add_numbers(source.over(input))?)).await?;
    let counts = format!("{{\"added\":{},\"existing\":{}", added.added, added.existing);
    Ok(with_lines(counts, &added.loaded))
}

/// `POST /v1/pools/{pool}/retire`
pub(crate) fn retire(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    let (pool, dry_run, source) = read_retire(api, &request)?;
    let (api, body) = (Arc::clone(api), request.into_body());
    Handled::later(async move {
        let report = upload(&api, body, move |input| Ok(pool.retire(source.over(input), dry_run)?)).await?;
        let counts = format!(
            "{{\"retired\":{},\"already\":{},\"unknown\":{},\"leased\":{}",
            report.changed, report.already, report.unknown, report.leased
        );
        Ok(with_lines(counts, &report.loaded))
    })
}

/// `POST /v1/pools/{pool}/reinstate`
pub(crate) fn reinstate(api: &Arc<Api>, request: Request<Incoming>) -> Result<Handled, Problem> {
    let (pool, dry_run, source) = read_retire(api, &request)?;
    let (api, body) = (Arc::clone(api), request.into_body());
    Handled::later(async move {
        let report =
            upload(&api, body, move |input| Ok(pool.reinstate(source.over(input), dry_run)?)).await?;
        let counts = format!(
            "{{\"reinstated\":{},\"already\":{},\"unknown\":{}",
            report.changed, report.already, report.unknown
        );
        Ok(with_lines(counts, &report.loaded))
    })
}

/// An answer with what was skipped of a list. `text` is its begin.
fn with_lines(mut text: String, loaded: &ImportReport) -> Response<Body> {
    // Writing to a string does not fail.
    let _ = write!(text, ",\"duplicates\":{},\"invalid\":{}", loaded.duplicates, loaded.invalid);
    push_first_invalid(&mut text, &loaded.first_invalid);
    text.push('}');
    json::ok_json(text)
}

fn read_retire(api: &Api, request: &Request<Incoming>) -> Result<(Arc<Pool>, bool, Source), Problem> {
    let pool = pool_of(api, request)?;
    let query = Query::parse(query_of(request), &LIST_PARAMETERS)?;
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
    Ok(json::ok_json(format!(
        "{{\"number\":{},\"state\":\"{}\",\"generation\":{}{until}}}",
        number.get(),
        found.state.as_str(),
        found.generation,
    ))
    .into())
}
