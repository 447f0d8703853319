//! Operators' calls on whole pools: list, show, create, change, delete, pause, resume, next round.

use std::fmt::Write as _;
use std::sync::Arc;

use hyper::body::Incoming;
use hyper::{HeaderMap, StatusCode};

use crate::domain::settings::{PoolName, Settings, SettingsChange};
use crate::engine::operations::import::Loaded;
use crate::engine::pool::Pool;
use crate::numbers::list::InvalidLine;

use super::problem::{Code, Problem};
use super::query::Query;
use super::routes::{Api, Reply};
use super::source::{LIST_PARAMETERS, Source};
use super::{body, fields, json};

const SETTING_PARAMETERS: [&str; 6] = ["order", "ttl", "ttl_max", "rest", "on_expiry", "holders"];

/// One pool as the list shows it.
fn pool_json(pool: &Pool) -> Result<String, Problem> {
    let counts = pool.counts();
    let settings = serde_json::to_string(&**pool.settings()).map_err(|error| Problem::internal(&error))?;
    Ok(format!(
        "{{\"pool\":{},\"numbers\":{},{},\"round\":{},\"paused\":{},\"settings\":{settings}}}",
        json::quoted(pool.name().as_str()),
        counts.numbers,
        json::counts(&counts),
        pool.round(),
        pool.is_paused(),
    ))
}

/// `GET /v1/pools`
pub(super) fn list(api: &Api) -> Reply {
    let pools: Vec<_> = api.engine.pools().iter().map(|pool| pool_json(pool)).collect::<Result<_, _>>()?;
    Ok(crate::http::ok_json(format!("{{\"pools\":[{}]}}", pools.join(","))))
}

/// `GET /v1/pools/{pool}`
pub(super) fn show(pool: &Pool) -> Reply {
    pool_json(pool).map(crate::http::ok_json)
}

fn settings_of(query: &Query) -> Result<Settings, Problem> {
    if query.flag("holders")? {
        return Err(Problem::bad_request("holders is not available in this version yet: leave it out"));
    }
    let change = SettingsChange {
        order: query.parsed("order")?,
        ttl: query.integer("ttl", "seconds")?,
        ttl_max: query.integer("ttl_max", "seconds")?,
        rest: query.integer("rest", "seconds")?,
        on_expiry: query.parsed("on_expiry")?,
        outcomes: None,
    };
    Ok(Settings::default().changed(&change)?)
}

/// `PUT /v1/pools/{pool}`
pub(super) async fn create(
    api: Arc<Api>,
    name: Result<PoolName, Problem>,
    query: Result<Query, Problem>,
    headers: HeaderMap,
    body: Incoming,
) -> Reply {
    let (name, query) = (name?, query?);
    if api.engine.pool(name.as_str()).is_some() {
        let detail =
            format!("There is a pool {name}: add to it with POST /v1/pools/{name}/numbers, or delete it");
        return Err(Problem::new(Code::PoolExists, detail));
    }
    let settings = settings_of(&query)?;
    let source = Source::of(&headers, &query)?;
    let pool = json::quoted(name.as_str());
    let loaded =
        body::upload(body, move |input| Ok(api.engine.create_pool(&name, settings, source.over(input))?))
            .await?;
    let Loaded { numbers, duplicates, invalid, first_invalid } = loaded;
    let mut text =
        format!("{{\"pool\":{pool},\"numbers\":{numbers},\"duplicates\":{duplicates},\"invalid\":{invalid}");
    push_first_invalid(&mut text, &first_invalid);
    text.push('}');
    let mut response = crate::http::ok_json(text);
    *response.status_mut() = StatusCode::CREATED;
    Ok(response)
}

/// What a `PUT` reads of its query.
pub(super) fn create_query(text: Option<&str>) -> Result<Query, Problem> {
    Query::parse(text, &[SETTING_PARAMETERS.as_slice(), &LIST_PARAMETERS].concat())
}

/// Adds `,"first_invalid":[…]` if there is one.
pub(super) fn push_first_invalid(text: &mut String, lines: &[InvalidLine]) {
    let mut separator = ",\"first_invalid\":[";
    for line in lines {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{separator}{{\"line\":{},\"text\":{},\"reason\":{}}}",
            line.line,
            json::quoted(&line.text),
            json::quoted(&line.reason.to_string())
        );
        separator = ",";
    }
    if !lines.is_empty() {
        text.push(']');
    }
}

/// `PATCH /v1/pools/{pool}`
pub(super) async fn change(pool: Arc<Pool>, body: Incoming) -> Reply {
    let bytes = body::collect_json(body).await?;
    let change: SettingsChange = fields::parse(&bytes)?;
    body::blocking(move || {
        pool.change_settings(&change)?;
        show(&pool)
    })
    .await
}

/// `DELETE /v1/pools/{pool}`
pub(super) async fn delete(api: Arc<Api>, pool: Arc<Pool>, query: Result<Query, Problem>) -> Reply {
    let force = query?.flag("force")?;
    let name = pool.name().clone();
    drop(pool);
    body::blocking(move || {
        api.engine.delete_pool(name.as_str(), force)?;
        Ok(crate::http::ok_json(format!("{{\"deleted\":{}}}", json::quoted(name.as_str()))))
    })
    .await
}

/// `POST /v1/pools/{pool}/pause` and `/resume`
pub(super) async fn set_paused(pool: Arc<Pool>, paused: bool) -> Reply {
    body::blocking(move || {
        if paused {
            pool.pause()?;
        } else {
            pool.resume()?;
        }
        Ok(crate::http::ok_json(format!("{{\"paused\":{}}}", pool.is_paused())))
    })
    .await
}

/// `POST /v1/pools/{pool}/rounds`
pub(super) async fn start_round(pool: Arc<Pool>) -> Reply {
    body::blocking(move || {
        let started = pool.start_round()?;
        Ok(crate::http::ok_json(format!(
            "{{\"round\":{},\"available\":{}}}",
            started.round, started.available
        )))
    })
    .await
}

/// The parameters of `DELETE`.
pub(super) fn delete_query(text: Option<&str>) -> Result<Query, Problem> {
    Query::parse(text, &["force"])
}

/// A pool's name out of a path.
pub(super) fn name_of(segment: &str) -> Result<PoolName, Problem> {
    segment.parse().map_err(Problem::from)
}
