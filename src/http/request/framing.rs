//! Refuses, before anything is executed, what servers on the way could read differently: two lengths of a body,
//! other codings than `chunked`, expectations that nobody knows.

use hyper::header::{HeaderMap, HeaderValue, TRANSFER_ENCODING};

use crate::http::response::code::Code;
use crate::http::response::problem::Problem;

/// What a head says of the length of its body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Framing {
    /// One thing, or nothing.
    Clear,
    /// It has `Content-Length` and `Transfer-Encoding`.
    Twice,
    /// It has `Transfer-Encoding`, and it is not known where the head begins.
    Behind,
}

/// Checks how the body of a request is sent.
pub(crate) fn check(framing: Framing, headers: &HeaderMap) -> Result<(), Problem> {
    match framing {
        Framing::Twice => Err(Problem::bad_request(
            "The request has Content-Length and Transfer-Encoding: send only one of them",
        )),
        Framing::Behind => Err(Problem::bad_request(
            "A request with Transfer-Encoding follows another one whose answer has not been read: wait for the \
             answer, or send Content-Length",
        )),
        Framing::Clear => {
            let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
            let one = codings.next().is_none_or(|coding| coding.as_bytes().eq_ignore_ascii_case(b"chunked"));
            if one && codings.next().is_none() {
                return Ok(());
            }
            Err(Problem::new(
                Code::UnsupportedCoding,
                "Transfer-Encoding is not understood: send the body as it is, with Content-Length or chunked once",
            ))
        }
    }
}

/// Checks an `Expect`.
pub(crate) fn check_expect(expect: &HeaderValue) -> Result<(), Problem> {
    if expect.as_bytes().eq_ignore_ascii_case(b"100-continue") {
        return Ok(());
    }
    Err(Problem::new(Code::ExpectationFailed, "Expect is not understood: leave it out, or send 100-continue"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_chunked_once_is_a_coding() {
        for (codings, fits) in [
            (["chunked"].as_slice(), true),
            (&["Chunked"], true),
            (&[], true),
            (&["chunked", "chunked"], false),
            (&["chunked, chunked"], false),
            (&["gzip, chunked"], false),
            (&["gzip", "chunked"], false),
            (&["identity"], false),
            (&["chunked;a=b"], false),
            (&[""], false),
        ] {
            let mut headers = HeaderMap::new();
            for coding in codings {
                headers.append(TRANSFER_ENCODING, HeaderValue::from_static(coding));
            }
            assert_eq!(check(Framing::Clear, &headers).is_ok(), fits, "{codings:?}");
        }
    }
}
