//! What the log identifies a request by: an id, the caller's or one that is made, and its trace.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use rand::TryRng as _;
use rand::rngs::SysRng;

use crate::log::mask::TOKEN_PREFIX;

use super::request::trace::Trace;

/// Longest `X-Request-Id` that is accepted from a caller, in bytes.
const MAX_REQUEST_ID_BYTES: usize = 64;

/// Both.
#[derive(Clone, Copy)]
pub(crate) struct Ids<'a> {
    pub(crate) request: &'a str,
    pub(crate) trace: Option<&'a Trace>,
}

impl<'a> Ids<'a> {
    pub(crate) fn trace_id(self) -> Option<&'a str> {
        self.trace.map(Trace::trace_id)
    }

    pub(crate) fn span_id(self) -> Option<&'a str> {
        self.trace.map(Trace::span_id)
    }
}

/// Whether an id is safe to repeat in the log and in a header: no token is.
pub(crate) fn is_safe(id: &[u8]) -> bool {
    let prefix = TOKEN_PREFIX.as_bytes();
    !id.windows(prefix.len()).any(|part| part == prefix)
        && (1..=MAX_REQUEST_ID_BYTES).contains(&id.len())
        && id.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:/+=@~".contains(byte))
}

/// An id for a request that has none: a random part of this process and a counter.
pub(crate) fn made_id() -> String {
    static PROCESS: OnceLock<u32> = OnceLock::new();
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let process = PROCESS.get_or_init(|| SysRng.try_next_u32().unwrap_or_else(|_| std::process::id()));
    let mut id = String::new();
    // Writing to a string does not fail.
    let _ = write!(id, "{process:08x}-{}", COUNT.fetch_add(1, Ordering::Relaxed) + 1);
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_taken_if_it_can_stand_in_a_log() {
        for safe in ["a", "0af7651916cd43dd", "01J-x_y.z:1/2+3=@~", &"a".repeat(MAX_REQUEST_ID_BYTES)] {
            assert!(is_safe(safe.as_bytes()), "{safe}");
        }
        for bad in ["", "a b", "a\"b", "a\nb", "alt_x", "\u{e9}", &"a".repeat(MAX_REQUEST_ID_BYTES + 1)] {
            assert!(!is_safe(bad.as_bytes()), "{bad}");
        }
    }

    #[test]
    fn made_ids_are_safe_and_differ() {
        let (one, other) = (made_id(), made_id());
        assert!(is_safe(one.as_bytes()) && one != other, "{one} {other}");
    }
}
