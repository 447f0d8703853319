//! The bytes of the requests that a load sends.

use std::sync::Arc;

use crate::domain::settings::PoolName;

use super::items::{LeaseText, OwnedLease, put_item};
use super::plan::Plan;

/// The requests of a run, as bytes.
pub(crate) struct Requests {
    /// The value of `Host`, and a line with the token if there is one.
    host: String,
    pool: PoolName,
    /// A lease.
    pub(crate) lease: Vec<u8>,
    /// A return up to the digits of its length.
    pub(crate) return_head: Vec<u8>,
}

impl Requests {
    pub(crate) fn new(plan: &Plan) -> Self {
        let mut host = plan.server.host().to_owned();
        if let Some(bearer) = plan.server.bearer().and_then(|bearer| bearer.to_str().ok()) {
            host.push_str("\r\nAuthorization: ");
            host.push_str(bearer);
        }
        let body = match (plan.count, plan.ttl_seconds) {
            (1, None) => String::new(),
            (count, None) => format!("{{\"count\":{count}}}"),
            (count, Some(ttl)) => format!("{{\"count\":{count},\"ttl\":{ttl}}}"),
        };
        let mut requests = Self { host, pool: plan.pool.clone(), lease: Vec::new(), return_head: Vec::new() };
        requests.lease = if body.is_empty() {
            format!("POST /v1/pools/{}/lease HTTP/1.1\r\nHost: {}\r\n\r\n", plan.pool, requests.host).into()
        } else {
            requests.post("lease", body.as_bytes())
        };
        requests.return_head = requests.head("return").into();
        requests
    }

    fn head(&self, call: &str) -> String {
        format!(
            "POST /v1/pools/{}/{call} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: ",
            self.pool, self.host
        )
    }

    fn post(&self, call: &str, body: &[u8]) -> Vec<u8> {
        let mut request = format!("{}{}\r\n\r\n", self.head(call), body.len()).into_bytes();
        request.extend_from_slice(body);
        request
    }

    /// Lookups of these numbers.
    pub(crate) fn lookups(&self, leases: &[OwnedLease]) -> Arc<[Vec<u8>]> {
        let lookup = |lease: &OwnedLease| {
            let (pool, number, host) = (&self.pool, &lease.number, &self.host);
            format!("GET /v1/pools/{pool}/numbers/{number} HTTP/1.1\r\nHost: {host}\r\n\r\n").into_bytes()
        };
        leases.iter().map(lookup).collect()
    }

    /// Renewals of these leases, `count` of the plan per request.
    pub(crate) fn renewals(&self, leases: &[OwnedLease], plan: &Plan) -> Arc<[Vec<u8>]> {
        let renewal = |leases: &[OwnedLease]| self.post("renew", &lease_refs_body(leases, plan.ttl_seconds));
        leases.chunks(plan.count as usize).map(renewal).collect()
    }
}

/// The body of a renewal or return.
pub(crate) fn lease_refs_body(leases: &[OwnedLease], ttl_seconds: Option<u32>) -> Vec<u8> {
    let mut body = b"{\"leases\":[".to_vec();
    for (index, lease) in leases.iter().enumerate() {
        if index > 0 {
            body.push(b',');
        }
        put_item(&mut body, LeaseText { number: lease.number.as_bytes(), token: lease.token.as_bytes() });
    }
    body.push(b']');
    if let Some(ttl) = ttl_seconds {
        body.extend_from_slice(format!(",\"ttl\":{ttl}").as_bytes());
    }
    body.push(b'}');
    body
}
