//! Members of JSON objects, as JSON Schema sees them: one that may be left out is no `null`, and `60.0` is an integer.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, Unexpected, Visitor};

/// Above this, not every integer is a floating-point number of its own.
const MAX_EXACT: f64 = 9_007_199_254_740_992.0;

/// A member that is there. Whether it may be `null` is up to its type.
pub(crate) fn given<'de, D: Deserializer<'de>, T: Deserialize<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}

/// The integer that a floating-point number is, if it is one.
#[expect(clippy::cast_sign_loss, reason = "the range begins at 0")]
pub(crate) fn integer_of(value: f64) -> Option<u64> {
    (value.fract() == 0.0 && (0.0..=MAX_EXACT).contains(&value)).then_some(value as u64)
}

/// An integer of 32 bits.
pub(crate) fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u32, D::Error> {
    struct Whole;
    impl Visitor<'_> for Whole {
        type Value = u32;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("u32")
        }

        fn visit_u64<E: Error>(self, value: u64) -> Result<u32, E> {
            u32::try_from(value).map_err(|_| E::invalid_value(Unexpected::Unsigned(value), &self))
        }

        fn visit_i64<E: Error>(self, value: i64) -> Result<u32, E> {
            u32::try_from(value).map_err(|_| E::invalid_value(Unexpected::Signed(value), &self))
        }

        fn visit_f64<E: Error>(self, value: f64) -> Result<u32, E> {
            let integer = integer_of(value).and_then(|integer| u32::try_from(integer).ok());
            integer.ok_or_else(|| E::invalid_type(Unexpected::Float(value), &self))
        }
    }
    deserializer.deserialize_u32(Whole)
}

/// The same as a member that is there.
pub(crate) fn given_whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u32>, D::Error> {
    whole(deserializer).map(Some)
}

/// The same as a member that is there and may be `null`.
#[expect(clippy::option_option, reason = "absent, null and a number are three things")]
pub(crate) fn given_whole_or_null<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Option<u32>>, D::Error> {
    struct Whole(u32);
    impl<'de> Deserialize<'de> for Whole {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            whole(deserializer).map(Self)
        }
    }
    let integer = Option::<Whole>::deserialize(deserializer)?;
    Ok(Some(integer.map(|Whole(integer)| integer)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[expect(clippy::option_option, reason = "absent, null and a number are three things")]
    struct Limits {
        #[serde(default, deserialize_with = "given_whole_or_null")]
        most: Option<Option<u32>>,
    }

    #[derive(Debug, serde::Deserialize)]
    struct Object {
        #[serde(default, deserialize_with = "given_whole")]
        seconds: Option<u32>,
        #[serde(default, deserialize_with = "given")]
        name: Option<String>,
    }

    #[test]
    fn what_is_left_out_is_no_null_and_a_whole_number_is_an_integer() {
        let read =
            |text: &str| serde_json::from_str::<Object>(text).map(|object| (object.seconds, object.name));
        assert_eq!(read("{}").unwrap(), (None, None));
        assert_eq!(read("{\"seconds\":60.0,\"name\":\"a\"}").unwrap(), (Some(60), Some("a".to_owned())));
        assert_eq!(read("{\"seconds\":6e1}").unwrap(), (Some(60), None));
        for bad in ["null", "60.5", "-1.0", "-1", "4294967296", "4294967296.0", "1e300", "\"60\""] {
            assert!(read(&format!("{{\"seconds\":{bad}}}")).is_err(), "{bad}");
        }
        assert!(read("{\"name\":null}").is_err());
        let most = |text: &str| serde_json::from_str::<Limits>(text).map(|limits| limits.most);
        assert_eq!((most("{}").unwrap(), most("{\"most\":null}").unwrap()), (None, Some(None)));
        assert_eq!(most("{\"most\":3.0}").unwrap(), Some(Some(3)));
        assert!(most("{\"most\":3.5}").is_err() && most("{\"most\":-1.0}").is_err());
    }
}
