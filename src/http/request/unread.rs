//! Bodies of requests that are refused before they are read. With HTTP/1 the next request stands behind the body:
//! one that is small, or has come already, is dropped, and behind any other the connection ends, which the response
//! says.

use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::EXPECT;
use hyper::{Request, Version};

use super::pace::{Pace, PacedBody};

/// Largest body that is read though its request is refused, in bytes.
pub const UNREAD_BODY_BYTES: u64 = 64 << 10;
/// How long it may take, in seconds.
pub const UNREAD_BODY_SECONDS: u64 = 1;

/// Whether the next request stands behind a body.
#[inline]
pub(crate) fn is_in_the_way(request: &Request<Incoming>) -> bool {
    request.version() < Version::HTTP_2 && !request.body().is_end_stream()
}

/// Reads the body of a refused request, if it is small and arrives at once. Returns whether it did.
pub(crate) async fn pass(request: Request<Incoming>) -> bool {
    // Who waits for leave to send its body sends it if it is read.
    if request.headers().contains_key(EXPECT) || request.body().size_hint().lower() > UNREAD_BODY_BYTES {
        return false;
    }
    let pace = Pace::of_unread(Duration::from_secs(UNREAD_BODY_SECONDS));
    let mut body = PacedBody::new(request.into_body(), pace).at_most(UNREAD_BODY_BYTES);
    loop {
        match body.next_chunk().await {
            Some(Ok(_)) => {}
            Some(Err(_)) => return false,
            None => return true,
        }
    }
}
