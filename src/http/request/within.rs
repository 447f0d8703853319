//! `within`: the prefixes, numbers and ranges that a call is limited to.

use std::fmt;
use std::sync::Arc;

use serde::de::{Deserialize, Deserializer, Error, SeqAccess, Visitor};

use crate::domain::json_fields::integer_of;
use crate::engine::pool::Pool;
use crate::engine::segment::within::Within;
use crate::http::blocking::blocking;
use crate::http::response::problem::Problem;
use crate::numbers::list::merged::merge;
use crate::numbers::number::{Number, NumberRange, prefix_ranges};

/// Most items of a `within`.
pub const MAX_WITHIN_ITEMS: usize = 1_000;
/// Most ranges, each in each segment, that the worker itself looks up.
const MAX_LOOKUPS_AT_ONCE: usize = 1_000;

const EXPECTED: &str =
    "for within prefixes \"7912\", ranges \"79120000000-79129999999\" or numbers 79123456789, at most 1000";

/// The ranges of a `within`, in the order given; they may overlap.
#[derive(Debug, Clone, Default)]
pub(crate) struct WithinField(pub(crate) Vec<NumberRange>);

/// Parses one prefix or range.
fn push_text(text: &str, ranges: &mut Vec<NumberRange>) -> Result<(), String> {
    let refused =
        |why: &dyn fmt::Display| format!("within: \"{text}\" is neither a prefix nor a range: {why}");
    if let Some((first, last)) = text.split_once('-') {
        let number = |digits: &str| Number::parse_digits(digits.as_bytes()).map_err(|e| refused(&e));
        ranges.push(NumberRange::new(number(first)?, number(last)?).map_err(|e| refused(&e))?);
    } else {
        ranges.extend(prefix_ranges(text).map_err(|e| refused(&e))?);
    }
    Ok(())
}

impl WithinField {
    /// Parses the comma-separated form of a query.
    pub(crate) fn from_query(text: &str) -> Result<Self, Problem> {
        let mut ranges = Vec::new();
        for (index, item) in text.split(',').enumerate() {
            if index >= MAX_WITHIN_ITEMS {
                return Err(Problem::bad_request(format!("within has at most {MAX_WITHIN_ITEMS} items")));
            }
            push_text(item, &mut ranges).map_err(Problem::bad_request)?;
        }
        Ok(Self(ranges))
    }
}

impl WithinField {
    /// The numbers of a pool that are within. What takes long is looked up on a thread that may block.
    pub(crate) async fn of(self, pool: &Arc<Pool>) -> Result<Within, Problem> {
        let field = Self(merge(self.0));
        if field.0.len() * pool.segment_count() <= MAX_LOOKUPS_AT_ONCE {
            return Ok(pool.within(&field.0));
        }
        let pool = Arc::clone(pool);
        blocking(move || Ok(pool.within(&field.0))).await
    }
}

/// One item, parsed straight into the ranges.
struct Item<'a>(&'a mut Vec<NumberRange>);

impl<'de> serde::de::DeserializeSeed<'de> for Item<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl Visitor<'_> for Item<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(EXPECTED)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        let number = Number::new(value).map_err(|error| E::custom(format!("within: {error}")))?;
        self.0.push(NumberRange::single(number));
        Ok(())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        match integer_of(value) {
            Some(integer) => self.visit_u64(integer),
            None => Err(E::invalid_type(serde::de::Unexpected::Float(value), &self)),
        }
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        push_text(text, self.0).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for WithinField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Items;
        impl<'de> Visitor<'de> for Items {
            type Value = WithinField;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("for within a list of prefixes, ranges and numbers")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<WithinField, A::Error> {
                let mut ranges = Vec::new();
                let mut count = 0;
                while items.next_element_seed(Item(&mut ranges))?.is_some() {
                    count += 1;
                    if count > MAX_WITHIN_ITEMS {
                        return Err(A::Error::custom(
                            "within has at most 1000 items: lease in several calls",
                        ));
                    }
                }
                if count == 0 {
                    return Err(A::Error::custom("within is empty: name a prefix, or leave it out"));
                }
                Ok(WithinField(ranges))
            }
        }
        deserializer.deserialize_seq(Items)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_prefixes_ranges_and_numbers() {
        let within: WithinField = serde_json::from_str("[\"79-80\",81,\"999999999999999\"]").unwrap();
        let expected: Vec<_> = [(79, 80), (81, 81), (999_999_999_999_999, 999_999_999_999_999)]
            .map(|(first, last)| {
                NumberRange::new(Number::new(first).unwrap(), Number::new(last).unwrap()).unwrap()
            })
            .into();
        assert_eq!(within.0, expected);
        let float: WithinField = serde_json::from_str("[81.0,8.1e1,999999999999999.0]").unwrap();
        assert_eq!(float.0, [expected[1], expected[1], expected[2]]);
        assert_eq!(WithinField::from_query("79-80").unwrap().0, expected[..1]);
    }

    #[test]
    fn refuses_and_names_itself() {
        for json in ["[]", "7912", "[null]", "[\"\"]", "[\"79x\"]", "[\"9-1\"]", "[\"1-\"]", "[-1]", "[1.5]"]
        {
            let error = serde_json::from_str::<WithinField>(json).unwrap_err().to_string();
            assert!(error.contains("within"), "{json}: {error}");
        }
        let many = format!("[{}1]", "1,".repeat(MAX_WITHIN_ITEMS));
        assert!(serde_json::from_str::<WithinField>(&many).is_err());
        assert!(WithinField::from_query("").is_err() && WithinField::from_query("1,,2").is_err());
    }
}
