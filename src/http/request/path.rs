//! The parts of a request's path.

use hyper::Request;

use crate::http::response::problem::Problem;
use crate::numbers::number::Number;

/// The prefix of the paths of pools.
pub(crate) const POOLS_PATH: &str = "/v1/pools/";

/// The pool that a path names, and the rest after its name: empty, or a path that begins with a slash.
#[inline]
pub(crate) fn split_pool(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(POOLS_PATH)?;
    Some(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

/// The pool that a request names; empty for none.
pub(crate) fn pool_name<B>(request: &Request<B>) -> &str {
    split_pool(request.uri().path()).map_or("", |(pool, _)| pool)
}

/// The prefix of the paths of lists.
const LISTS_PATH: &str = "/v1/lists/";

/// The list that a path names, and the rest after its name, as [`split_pool`].
pub(crate) fn split_list(path: &str) -> Option<(&str, &str)> {
    let rest = path.strip_prefix(LISTS_PATH)?;
    Some(rest.split_at(rest.find('/').unwrap_or(rest.len())))
}

/// The list that a request names; empty for none.
pub(crate) fn list_name<B>(request: &Request<B>) -> &str {
    split_list(request.uri().path()).map_or("", |(list, _)| list)
}

/// The part of a request's path after the last slash.
pub(crate) fn last_segment<B>(request: &Request<B>) -> &str {
    request.uri().path().rsplit('/').next().unwrap_or_default()
}

/// The part before the last slash, as in `/numbers/{number}/return`.
pub(crate) fn second_last_segment<B>(request: &Request<B>) -> &str {
    request.uri().path().rsplit('/').nth(1).unwrap_or_default()
}

/// The number that a part of a path names.
#[inline]
pub(crate) fn number(digits: &str) -> Result<Number, Problem> {
    Number::parse_digits(digits.as_bytes())
        .map_err(|error| Problem::bad_request(format!("\"{digits}\" is not a number: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_split_at_the_pool() {
        assert_eq!(split_pool("/v1/pools/ru"), Some(("ru", "")));
        assert_eq!(split_pool("/v1/pools/ru/"), Some(("ru", "/")));
        assert_eq!(split_pool("/v1/pools/ru/numbers/7"), Some(("ru", "/numbers/7")));
        assert_eq!(split_pool("/v1/pools/"), Some(("", "")));
        assert_eq!(split_pool("/v1/pools"), None);
    }
}
