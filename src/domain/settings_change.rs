//! A change of settings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attempts::Attempts;
use super::hours::Hours;
use super::json_fields::{given, given_whole, given_whole_or_null};
use super::list_name::ListName;
use super::next_state::NextState;
use super::note::Note;
use super::order::Order;

/// A change of settings; `None` leaves a setting unchanged. In JSON the body of `PATCH /v1/pools/{pool}`.
/// `outcomes` replaces all outcome rules.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsChange {
    /// See [`order`](super::settings::Settings::order).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub order: Option<Order>,
    /// See [`ttl`](super::settings::Settings::ttl).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole")]
    pub ttl: Option<u32>,
    /// See [`ttl_max`](super::settings::Settings::ttl_max).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole")]
    pub ttl_max: Option<u32>,
    /// See [`rest`](super::settings::Settings::rest).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole")]
    pub rest: Option<u32>,
    /// See [`on_expiry`](super::settings::Settings::on_expiry).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub on_expiry: Option<NextState>,
    /// See [`outcomes`](super::settings::Settings::outcomes).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub outcomes: Option<BTreeMap<String, NextState>>,
    /// See [`attempts`](super::settings::Settings::attempts); `Some(None)` removes them, in JSON `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub attempts: Option<Option<Attempts>>,
    /// See [`hours`](super::settings::Settings::hours); `Some(None)` removes them, in JSON `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub hours: Option<Option<Hours>>,
    /// The pool's note, which is kept beside its settings; an empty one removes it.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub note: Option<Note>,
    /// See [`blocked_by`](super::settings::Settings::blocked_by).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub blocked_by: Option<Vec<ListName>>,
    /// See [`max_waiters`](super::settings::Settings::max_waiters).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole")]
    pub max_waiters: Option<u32>,
    /// See [`holders`](super::settings::Settings::holders).
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given")]
    pub holders: Option<bool>,
    /// See [`max_per_holder`](super::settings::Settings::max_per_holder); `Some(None)` removes it, in JSON `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole_or_null")]
    pub max_per_holder: Option<Option<u32>>,
    /// See [`first_per_holder`](super::settings::Settings::first_per_holder); `Some(None)` removes it, in JSON `null`.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "given_whole_or_null")]
    pub first_per_holder: Option<Option<u32>>,
}
