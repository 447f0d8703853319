//! The settings of a run, checked.

use std::time::Duration;

use thiserror::Error;

use crate::client::Server;
use crate::domain::settings::{MAX_TTL_SECONDS, Order, PoolName};
use crate::engine::operations::lease::MAX_LEASE_COUNT;

use super::callers::Call;

/// Most connections.
pub const MAX_CONNECTIONS: usize = 16_384;
/// Most requests under way on a connection.
pub const MAX_DEPTH: usize = 1_024;
/// Most threads.
pub const MAX_THREADS: usize = 64;
/// Highest rate of an open loop, in requests per second.
pub const MAX_RATE_PER_SECOND: f64 = 10_000_000.0;
/// Shortest measured time, in seconds.
pub const MIN_SECONDS: f64 = 0.1;
/// Longest measured time, and longest warm-up, in seconds.
pub const MAX_SECONDS: f64 = 86_400.0;
/// How long the last answers are waited for when time is over.
pub const ANSWER_PATIENCE: Duration = Duration::from_secs(5);
/// How many numbers each connection of a `renew` mix holds, at least.
const NUMBERS_RENEWED_PER_CONNECTION: usize = 16;
/// Most numbers that a `renew` mix leases.
pub const MAX_NUMBERS_RENEWED: usize = 4_000_000;

/// Which calls are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mix {
    /// Leases, which are left to expire.
    Lease,
    /// Leases, each returned by the next call.
    LeaseReturn,
    /// Renewals of leases made before.
    Renew,
    /// Lookups of single numbers.
    Lookup,
}

impl Mix {
    /// Its name as a flag.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lease => "lease",
            Self::LeaseReturn => "lease+return",
            Self::Renew => "renew",
            Self::Lookup => "lookup",
        }
    }

    /// The call of a mix that makes one only; the first of several.
    pub(super) fn only_call(self) -> Call {
        match self {
            Self::Lease | Self::LeaseReturn => Call::Lease,
            Self::Renew => Call::Renew,
            Self::Lookup => Call::Lookup,
        }
    }
}

impl std::str::FromStr for Mix {
    type Err = PlanError;

    fn from_str(text: &str) -> Result<Self, PlanError> {
        [Self::Lease, Self::LeaseReturn, Self::Renew, Self::Lookup]
            .into_iter()
            .find(|mix| mix.as_str() == text)
            .ok_or_else(|| PlanError::Mix(text.to_owned()))
    }
}

/// The settings of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Where the daemon is.
    pub server: Server,
    /// Its process, if its CPU time is to be measured.
    pub server_pid: Option<u32>,
    /// The pool.
    pub pool: PoolName,
    /// Which calls are made.
    pub mix: Mix,
    /// Numbers of a lease, renewal or return.
    pub count: u32,
    /// Seconds that a lease lasts; `None` for the pool's.
    pub ttl_seconds: Option<u32>,
    /// The pool's order is set to this before the load; `None` leaves it.
    pub order: Option<Order>,
    /// How much of the pool is taken before the load, in percent.
    pub fill_percent: Option<f64>,
    /// Connections.
    pub connections: usize,
    /// Most requests under way on a connection.
    pub depth: usize,
    /// Threads that serve the connections.
    pub threads: usize,
    /// Requests per second in an open loop; `None` for a closed one.
    pub rate_per_second: Option<f64>,
    /// How long the load runs before the measured time.
    pub warm_up: Duration,
    /// The measured time.
    pub time: Duration,
}

/// A setting that cannot be accepted; the message says what to give instead.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum PlanError {
    /// An integer out of its bounds.
    #[error("--{flag} is {value}: give 1 to {max}")]
    Integer {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: u64,
        /// Most that can be.
        max: u64,
    },
    /// Another number out of its bounds.
    #[error("--{flag} is {value}: give {min} to {max}")]
    Number {
        /// The flag.
        flag: &'static str,
        /// What was given.
        value: f64,
        /// Least that can be.
        min: f64,
        /// Most that can be.
        max: f64,
    },
    /// A rate that is not above 0, or too high.
    #[error("--rate is {0}: give more than 0, at most {MAX_RATE_PER_SECOND}")]
    Rate(f64),
    /// Threads without a connection.
    #[error("--threads is {threads}, more than --connections ({connections}): give fewer")]
    IdleThreads {
        /// Threads.
        threads: usize,
        /// Connections.
        connections: usize,
    },
    /// An unknown mix.
    #[error("--mix is \"{0}\": give lease, lease+return, renew or lookup")]
    Mix(String),
    /// More leases than a run holds.
    #[error(
        "--mix renew would hold {0} leases: give fewer --connections or a lower --count, so that it is {MAX_NUMBERS_RENEWED} at most"
    )]
    Renewed(usize),
    /// A lookup is of one number.
    #[error("--count is for lease, lease+return and renew: leave it out with --mix lookup")]
    LookupCount,
}

/// A number of seconds as a flag gives it.
pub fn seconds(flag: &'static str, value: f64, min: f64) -> Result<Duration, PlanError> {
    // Not a number is in no range.
    if (min..=MAX_SECONDS).contains(&value) {
        Ok(Duration::from_secs_f64(value))
    } else {
        Err(PlanError::Number { flag, value, min, max: MAX_SECONDS })
    }
}

impl Plan {
    /// This plan, if each of its numbers is within its bounds.
    pub fn checked(self) -> Result<Self, PlanError> {
        let integers = [
            ("count", u64::from(self.count), u64::from(MAX_LEASE_COUNT)),
            ("ttl", self.ttl_seconds.unwrap_or(1).into(), MAX_TTL_SECONDS.into()),
            ("connections", self.connections as u64, MAX_CONNECTIONS as u64),
            ("pipeline", self.depth as u64, MAX_DEPTH as u64),
            ("threads", self.threads as u64, MAX_THREADS as u64),
        ];
        for (flag, value, max) in integers {
            if !(1..=max).contains(&value) {
                return Err(PlanError::Integer { flag, value, max });
            }
        }
        if let Some(value) = self.fill_percent.filter(|percent| !(0.0..=100.0).contains(percent)) {
            return Err(PlanError::Number { flag: "fill", value, min: 0.0, max: 100.0 });
        }
        if let Some(rate) = self.rate_per_second.filter(|rate| !(*rate > 0.0 && *rate <= MAX_RATE_PER_SECOND))
        {
            return Err(PlanError::Rate(rate));
        }
        if self.threads > self.connections {
            return Err(PlanError::IdleThreads { threads: self.threads, connections: self.connections });
        }
        let renewed = self.connections * self.numbers_renewed_per_connection();
        if self.mix == Mix::Renew && renewed > MAX_NUMBERS_RENEWED {
            return Err(PlanError::Renewed(renewed));
        }
        if self.mix == Mix::Lookup && self.count > 1 {
            return Err(PlanError::LookupCount);
        }
        Ok(self)
    }

    /// How many numbers each connection of a `renew` mix holds: whole requests.
    pub(super) fn numbers_renewed_per_connection(&self) -> usize {
        let count = self.count as usize;
        NUMBERS_RENEWED_PER_CONNECTION.div_ceil(count) * count
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::items::OwnedLease;
    use crate::bench::requests::Requests;

    pub(in crate::bench) fn plan() -> Plan {
        Plan {
            server: "http://127.0.0.1:7979".parse().unwrap(),
            server_pid: None,
            pool: "ru".parse().unwrap(),
            mix: Mix::Lease,
            count: 1,
            ttl_seconds: None,
            order: None,
            fill_percent: None,
            connections: 4,
            depth: 1,
            threads: 1,
            rate_per_second: None,
            warm_up: Duration::ZERO,
            time: Duration::from_secs(1),
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for (wrong, words) in [
            (Plan { count: 0, ..plan() }, "--count is 0: give 1 to 65536"),
            (Plan { count: 65_537, ..plan() }, "--count is 65537"),
            (Plan { ttl_seconds: Some(0), ..plan() }, "--ttl is 0"),
            (Plan { connections: 0, ..plan() }, "--connections is 0"),
            (Plan { depth: 1_025, ..plan() }, "--pipeline is 1025: give 1 to 1024"),
            (Plan { threads: 5, ..plan() }, "--threads is 5, more than --connections (4)"),
            (Plan { rate_per_second: Some(0.0), ..plan() }, "--rate is 0"),
            (Plan { rate_per_second: Some(f64::NAN), ..plan() }, "--rate is NaN"),
            (Plan { fill_percent: Some(100.1), ..plan() }, "--fill is 100.1: give 0 to 100"),
            (Plan { mix: Mix::Renew, count: 60_000, connections: 100, ..plan() }, "6000000 leases"),
            (Plan { mix: Mix::Lookup, count: 2, ..plan() }, "--mix lookup"),
        ] {
            let message = wrong.checked().unwrap_err().to_string();
            assert!(message.contains(words), "{message}");
        }
        assert!(seconds("seconds", f64::NAN, MIN_SECONDS).is_err());
        assert!(seconds("seconds", 0.0, MIN_SECONDS).is_err());
        assert_eq!(seconds("seconds", 0.5, MIN_SECONDS), Ok(Duration::from_millis(500)));
        assert!("all".parse::<Mix>().unwrap_err().to_string().contains("lease+return"));
    }

    #[test]
    fn requests_are_as_the_api_wants_them() {
        let lease = |plan: &Plan| String::from_utf8(Requests::new(plan).lease).unwrap();
        assert_eq!(lease(&plan()), "POST /v1/pools/ru/lease HTTP/1.1\r\nHost: 127.0.0.1:7979\r\n\r\n");
        let more = Plan { count: 5, ttl_seconds: Some(60), ..plan() };
        assert!(lease(&more).ends_with("Content-Length: 20\r\n\r\n{\"count\":5,\"ttl\":60}"));
        let leases: Vec<OwnedLease> =
            (1..=3).map(|n| OwnedLease { number: n.to_string(), token: "t".to_owned() }).collect();
        let renewals = Requests::new(&more).renewals(&leases, &Plan { count: 2, ..more.clone() });
        let last = String::from_utf8(renewals[1].clone()).unwrap();
        assert!(last.ends_with("{\"leases\":[{\"number\":3,\"token\":\"t\"}],\"ttl\":60}"), "{last}");
        assert_eq!(renewals.len(), 2);
        let lookups = Requests::new(&plan()).lookups(&leases);
        assert!(lookups[2].starts_with(b"GET /v1/pools/ru/numbers/3 HTTP/1.1\r\n"));
    }
}
