//! What a lease takes of its principal's quota.

use crate::auth::principal::Principal;
use crate::engine::operations::lease::{Lease, LeaseError, LeaseRequest};
use crate::engine::operations::lease_once::LeasedOnce;
use crate::engine::pool::Pool;
use crate::state::time::Timestamp;
use crate::sys::monotonic::monotonic_nanos;

use super::response::code::Code;
use super::response::problem::Problem;
use super::worker_state::CallState;

/// Numbers and live leases that a call has taken of its principal's quota in advance.
#[must_use]
pub(crate) struct TakenQuota<'p> {
    principal: &'p Principal,
    count: u32,
    /// Whether anything was taken: a repeated call takes nothing.
    is_taken: bool,
}

/// The same request with a `ttl` that its principal may have: without one, the shorter of the pool's and the
/// longest of the principal's.
pub(crate) fn within_quota<'a>(
    principal: &Principal,
    pool: &Pool,
    request: &LeaseRequest<'a>,
) -> Result<LeaseRequest<'a>, Problem> {
    let quota = principal.quota();
    if let Some(most) = quota.count
        && request.count > most
    {
        let count = request.count;
        return Err(Problem::forbidden(format!(
            "count is {count}, and this caller may lease {most} numbers with a call: ask for fewer"
        )));
    }
    Ok(LeaseRequest { ttl_seconds: ttl(principal, pool, request.ttl_seconds)?, ..*request })
}

/// A `ttl` that a principal may have, for a lease or a renewal.
pub(crate) fn ttl(
    principal: &Principal,
    pool: &Pool,
    ttl_seconds: Option<u32>,
) -> Result<Option<u32>, Problem> {
    let Some(most) = principal.quota().ttl_seconds else { return Ok(ttl_seconds) };
    match ttl_seconds {
        Some(ttl) if ttl > most => Err(Problem::forbidden(format!(
            "ttl is {ttl} seconds, and a lease of this caller may last {most}: ask for less, and renew it"
        ))),
        Some(ttl) => Ok(Some(ttl)),
        None => Ok(Some(pool.settings().ttl.min(most))),
    }
}

impl<'p> TakenQuota<'p> {
    /// Takes `count` numbers. Fails if the principal has too many, or leases too fast.
    pub(crate) fn take(principal: &'p Principal, count: u32, now: Timestamp) -> Result<Self, Problem> {
        let quota = principal.quota();
        if let Some((live, most)) = principal.live_leases()
            && let Err(seconds) = live.reserve(count, most, now)
        {
            let detail =
                format!("This caller may have {most} live leases: return some, or wait for some to end");
            let problem = Problem::quota_exceeded(detail, seconds);
            // Waiting does not help a call for more than there may ever be.
            let is_hopeless = u64::from(count) > most;
            return Err(if is_hopeless {
                Problem::forbidden(format!(
                    "count is {count}, and this caller may have {most} live leases: ask for fewer"
                ))
            } else {
                problem
            });
        }
        if let Some(per_second) = quota.numbers_per_second
            && let Err(seconds) = principal.usage().numbers.take(count, per_second, monotonic_nanos())
        {
            if let Some((live, _)) = principal.live_leases() {
                live.release(count);
            }
            let detail = format!("This caller may lease {per_second} numbers a second: lease fewer");
            return Err(Problem::quota_exceeded(detail, seconds));
        }
        Ok(Self { principal, count, is_taken: true })
    }

    /// Takes nothing, for a call that is expected to repeat another.
    pub(crate) fn nothing(principal: &'p Principal) -> Self {
        Self { principal, count: 0, is_taken: false }
    }

    /// Gives back what the call did not lease. `leases` are those that it made.
    pub(crate) fn settle(self, leases: &[Lease]) {
        let made = leases.len() as u32;
        let unused = self.count.saturating_sub(made);
        if let Some((live, _)) = self.principal.live_leases() {
            if self.is_taken {
                live.release(unused);
            } else {
                live.add(made);
            }
            for run in leases.chunk_by(|one, next| one.expires_at == next.expires_at) {
                live.enter(run[0].expires_at, run.len() as u32);
            }
        }
        if let Some(per_second) = self.principal.quota().numbers_per_second
            && unused > 0
        {
            self.principal.usage().numbers.give_back(unused, per_second);
        }
    }
}

/// The refusal of a return that would retire numbers, by whom may not.
pub(crate) fn may_not_retire() -> Problem {
    Problem::new(
        Code::Forbidden,
        "This caller's returns may not retire numbers: leave out then = \"retired\" and outcomes that mean it, or \
         ask for a token with may_retire = true",
    )
}

/// Leases up to `count` numbers by `lease`, which it takes from a principal's quota, and counts the leases as its
/// own. `is_known` tells whether the call repeats one whose leases are stored.
#[inline]
pub(crate) fn take_quota(
    principal: &Principal,
    state: &mut CallState,
    count: u32,
    is_known: impl FnOnce() -> bool,
    lease: impl FnOnce(&mut CallState) -> Result<LeasedOnce, LeaseError>,
) -> Result<Result<LeasedOnce, LeaseError>, Problem> {
    let taken = if principal.limits_leases() {
        match TakenQuota::take(principal, count, state.clock.now()) {
            Ok(taken) => Some(taken),
            // A repeated call leases nothing: it is told of its leases, though there may be no more.
            Err(_) if is_known() => Some(TakenQuota::nothing(principal)),
            Err(problem) => return Err(problem),
        }
    } else {
        None
    };
    let leased = lease(state);
    let made = made(&leased, &state.leases);
    if let Some(taken) = taken {
        taken.settle(made);
    }
    state.stats.principals.leases(principal.usage().index, made.len());
    Ok(leased)
}

/// The leases that a call made itself.
#[inline]
fn made<'l>(result: &Result<LeasedOnce, LeaseError>, leases: &'l [Lease]) -> &'l [Lease] {
    match result {
        Ok(LeasedOnce { is_repeated: false, .. }) => leases,
        _ => &[],
    }
}
