//! The settings of a pool: how long leases last, what happens to a number afterwards, and in which order
//! numbers are handed out.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::attempts::{AttemptsError, MAX_ATTEMPTS};
use super::hours::{Hours, HoursError};
use super::json_fields::{given, given_whole, whole};
use super::list_name::{ListName, NotAListName};
use super::name;
use super::note::Note;

/// Maximum lease, in seconds (one year).
pub const MAX_TTL_SECONDS: u32 = 366 * 24 * 3600;
/// Maximum rest after a return or an expiry, in seconds (ten years).
pub const MAX_REST_SECONDS: u32 = 10 * 366 * 24 * 3600;
/// Default length of a lease, in seconds.
pub const DEFAULT_TTL_SECONDS: u32 = 300;
/// Default maximum length of a lease, in seconds.
pub const DEFAULT_TTL_MAX_SECONDS: u32 = 24 * 3600;
/// Maximum length of a pool name, in bytes.
pub const MAX_POOL_NAME_BYTES: usize = 64;
/// Maximum length of an outcome name, in bytes.
pub const MAX_OUTCOME_BYTES: usize = 64;
/// Maximum outcome rules per pool.
pub const MAX_OUTCOMES: usize = 64;
/// Default of how many calls may wait for a number of a pool,
pub const DEFAULT_MAX_WAITERS: u32 = 10_000;
/// and the most that a pool may allow.
pub const MOST_WAITERS: u32 = 1_000_000;
/// Maximum lists that block the numbers of one pool.
pub const MAX_BLOCKING_LISTS: usize = 16;

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

/// The name of a pool: 1 to 64 of `[A-Za-z0-9._-]`, beginning with a letter or digit, so it is safe as a path
/// segment and as a directory name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PoolName(String);

impl PoolName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for PoolName {
    type Err = SettingsError;

    fn from_str(name: &str) -> Result<Self, SettingsError> {
        if name::is_valid(name, MAX_POOL_NAME_BYTES) {
            Ok(Self(name.to_owned()))
        } else {
            Err(SettingsError::PoolName(name.chars().take(MAX_POOL_NAME_BYTES).collect()))
        }
    }
}

impl fmt::Display for PoolName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The order in which a pool hands out its numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// From an unpredictable place in the pool.
    #[default]
    Random,
    /// Onward through the pool, from where the calling thread's last lease left off.
    Sequential,
    /// The lowest available number.
    Lowest,
}

impl FromStr for Order {
    type Err = SettingsError;

    fn from_str(word: &str) -> Result<Self, SettingsError> {
        match word {
            "random" => Ok(Self::Random),
            "sequential" => Ok(Self::Sequential),
            "lowest" => Ok(Self::Lowest),
            _ => Err(SettingsError::Word {
                field: "order",
                value: word.to_owned(),
                expected: "random, sequential or lowest",
            }),
        }
    }
}

/// The state of a number after its lease. In JSON `"available"`, `{"rest":14400}`, `"done"`, `"retired"` or
/// `{"list":"optouts"}`; in a query or on a command line `available`, `rest:14400`, `done`, `retired`,
/// `list:optouts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NextState {
    /// It can be leased again at once.
    #[default]
    Available,
    /// It rests for this many seconds first.
    #[serde(deserialize_with = "whole")]
    Rest(u32),
    /// It is done until the pool's next round.
    Done,
    /// It is not handed out until an operator reinstates it.
    Retired,
    /// It goes onto a list, and is available but for that.
    List(ListName),
}

impl NextState {
    /// A rest of `seconds`; 0 means available immediately.
    pub fn from_rest_seconds(seconds: u32) -> Self {
        if seconds == 0 { Self::Available } else { Self::Rest(seconds) }
    }

    /// How long the number rests, if it does.
    pub(crate) fn rest_seconds(self) -> Option<u32> {
        match self {
            Self::Rest(seconds) => Some(seconds),
            Self::Available | Self::Done | Self::Retired | Self::List(_) => None,
        }
    }

    /// Whether the number is leased again in the same round.
    pub fn comes_back(self) -> bool {
        matches!(self, Self::Available | Self::Rest(_))
    }

    /// The list that the number goes onto, if it does.
    pub fn list(self) -> Option<ListName> {
        if let Self::List(list) = self { Some(list) } else { None }
    }

    /// Refuses a rest longer than [`MAX_REST_SECONDS`].
    pub fn checked(self, field: &'static str) -> Result<Self, SettingsError> {
        match self {
            Self::Rest(seconds) if seconds > MAX_REST_SECONDS => {
                Err(SettingsError::Seconds { field, value: seconds.into(), min: 0, max: MAX_REST_SECONDS })
            }
            Self::Rest(seconds) => Ok(Self::from_rest_seconds(seconds)),
            other => Ok(other),
        }
    }
}

impl fmt::Display for NextState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Available => f.write_str("available"),
            Self::Rest(seconds) => write!(f, "rest:{seconds}"),
            Self::Done => f.write_str("done"),
            Self::Retired => f.write_str("retired"),
            Self::List(list) => write!(f, "list:{list}"),
        }
    }
}

impl FromStr for NextState {
    type Err = SettingsError;

    fn from_str(word: &str) -> Result<Self, SettingsError> {
        let unknown = || SettingsError::Word {
            field: "then",
            value: word.to_owned(),
            expected: "available, rest:SECONDS, done, retired or list:NAME",
        };
        match word {
            "available" => Ok(Self::Available),
            "done" => Ok(Self::Done),
            "retired" => Ok(Self::Retired),
            _ => {
                if let Some(list) = word.strip_prefix("list:") {
                    return Ok(Self::List(list.parse()?));
                }
                let seconds = word.strip_prefix("rest:").ok_or_else(unknown)?;
                Self::Rest(seconds.parse().map_err(|_| unknown())?).checked("rest")
            }
        }
    }
}

/// The last attempt of a round, and the next state of a number after it. In JSON `{"max":3,"then":"done"}`; in a
/// query or on a command line `3:done`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attempts {
    /// From this lease of a round on, its end makes the number `then` instead of available, at once or after a rest.
    pub max: u32,
    /// The next state of the number.
    pub then: NextState,
}

impl Attempts {
    /// Refuses what cannot be.
    pub fn checked(self) -> Result<Self, SettingsError> {
        if !(1..=MAX_ATTEMPTS).contains(&self.max) {
            return Err(AttemptsError::Max(self.max).into());
        }
        match self.then.checked("attempts")? {
            NextState::Available => Err(AttemptsError::Available.into()),
            then => Ok(Self { then, ..self }),
        }
    }

    /// The next state of a number that becomes `then` otherwise, after its last attempt.
    #[must_use]
    pub fn instead_of(self, then: NextState) -> NextState {
        if then.comes_back() { self.then } else { then }
    }
}

impl FromStr for Attempts {
    type Err = SettingsError;

    fn from_str(text: &str) -> Result<Self, SettingsError> {
        let unknown = || AttemptsError::Text(text.to_owned());
        let (max, then) = text.split_once(':').ok_or_else(unknown)?;
        Self { max: max.parse().map_err(|_| unknown())?, then: then.parse()? }.checked()
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.max, self.then)
    }
}

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

/// A change of settings; `None` leaves a setting unchanged. In JSON the body of `PATCH /v1/pools/{pool}`.
/// `outcomes` replaces all outcome rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// See [`Settings::order`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub order: Option<Order>,
    /// See [`Settings::ttl`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole")]
    pub ttl: Option<u32>,
    /// See [`Settings::ttl_max`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole")]
    pub ttl_max: Option<u32>,
    /// See [`Settings::rest`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole")]
    pub rest: Option<u32>,
    /// See [`Settings::on_expiry`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub on_expiry: Option<NextState>,
    /// See [`Settings::outcomes`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub outcomes: Option<BTreeMap<String, NextState>>,
    /// See [`Settings::attempts`]; `Some(None)` removes them, in JSON `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub attempts: Option<Option<Attempts>>,
    /// See [`Settings::hours`]; `Some(None)` removes them, in JSON `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub hours: Option<Option<Hours>>,
    /// The pool's note, which is kept beside its [`Settings`]; an empty one removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub note: Option<Note>,
    /// See [`Settings::blocked_by`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub blocked_by: Option<Vec<ListName>>,
    /// See [`Settings::max_waiters`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole")]
    pub max_waiters: Option<u32>,
    /// See [`Settings::holders`].
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub holders: Option<bool>,
    /// See [`Settings::max_per_holder`]; `Some(None)` removes it, in JSON `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub max_per_holder: Option<Option<u32>>,
    /// See [`Settings::first_per_holder`]; `Some(None)` removes it, in JSON `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub first_per_holder: Option<Option<u32>>,
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
mod tests {
    use super::*;

    #[test]
    fn pool_names_are_safe_directory_names() {
        for good in ["ru", "a", "9", "us-east_1.mobile"] {
            assert_eq!(good.parse::<PoolName>().map(|n| n.to_string()), Ok(good.to_owned()));
        }
        for bad in ["", ".", "..", ".hidden", "-x", "a/b", "a b", "é", &"x".repeat(MAX_POOL_NAME_BYTES + 1)]
        {
            assert!(bad.parse::<PoolName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn then_reads_and_writes_both_forms() {
        for (word, json, then) in [
            ("available", "\"available\"", NextState::Available),
            ("rest:60", "{\"rest\":60}", NextState::Rest(60)),
            ("done", "\"done\"", NextState::Done),
            ("retired", "\"retired\"", NextState::Retired),
            ("list:optouts", "{\"list\":\"optouts\"}", NextState::List("optouts".parse().unwrap())),
        ] {
            assert_eq!(word.parse(), Ok(then));
            assert_eq!(serde_json::to_string(&then).unwrap(), json);
            assert_eq!(serde_json::from_str::<NextState>(json).unwrap(), then);
        }
        assert_eq!("rest:0".parse(), Ok(NextState::Available));
        for bad in [
            "",
            "rest",
            "rest:",
            "rest:-1",
            "rest:1h",
            "rest:4294967295",
            "Done",
            "list:",
            "list:../x",
            "list",
        ] {
            assert!(bad.parse::<NextState>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_keeps_what_it_does_not_name_and_is_refused_whole() {
        let base = Settings::default();
        let long = SettingsChange { ttl: Some(100_000), ..SettingsChange::default() };
        let longer = Settings::of_new_pool(&long).unwrap();
        assert_eq!((longer.ttl, longer.ttl_max, longer.rest), (100_000, 100_000, 0));
        // A limit that somebody may have chosen is not raised in silence.
        let over = SettingsError::TtlOverMax { ttl: 100_000, ttl_max: base.ttl_max };
        assert_eq!(base.changed(&long), Err(over));
        let refused = [
            SettingsChange { ttl: Some(0), ..SettingsChange::default() },
            SettingsChange { ttl_max: Some(1), ..SettingsChange::default() },
            SettingsChange { ttl: Some(MAX_TTL_SECONDS + 1), ..SettingsChange::default() },
            SettingsChange { rest: Some(u32::MAX), ..SettingsChange::default() },
            SettingsChange { on_expiry: Some(NextState::Rest(u32::MAX)), ..SettingsChange::default() },
            SettingsChange { on_expiry: Some("list:optouts".parse().unwrap()), ..SettingsChange::default() },
            SettingsChange { blocked_by: Some(vec!["a".parse().unwrap(); 2]), ..SettingsChange::default() },
            SettingsChange {
                blocked_by: Some((0..17).map(|list| format!("l{list}").parse().unwrap()).collect()),
                ..SettingsChange::default()
            },
            SettingsChange {
                outcomes: Some(BTreeMap::from([(String::new(), NextState::Done)])),
                ..SettingsChange::default()
            },
        ];
        for change in refused {
            assert!(base.changed(&change).is_err(), "{change:?}");
        }
    }

    #[test]
    fn the_calls_word_wins_over_the_outcome_and_the_outcome_over_the_default() {
        let settings = Settings {
            rest: 7,
            outcomes: BTreeMap::from([("answered".to_owned(), NextState::Done)]),
            ..Settings::default()
        };
        assert_eq!(settings.then_for(Some(NextState::Retired), Some("answered")), NextState::Retired);
        assert_eq!(settings.then_for(None, Some("answered")), NextState::Done);
        assert_eq!(settings.then_for(None, Some("unheard of")), NextState::Rest(7));
        assert_eq!(settings.then_for(None, None), NextState::Rest(7));
    }
}

#[cfg(test)]
mod attempts_tests {
    use super::*;

    #[test]
    fn text_and_json_are_the_same_and_what_cannot_be_is_refused() {
        for (text, json) in [
            ("3:done", r#"{"max":3,"then":"done"}"#),
            ("1:retired", r#"{"max":1,"then":"retired"}"#),
            ("15:rest:60", r#"{"max":15,"then":{"rest":60}}"#),
            ("2:list:optouts", r#"{"max":2,"then":{"list":"optouts"}}"#),
        ] {
            let attempts: Attempts = text.parse().unwrap();
            assert_eq!(
                (attempts.to_string(), serde_json::to_string(&attempts).unwrap()),
                (text.into(), json.into())
            );
            assert_eq!(serde_json::from_str::<Attempts>(json).unwrap(), attempts);
        }
        for bad in
            ["", "3", "done", "0:done", "16:done", "3:available", "3:rest:0", "-1:done", "3:rest:x", "x:done"]
        {
            assert!(bad.parse::<Attempts>().is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Attempts>(r#"{"max":3}"#).is_err());
        assert!(serde_json::from_str::<Attempts>(r#"{"max":3,"then":"done","x":1}"#).is_err());
    }

    #[test]
    fn the_last_attempt_changes_only_what_comes_back() {
        let attempts: Attempts = "3:retired".parse().unwrap();
        assert_eq!(attempts.instead_of(NextState::Available), NextState::Retired);
        assert_eq!(attempts.instead_of(NextState::Rest(5)), NextState::Retired);
        assert_eq!(attempts.instead_of(NextState::Done), NextState::Done);
    }
}
