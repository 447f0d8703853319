//! What is done to the pool before the load: its order, the leases that the mix needs, its occupancy.

use hyper::Method;
use serde_json::{Value, json};

use crate::client::{self, Call, ClientError, Payload};
use crate::engine::operations::lease::MAX_LEASE_COUNT;

use super::error::BenchError;
use super::items::{OwnedLease, count_leases, each_lease};
use super::plan::{Mix, Plan};
use super::requests::lease_refs_body;

/// How many numbers a `lookup` mix looks up.
pub const NUMBERS_LOOKED_UP: u64 = 4_096;

/// Calls about the pool, one at a time.
pub(super) struct PoolCalls<'a> {
    plan: &'a Plan,
    path: String,
}

/// The figures of a pool that a run needs.
struct PoolState {
    numbers: u64,
    available: u64,
    ttl_max: u64,
}

impl<'a> PoolCalls<'a> {
    pub(super) fn new(plan: &'a Plan) -> Self {
        Self { plan, path: format!("/v1/pools/{}", plan.pool) }
    }

    fn send(&self, call: Call<'_>) -> Result<String, ClientError> {
        client::send(&self.plan.server, call)
    }

    fn state(&self) -> Result<PoolState, BenchError> {
        let answer = self.send(Call::new(Method::GET, &self.path))?;
        let pool: Value =
            serde_json::from_str(&answer).map_err(|error| ClientError::Answer(error.to_string()))?;
        let member = |value: &Value, name: &str| {
            value[name].as_u64().ok_or_else(|| ClientError::Answer(format!("a pool has no {name}")))
        };
        Ok(PoolState {
            numbers: member(&pool, "numbers")?,
            available: member(&pool, "available")?,
            ttl_max: member(&pool["settings"], "ttl_max")?,
        })
    }

    /// Sets the plan's order, if it has one.
    pub(super) fn set_order(&self) -> Result<(), BenchError> {
        if let Some(order) = self.plan.order {
            self.send(Call::json(Method::PATCH, &self.path, &json!({ "order": order })))?;
        }
        Ok(())
    }

    /// How much of the pool is taken, in percent.
    pub(super) fn occupancy(&self) -> Result<f64, BenchError> {
        let pool = self.state()?;
        Ok(100.0 * pool.numbers.saturating_sub(pool.available) as f64 / pool.numbers.max(1) as f64)
    }

    /// The answer to a lease of up to `count` numbers.
    fn lease(&self, count: u64, ttl_seconds: Option<u64>) -> Result<String, BenchError> {
        let mut body = json!({ "count": count.min(MAX_LEASE_COUNT.into()) });
        if let Some(ttl) = ttl_seconds {
            body["ttl"] = ttl.into();
        }
        Ok(self.send(Call::json(Method::POST, &format!("{}/lease", self.path), &body))?)
    }

    /// Leases `count` numbers; with `or_fewer`, those that a single call gets.
    fn lease_all(&self, count: u64, or_fewer: bool) -> Result<Vec<OwnedLease>, BenchError> {
        let mut leases = Vec::new();
        while (leases.len() as u64) < count && (leases.is_empty() || !or_fewer) {
            let answer = self.lease(count - leases.len() as u64, self.plan.ttl_seconds.map(u64::from))?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            let keep = |lease: super::items::LeaseText<'_>| {
                leases.push(OwnedLease { number: text(lease.number), token: text(lease.token) });
            };
            each_lease(answer.as_bytes(), keep).map_err(|error| ClientError::Answer(error.to_string()))?;
        }
        Ok(leases)
    }

    fn return_leases(&self, leases: &[OwnedLease]) -> Result<(), BenchError> {
        let path = format!("{}/return", self.path);
        let payload = Payload::Bytes(lease_refs_body(leases, None).into());
        let call = Call { content_type: Some("application/json"), payload, ..Call::new(Method::POST, &path) };
        self.send(call)?;
        Ok(())
    }

    /// Leases until the plan's percentage of the pool is taken; returns how many numbers that were. These
    /// leases last for the pool's `ttl_max`.
    pub(super) fn occupy(&self) -> Result<u64, BenchError> {
        let Some(percent) = self.plan.fill_percent else { return Ok(0) };
        let pool = self.state()?;
        #[allow(clippy::cast_sign_loss, reason = "a percentage of 0 to 100")]
        let target = (pool.numbers as f64 * percent / 100.0).round() as u64;
        let missing = target.saturating_sub(pool.numbers.saturating_sub(pool.available));
        let mut leased = 0;
        while leased < missing {
            leased += count_leases(self.lease(missing - leased, Some(pool.ttl_max))?.as_bytes());
        }
        Ok(leased)
    }
}

/// The leases that a mix works on.
pub(super) fn leases_of_the_mix(plan: &Plan, pool: &PoolCalls<'_>) -> Result<Vec<OwnedLease>, BenchError> {
    match plan.mix {
        Mix::Lease | Mix::LeaseReturn => Ok(Vec::new()),
        Mix::Renew => {
            let count = plan.connections * plan.numbers_renewed_per_connection();
            let state = pool.state()?;
            if state.available < count as u64 {
                return Err(BenchError::Pool(format!(
                    "the pool {} has {} numbers available, and --mix renew needs {count}: return some, or give fewer --connections",
                    plan.pool, state.available
                )));
            }
            pool.lease_all(count as u64, false)
        }
        Mix::Lookup => {
            let leases = pool.lease_all(NUMBERS_LOOKED_UP, true)?;
            pool.return_leases(&leases)?;
            Ok(leases)
        }
    }
}
