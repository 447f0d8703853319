//! What a principal may use at most.

/// The limits of a principal; `None` is no limit beside those that hold for everybody.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Quota {
    /// Connections on which its requests are served at the same time.
    pub connections: Option<u32>,
    /// Requests a second, on the average of a second.
    pub requests_per_second: Option<u32>,
    /// Numbers leased a second, on the average of a second.
    pub numbers_per_second: Option<u32>,
    /// Largest `count` of a lease.
    pub count: Option<u32>,
    /// Longest `ttl` of a lease or renewal, in seconds.
    pub ttl_seconds: Option<u32>,
    /// Largest body of a request, in bytes.
    pub body_bytes: Option<u64>,
    /// Live leases that were made under an `Idempotency-Key`.
    pub keyed_leases: Option<u64>,
    /// Live leases. Needs [`Self::ttl_seconds`].
    pub live_leases: Option<u64>,
}

impl Quota {
    /// Whether anything of a lease is limited, besides the leases under a key.
    pub(super) fn limits_leases(&self) -> bool {
        let numbers = [self.numbers_per_second, self.count, self.ttl_seconds];
        self.live_leases.is_some() || numbers.iter().any(Option::is_some)
    }
}
