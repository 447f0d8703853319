//! The trace that a request belongs to, by the W3C's Trace Context: the header `traceparent`.

use hyper::header::{HeaderName, HeaderValue};
use rand::TryRng as _;
use rand::rngs::SysRng;

/// `VERSION-TRACE-PARENT-FLAGS`, in lower-case hexadecimal digits.
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Bytes of the four parts, which a hyphen separates.
const PARTS: [usize; 4] = [2, 32, 16, 2];
/// Bytes of a `traceparent` of version 00.
const TRACEPARENT_BYTES: usize = 55;
/// The version that is never given.
const NO_VERSION: &str = "ff";

/// A span of the daemon's own in the trace of a caller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Trace {
    /// As a `traceparent` of version 00.
    text: String,
}

impl Trace {
    /// A span below that of a `traceparent`. `None` if it is not one, as the standard wants it: then the request
    /// has no trace.
    pub(crate) fn below(traceparent: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(traceparent).ok()?;
        let known = text.get(..TRACEPARENT_BYTES)?;
        let parts: Vec<_> = known.split('-').collect();
        let is_hex = |part: &str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
        let [version, trace, parent, flags] = parts[..] else { return None };
        let fits = parts.iter().zip(PARTS).all(|(part, bytes)| part.len() == bytes && is_hex(part));
        // A later version may have more behind.
        let ends = text.len() == TRACEPARENT_BYTES
            || (version != "00" && text.as_bytes()[TRACEPARENT_BYTES] == b'-');
        if !fits || !ends || version == NO_VERSION || is_zero(trace) || is_zero(parent) {
            return None;
        }
        // Zero is no span. Without randomness the request goes without a trace.
        let span = SysRng.try_next_u64().ok()?.max(1);
        Some(Self { text: format!("00-{trace}-{span:016x}-{flags}") })
    }

    /// The trace, as the log has it.
    pub(crate) fn trace_id(&self) -> &str {
        &self.text[3..35]
    }

    /// The daemon's own span in it.
    pub(crate) fn span_id(&self) -> &str {
        &self.text[36..52]
    }

    /// The header of the response.
    pub(crate) fn header(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.text).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIVEN: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

    #[test]
    fn a_span_is_the_daemons_own_in_the_trace_of_the_caller() {
        let trace = Trace::below(GIVEN.as_bytes()).unwrap();
        assert_eq!(trace.trace_id(), "0af7651916cd43dd8448eb211c80319c");
        assert_ne!(trace.span_id(), "b7ad6b7169203331");
        let header = trace.header().unwrap();
        assert_eq!(
            header.to_str().unwrap(),
            format!("00-0af7651916cd43dd8448eb211c80319c-{}-01", trace.span_id())
        );
        assert!(Trace::below(header.as_bytes()).is_some());
        assert_ne!(Trace::below(GIVEN.as_bytes()), Trace::below(GIVEN.as_bytes()));
    }

    #[test]
    fn what_is_no_traceparent_is_no_trace() {
        let later = GIVEN.replacen("00", "01", 1);
        for good in [GIVEN.to_owned(), later.clone(), format!("{later}-more")] {
            assert!(Trace::below(good.as_bytes()).is_some(), "{good}");
        }
        for bad in [
            String::new(),
            GIVEN[..54].to_owned(),
            format!("{GIVEN}-more"),
            format!("{later}more"),
            GIVEN.replacen("00", "ff", 1),
            GIVEN.to_uppercase(),
            GIVEN.replace("0af7651916cd43dd8448eb211c80319c", &"0".repeat(32)),
            GIVEN.replace("b7ad6b7169203331", &"0".repeat(16)),
            GIVEN.replacen('-', "0", 1),
            GIVEN.replace("0af7", "0a\"7"),
            "\u{e9}".repeat(40),
        ] {
            assert_eq!(Trace::below(bad.as_bytes()), None, "{bad}");
        }
    }
}
