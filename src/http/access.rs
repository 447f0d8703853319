//! Finds out who makes a request: by its token, or by its connection.
//!
//! A connection remembers the last token that it was given, and who holds it: nearly always the next request
//! has the same, and one comparison tells. What it remembers ends with the table of tokens that it is from.

use std::cell::{Ref, RefCell};
use std::sync::Arc;

use hyper::header::HeaderValue;

use crate::auth::access_token::TokenHash;
use crate::auth::authority::Authority;
use crate::auth::principal::Principal;
use crate::auth::usage::ConnectionShare;
use crate::state::time::Timestamp;

use super::actor::Actor;
use super::caller::{Caller, Known};
use super::calls::Api;
use super::request::headers::RequestHeaders;
use super::response::problem::{Problem, RETRY_AFTER_SECONDS};
use super::server::tls::client::ClientCertificate;

const NANOS_PER_SECOND: u64 = 1_000_000_000;
/// How long a token that expires is believed before its time is looked at again.
const RECHECK_NANOS: u64 = NANOS_PER_SECOND;
const SCHEME: &[u8] = b"bearer";

/// Whom a connection's requests were from.
#[derive(Debug, Default)]
pub(crate) struct Access {
    last: RefCell<Option<Last>>,
}

/// Who presented a token last.
#[derive(Debug)]
struct Last {
    /// The whole header; `None` for the principal of the connection itself.
    presented: Option<Box<[u8]>>,
    /// The version of the table that it was found in; 0 for none.
    version: u64,
    believed_until_nanos: u64,
    actor: Actor,
}

/// Who makes a request, borrowed from what the connection remembers.
#[derive(Debug)]
pub(crate) enum Seen<'a> {
    /// Nobody in particular.
    Nobody,
    Remembered(Ref<'a, Actor>),
}

impl Seen<'_> {
    #[inline]
    pub(crate) fn actor(&self) -> &Actor {
        static NOBODY: Actor = Actor::NOBODY;
        match self {
            Self::Nobody => &NOBODY,
            Self::Remembered(actor) => actor,
        }
    }
}

impl Access {
    /// Who makes a request. Fails if the daemon serves only whom it knows.
    #[inline]
    pub(crate) fn actor(
        &self,
        api: &Api,
        caller: &Caller,
        given: &RequestHeaders<'_>,
        now_nanos: u64,
    ) -> Result<Seen<'_>, Problem> {
        match (&api.authority, &caller.known) {
            (None, Known::Anyone) => Ok(Seen::Nobody),
            (authority, known) => self.looked_up(api, authority.as_deref(), known, given, now_nanos),
        }
    }

    #[expect(clippy::inline_always, reason = "a token that was seen last costs little more than a call does")]
    #[inline(always)]
    fn looked_up(
        &self,
        api: &Api,
        authority: Option<&Authority>,
        known: &Known,
        given: &RequestHeaders<'_>,
        now_nanos: u64,
    ) -> Result<Seen<'_>, Problem> {
        // A certificate is looked at whatever token comes with it.
        if let (Some(authority), Some(header)) = (authority, given.authorization)
            && !matches!(known, Known::Certificate(_))
            && let Some(seen) =
                self.by_last_token(authority.version(), (header.as_bytes(), given.authorizations), now_nanos)
        {
            return Ok(seen);
        }
        self.known_actor(api, authority, known, given, now_nanos)
    }

    /// Apart, so that neither a daemon without tokens nor a token that was seen last pays for it.
    #[inline(never)]
    fn known_actor(
        &self,
        api: &Api,
        authority: Option<&Authority>,
        known: &Known,
        given: &RequestHeaders<'_>,
        now_nanos: u64,
    ) -> Result<Seen<'_>, Problem> {
        if let Known::Certificate(certificate) = known
            && !certificate.is_accepted(now_nanos)
        {
            self.last.replace(None);
            return Err(certificate_over());
        }
        match (authority, given.authorization, known) {
            (Some(authority), Some(token), _) => {
                self.by_token(api, authority, (token, given.authorizations), now_nanos)
            }
            (_, _, Known::Principal(principal)) => {
                self.by_connection(0, now_nanos, || Ok(Arc::clone(principal)))
            }
            (Some(authority), None, Known::Certificate(certificate)) => {
                self.by_connection(authority.version(), now_nanos, || {
                    by_certificate(api.engine.now(), authority, certificate)
                })
            }
            (Some(_), None, Known::Anyone | Known::Nobody) => Err(Problem::no_token()),
            (None, _, Known::Nobody) => Err(no_role()),
            (None, _, Known::Anyone | Known::Certificate(_)) => Ok(Seen::Nobody),
        }
    }

    #[inline]
    fn by_token(
        &self,
        api: &Api,
        authority: &Authority,
        (header, headers): (&HeaderValue, usize),
        now_nanos: u64,
    ) -> Result<Seen<'_>, Problem> {
        let header = header.as_bytes();
        // Before the table: what is found in a newer one is only looked up once more.
        let version = authority.version();
        if let Some(seen) = self.by_last_token(version, (header, headers), now_nanos) {
            return Ok(seen);
        }
        let mut last = self.last.borrow_mut();
        let actor = match look_up(api.engine.now(), authority, header, headers) {
            Ok(principal) => enter(last.take(), principal)?,
            Err(problem) => {
                *last = None;
                return Err(problem);
            }
        };
        let believed_until_nanos = believed_until(&actor, now_nanos);
        drop(last);
        Ok(self.remember(Last { presented: Some(header.into()), version, believed_until_nanos, actor }))
    }

    /// Who was seen last, if the request has the same token.
    #[inline]
    fn by_last_token(
        &self,
        version: u64,
        (header, headers): (&[u8], usize),
        now_nanos: u64,
    ) -> Option<Seen<'_>> {
        self.remembered(|last| {
            last.version == version
                && headers == 1
                && now_nanos < last.believed_until_nanos
                && last.presented.as_deref().is_some_and(|presented| is_equal(presented, header))
        })
    }

    /// The principal that the connection itself shows. `find` is asked again when the version changes, and from
    /// time to time if the principal ends.
    fn by_connection(
        &self,
        version: u64,
        now_nanos: u64,
        find: impl FnOnce() -> Result<Arc<Principal>, Problem>,
    ) -> Result<Seen<'_>, Problem> {
        let seen = self.remembered(|last| {
            last.presented.is_none() && last.version == version && now_nanos < last.believed_until_nanos
        });
        if let Some(seen) = seen {
            return Ok(seen);
        }
        let before = self.last.take();
        let actor = enter(before, find()?)?;
        let believed_until_nanos = believed_until(&actor, now_nanos);
        Ok(self.remember(Last { presented: None, version, believed_until_nanos, actor }))
    }

    /// Who was seen last, if that still holds.
    #[inline]
    fn remembered(&self, holds: impl FnOnce(&Last) -> bool) -> Option<Seen<'_>> {
        let last = Ref::filter_map(self.last.borrow(), Option::as_ref).ok()?;
        holds(&last).then(|| Seen::Remembered(Ref::map(last, |last| &last.actor)))
    }

    fn remember(&self, last: Last) -> Seen<'_> {
        self.last.replace(Some(last));
        // It was set just before.
        match Ref::filter_map(self.last.borrow(), Option::as_ref) {
            Ok(last) => Seen::Remembered(Ref::map(last, |last| &last.actor)),
            Err(_) => Seen::Nobody,
        }
    }
}

/// Until when it is not asked again whether a principal has ended.
fn believed_until(actor: &Actor, now_nanos: u64) -> u64 {
    let expires = actor.principal().and_then(Principal::expires);
    expires.map_or(u64::MAX, |_| now_nanos.saturating_add(RECHECK_NANOS))
}

/// Who makes a request to a server without an engine, which remembers nobody; `None` for nobody in particular. Fails
/// if it serves only whom it knows.
pub(crate) fn principal_of(
    authority: Option<&Authority>,
    known: &Known,
    given: &RequestHeaders<'_>,
    (now, now_nanos): (Timestamp, u64),
) -> Result<Option<Arc<Principal>>, Problem> {
    if let Known::Certificate(certificate) = known
        && !certificate.is_accepted(now_nanos)
    {
        return Err(certificate_over());
    }
    match (authority, given.authorization, known) {
        (Some(authority), Some(token), _) => {
            look_up(now, authority, token.as_bytes(), given.authorizations).map(Some)
        }
        (_, _, Known::Principal(principal)) => Ok(Some(Arc::clone(principal))),
        (Some(authority), None, Known::Certificate(certificate)) => {
            by_certificate(now, authority, certificate).map(Some)
        }
        (Some(_), None, Known::Anyone | Known::Nobody) => Err(Problem::no_token()),
        (None, _, Known::Nobody) => Err(no_role()),
        (None, _, Known::Anyone | Known::Certificate(_)) => Ok(None),
    }
}

fn certificate_over() -> Problem {
    Problem::invalid_token(
        "The certificate of this connection has expired, or is not accepted any more: connect again with another",
    )
}

fn no_role() -> Problem {
    Problem::forbidden("This user has no role at this socket: ask the operator for one (peers of --listen)")
}

/// Who has a certificate.
fn by_certificate(
    now: Timestamp,
    authority: &Authority,
    certificate: &ClientCertificate,
) -> Result<Arc<Principal>, Problem> {
    let principal = authority.find_certificate(&certificate.identity).ok_or_else(Problem::no_token)?;
    match principal.expires() {
        Some(expires) if expires <= now => Err(Problem::invalid_token(format!(
            "What this certificate allows expired at {expires}: ask the operator for more"
        ))),
        _ => Ok(principal),
    }
}

/// Who presents a token.
fn look_up(
    now: Timestamp,
    authority: &Authority,
    header: &[u8],
    headers: usize,
) -> Result<Arc<Principal>, Problem> {
    if headers > 1 {
        return Err(Problem::invalid_token("There are several Authorization headers: send one"));
    }
    let token = bearer_token(header).ok_or_else(|| {
        Problem::invalid_token("Authorization is not understood: send Bearer, a space and the token")
    })?;
    let hash = TokenHash::of_token(token).map_err(|error| {
        Problem::invalid_token(format!("The token is refused, as {error}: send the one you were given"))
    })?;
    let principal = authority.find(&hash).ok_or_else(|| {
        Problem::invalid_token("The token is not known, or no longer: ask the operator for another")
    })?;
    match principal.expires() {
        Some(expires) if expires <= now => Err(Problem::invalid_token(format!(
            "The token expired at {expires}: ask the operator for another"
        ))),
        _ => Ok(principal),
    }
}

/// The token of an `Authorization` header: the scheme in any case, spaces, and what follows.
fn bearer_token(header: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = header.split_at_checked(SCHEME.len())?;
    let token = rest.trim_ascii();
    (scheme.eq_ignore_ascii_case(SCHEME) && rest.starts_with(b" ") && !token.is_empty()).then_some(token)
}

/// Counts the connection as one of a principal's, and no longer as one of whom it was of before.
fn enter(before: Option<Last>, principal: Arc<Principal>) -> Result<Actor, Problem> {
    let usage = principal.usage();
    let share = before.as_ref().and_then(|last| last.actor.on_connection()).map(|on| &on.share);
    if let Some(share) = share.filter(|share| share.is_of(usage)) {
        return Ok(Actor::of(Arc::clone(&principal), Arc::clone(share)));
    }
    drop(before);
    let Some(share) = ConnectionShare::take(usage, principal.quota()) else {
        let most = principal.quota().connections.unwrap_or_default();
        let detail = format!("This caller may use {most} connections at a time: close others, or reuse them");
        return Err(Problem::quota_exceeded(detail, RETRY_AFTER_SECONDS));
    };
    Ok(Actor::of(principal, Arc::new(share)))
}

/// Compares in a time that does not depend on where the texts differ: a proxy may send the requests of several
/// callers over one connection.
#[inline]
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    let (Some(one_end), Some(other_end)) = (one.last_chunk(), other.last_chunk()) else {
        return is_equal_and_short(one, other);
    };
    // What is left behind the last whole chunk comes first.
    let (mut low, mut high) = difference(one_end, other_end);
    for (a, b) in one.as_chunks().0.iter().zip(other.as_chunks().0) {
        let (more_low, more_high) = difference(a, b);
        (low, high) = (low | more_low, high | more_high);
    }
    low | high == 0
}

/// The bits in which two chunks differ, in halves.
#[inline]
fn difference(one: &[u8; 16], other: &[u8; 16]) -> (u64, u64) {
    let halves = |bytes: &[u8; 16]| {
        let bits = u128::from_ne_bytes(*bytes);
        (bits as u64, (bits >> 64) as u64)
    };
    let (one, other) = (halves(one), halves(other));
    (one.0 ^ other.0, one.1 ^ other.1)
}

/// As [`is_equal`]. No token is as short.
#[cold]
fn is_equal_and_short(one: &[u8], other: &[u8]) -> bool {
    one.iter().zip(other).fold(0, |differing, (a, b)| differing | a ^ b) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_token_is_what_follows_the_scheme() {
        for good in ["Bearer x", "bearer  x", "BEARER x "] {
            assert_eq!(bearer_token(good.as_bytes()), Some(&b"x"[..]), "{good}");
        }
        for bad in ["", "Bearer", "Bearer ", "Bearerx", "Basic eDp4", "Bearer\tx", " Bearer x", "Token x"] {
            assert_eq!(bearer_token(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn texts_are_compared_to_their_end() {
        assert!(is_equal(b"abc", b"abc") && is_equal(b"", b""));
        let long = b"Bearer alt_0123456789";
        for place in 0..long.len() {
            let mut other = *long;
            other[place] ^= 1;
            assert!(is_equal(long, long) && !is_equal(long, &other), "{place}");
        }
        for length in 0..=long.len() {
            let (one, mut other) = (&long[..length], long[..length].to_vec());
            assert!(is_equal(one, &other), "{length}");
            if let Some(last) = other.last_mut() {
                *last ^= 1;
                assert!(!is_equal(one, &other), "{length}");
            }
        }
        assert!(!is_equal(b"abc", b"abd") && !is_equal(b"abc", b"ab") && !is_equal(b"xbc", b"abc"));
    }
}
