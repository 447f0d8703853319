//! What every lease, renewal and return reads of a pool's settings, as plain words: taking the settings whole costs more
//! than all else that is done with them.

use crate::domain::settings::{NextState, Order, Settings};
use crate::sys::atomics::{AtomicU64, Ordering};

/// Bits of a length of lease, and of rest.
const TTL_BITS: u32 = 25;
const REST_BITS: u32 = 29;
/// Bits of what `on_expiry` is.
const ON_EXPIRY_BITS: u32 = 2;

/// The settings of one pool that its leases and returns read. Each word is whole; a call that reads both may see one of
/// before and one of after a change that it runs beside.
#[derive(Debug)]
pub(crate) struct Terms {
    /// From the lowest bit: `ttl`, `ttl_max`, the order.
    lease: AtomicU64,
    /// From the lowest bit: `rest`, the seconds of `on_expiry`, what `on_expiry` is, whether attempts are limited.
    ends: AtomicU64,
}

/// What a lease reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct LeaseTerms {
    pub(crate) order: Order,
    pub(crate) ttl_seconds: u32,
    pub(crate) ttl_max_seconds: u32,
}

impl Terms {
    pub(crate) fn new(settings: &Settings) -> Self {
        let terms = Self { lease: AtomicU64::new(0), ends: AtomicU64::new(0) };
        terms.set(settings);
        terms
    }

    /// Takes the terms of other settings.
    pub(crate) fn set(&self, settings: &Settings) {
        let order = match settings.order {
            Order::Random => 0,
            Order::Sequential => 1,
            Order::Lowest => 2,
        };
        let (on_expiry, seconds) = match settings.on_expiry {
            // A list is refused as a setting.
            NextState::Available | NextState::List(_) => (0, 0),
            NextState::Rest(seconds) => (1, seconds),
            NextState::Done => (2, 0),
            NextState::Retired => (3, 0),
        };
        let lease =
            u64::from(settings.ttl) | u64::from(settings.ttl_max) << TTL_BITS | order << (2 * TTL_BITS);
        let ends = u64::from(settings.rest)
            | u64::from(seconds) << REST_BITS
            | on_expiry << (2 * REST_BITS)
            | u64::from(settings.attempts.is_some()) << (2 * REST_BITS + ON_EXPIRY_BITS);
        // Relaxed: each word stands for itself.
        self.lease.store(lease, Ordering::Relaxed);
        self.ends.store(ends, Ordering::Relaxed);
    }

    /// What a lease reads.
    #[inline]
    pub(crate) fn lease(&self) -> LeaseTerms {
        let lease = self.lease.load(Ordering::Relaxed);
        LeaseTerms {
            order: match lease >> (2 * TTL_BITS) {
                0 => Order::Random,
                1 => Order::Sequential,
                _ => Order::Lowest,
            },
            ttl_seconds: low_bits(lease, TTL_BITS),
            ttl_max_seconds: low_bits(lease >> TTL_BITS, TTL_BITS),
        }
    }

    /// What becomes of a number that is returned without a word of it.
    #[inline]
    pub(crate) fn then(&self) -> NextState {
        NextState::from_rest_seconds(low_bits(self.ends.load(Ordering::Relaxed), REST_BITS))
    }

    /// What becomes of a number whose lease ends without a return.
    #[inline]
    pub(crate) fn on_expiry(&self) -> NextState {
        let ends = self.ends.load(Ordering::Relaxed);
        match low_bits(ends >> (2 * REST_BITS), ON_EXPIRY_BITS) {
            0 => NextState::Available,
            1 => NextState::Rest(low_bits(ends >> REST_BITS, REST_BITS)),
            2 => NextState::Done,
            _ => NextState::Retired,
        }
    }

    /// Whether attempts are limited: then the settings say how.
    #[inline]
    pub(crate) fn limits_attempts(&self) -> bool {
        self.ends.load(Ordering::Relaxed) >> (2 * REST_BITS + ON_EXPIRY_BITS) != 0
    }
}

#[inline]
fn low_bits(word: u64, bits: u32) -> u32 {
    (word & ((1 << bits) - 1)) as u32
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use crate::domain::settings::{Attempts, MAX_REST_SECONDS, MAX_TTL_SECONDS, SettingsChange};

    use super::*;

    #[test]
    fn terms_are_those_of_the_settings() {
        let ends =
            [NextState::Available, NextState::Rest(MAX_REST_SECONDS), NextState::Done, NextState::Retired];
        let terms = Terms::new(&Settings::default());
        for order in [Order::Random, Order::Sequential, Order::Lowest] {
            for (ttl, ttl_max, rest) in
                [(1, 1, 0), (60, MAX_TTL_SECONDS, 1), (MAX_TTL_SECONDS, MAX_TTL_SECONDS, MAX_REST_SECONDS)]
            {
                for (on_expiry, max) in ends.into_iter().flat_map(|then| [(then, None), (then, Some(15))]) {
                    let attempts = max.map(|max| Attempts { max, then: NextState::Done });
                    let change = SettingsChange {
                        order: Some(order),
                        ttl: Some(ttl),
                        ttl_max: Some(ttl_max),
                        rest: Some(rest),
                        on_expiry: Some(on_expiry),
                        attempts: Some(attempts),
                        ..SettingsChange::default()
                    };
                    let settings = Settings::of_new_pool(&change).unwrap();
                    terms.set(&settings);
                    assert_eq!(
                        terms.lease(),
                        LeaseTerms { order, ttl_seconds: ttl, ttl_max_seconds: ttl_max }
                    );
                    assert_eq!((terms.on_expiry(), terms.limits_attempts()), (on_expiry, max.is_some()));
                    assert_eq!(terms.then(), settings.then_for(None, None));
                }
            }
        }
    }
}
