//! Headers by which a browser keeps what it was answered from foreign pages, from guesses and from its cache.
//!
//! Every answer has them but those to a lease, renewal or return without a body, `Origin` and `Sec-Fetch-Site`.
//! No browser sends such a `POST`, so nothing would read them, and the lease is the call whose cost matters most.

use hyper::HeaderMap;
use hyper::header::{CACHE_CONTROL, HeaderName, HeaderValue, X_CONTENT_TYPE_OPTIONS};

static RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Adds the headers. A response that says how it is cached keeps that.
pub(crate) fn protect(headers: &mut HeaderMap) {
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(&RESOURCE_POLICY, HeaderValue::from_static("same-origin"));
    headers.entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
}
