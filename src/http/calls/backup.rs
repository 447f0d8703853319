//! `POST /v1/backup`

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::Request;
use hyper::body::{Body as _, Incoming};
use serde::Deserialize;

use crate::backup::BackupName;
use crate::domain::json_fields::given;
use crate::http::actor::Actor;
use crate::http::blocking;
use crate::http::calls::{Api, Handled, Reply, query_of};
use crate::http::lanes::Lane;
use crate::http::request::content_type::check_json;
use crate::http::request::{fields, query};
use crate::http::response::json;
use crate::http::response::problem::Problem;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupBody {
    #[serde(default, deserialize_with = "given")]
    name: Option<String>,
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
    let name: Option<BackupName> = wanted.name.as_deref().map(str::parse).transpose()?;
    blocking::answer(Lane::Long, move || {
        let made = api.engine.backup(name.as_ref(), &|| api.draining.load(Ordering::SeqCst))?;
        Ok(json::ok_json(format!(
            "{{\"backup\":{},\"as_of\":{},\"pools\":{},\"numbers\":{},\"bytes\":{}}}",
            json::quoted(&made.name),
            json::quoted(&made.as_of),
            made.pools,
            made.numbers,
            made.bytes,
        )))
    })
    .await
}
