//! The settings of a pool: how long leases last, what happens to a number afterwards, and in which order
//! numbers are handed out.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::hours::Hours;
use super::list_name::ListName;

pub use super::attempts::Attempts;
pub use super::next_state::NextState;
pub use super::order::Order;
pub use super::pool_name::PoolName;
pub use super::setting_limits::*;
pub use super::settings_change::SettingsChange;
pub use super::settings_error::SettingsError;

/// The settings of a pool, as kept in `pool.toml` and shown by the API.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// The order in which numbers are handed out.
    pub order: Order,
    /// How long a lease lasts unless the call sets it, in seconds.
    pub ttl: u32,
    /// The longest lease that a call may request, in seconds.
    pub ttl_max: u32,
    /// How long a returned number rests unless the call or an outcome rule sets its next state, in seconds.
    pub rest: u32,
    /// The next state of a number whose lease ends without a return.
    pub on_expiry: NextState,
    /// Outcome rules: the next state of a number, by the outcome that it is returned with.
    #[serde(default)]
    pub outcomes: BTreeMap<String, NextState>,
    /// The last attempt of a round and what follows it; none is the last if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Attempts>,
    /// When its numbers may be leased; always if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hours: Option<Hours>,
    /// The lists whose numbers are not leased from this pool.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub blocked_by: Vec<ListName>,
    /// How many calls may wait for a number.
    #[serde(default = "default_max_waiters", skip_serializing_if = "is_default_max_waiters")]
    pub max_waiters: u32,
    /// Whether leases may name who holds them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub holders: bool,
    /// How many live leases a holder may have; any number if `None`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_per_holder: Option<u32>,
    /// How many it may have before it has returned one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_per_holder: Option<u32>,
}

fn default_max_waiters() -> u32 {
    DEFAULT_MAX_WAITERS
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde's form")]
fn is_default_max_waiters(calls: &u32) -> bool {
    *calls == DEFAULT_MAX_WAITERS
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            order: Order::default(),
            ttl: DEFAULT_TTL_SECONDS,
            ttl_max: DEFAULT_TTL_MAX_SECONDS,
            rest: 0,
            on_expiry: NextState::Available,
            outcomes: BTreeMap::new(),
            attempts: None,
            hours: None,
            blocked_by: Vec::new(),
            max_waiters: DEFAULT_MAX_WAITERS,
            holders: false,
            max_per_holder: None,
            first_per_holder: None,
        }
    }
}

impl Settings {
    /// The settings of a new pool, or why they are invalid. A `ttl` beyond the default `ttl_max` raises it, unless
    /// that is given too: nobody has chosen it.
    pub fn of_new_pool(given: &SettingsChange) -> Result<Self, SettingsError> {
        let defaults = Self::default();
        let ttl_max = defaults.ttl_max.max(given.ttl.unwrap_or_default());
        Self { ttl_max, ..defaults }.changed(given)
    }

    /// These settings with a change applied, or why the result is invalid.
    pub fn changed(&self, change: &SettingsChange) -> Result<Self, SettingsError> {
        let mut next = self.clone();
        next.order = change.order.unwrap_or(next.order);
        next.ttl = change.ttl.unwrap_or(next.ttl);
        next.ttl_max = change.ttl_max.unwrap_or(next.ttl_max);
        next.rest = change.rest.unwrap_or(next.rest);
        next.on_expiry = change.on_expiry.unwrap_or(next.on_expiry).checked("on_expiry")?;
        if let Some(outcomes) = &change.outcomes {
            next.outcomes = outcomes.clone();
        }
        next.attempts = change.attempts.unwrap_or(next.attempts).map(Attempts::checked).transpose()?;
        if let Some(hours) = &change.hours {
            next.hours.clone_from(hours);
        }
        if let Some(lists) = &change.blocked_by {
            next.blocked_by.clone_from(lists);
        }
        next.max_waiters = change.max_waiters.unwrap_or(next.max_waiters);
        next.holders = change.holders.unwrap_or(next.holders);
        next.max_per_holder = change.max_per_holder.unwrap_or(next.max_per_holder);
        next.first_per_holder = change.first_per_holder.unwrap_or(next.first_per_holder);
        next.check()?;
        Ok(next)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let seconds = |field, value: u32, min, max| {
            if (min..=max).contains(&value) {
                Ok(())
            } else {
                Err(SettingsError::Seconds { field, value: value.into(), min, max })
            }
        };
        seconds("ttl", self.ttl, 1, MAX_TTL_SECONDS)?;
        seconds("ttl_max", self.ttl_max, 1, MAX_TTL_SECONDS)?;
        seconds("rest", self.rest, 0, MAX_REST_SECONDS)?;
        if self.ttl > self.ttl_max {
            return Err(SettingsError::TtlOverMax { ttl: self.ttl, ttl_max: self.ttl_max });
        }
        if self.max_waiters > MOST_WAITERS {
            return Err(SettingsError::TooManyWaiters(self.max_waiters));
        }
        if let Some(hours) = &self.hours {
            hours.check()?;
        }
        for (field, most) in
            [("max_per_holder", self.max_per_holder), ("first_per_holder", self.first_per_holder)]
        {
            match most {
                Some(0) => return Err(SettingsError::NoLeases(field)),
                Some(_) if !self.holders => return Err(SettingsError::NoHolders(field)),
                _ => {}
            }
        }
        if self.outcomes.len() > MAX_OUTCOMES {
            return Err(SettingsError::TooManyOutcomes(self.outcomes.len()));
        }
        for (name, then) in &self.outcomes {
            check_outcome_name(name)?;
            then.checked("outcomes")?;
        }
        if self.on_expiry.list().is_some() {
            return Err(SettingsError::ListNotAllowed("on_expiry"));
        }
        if self.blocked_by.len() > MAX_BLOCKING_LISTS {
            return Err(SettingsError::TooManyLists(self.blocked_by.len()));
        }
        let mut lists = self.blocked_by.iter().enumerate();
        match lists.find(|(at, list)| self.blocked_by[..*at].contains(list)) {
            Some((_, list)) => Err(SettingsError::ListTwice(*list)),
            None => Ok(()),
        }
    }

    /// All lists that the settings name.
    pub fn lists(&self) -> impl Iterator<Item = ListName> {
        let of_outcomes = self.outcomes.values().filter_map(|then| then.list());
        let of_attempts = self.attempts.and_then(|attempts| attempts.then.list());
        self.blocked_by.iter().copied().chain(of_outcomes).chain(of_attempts)
    }

    /// The next state of a returned number: from the call if it sets one, otherwise from the pool's rule for
    /// the outcome, otherwise the pool's default.
    pub fn then_for(&self, then: Option<NextState>, outcome: Option<&str>) -> NextState {
        then.or_else(|| outcome.and_then(|name| self.outcomes.get(name).copied()))
            .unwrap_or(NextState::from_rest_seconds(self.rest))
    }
}

/// Fails if an outcome may not have this name.
pub fn check_outcome_name(name: &str) -> Result<(), SettingsError> {
    let printable = !name.is_empty() && !name.chars().any(char::is_control);
    if printable && name.len() <= MAX_OUTCOME_BYTES {
        Ok(())
    } else {
        Err(SettingsError::OutcomeName(name.chars().take(MAX_OUTCOME_BYTES).collect()))
    }
}

#[cfg(test)]
mod tests;
