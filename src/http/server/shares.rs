//! How many connections each address has, and how many places are for whom: nobody takes all of them.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Places that TCP connections leave for Unix sockets, by default and at most a quarter of all.
pub const RESERVED_PLACES: u64 = 64;
/// The part of all connections that one address may have by default.
pub const ADDRESS_SHARE: u64 = 4;
/// The least that one address may have by default.
pub const MIN_ADDRESS_CONNECTIONS: u64 = 64;
/// Connections beyond the limits that are open at a time to be told so, which also answer health probes; more
/// are closed at once.
pub const MAX_REFUSED_CONNECTIONS: u64 = 64;
/// The part of these that one address may have.
const REFUSED_ADDRESS_SHARE: u64 = 4;
/// The part of an IPv6 address that is one caller's.
const IPV6_PREFIX_BITS: u32 = 64;

/// The connections of all addresses.
#[derive(Debug)]
pub(crate) struct Shares {
    max_connections: AtomicU64,
    /// 0 for the default.
    per_address: AtomicU64,
    counts: Mutex<HashMap<IpAddr, Counts>>,
    refused: AtomicU64,
}

/// The connections of one address.
#[derive(Debug, Default)]
struct Counts {
    served: u64,
    refused: u64,
}

/// The place of one connection, which is free when this is dropped.
#[derive(Debug)]
pub(crate) struct Place {
    shares: Arc<Shares>,
    /// `None` for a Unix socket.
    caller: Option<IpAddr>,
    is_refused: bool,
}

/// The part of an address that tells callers apart: all of IPv4, the network of IPv6.
pub(super) fn caller_of(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => {
            let network = u128::from(v6) >> (128 - IPV6_PREFIX_BITS) << (128 - IPV6_PREFIX_BITS);
            IpAddr::V6(Ipv6Addr::from(network))
        }
        v4 @ IpAddr::V4(_) => v4,
    }
}

impl Shares {
    pub(crate) fn new(max_connections: u64, per_address: Option<u64>) -> Self {
        Self {
            max_connections: AtomicU64::new(max_connections),
            per_address: AtomicU64::new(per_address.unwrap_or(0)),
            counts: Mutex::default(),
            refused: AtomicU64::new(0),
        }
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, Counts>> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes how many connections are served. Open ones stay.
    pub(crate) fn set_max_connections(&self, max_connections: u64) {
        self.max_connections.store(max_connections, Ordering::Relaxed);
    }

    /// A place for a connection while `open` are served; `None` if it has to be refused.
    pub(crate) fn served(self: &Arc<Self>, address: Option<IpAddr>, open: u64) -> Option<Place> {
        let max = self.max_connections.load(Ordering::Relaxed);
        let Some(address) = address else {
            return (open < max).then(|| self.place(None, false));
        };
        if open >= max - RESERVED_PLACES.min(max / ADDRESS_SHARE) {
            return None;
        }
        let share = match self.per_address.load(Ordering::Relaxed) {
            0 => (max / ADDRESS_SHARE).max(MIN_ADDRESS_CONNECTIONS),
            given => given,
        };
        let caller = caller_of(address);
        let mut counts = self.counts();
        let count = counts.entry(caller).or_default();
        if count.served >= share {
            return None;
        }
        count.served += 1;
        drop(counts);
        Some(self.place(Some(caller), false))
    }

    /// A place for a connection that is refused; `None` if it is to be closed at once.
    pub(crate) fn refused(self: &Arc<Self>, address: Option<IpAddr>) -> Option<Place> {
        let caller = address.map(caller_of);
        let mut counts = self.counts();
        if self.refused.load(Ordering::Relaxed) >= MAX_REFUSED_CONNECTIONS {
            return None;
        }
        if let Some(caller) = caller {
            let count = counts.entry(caller).or_default();
            if count.refused >= MAX_REFUSED_CONNECTIONS / REFUSED_ADDRESS_SHARE {
                return None;
            }
            count.refused += 1;
        }
        self.refused.fetch_add(1, Ordering::Relaxed);
        drop(counts);
        Some(self.place(caller, true))
    }

    fn place(self: &Arc<Self>, caller: Option<IpAddr>, is_refused: bool) -> Place {
        Place { shares: Arc::clone(self), caller, is_refused }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.shares.counts();
        if self.is_refused {
            self.shares.refused.fetch_sub(1, Ordering::Relaxed);
        }
        let Some(caller) = self.caller else { return };
        if let Some(count) = counts.get_mut(&caller) {
            if self.is_refused {
                count.refused -= 1;
            } else {
                count.served -= 1;
            }
            if count.served == 0 && count.refused == 0 {
                counts.remove(&caller);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::unnecessary_wraps, reason = "as it is passed on")]
    fn ip(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_address_has_its_share_and_a_network_of_ipv6_is_one() {
        let shares = Arc::new(Shares::new(1_000, Some(2)));
        let first = shares.served(ip("192.0.2.1"), 0).unwrap();
        let _second = shares.served(ip("::ffff:192.0.2.1"), 0).unwrap();
        assert!(shares.served(ip("192.0.2.1"), 0).is_none());
        let _others = [shares.served(ip("192.0.2.2"), 0).unwrap(), shares.served(None, 0).unwrap()];
        drop(first);
        assert!(shares.served(ip("192.0.2.1"), 0).is_some());
        let _network = ["2001:db8::1", "2001:db8::ffff:2"].map(|text| shares.served(ip(text), 0).unwrap());
        assert!(shares.served(ip("2001:db8::3"), 0).is_none());
        assert!(shares.served(ip("2001:db8:0:1::3"), 0).is_some());
    }

    #[test]
    fn tcp_leaves_places() {
        for (max, most) in [(1_000, 936), (100, 75), (2, 2), (1, 1)] {
            let shares = Arc::new(Shares::new(max, None));
            assert!(shares.served(ip("::1"), most - 1).is_some(), "{max}");
            assert!(shares.served(ip("::1"), most).is_none(), "{max}");
            assert!(shares.served(None, max - 1).is_some() && shares.served(None, max).is_none(), "{max}");
        }
    }

    #[test]
    fn the_default_share_is_a_quarter() {
        let count = |max| {
            let shares = Arc::new(Shares::new(max, None));
            let places: Vec<_> = std::iter::from_fn(|| shares.served(ip("192.0.2.1"), 0)).collect();
            places.len() as u64
        };
        assert_eq!((count(1_000), count(16)), (250, MIN_ADDRESS_CONNECTIONS));
    }

    #[test]
    fn refused_places_are_shared_too_and_given_back() {
        let shares = Arc::new(Shares::new(1, None));
        let of_one: Vec<_> = std::iter::from_fn(|| shares.refused(ip("192.0.2.1"))).collect();
        assert_eq!(of_one.len() as u64, MAX_REFUSED_CONNECTIONS / REFUSED_ADDRESS_SHARE);
        let of_sockets: Vec<_> = std::iter::from_fn(|| shares.refused(None)).collect();
        assert_eq!((of_one.len() + of_sockets.len()) as u64, MAX_REFUSED_CONNECTIONS);
        drop((of_one, of_sockets));
        assert!(shares.refused(ip("192.0.2.1")).is_some());
        assert!(shares.counts().is_empty());
    }
}
