//! Metrics of what operators do to keep the daemon in order, and of the clock.

use std::fmt;
use std::sync::Arc;

use prometheus_client::registry::Unit;

use crate::http::calls::Api;
use crate::state::time::Timestamp;
use crate::sys::clock_sync::is_synchronized;

use super::writer::{Writer, flag};

pub(super) fn put(out: &mut Writer<'_>, api: &Api) -> fmt::Result {
    let failed = api.upkeep.reload().is_some_and(|ended| ended.error.is_some());
    out.gauge("allotd_reload_failed", "1 if the last reload since the start failed", None, flag(failed))?;
    let backup = api.upkeep.backup();
    let failed = backup.ended.is_some_and(|ended| ended.error.is_some());
    out.gauge("allotd_backup_failed", "1 if the last backup since the start failed", None, flag(failed))?;
    if let Some(made) = backup.made {
        out.gauge(
            "allotd_backup_timestamp",
            "What was acknowledged before this time is in the newest backup, since the Unix epoch; absent \
             without one",
            Some(&Unit::Seconds),
            made.as_of_unix_seconds as f64,
        )?;
    }
    out.gauge(
        "allotd_clock_ahead",
        "How far the system's clock is ahead of the time that leases are counted in",
        Some(&Unit::Seconds),
        (api.engine.clock().system_ahead_seconds() * 10.0).round() / 10.0,
    )?;
    if let Some(synchronized) = is_synchronized() {
        out.gauge(
            "allotd_clock_synchronized",
            "1 if the system says that its clock is synchronized; absent if it does not tell",
            None,
            flag(synchronized),
        )?;
    }
    Ok(())
}

/// Absent while no token ends.
pub(super) fn put_ends_of_tokens(out: &mut Writer<'_>, ends: &[(Arc<str>, Timestamp)]) -> fmt::Result {
    if ends.is_empty() {
        return Ok(());
    }
    let by_name = ends.iter().map(|(name, end)| ([("principal", &**name)], end.unix_seconds() as f64));
    let help = "When the tokens of a principal end, since the Unix epoch; absent for those without an end";
    out.gauges("allotd_principal_ends_timestamp", help, Some(&Unit::Seconds), by_name)
}
