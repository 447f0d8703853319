//! Operators' calls on the numbers of a pool: add, look up, retire and reinstate.

use std::fmt::Write as _;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use crate::domain::list_name::ListName;
use crate::engine::operations::import::ImportReport;
use crate::engine::operations::lookup::NumberState;
use crate::engine::operations::why::Reason;
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::blocking::blocking;
use crate::http::calls::{Api, Handled, Reply, number_not_found, pool_of, preview, query_of, remark, upload};
use crate::http::request::number_list::{LIST_PARAMETERS, Source};
use crate::http::request::path;
use crate::http::request::query::{self, Query};
use crate::http::response::body::Body;
use crate::http::response::json::{self, push_first_invalid};
use crate::http::response::problem::Problem;
use crate::numbers::number::Number;
use crate::state::time::Timestamp;

/// `POST /v1/pools/{pool}/numbers`
pub(crate) fn add(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let query = Query::parse(query_of(&request), &LIST_PARAMETERS)?;
    let source = Source::of(request.headers(), &query)?;
    let (api, actor, body) = (Arc::clone(api), actor.clone(), request.into_body());
    if query.flag("dry_run")? {
        return Handled::later(preview::of_addition(api, actor, pool, source, body));
    }
    Handled::later(add_from(api, actor, pool, source, body))
}

async fn add_from(api: Arc<Api>, actor: Actor, pool: Arc<Pool>, source: Source, body: Incoming) -> Reply {
    let added = upload(&api, &actor, body, move |input| Ok(pool.add_numbers(source.over(input))?)).await?;
    let counts = format!("{{\"added\":{},\"existing\":{}", added.added, added.existing);
    Ok(with_lines(counts, &added.loaded))
}

/// `POST /v1/pools/{pool}/retire`
pub(crate) fn retire(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let (pool, dry_run, source) = read_retire(api, &request, &[remark::REASON])?;
    let query = Query::parse(query_of(&request), &[LIST_PARAMETERS.as_slice(), &[remark::REASON]].concat())?;
    let reason = remark::of(&query)?.filter(|_| !dry_run);
    let (api, actor, body) = (Arc::clone(api), actor.clone(), request.into_body());
    Handled::later(async move {
        let retired = Arc::clone(&pool);
        let report =
            upload(&api, &actor, body, move |input| Ok(retired.retire(source.over(input), dry_run)?)).await?;
        if let Some(reason) = reason {
            pool.leave_notice("retired", reason);
        }
        let counts = format!(
            "{{\"retired\":{},\"already\":{},\"unknown\":{},\"leased\":{}",
            report.changed, report.already, report.unknown, report.leased
        );
        Ok(with_lines(counts, &report.loaded))
    })
}

/// `POST /v1/pools/{pool}/reinstate`
pub(crate) fn reinstate(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let (pool, dry_run, source) = read_retire(api, &request, &[])?;
    let (api, actor, body) = (Arc::clone(api), actor.clone(), request.into_body());
    Handled::later(async move {
        let report =
            upload(&api, &actor, body, move |input| Ok(pool.reinstate(source.over(input), dry_run)?)).await?;
        let counts = format!(
            "{{\"reinstated\":{},\"already\":{},\"unknown\":{}",
            report.changed, report.already, report.unknown
        );
        Ok(with_lines(counts, &report.loaded))
    })
}

/// An answer with what was skipped of a list. `text` is its begin.
pub(super) fn with_lines(mut text: String, loaded: &ImportReport) -> Response<Body> {
    // Writing to a string does not fail.
    let _ = write!(text, ",\"duplicates\":{},\"invalid\":{}", loaded.duplicates, loaded.invalid);
    push_first_invalid(&mut text, &loaded.first_invalid);
    text.push('}');
    json::ok_json(text)
}

fn read_retire(
    api: &Api,
    request: &Request<Incoming>,
    own: &[&str],
) -> Result<(Arc<Pool>, bool, Source), Problem> {
    let pool = pool_of(api, request)?;
    let query = Query::parse(query_of(request), &[LIST_PARAMETERS.as_slice(), own].concat())?;
    let dry_run = query.flag("dry_run")?;
    Ok((pool, dry_run, Source::of(request.headers(), &query)?))
}

/// `GET /v1/pools/{pool}/numbers/{number}`
pub(crate) fn lookup(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let pool = pool_of(api, &request)?;
    let number = path::number(path::last_segment(&request))?;
    if pool.has_hours() {
        return Handled::later(blocking(move || look_up(&pool, number)));
    }
    Ok(look_up(&pool, number)?.into())
}

fn look_up(pool: &Pool, number: Number) -> Reply {
    let report = pool.why(number).ok_or_else(|| number_not_found(pool, number))?;
    let NumberState { state, generation, until, holder, .. } = report.number;
    let mut text = format!(
        "{{\"number\":{},\"state\":\"{}\",\"generation\":{generation}{}",
        number.get(),
        state.as_str(),
        until_member(until),
    );
    // Writing to a string does not fail.
    if let Some(attempts) = report.attempts {
        let _ = write!(text, ",\"attempts\":{attempts}");
    }
    if let Some(holder) = pool.holder_name(holder) {
        let _ = write!(text, ",\"holder\":{}", json::quoted(holder.as_str()));
    }
    let blocked_by = report.blocked_by();
    if !blocked_by.is_empty() {
        let _ = write!(text, ",\"blocked_by\":{}", list_names(blocked_by));
    }
    let reasons: Vec<_> = report.reasons.iter().map(reason_json).collect();
    let _ = write!(text, ",\"leasable\":{},\"reasons\":[{}]}}", reasons.is_empty(), reasons.join(","));
    Ok(json::ok_json(text))
}

fn reason_json(reason: &Reason) -> String {
    let lists = match reason {
        Reason::Blocked(lists) => format!(",\"lists\":{}", list_names(lists)),
        _ => String::new(),
    };
    format!("{{\"reason\":\"{}\"{}{lists}}}", reason.as_str(), until_member(reason.until()))
}

fn until_member(until: Option<Timestamp>) -> String {
    until.map(|until| format!(",\"until\":\"{until}\"")).unwrap_or_default()
}

fn list_names(lists: &[ListName]) -> String {
    let names: Vec<_> = lists.iter().map(|list| json::quoted(list.as_str())).collect();
    format!("[{}]", names.join(","))
}
