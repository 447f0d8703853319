//! The fields of JSON bodies. Each is parsed strictly, and its error names the field.

use std::fmt;
use std::ops::RangeInclusive;

use serde::de::{Deserialize, DeserializeOwned, Deserializer, Error, Visitor};
use serde_json::Value;

use crate::domain::holder::HolderName;
use crate::domain::json_fields::integer_of;
use crate::domain::lease_token::Token;
use crate::domain::settings::MAX_TTL_SECONDS;
use crate::engine::operations::lease::MAX_LEASE_COUNT;
use crate::http::response::problem::Problem;
use crate::numbers::number::Number;

/// Parses a whole body; the error says where and why it failed.
pub(crate) fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    // UTF-8 is checked once for the whole body instead of per string. For invalid UTF-8 the error says where.
    let parsed = match str::from_utf8(body) {
        Ok(body) => serde_json::from_str(body),
        Err(_) => serde_json::from_slice::<Value>(body).and_then(T::deserialize),
    };
    parsed.map_err(|error| Problem::bad_request(format!("The body is refused: {error}")))
}

/// Parses a whole body that is an object. serde would take an array for the members in their order.
pub(crate) fn parse_object<T: DeserializeOwned>(body: &[u8]) -> Result<T, Problem> {
    if body.trim_ascii_start().first() == Some(&b'[') {
        let detail = "The body is refused: invalid type: sequence, expected an object like {\"name\":value}";
        return Err(Problem::bad_request(detail));
    }
    parse(body)
}

/// Parses an integer within a range; the error for anything else is `expected`.
struct IntegerVisitor {
    range: RangeInclusive<u64>,
    expected: &'static str,
}

impl Visitor<'_> for IntegerVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<u64, E> {
        if self.range.contains(&value) {
            Ok(value)
        } else {
            Err(E::invalid_value(serde::de::Unexpected::Unsigned(value), &self))
        }
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<u64, E> {
        match integer_of(value) {
            Some(integer) => self.visit_u64(integer),
            None => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }
}

/// How many numbers to lease.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Count(pub(crate) u32);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "for count an integer from 1 to 65536";
        let range = 1..=MAX_LEASE_COUNT.into();
        Ok(Self(deserializer.deserialize_u64(IntegerVisitor { range, expected })? as u32))
    }
}

/// How long a lease lasts, in seconds. The engine checks the pool's `ttl_max`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TtlSeconds(pub(crate) u32);

impl<'de> Deserialize<'de> for TtlSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "for ttl whole seconds, from 1 to the pool's ttl_max";
        let range = 1..=MAX_TTL_SECONDS.into();
        Ok(Self(deserializer.deserialize_u64(IntegerVisitor { range, expected })? as u32))
    }
}

/// Longest `wait`, in seconds.
pub const MAX_WAIT_SECONDS: u32 = 60;

/// How long a lease waits for a number, in seconds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WaitSeconds(pub(crate) u32);

impl<'de> Deserialize<'de> for WaitSeconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "for wait whole seconds from 0 to 60";
        let range = 0..=MAX_WAIT_SECONDS.into();
        Ok(Self(deserializer.deserialize_u64(IntegerVisitor { range, expected })? as u32))
    }
}

/// The number of an item.
#[derive(Debug, Clone, Copy)]
pub(crate) struct NumberField(pub(crate) Number);

impl<'de> Deserialize<'de> for NumberField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "for number an integer of at most 15 digits";
        let range = Number::MIN.get()..=Number::MAX.get();
        let value = deserializer.deserialize_u64(IntegerVisitor { range, expected })?;
        Number::new(value).map(Self).map_err(|error| D::Error::custom(format!("number: {error}")))
    }
}

/// The token of an item; `None` for text that cannot be one, which is handled like a wrong token.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TokenField(pub(crate) Option<Token>);

impl<'de> Deserialize<'de> for TokenField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TokenVisitor;
        impl Visitor<'_> for TokenVisitor {
            type Value = TokenField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("for token the text that came with the lease")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<TokenField, E> {
                Ok(TokenField(Token::decode(text.as_bytes()).ok()))
            }
        }
        deserializer.deserialize_str(TokenVisitor)
    }
}

/// Who holds the leases of a call.
#[derive(Debug, Clone)]
pub(crate) struct HolderField(pub(crate) HolderName);

impl<'de> Deserialize<'de> for HolderField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HolderVisitor;
        impl Visitor<'_> for HolderVisitor {
            type Value = HolderField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("for holder 1 to 128 bytes of printable text")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<HolderField, E> {
                text.parse().map(HolderField).map_err(|error| E::custom(format!("holder: {error}")))
            }
        }
        deserializer.deserialize_str(HolderVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal<T: DeserializeOwned>(json: &str) -> String {
        serde_json::from_str::<T>(json).err().map(|e| e.to_string()).unwrap_or_default()
    }

    #[test]
    fn each_field_names_itself_when_it_refuses() {
        for json in ["0", "65537", "-1", "1.5", "\"1\"", "null", "[]", "18446744073709551616"] {
            assert!(refusal::<Count>(json).contains("for count an integer from 1 to 65536"), "{json}");
            assert!(
                refusal::<TokenField>(json).is_empty() || refusal::<TokenField>(json).contains("for token")
            );
        }
        for json in ["0", "31622401", "true"] {
            assert!(refusal::<TtlSeconds>(json).contains("for ttl whole seconds"), "{json}");
        }
        for json in ["61", "-1", "0.5", "null"] {
            assert!(refusal::<WaitSeconds>(json).contains("for wait whole seconds from 0 to 60"), "{json}");
        }
        for json in ["-1", "1000000000000000", "\"7\""] {
            assert!(refusal::<NumberField>(json).contains("for number an integer"), "{json}");
        }
        for json in ["\"\"", "\"a\\nb\"", "7", "null"] {
            assert!(refusal::<HolderField>(json).contains("1 to 128 bytes of printable text"), "{json}");
        }
    }

    #[test]
    fn the_bounds_themselves_are_accepted() {
        assert_eq!(parse::<Count>(b"65536").unwrap().0, MAX_LEASE_COUNT);
        assert_eq!(parse::<WaitSeconds>(b"60").unwrap().0, MAX_WAIT_SECONDS);
        assert_eq!(parse::<Count>(b"65536.0").unwrap().0, MAX_LEASE_COUNT);
        assert_eq!(parse::<TtlSeconds>(b"1").unwrap().0, 1);
        assert_eq!(parse::<NumberField>(b"0").unwrap().0.get(), 0);
        assert_eq!(parse::<NumberField>(b"999999999999999").unwrap().0.get(), 999_999_999_999_999);
        assert!(parse::<TokenField>(b"\"not a token\"").unwrap().0.is_none());
        assert!(parse::<Count>(b"1 1").is_err());
        assert!(parse_object::<Vec<u8>>(b" []").is_err());
    }
}
