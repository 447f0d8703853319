//! Why an operator paused a pool, or released or retired numbers of it: for the callers whom it concerns.

use crate::domain::remark::Remark;
use crate::engine::pool::Pool;
use crate::http::request::query::Query;
use crate::http::response::code::Code;
use crate::http::response::json;
use crate::http::response::problem::Problem;

/// The parameter that has it.
pub(super) const REASON: &str = "reason";

/// The reason that a call gives.
pub(super) fn of(query: &Query) -> Result<Option<Remark>, Problem> {
    let parsed = query.text(REASON).map(str::parse::<Remark>).transpose();
    parsed.map_err(|error| Problem::bad_request(format!("reason: {error}")))
}

/// The refusal of a lease from a pool that is paused. `paused` is the one without a reason.
pub(super) fn paused(pool: &Pool, paused: Problem) -> Problem {
    let Some(reason) = pool.pause_reason() else { return paused };
    let detail =
        format!("the pool is paused ({reason}): renew and return still work, and an operator can resume it");
    Problem::new(Code::Paused, detail).with_members(format!(",\"reason\":{}", json::quoted(reason.as_str())))
}

/// The refusal of a lease that is not held any more, with what an operator did of late.
pub(super) fn stale(pool: &Pool, detail: &'static str) -> Problem {
    let Some(notice) = pool.notice() else { return Problem::new(Code::Stale, detail) };
    let text = format!(
        "{detail}. At {} an operator {} numbers of this pool: {}",
        notice.at, notice.act, notice.reason
    );
    Problem::new(Code::Stale, text)
}
