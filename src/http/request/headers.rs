//! The headers that matter for every request, found in one pass: services send few headers, and each look-up
//! in the map would hash a name.

use hyper::Request;
use hyper::header::{AUTHORIZATION, EXPECT, HOST, HeaderName, HeaderValue, ORIGIN};

use super::trace::TRACEPARENT;

/// Says whether the page that makes a request is of the same site. Every current browser sends it.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Identifies a request in the log.
pub(crate) static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The token of the lease that a call without a body renews or returns.
static LEASE_TOKEN: HeaderName = HeaderName::from_static("lease-token");

static IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// The headers that every request is checked for.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RequestHeaders<'r> {
    /// The last `Host`.
    pub(crate) host: Option<&'r HeaderValue>,
    /// How many `Host` headers there are.
    pub(crate) hosts: usize,
    pub(crate) origin: Option<&'r HeaderValue>,
    /// The last `Authorization`.
    pub(crate) authorization: Option<&'r HeaderValue>,
    /// How many `Authorization` headers there are.
    pub(crate) authorizations: usize,
    /// `Sec-Fetch-Site`
    pub(crate) site: Option<&'r HeaderValue>,
    pub(crate) request_id: Option<&'r HeaderValue>,
    pub(crate) traceparent: Option<&'r HeaderValue>,
    /// The last `Idempotency-Key`.
    pub(crate) key: Option<&'r HeaderValue>,
    /// How many `Idempotency-Key` headers there are.
    pub(crate) keys: usize,
    /// The last `Lease-Token`.
    pub(crate) token: Option<&'r HeaderValue>,
    /// How many `Lease-Token` headers there are.
    pub(crate) tokens: usize,
    pub(crate) expect: Option<&'r HeaderValue>,
}

impl<'r> RequestHeaders<'r> {
    #[expect(clippy::inline_always, reason = "the headers that were found are many words to move")]
    #[inline(always)]
    pub(crate) fn of<B>(request: &'r Request<B>) -> Self {
        let mut given = Self::default();
        for (name, value) in request.headers() {
            if *name == HOST {
                given.host = Some(value);
                given.hosts += 1;
            } else if *name == ORIGIN {
                given.origin = Some(value);
            } else if *name == AUTHORIZATION {
                given.authorization = Some(value);
                given.authorizations += 1;
            } else if *name == SEC_FETCH_SITE {
                given.site = Some(value);
            } else if *name == REQUEST_ID {
                given.request_id = Some(value);
            } else if *name == IDEMPOTENCY_KEY {
                given.key = Some(value);
                given.keys += 1;
            } else if *name == LEASE_TOKEN {
                given.token = Some(value);
                given.tokens += 1;
            } else if *name == EXPECT {
                given.expect = Some(value);
            } else if *name == TRACEPARENT {
                given.traceparent = Some(value);
            }
        }
        given
    }

    /// Whether the request has what its response has to repeat, and its log events name.
    #[inline]
    pub(crate) fn is_identified(&self) -> bool {
        self.request_id.is_some() || self.traceparent.is_some()
    }

    /// Whether the request may come of a page: browsers send one of these with every request but plain reads.
    #[inline]
    pub(crate) fn is_of_browser(&self) -> bool {
        self.origin.is_some() || self.site.is_some()
    }
}
