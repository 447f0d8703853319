//! `POST /v1/backup`

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Request;
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;

use crate::backup::error::BackupError;
use crate::backup::{Backup, BackupOptions};
use crate::domain::json_fields::given;
use crate::http::actor::Actor;
use crate::http::blocking;
use crate::http::calls::{Api, Handled, Reply, query_of};
use crate::http::lanes::Lane;
use crate::http::request::content_type::check_json;
use crate::http::request::{fields, query};
use crate::http::response::json;
use crate::http::response::problem::Problem;

/// Most backups that are kept.
const MAX_KEPT: u32 = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupBody {
    #[serde(default, deserialize_with = "given")]
    name: Option<String>,
    #[serde(default, deserialize_with = "given")]
    verify: Option<bool>,
    #[serde(default, deserialize_with = "given")]
    keep: Option<u32>,
}

impl BackupBody {
    fn options(&self) -> Result<BackupOptions, Problem> {
        if let Some(keep) = self.keep {
            if !(1..=MAX_KEPT).contains(&keep) {
                return Err(Problem::bad_request(format!("keep is {keep}: give 1 to {MAX_KEPT} backups")));
            }
            if self.name.is_some() {
                return Err(Problem::bad_request(
                    "keep is for backups that are named by their time: leave out name, or keep",
                ));
            }
        }
        let name = self.name.as_deref().map(str::parse).transpose()?;
        Ok(BackupOptions { name, verify: self.verify.unwrap_or(false), keep: self.keep })
    }
}

/// Makes a backup on a thread that may block; other calls continue meanwhile.
pub(crate) fn make(api: &Arc<Api>, actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    query::none(query_of(&request))?;
    if !request.body().is_end_stream() {
        check_json(request.headers())?;
    }
    Handled::later(make_from(Arc::clone(api), actor.max_body_bytes(), request.into_body()))
}

async fn make_from(api: Arc<Api>, most_bytes: u64, body: Incoming) -> Reply {
    let bytes = api.bodies.collect_json(body, most_bytes).await?;
    let wanted = if bytes.is_empty() { BackupBody::default() } else { fields::parse_object(&bytes)? };
    let options = wanted.options()?;
    blocking::answer(Lane::Long, move || {
        let made = api.engine.backup_with(&options, &|| api.draining.load(Ordering::SeqCst));
        record(&api, &made);
        let made = made?;
        let removed: Vec<_> = made.removed.iter().map(|name| json::quoted(name)).collect();
        Ok(json::ok_json(format!(
            "{{\"backup\":{},\"as_of\":{},\"pools\":{},\"numbers\":{},\"bytes\":{},\"verified\":{},\"removed\":[{}]}}",
            json::quoted(&made.name),
            json::quoted(&made.as_of),
            made.pools,
            made.numbers,
            made.bytes,
            made.verified,
            removed.join(","),
        )))
    })
    .await
}

/// Keeps how the backup ended for the statistics. What was refused for how it was asked for is no failure.
fn record(api: &Api, made: &Result<Backup, BackupError>) {
    let at = api.engine.now();
    match made {
        Ok(made) => api.upkeep.backed_up(at, Ok(made.found())),
        Err(BackupError::Name(_) | BackupError::Exists(_) | BackupError::Busy) => {}
        Err(error) => api.upkeep.backed_up(at, Err(error.to_string())),
    }
}
