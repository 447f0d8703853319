//! How many handshakes are under way, and whose: each keeps what its client has sent of it, and takes processor time.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::server::shares::caller_of;

/// Most handshakes under way. The next ones wait for a place, within the time of a handshake.
pub const MAX_HANDSHAKES: usize = 1_024;
/// The part of these that one address may have.
pub const HANDSHAKE_ADDRESS_SHARE: usize = 4;
const MAX_OF_ADDRESS: usize = MAX_HANDSHAKES / HANDSHAKE_ADDRESS_SHARE;

/// The places of handshakes.
#[derive(Debug)]
pub(super) struct Handshakes {
    all: Arc<Semaphore>,
    /// Of the addresses that have a place or wait for one.
    by_address: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
}

/// The place of one handshake, which is free when this is dropped. Permits come first: they are dropped before
/// the entry of their address is looked at.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _any: OwnedSemaphorePermit,
    _own: OwnedSemaphorePermit,
    _entry: Entry<'a>,
}

/// The use of an address's entry.
#[derive(Debug)]
struct Entry<'a> {
    handshakes: &'a Handshakes,
    caller: IpAddr,
    own: Arc<Semaphore>,
}

impl Default for Handshakes {
    fn default() -> Self {
        Self { all: Arc::new(Semaphore::new(MAX_HANDSHAKES)), by_address: Mutex::default() }
    }
}

impl Handshakes {
    fn by_address(&self) -> MutexGuard<'_, HashMap<IpAddr, Arc<Semaphore>>> {
        self.by_address.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a place. `None` never happens: the places are never closed.
    pub(super) async fn begin(&self, address: IpAddr) -> Option<Turn<'_>> {
        let entry = self.entry(caller_of(address));
        // Its own first: who waits for one keeps nobody of another address waiting.
        let own = Arc::clone(&entry.own).acquire_owned().await.ok()?;
        let any = Arc::clone(&self.all).acquire_owned().await.ok()?;
        Some(Turn { _any: any, _own: own, _entry: entry })
    }

    fn entry(&self, caller: IpAddr) -> Entry<'_> {
        let mut by_address = self.by_address();
        let own = by_address.entry(caller).or_insert_with(|| Arc::new(Semaphore::new(MAX_OF_ADDRESS)));
        Entry { handshakes: self, caller, own: Arc::clone(own) }
    }
}

impl Drop for Entry<'_> {
    fn drop(&mut self) {
        let mut by_address = self.handshakes.by_address();
        // The map's and this one: clones are made under the lock, so nobody else has or gets one.
        if Arc::strong_count(&self.own) == 2 {
            by_address.remove(&self.caller);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    fn at_once<T>(future: impl Future<Output = Option<T>>) -> Option<T> {
        match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(ready) => ready,
            Poll::Pending => None,
        }
    }

    #[test]
    fn an_address_has_a_share_and_leaves_nothing_behind() {
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let handshakes = Handshakes::default();
        let mut turns: Vec<_> = std::iter::from_fn(|| at_once(handshakes.begin(one))).collect();
        assert_eq!(turns.len(), MAX_OF_ADDRESS);
        assert!(at_once(handshakes.begin(other)).is_some());
        turns.pop();
        turns.extend(at_once(handshakes.begin(one)));
        assert_eq!(turns.len(), MAX_OF_ADDRESS);
        drop(turns);
        assert!(handshakes.by_address().is_empty());
    }

    #[test]
    fn all_addresses_share_the_places() {
        let handshakes = Handshakes::default();
        let all = (0..=255).map(|last| IpAddr::from([192, 0, 2, last]));
        let turns: Vec<_> = all
            .flat_map(|address| (0..8).filter_map(|_| at_once(handshakes.begin(address))).collect::<Vec<_>>())
            .collect();
        assert_eq!(turns.len(), MAX_HANDSHAKES);
        drop(turns);
        assert!(handshakes.by_address().is_empty());
    }
}
