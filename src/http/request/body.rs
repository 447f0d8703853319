//! JSON bodies of requests, collected whole.

use std::ops::Deref;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Incoming};
use serde::de::DeserializeOwned;
use tokio::sync::Semaphore;

use crate::http::blocking::blocking;
use crate::http::limits::Limits;
use crate::http::response::problem::{Code, Problem};

use super::fields;
use super::memory::{BodyMemory, HeldMemory};
use super::pace::{Pace, PacedBody};

/// Longest JSON body of a request, in bytes.
pub const MAX_JSON_BODY_BYTES: usize = 8 << 20;
/// Longest JSON body that the worker itself parses, in bytes.
const MAX_PARSED_AT_ONCE_BYTES: usize = 64 << 10;
/// Most uploads that are in files at a time: each holds an open file.
const MAX_STAGED_UPLOADS: usize = 256;
/// How much of a refused body is still read, so that its sender sees the response, in bytes.
const MAX_DISCARDED_BYTES: usize = 64 << 20;

/// A whole JSON body. Its memory is counted as long as this lives.
pub(crate) struct JsonBody {
    bytes: Bytes,
    /// `None` if it was complete at once.
    _held: Option<HeldMemory>,
}

impl Deref for JsonBody {
    type Target = Bytes;

    fn deref(&self) -> &Bytes {
        &self.bytes
    }
}

impl JsonBody {
    /// Parses it; if it is long, on a thread that may block.
    pub(crate) async fn parse<T: DeserializeOwned + Send + 'static>(&self) -> Result<T, Problem> {
        if self.bytes.len() <= MAX_PARSED_AT_ONCE_BYTES {
            return fields::parse(&self.bytes);
        }
        let bytes = self.bytes.clone();
        blocking(move || fields::parse(&bytes)).await
    }
}

/// What all request bodies of a server share.
pub(crate) struct Bodies {
    pub(super) limits: Limits,
    pub(super) memory: Arc<BodyMemory>,
    /// Uploads that may still get a file.
    pub(super) stages: Arc<Semaphore>,
}

impl Bodies {
    pub(crate) fn new(limits: Limits) -> Self {
        let memory = Arc::new(BodyMemory::new(limits.body_memory_bytes));
        Self { limits, memory, stages: Arc::new(Semaphore::new(MAX_STAGED_UPLOADS)) }
    }

    /// Collects a whole body of at most [`MAX_JSON_BODY_BYTES`].
    pub(crate) async fn collect_json(&self, body: Incoming) -> Result<JsonBody, Problem> {
        let known_bytes = body.size_hint().lower();
        let mut body = PacedBody::new(body, Pace::of_json(&self.limits));
        if known_bytes > MAX_JSON_BODY_BYTES as u64 {
            discard(&mut body).await;
            return Err(too_large());
        }
        let Some(first) = body.next_chunk().await.transpose()? else {
            return Ok(JsonBody { bytes: Bytes::new(), _held: None });
        };
        if body.body.is_end_stream() && first.len() <= MAX_JSON_BODY_BYTES {
            return Ok(JsonBody { bytes: first, _held: None });
        }
        let mut whole = BytesMut::from(first);
        let mut held = self.memory.hold();
        loop {
            if !held.resize(whole.capacity()) {
                drop(whole);
                discard(&mut body).await;
                return Err(overloaded("The server has no memory for more request bodies: try later"));
            }
            let Some(chunk) = body.next_chunk().await.transpose()? else {
                return Ok(JsonBody { bytes: whole.freeze(), _held: Some(held) });
            };
            if whole.len() + chunk.len() > MAX_JSON_BODY_BYTES {
                drop((whole, held));
                discard(&mut body).await;
                return Err(too_large());
            }
            whole.extend_from_slice(&chunk);
        }
    }
}

fn too_large() -> Problem {
    let detail = format!("A JSON body has at most {MAX_JSON_BODY_BYTES} bytes: split the request");
    Problem::new(Code::TooLarge, detail)
}

pub(super) fn overloaded(detail: &'static str) -> Problem {
    Problem::new(Code::Overloaded, detail)
}

/// Reads on, so that a client that sends everything before it reads still sees the response.
pub(super) async fn discard(body: &mut PacedBody) {
    let mut discarded_bytes = 0;
    while let Some(Ok(chunk)) = body.next_chunk().await {
        discarded_bytes += chunk.len();
        if discarded_bytes > MAX_DISCARDED_BYTES {
            return;
        }
    }
}
