//! JSON bodies of requests, collected whole.

use std::ops::Deref;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use hyper::body::{Body as HttpBody, Incoming};
use serde::de::DeserializeOwned;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::http::blocking::blocking;
use crate::http::limits::Limits;
use crate::http::response::code::Code;
use crate::http::response::problem::Problem;

use super::fields;
use super::memory::{BodyMemory, HeldMemory};
use super::pace::{Pace, PacedBody};

/// Longest JSON body that the worker itself parses, in bytes.
const MAX_PARSED_AT_ONCE_BYTES: usize = 64 << 10;
/// Most lists that are in files at a time, for each worker: each holds an open file, and a thread to be read.
pub const UPLOADS_PER_WORKER: usize = 2;
/// Most exports that are under way at a time, for each worker: each holds a part of its answer, or an open file.
pub const EXPORTS_PER_WORKER: usize = 2;
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
            return fields::parse_object(&self.bytes);
        }
        let bytes = self.bytes.clone();
        blocking(move || fields::parse_object(&bytes)).await
    }
}

/// What all request bodies of a server share.
pub(crate) struct Bodies {
    pub(super) limits: Limits,
    pub(super) memory: Arc<BodyMemory>,
    /// Lists that may still get a file.
    pub(super) stages: Arc<Semaphore>,
    /// Exports that may still begin.
    exports: Arc<Semaphore>,
}

impl Bodies {
    pub(crate) fn new(limits: Limits, workers: usize) -> Self {
        let memory = Arc::new(BodyMemory::new(limits.body_memory_bytes));
        let places = |each: usize| Arc::new(Semaphore::new(each * workers));
        Self { limits, memory, stages: places(UPLOADS_PER_WORKER), exports: places(EXPORTS_PER_WORKER) }
    }

    /// The right to make an export, for as long as it lives.
    pub(crate) fn begin_export(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let place = Arc::clone(&self.exports).try_acquire_owned();
        place.map_err(|_| overloaded("Too many exports are in progress: try later"))
    }

    /// Collects a whole body of at most [`Limits::json_body_bytes`], and `most_bytes` of its caller.
    pub(crate) async fn collect_json(&self, body: Incoming, most_bytes: u64) -> Result<JsonBody, Problem> {
        let known_bytes = body.size_hint().lower();
        let mut body = PacedBody::new(body, Pace::of_json(&self.limits)).at_most(most_bytes);
        let limit_bytes = self.limits.json_body_bytes as usize;
        if known_bytes > limit_bytes as u64 {
            return Err(refused(&mut body, too_large(limit_bytes)).await);
        }
        let Some(first) = body.next_chunk().await.transpose()? else {
            return Ok(JsonBody { bytes: Bytes::new(), _held: None });
        };
        if first.len() > limit_bytes {
            drop(first);
            return Err(refused(&mut body, too_large(limit_bytes)).await);
        }
        if body.body.is_end_stream() {
            return Ok(JsonBody { bytes: first, _held: None });
        }
        let mut whole = BytesMut::from(first);
        let mut held = self.memory.hold();
        loop {
            if !held.resize(whole.capacity()) {
                // Others may go on with it meanwhile.
                drop((whole, held));
                let problem = overloaded("The server has no memory for more request bodies: try later");
                return Err(refused(&mut body, problem).await);
            }
            let Some(chunk) = body.next_chunk().await.transpose()? else {
                return Ok(JsonBody { bytes: whole.freeze(), _held: Some(held) });
            };
            if whole.len() + chunk.len() > limit_bytes {
                drop((whole, held));
                return Err(refused(&mut body, too_large(limit_bytes)).await);
            }
            whole.extend_from_slice(&chunk);
        }
    }
}

fn too_large(limit_bytes: usize) -> Problem {
    let detail = format!("A JSON body has at most {limit_bytes} bytes (--max-json): split the request");
    Problem::new(Code::TooLarge, detail)
}

pub(super) fn overloaded(detail: &'static str) -> Problem {
    Problem::new(Code::Overloaded, detail)
}

/// Reads on, so that a client that sends everything before it reads still sees the response. If the body goes on
/// for too long, the connection ends behind the response.
pub(super) async fn refused(body: &mut PacedBody, problem: Problem) -> Problem {
    let mut discarded_bytes = 0;
    loop {
        match body.next_chunk().await {
            None => return problem,
            Some(Err(_)) => return problem.unread(),
            Some(Ok(chunk)) => discarded_bytes += chunk.len(),
        }
        if discarded_bytes > MAX_DISCARDED_BYTES {
            return problem.unread();
        }
    }
}
