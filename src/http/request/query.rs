//! Parses the query of a request strictly: an unknown, repeated or malformed parameter is an error.

use std::fmt::Display;
use std::str::FromStr;

use crate::http::response::problem::Problem;

/// Most parameters of a query.
const MAX_PARAMETERS: usize = 32;

/// The parameters of a query, decoded.
#[derive(Debug, Default)]
pub(crate) struct Query {
    parameters: Vec<(String, String)>,
}

/// The text of one parameter of a query that was parsed before; empty or broken ones are none.
pub(crate) fn one(query: &str, name: &str) -> Option<String> {
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    decode(value).ok().filter(|text| !text.is_empty())
}

impl Query {
    /// Parses a query that may have only the parameters in `known`.
    pub(crate) fn parse(query: Option<&str>, known: &[&str]) -> Result<Self, Problem> {
        let mut parameters: Vec<(String, String)> = Vec::new();
        for pair in query.unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let (name, value) = (decode(name)?, decode(value)?);
            if !known.contains(&name.as_str()) {
                let expected = if known.is_empty() {
                    "it has none".to_owned()
                } else {
                    format!("give {}", known.join(", "))
                };
                return Err(Problem::bad_request(format!(
                    "\"{name}\" is not a parameter of this call: {expected}"
                )));
            }
            if parameters.len() >= MAX_PARAMETERS || parameters.iter().any(|(other, _)| *other == name) {
                return Err(Problem::bad_request(format!("{name} is given twice: give it once")));
            }
            parameters.push((name, value));
        }
        Ok(Self { parameters })
    }

    /// The text of a parameter.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.parameters.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A parameter parsed by its type, whose message becomes part of the error.
    pub(crate) fn parsed<T: FromStr<Err: Display>>(&self, name: &str) -> Result<Option<T>, Problem> {
        let parse = |text: &str| {
            text.parse().map_err(|error| Problem::bad_request(format!("{name} is \"{text}\": {error}")))
        };
        self.text(name).map(parse).transpose()
    }

    /// A whole number of at most 32 bits.
    pub(crate) fn integer(&self, name: &str, meaning: &str) -> Result<Option<u32>, Problem> {
        let parse = |text: &str| {
            text.parse().map_err(|_| {
                Problem::bad_request(format!("{name} is \"{text}\": give {meaning} as an integer"))
            })
        };
        self.text(name).map(parse).transpose()
    }

    /// `true` or `false`; false when it is missing.
    pub(crate) fn flag(&self, name: &str) -> Result<bool, Problem> {
        match self.text(name) {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(other) => Err(Problem::bad_request(format!("{name} is \"{other}\": give true or false"))),
        }
    }
}

/// Refuses any parameter.
pub(crate) fn none(query: Option<&str>) -> Result<(), Problem> {
    match query {
        None | Some("") => Ok(()),
        some => Query::parse(some, &[]).map(drop),
    }
}

/// Decodes `%XX` and `+`.
fn decode(text: &str) -> Result<String, Problem> {
    decode_as(text, b' ', "query")
}

/// Decodes `%XX` of a part of a path, where `+` is itself.
pub(crate) fn decode_path(text: &str) -> Result<String, Problem> {
    decode_as(text, b'+', "path")
}

fn decode_as(text: &str, plus: u8, what: &str) -> Result<String, Problem> {
    let malformed = || {
        Problem::bad_request(format!("The {what} is malformed: encode special characters as %XX, in UTF-8"))
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'+' => plus,
            b'%' => {
                let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(malformed);
                (digit()? * 16 + digit()?) as u8
            }
            other => other,
        });
    }
    String::from_utf8(bytes).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_and_refuses() {
        let query = Query::parse(Some("a=1%2C2+3&b"), &["a", "b", "c"]).unwrap();
        assert_eq!((query.text("a"), query.text("b"), query.text("c")), (Some("1,2 3"), Some(""), None));
        assert_eq!(decode_path("a+b%2Fc%20%D0%B0").unwrap(), "a+b/c а");
        assert!(decode_path("%").is_err() && decode_path("%ff").is_err());
        for bad in ["d=1", "a=1&a=2", "a=%", "a=%2", "a=%zz", "a=%ff", "%61=1&a=1"] {
            assert!(Query::parse(Some(bad), &["a", "b"]).is_err(), "{bad}");
        }
        assert!(none(Some("")).is_ok() && none(None).is_ok() && none(Some("x")).is_err());
    }

    #[test]
    fn typed_parameters() {
        let query = Query::parse(Some("n=70&t=true&f=yes&o=lowest"), &["n", "t", "f", "o"]).unwrap();
        assert_eq!(query.integer("n", "a length").unwrap(), Some(70));
        assert!(query.integer("t", "a length").is_err());
        assert!(query.flag("t").unwrap() && !query.flag("missing").unwrap() && query.flag("f").is_err());
        assert_eq!(query.parsed::<u8>("n").unwrap(), Some(70));
        assert!(query.parsed::<u8>("o").is_err());
    }
}
