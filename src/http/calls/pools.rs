//! Operators' calls on whole pools: list, show, create, change, delete, pause, resume, next round.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{Request, Response, StatusCode};
use serde_json::{Value, json};

use crate::domain::list_name::ListName;
use crate::domain::settings::{PoolName, Settings, SettingsChange, SettingsError};
use crate::engine::operations::import::ImportReport;
use crate::engine::pool::Pool;
use crate::engine::pool_error::{ChangeError, DeleteError};
use crate::http::actor::Actor;
use crate::http::audit::{After, Before};
use crate::http::blocking::{self, blocking};
use crate::http::calls::{
    Api, Handled, Reply, over_pools, pool_of, pools_of, preview, query_of, remark, upload,
};
use crate::http::lanes::Lane;
use crate::http::request::content_type::check_json;
use crate::http::request::number_list::{LIST_PARAMETERS, Source, names_flags};
use crate::http::request::query::{self, Query};
use crate::http::request::{fields, path};
use crate::http::response::body::Body;
use crate::http::response::code::Code;
use crate::http::response::json::{self, push_first_invalid};
use crate::http::response::problem::Problem;

const SETTING_PARAMETERS: [&str; 11] = [
    "order",
    "ttl",
    "ttl_max",
    "rest",
    "on_expiry",
    "attempts",
    "holders",
    "max_per_holder",
    "first_per_holder",
    "blocked_by",
    "max_waiters",
];

/// One pool as the list shows it.
fn pool_json(pool: &Pool) -> Result<String, Problem> {
    let (counts, _) = pool.counts_by_hours();
    let settings = serde_json::to_string(&**pool.settings()).map_err(|error| Problem::internal(&error))?;
    Ok(format!(
        "{{\"pool\":{},\"numbers\":{},{},\"round\":{},\"paused\":{}{},\"settings\":{settings}}}",
        json::quoted(pool.name().as_str()),
        counts.numbers,
        json::counts(&counts),
        pool.round(),
        pool.is_paused(),
        pool.paused_until().map_or(String::new(), |until| format!(",\"paused_until\":\"{until}\""))
            + &pool.pause_reason().map_or(String::new(), |reason| {
                format!(",\"pause_reason\":{}", json::quoted(reason.as_str()))
            }),
    ))
}

/// A response, and what was before, for the audit log.
fn after(mut response: Response<Body>, before: Value) -> Response<Body> {
    response.extensions_mut().insert(Before(before));
    response
}

/// The settings and the note of a pool.
fn settings_json(pool: &Pool) -> Result<Value, Problem> {
    let mut settings = serde_json::to_value(&**pool.settings()).map_err(|error| Problem::internal(&error))?;
    settings["note"] = json!(pool.note().map(|note| note.as_str().to_owned()));
    Ok(settings)
}

/// What differs of two objects: of the one, and of the other.
fn differences(before: Value, now: Value) -> (Value, Value) {
    let (Value::Object(mut before), Value::Object(mut now)) = (before, now) else {
        return Default::default();
    };
    let same: Vec<_> = before.keys().filter(|key| before.get(*key) == now.get(*key)).cloned().collect();
    for key in same {
        before.remove(&key);
        now.remove(&key);
    }
    (Value::Object(before), Value::Object(now))
}

/// `GET /v1/pools`
pub(crate) fn list(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    over_pools(api, actor, |api, actor| {
        let pools: Vec<_> =
            pools_of(api, actor).iter().map(|pool| pool_json(pool)).collect::<Result<_, _>>()?;
        Ok(json::ok_json(format!("{{\"pools\":[{}]}}", pools.join(","))))
    })
}

/// `GET /v1/pools/{pool}`
pub(crate) fn show(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    let pool = pool_of(api, &request)?;
    if pool.has_hours() {
        return Handled::later(blocking(move || Ok(json::ok_json(pool_json(&pool)?))));
    }
    Ok(json::ok_json(pool_json(&pool)?).into())
}

/// The names of lists, separated by commas.
fn list_names(text: &str) -> Result<Vec<ListName>, Problem> {
    let names = text.split(',').filter(|name| !name.is_empty());
    names.map(|name| Ok(name.parse().map_err(SettingsError::from)?)).collect()
}

fn settings_of(query: &Query) -> Result<Settings, Problem> {
    let most = |name| Ok::<_, Problem>(query.integer(name, "how many leases")?.map(Some));
    let change = SettingsChange {
        order: query.parsed("order")?,
        ttl: query.integer("ttl", "seconds")?,
        ttl_max: query.integer("ttl_max", "seconds")?,
        rest: query.integer("rest", "seconds")?,
        on_expiry: query.parsed("on_expiry")?,
        outcomes: None,
        attempts: query.parsed("attempts")?.map(Some),
        hours: None,
        note: None,
        blocked_by: query.text("blocked_by").map(list_names).transpose()?,
        max_waiters: query.integer("max_waiters", "calls")?,
        holders: Some(query.flag("holders")?),
        max_per_holder: most("max_per_holder")?,
        first_per_holder: most("first_per_holder")?,
    };
    Ok(Settings::of_new_pool(&change)?)
}

/// `PUT /v1/pools/{pool}`
pub(crate) fn create(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let name: PoolName = path::pool_name(&request).parse()?;
    let known = [SETTING_PARAMETERS.as_slice(), &LIST_PARAMETERS].concat();
    let query = Query::parse(query_of(&request), &known)?;
    if api.engine.pool(name.as_str()).is_some() {
        let detail = format!(
            "The pool {name} already exists: add to it with POST /v1/pools/{name}/numbers, or delete it"
        );
        return Err(Problem::new(Code::PoolExists, detail));
    }
    let settings = settings_of(&query)?;
    let source = Source::of(request.headers(), &query)?;
    let (api, actor, body) = (Arc::clone(api), actor.clone(), request.into_body());
    if query.flag("dry_run")? {
        return Handled::later(preview::of_new_pool(api, actor, name, source, body));
    }
    Handled::later(create_from(api, actor, name, settings, source, body))
}

async fn create_from(
    api: Arc<Api>,
    actor: Actor,
    name: PoolName,
    settings: Settings,
    source: Source,
    body: Incoming,
) -> Reply {
    let pool = json::quoted(name.as_str());
    let engine = Arc::clone(&api.engine);
    let loaded = upload(&api, &actor, body, move |input| {
        Ok(engine.create_pool(&name, settings, source.over(input))?)
    })
    .await?;
    let ImportReport { numbers, duplicates, invalid, first_invalid, .. } = loaded;
    let mut text =
        format!("{{\"pool\":{pool},\"numbers\":{numbers},\"duplicates\":{duplicates},\"invalid\":{invalid}");
    push_first_invalid(&mut text, &first_invalid);
    text.push('}');
    let mut response = json::ok_json(text);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// `PATCH /v1/pools/{pool}`
pub(crate) fn change(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    query::none(query_of(&request))?;
    check_json(request.headers())?;
    let (api, body, most_bytes) = (Arc::clone(api), request.into_body(), actor.max_body_bytes());
    Handled::later(async move {
        let bytes = api.bodies.collect_json(body, most_bytes).await?;
        let change: SettingsChange = fields::parse_object(&bytes)?;
        // Large lists and columns take as long as an import.
        let is_long = change.blocked_by.is_some() || change.holders.is_some();
        let lane = if is_long { Lane::Long } else { Lane::Short };
        blocking::answer(lane, move || {
            let before = settings_json(&pool)?;
            pool.change_settings(&change)?;
            let (before, now) = differences(before, settings_json(&pool)?);
            let mut response = after(json::ok_json(pool_json(&pool)?), before);
            response.extensions_mut().insert(After(now));
            Ok(response)
        })
        .await
    })
}

/// `DELETE /v1/pools/{pool}`
pub(crate) fn delete(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let (name, id) = (pool.name().clone(), pool.id());
    let force = Query::parse(query_of(&request), &["force"])?.flag("force")?;
    let (api, names_flags) = (Arc::clone(api), names_flags(request.headers()));
    Handled::later(blocking(move || {
        let numbers = api.engine.pool(name.as_str()).map(|pool| pool.numbers());
        api.engine.delete_pool(name.as_str(), force).map_err(|error| match error {
            DeleteError::InUse(_) if names_flags => {
                Problem::new(Code::InUse, error.to_string().replace("force=true", "--force"))
            }
            other => other.into(),
        })?;
        api.stats.forget_pool(id);
        let before = numbers.map(|numbers| json!({ "numbers": numbers })).unwrap_or_default();
        Ok(after(json::ok_json(format!("{{\"deleted\":{}}}", json::quoted(name.as_str()))), before))
    }))
}

/// `POST /v1/pools/{pool}/pause`
pub(crate) fn pause(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let reason = remark::of(&Query::parse(query_of(&request), &[remark::REASON])?)?;
    set_paused(api, &request, move |pool| pool.pause_for(reason))
}

/// `POST /v1/pools/{pool}/resume`
pub(crate) fn resume(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    set_paused(api, &request, Pool::resume)
}

fn set_paused(
    api: &Api,
    request: &Request<Incoming>,
    change: impl FnOnce(&Pool) -> Result<(), ChangeError> + Send + 'static,
) -> Result<Handled, Problem> {
    let pool = pool_of(api, request)?;
    Handled::later(blocking(move || {
        let before = json!({ "paused": pool.is_paused() });
        change(&pool)?;
        let response = json::ok_json(format!("{{\"paused\":{}}}", pool.is_paused()));
        Ok(after(response, before))
    }))
}

/// `POST /v1/pools/{pool}/rounds`
pub(crate) fn start_round(
    api: &Arc<Api>,
    _actor: &Actor,
    request: Request<Incoming>,
) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    query::none(query_of(&request))?;
    Handled::later(blocking(move || {
        let before = json!({ "round": pool.round() });
        let started = pool.start_round()?;
        let text = format!("{{\"round\":{},\"available\":{}}}", started.round, started.available);
        Ok(after(json::ok_json(text), before))
    }))
}
