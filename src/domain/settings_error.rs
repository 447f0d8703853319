//! Why settings are refused.

use super::attempts_error::AttemptsError;
use super::hours::HoursError;
use super::list_name::{ListName, NotAListName};
use super::setting_limits::{
    MAX_BLOCKING_LISTS, MAX_OUTCOME_BYTES, MAX_OUTCOMES, MAX_POOL_NAME_BYTES, MOST_WAITERS,
};

/// An invalid setting. The message says what to give instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// The name of a pool breaks its rules.
    #[error(
        "\"{0}\" is not a pool name: use 1 to {MAX_POOL_NAME_BYTES} of a-z, A-Z, 0-9, \"-\", \"_\" and \".\", beginning with a letter or digit"
    )]
    PoolName(String),
    /// A value is not one of the known words.
    #[error("{field} is \"{value}\": give {expected}")]
    Word {
        /// The setting.
        field: &'static str,
        /// What was given.
        value: String,
        /// What can be given.
        expected: &'static str,
    },
    /// A number of seconds is out of bounds.
    #[error("{field} is {value} seconds: give {min} to {max}")]
    Seconds {
        /// The setting.
        field: &'static str,
        /// What was given.
        value: u64,
        /// Minimum.
        min: u32,
        /// Maximum.
        max: u32,
    },
    /// The default lease is longer than the maximum.
    #[error("ttl is {ttl} seconds, more than ttl_max ({ttl_max}): lower ttl or raise ttl_max")]
    TtlOverMax {
        /// The default lease, in seconds.
        ttl: u32,
        /// The maximum lease, in seconds.
        ttl_max: u32,
    },
    /// An outcome's name breaks its rules.
    #[error("an outcome is named by 1 to {MAX_OUTCOME_BYTES} bytes of printable text, not \"{0}\"")]
    OutcomeName(String),
    /// The hours are not valid.
    #[error("hours: {0}")]
    Hours(#[from] HoursError),
    /// The attempts are not valid.
    #[error("attempts: {0}")]
    Attempts(#[from] AttemptsError),
    /// There are more outcome rules than a pool can have.
    #[error("{0} outcome rules: a pool keeps at most {MAX_OUTCOMES}")]
    TooManyOutcomes(usize),
    /// More calls are to wait than may.
    #[error("max_waiters is {0}: give 0 to {MOST_WAITERS}")]
    TooManyWaiters(u32),
    /// A list's name breaks its rules.
    #[error(transparent)]
    ListName(#[from] NotAListName),
    /// A number cannot go onto a list in this place.
    #[error("{0} cannot be a list: give available, rest:SECONDS, done or retired")]
    ListNotAllowed(&'static str),
    /// A pool is blocked by more lists than it can be.
    #[error("blocked_by names {0} lists: a pool is blocked by at most {MAX_BLOCKING_LISTS}")]
    TooManyLists(usize),
    /// A holder could have nothing.
    #[error("{0} is 0: give 1 or more, or null for no limit")]
    NoLeases(&'static str),
    /// A limit of holders in a pool that tracks none.
    #[error("{0} is for a pool that tracks holders: set holders=true too, or remove the limit with null")]
    NoHolders(&'static str),
    /// A list is named twice.
    #[error("blocked_by names the list {0} twice: name it once")]
    ListTwice(ListName),
}
