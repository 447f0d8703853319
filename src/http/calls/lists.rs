//! Operators' calls on the lists that pools are blocked by.

use std::io;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Request, Response, StatusCode};
use tokio::sync::OwnedSemaphorePermit;

use crate::domain::list_name::ListName;
use crate::engine::lists::list::{List, Snapshot};
use crate::engine::lists::operations::{ListChange, ListError, ListReport};
use crate::engine::operations::import::ImportReport;
use crate::engine::registry::Engine;
use crate::http::actor::Actor;
use crate::http::blocking::{self, blocking};
use crate::http::calls::export::{FileParts, Format, PART_BYTES, set_file};
use crate::http::calls::{Api, Handled, query_of, upload};
use crate::http::lanes::Lane;
use crate::http::request::number_list::{LIST_PARAMETERS, Source};
use crate::http::request::path;
use crate::http::request::query::{self, Query};
use crate::http::response::body::{Body, Parts, Stream};
use crate::http::response::json::{self, push_first_invalid};
use crate::http::response::problem::Problem;
use crate::numbers::number::{Number, NumberRange};

/// The name of the list that a request names.
fn name_of<B>(request: &Request<B>) -> Result<ListName, Problem> {
    let name = path::list_name(request);
    name.parse()
        .map_err(|error: crate::domain::list_name::NotAListName| Problem::bad_request(error.to_string()))
}

fn list_of<B>(api: &Api, request: &Request<B>) -> Result<Arc<List>, Problem> {
    Ok(api.engine.list(name_of(request)?)?)
}

fn list_json(engine: &Engine, list: &List) -> String {
    let pools: Vec<_> = engine.pools_using(list.name()).iter().map(|pool| json::quoted(pool)).collect();
    let name = json::quoted(list.name().as_str());
    format!(
        "{{\"list\":{name},\"numbers\":{},\"pools\":[{}],\"changed_at\":\"{}\"}}",
        list.numbers(),
        pools.join(","),
        list.changed_at()
    )
}

/// `GET /v1/lists`
pub(crate) fn list(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let api = Arc::clone(api);
    Handled::later(blocking(move || {
        let lists: Vec<_> = api.engine.lists().iter().map(|list| list_json(&api.engine, list)).collect();
        Ok(json::ok_json(format!("{{\"lists\":[{}]}}", lists.join(","))))
    }))
}

/// `GET /v1/lists/{list}`
pub(crate) fn show(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let list = list_of(api, &request)?;
    Ok(json::ok_json(list_json(&api.engine, &list)).into())
}

/// `PUT /v1/lists/{list}`: empty without a body.
pub(crate) fn create(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let query = Query::parse(query_of(&request), &LIST_PARAMETERS)?;
    let name = name_of(&request)?;
    if query.flag("dry_run")? {
        return Err(Problem::bad_request(
            "A list is not created by a dry run: create it empty, then put numbers on it with dry_run=true",
        ));
    }
    if api.engine.list(name).is_ok() {
        return Err(ListError::Exists(name).into());
    }
    let source = if request.body().is_end_stream() {
        Source::check(request.headers(), &query)?;
        None
    } else {
        Some(Source::of(request.headers(), &query)?)
    };
    let (api, actor, body) = (Arc::clone(api), actor.clone(), request.into_body());
    Handled::later(async move {
        let engine = Arc::clone(&api.engine);
        let loaded = match source {
            None => blocking::answer(Lane::Long, move || Ok(engine.create_list(name, None)?)).await?,
            Some(source) => {
                let create = move |input: &mut _| Ok(engine.create_list(name, Some(source.over(input)))?);
                upload(&api, &actor, body, create).await?
            }
        };
        let mut text = format!("{{\"list\":{},\"numbers\":{}", json::quoted(name.as_str()), loaded.numbers);
        push_loaded(&mut text, &loaded);
        let mut response = json::ok_json(text);
        *response.status_mut() = StatusCode::CREATED;
        Ok(response)
    })
}

/// Ends an object with what a source contained.
fn push_loaded(text: &mut String, loaded: &ImportReport) {
    text.push_str(",\"duplicates\":");
    text.push_str(&loaded.duplicates.to_string());
    text.push_str(",\"invalid\":");
    text.push_str(&loaded.invalid.to_string());
    push_first_invalid(text, &loaded.first_invalid);
    text.push('}');
}

/// `DELETE /v1/lists/{list}`
pub(crate) fn delete(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let (api, name) = (Arc::clone(api), name_of(&request)?);
    // It waits for an exchange in progress.
    Handled::later(blocking::answer(Lane::Long, move || {
        api.engine.delete_list(name)?;
        Ok(json::ok_json(format!("{{\"deleted\":{}}}", json::quoted(name.as_str()))))
    }))
}

/// `POST /v1/lists/{list}/numbers`
pub(crate) fn add(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    change(api, actor, request, ListChange::Add)
}

/// `POST /v1/lists/{list}/remove`
pub(crate) fn remove(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    change(api, actor, request, ListChange::Remove)
}

/// `POST /v1/lists/{list}/replace`
pub(crate) fn replace(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    change(api, actor, request, ListChange::Replace)
}

fn change(
    api: &Arc<Api>,
    actor: &Actor,
    request: Request<Incoming>,
    change: ListChange,
) -> Result<Handled, Problem> {
    let query = Query::parse(query_of(&request), &LIST_PARAMETERS)?;
    let dry_run = query.flag("dry_run")?;
    let name = list_of(api, &request)?.name();
    let source = Source::of(request.headers(), &query)?;
    let (api, actor, body) = (Arc::clone(api), actor.clone(), request.into_body());
    Handled::later(async move {
        let engine = Arc::clone(&api.engine);
        let work = move |input: &mut _| Ok(engine.change_list(name, change, source.over(input), dry_run)?);
        Ok(json::ok_json(report_json(change, &upload(&api, &actor, body, work).await?)))
    })
}

fn report_json(change: ListChange, report: &ListReport) -> String {
    let ListReport { added, removed, existing, pools, loaded } = report;
    let mut text = match change {
        ListChange::Add => format!("{{\"added\":{added},\"existing\":{existing}"),
        ListChange::Remove => format!("{{\"removed\":{removed},\"unknown\":{}", loaded.numbers - existing),
        ListChange::Replace => {
            format!("{{\"added\":{added},\"removed\":{removed},\"existing\":{existing}")
        }
    };
    let pool = |effect: &crate::engine::lists::PoolEffect| {
        format!(
            "{{\"pool\":{},\"blocked\":{},\"unblocked\":{},\"leased\":{}}}",
            json::quoted(&effect.pool),
            effect.blocked,
            effect.unblocked,
            effect.leased
        )
    };
    let pools: Vec<_> = pools.iter().map(pool).collect();
    text.push_str(",\"pools\":[");
    text.push_str(&pools.join(","));
    text.push(']');
    push_loaded(&mut text, loaded);
    text
}

/// `GET /v1/lists/{list}/numbers/{number}`
pub(crate) fn lookup(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let list = list_of(api, &request)?;
    let digits = path::last_segment(&request);
    let number = Number::parse_digits(digits.as_bytes())
        .map_err(|error| Problem::bad_request(format!("\"{digits}\" is not a number: {error}")))?;
    let (name, listed) = (json::quoted(list.name().as_str()), list.contains(number));
    let text = format!("{{\"number\":{},\"list\":{name},\"listed\":{listed}}}", number.get());
    Ok(json::ok_json(text).into())
}

/// `GET /v1/lists/{list}/numbers`
pub(crate) fn export(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let list = list_of(api, &request)?;
    let format = Format::accepted(request.headers())?;
    let place = api.bodies.begin_export()?;
    let engine = Arc::clone(&api.engine);
    Handled::later(async move {
        let snapshot = blocking(move || {
            let snapshot = list.snapshot();
            // What is told must not be undone.
            engine.settle()?;
            Ok(snapshot)
        })
        .await?;
        let stream = if format == Format::Roaring {
            let file = blocking::answer(Lane::Long, move || set_file(snapshot.ranges())).await?;
            Stream::new(FileParts(file, place))
        } else {
            let header = format == Format::Csv;
            Stream::new(Lines { snapshot, header, rest: Some(NumberRange::ALL), _place: place })
        };
        let mut response: Response<Body> = Response::new(Body::Stream(Box::new(stream)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
        Ok(response)
    })
}

/// The numbers of a list, a line each.
struct Lines {
    snapshot: Snapshot,
    /// Whether the header of a CSV is still to be written.
    header: bool,
    /// Where the numbers are that are still to be written.
    rest: Option<NumberRange>,
    /// Another export may begin when it is dropped.
    _place: OwnedSemaphorePermit,
}

impl Parts for Lines {
    fn next_part(&mut self) -> io::Result<Option<Bytes>> {
        let mut part = BytesMut::with_capacity(PART_BYTES + 32);
        if std::mem::take(&mut self.header) {
            part.put_slice(b"number\n");
        }
        let Some(rest) = self.rest.take() else { return Ok((!part.is_empty()).then(|| part.freeze())) };
        let mut digits = itoa::Buffer::new();
        'parts: for range in self.snapshot.ranges_in(rest) {
            for number in range.first().get()..=range.last().get() {
                if part.len() >= PART_BYTES {
                    let first = Number::new(number).ok();
                    self.rest = first.and_then(|first| NumberRange::new(first, rest.last()).ok());
                    break 'parts;
                }
                part.put_slice(digits.format(number).as_bytes());
                part.put_u8(b'\n');
            }
        }
        Ok((!part.is_empty()).then(|| part.freeze()))
    }
}
