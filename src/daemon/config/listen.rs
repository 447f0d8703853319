//! Listeners as they are given: text with options, or a table of the config file.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, MapAccess, Visitor};

use crate::auth::peers::PeerRule;
use crate::http::listen::{ListenError, ListenerConfig, parse_list, parse_mode};

/// A listener, or a part of its text between two commas.
#[derive(Debug, Clone)]
pub enum ListenArg {
    /// An address, with its options behind commas, or one of these options.
    Text(String),
    /// A table.
    Table(ListenTable),
}

/// A listener in the config file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ListenTable {
    address: String,
    #[serde(default)]
    tls: bool,
    calls: Option<String>,
    mode: Option<String>,
    group: Option<String>,
    /// Roles by `user:NAME` or `group:NAME`.
    #[serde(default)]
    peers: BTreeMap<String, String>,
}

impl FromStr for ListenArg {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::Text(text.to_owned()))
    }
}

impl<'de> Deserialize<'de> for ListenArg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl<'de> Visitor<'de> for Either {
            type Value = ListenArg;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an address or a table such as { address = \"0.0.0.0:7979\", tls = true }")
            }

            fn visit_str<E>(self, text: &str) -> Result<ListenArg, E> {
                Ok(ListenArg::Text(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<ListenArg, A::Error> {
                ListenTable::deserialize(MapAccessDeserializer::new(map)).map(ListenArg::Table)
            }
        }
        deserializer.deserialize_any(Either)
    }
}

impl ListenTable {
    fn config(&self) -> Result<ListenerConfig, ListenError> {
        let config = ListenerConfig {
            address: self.address.parse()?,
            tls: self.tls,
            calls: self.calls.as_deref().map(str::parse).transpose()?.unwrap_or_default(),
            mode: self.mode.as_deref().map(parse_mode).transpose()?,
            group: self.group.clone(),
            peers: self.peers.iter().map(|(who, role)| PeerRule::new(who, role)).collect::<Result<_, _>>()?,
        };
        config.checked()
    }
}

/// The listeners that were given.
pub(super) fn listeners(given: &[ListenArg]) -> Result<Vec<ListenerConfig>, ListenError> {
    let mut listeners = Vec::new();
    let mut text: Vec<&str> = Vec::new();
    for arg in given {
        match arg {
            ListenArg::Text(part) => text.push(part),
            ListenArg::Table(table) => {
                listeners.extend(parse_all(&mut text)?);
                listeners.push(table.config()?);
            }
        }
    }
    listeners.extend(parse_all(&mut text)?);
    Ok(listeners)
}

/// Flags and variables are split at their commas before they come here.
fn parse_all(parts: &mut Vec<&str>) -> Result<Vec<ListenerConfig>, ListenError> {
    let parts = std::mem::take(parts);
    // A word behind an address is an option that is mistyped, such as "tsl".
    let is_word = |part: &&&str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
    let mistyped = parts.iter().skip(1).filter(is_word).find(|part| !["tls", "localhost"].contains(part));
    if let Some(option) = mistyped {
        return Err(ListenError::Option((*option).to_owned()));
    }
    if parts.is_empty() { Ok(Vec::new()) } else { parse_list(&parts.join(",")) }
}
