//! The leases in an answer, and requests that name them.

use memchr::{memchr, memmem};

use super::answers::AnswerError;

/// A lease in text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OwnedLease {
    pub(crate) number: String,
    pub(crate) token: String,
}

const NUMBER_MEMBER: &[u8] = b"\"number\":";
const TOKEN_MEMBER: &[u8] = b",\"token\":\"";

/// A lease as its answer has it, in text: it is only sent back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseText<'a> {
    /// Digits.
    pub number: &'a [u8],
    /// Proof of the lease.
    pub token: &'a [u8],
}

/// How often `what` is in a body.
pub(crate) fn count(body: &[u8], what: &[u8]) -> u64 {
    memmem::find_iter(body, what).count() as u64
}

/// How many leases a body has.
pub(crate) fn count_leases(body: &[u8]) -> u64 {
    count(body, NUMBER_MEMBER)
}

/// Calls `on_lease` with each lease of a body; returns how many there are.
pub(crate) fn each_lease<'a>(
    mut body: &'a [u8],
    mut on_lease: impl FnMut(LeaseText<'a>),
) -> Result<u64, AnswerError> {
    let finder = memmem::Finder::new(NUMBER_MEMBER);
    let mut found = 0;
    while let Some(at) = finder.find(body) {
        body = &body[at + NUMBER_MEMBER.len()..];
        let digits = body.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (number, rest) = body.split_at(digits);
        let rest = rest.strip_prefix(TOKEN_MEMBER).ok_or(AnswerError::Body)?;
        let (token, rest) = rest.split_at(memchr(b'"', rest).ok_or(AnswerError::Body)?);
        if number.is_empty() || token.is_empty() {
            return Err(AnswerError::Body);
        }
        on_lease(LeaseText { number, token });
        found += 1;
        body = rest;
    }
    Ok(found)
}

/// Appends one item of a body of renew or return.
pub(crate) fn put_item(out: &mut Vec<u8>, lease: LeaseText<'_>) {
    out.extend_from_slice(b"{\"number\":");
    out.extend_from_slice(lease.number);
    out.extend_from_slice(TOKEN_MEMBER);
    out.extend_from_slice(lease.token);
    out.extend_from_slice(b"\"}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn leases_are_read_and_handed_back() {
        let body = br#"{"leases":[{"number":79120000001,"token":"AAAAAAAAAAA","generation":1,"expires_at":"x"},{"number":7,"token":"-_","generation":2}]}"#;
        let mut out = Vec::new();
        assert_eq!(each_lease(body, |lease| put_item(&mut out, lease)), Ok(2));
        assert_eq!(out, br#"{"number":79120000001,"token":"AAAAAAAAAAA"}{"number":7,"token":"-_"}"#);
        assert_eq!(count_leases(body), 2);
        assert_eq!(each_lease(b"{\"leases\":[]}", |_| ()), Ok(0));
        for length in 0..body.len() {
            // Cut anywhere it is an error or fewer leases, never a panic.
            let _ = each_lease(&body[..length], |_| ());
        }
        assert_eq!(each_lease(b"\"number\":7,\"x\":1", |_| ()), Err(AnswerError::Body));
        assert_eq!(each_lease(b"\"number\":,\"token\":\"a\"", |_| ()), Err(AnswerError::Body));
    }
}
