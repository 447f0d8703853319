//! `POST /v1/backup`

use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::body::Incoming;
use serde::Deserialize;

use crate::backup::BackupName;

use super::routes::{Api, Reply};
use super::{body, fields, json};

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct BackupBody {
    name: Option<String>,
}

/// Makes a backup on a thread of its own; calls go on meanwhile.
pub(super) async fn make(api: Arc<Api>, body: Incoming) -> Reply {
    let bytes = body::collect_json(body).await?;
    let wanted = if bytes.is_empty() { BackupBody::default() } else { fields::parse(&bytes)? };
    let name: Option<BackupName> = wanted.name.as_deref().map(str::parse).transpose()?;
    body::blocking(move || {
        let made = api.engine.backup(name.as_ref(), &|| api.draining.load(Ordering::SeqCst))?;
        Ok(crate::http::ok_json(format!(
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
