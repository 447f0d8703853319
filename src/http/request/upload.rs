//! Lists of numbers in the bodies of requests. A body is staged as it arrives, in memory or in a file, and
//! only a complete one takes a thread: no thread waits for a client.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::sync::Arc;

use bytes::{Buf, Bytes, BytesMut};
use hyper::body::{Body as _, Incoming};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::engine::operations::import::ImportError;
use crate::engine::registry::Engine;
use crate::http::blocking;
use crate::http::lanes::Lane;
use crate::http::response::code::Code;
use crate::http::response::problem::Problem;
use crate::store::staging::StagedFile;

use super::body::{Bodies, overloaded, refused};
use super::memory::HeldMemory;
use super::pace::{Pace, PacedBody};

/// A body up to this size stays in memory; a larger one is written to its file in parts of this size.
const PART_BYTES: usize = 256 << 10;

/// A complete body, to be read.
pub(crate) enum Upload {
    /// All of it is in memory, which is counted as long as this lives.
    Memory(Bytes, #[expect(dead_code, reason = "dropping it gives the memory back")] HeldMemory),
    /// It is in a file, which is gone when it is closed.
    File(BufReader<File>, #[expect(dead_code, reason = "dropping it lets another upload in")] Stage),
}

/// The right to an open file.
type Stage = OwnedSemaphorePermit;

impl Read for Upload {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Memory(bytes, _) => {
                let length = bytes.len().min(out.len());
                bytes.copy_to_slice(&mut out[..length]);
                Ok(length)
            }
            Self::File(file, _) => file.read(out),
        }
    }
}

/// Stages a body of at most `most_bytes`, then runs `work` over it on a thread for long calls.
pub(crate) async fn upload<T: Send + 'static>(
    engine: Arc<Engine>,
    bodies: Arc<Bodies>,
    body: Incoming,
    most_bytes: u64,
    work: impl FnOnce(&mut Upload) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    let mut staged = stage(&engine, &bodies, body, most_bytes).await?;
    blocking::answer(Lane::Long, move || work(&mut staged)).await
}

async fn stage(
    engine: &Arc<Engine>,
    bodies: &Bodies,
    body: Incoming,
    most_bytes: u64,
) -> Result<Upload, Problem> {
    let limit_bytes = bodies.limits.upload_bytes;
    let known_bytes = body.size_hint().lower();
    let mut body = PacedBody::new(body, Pace::of_upload(&bodies.limits)).at_most(most_bytes);
    if known_bytes > limit_bytes {
        return Err(refused(&mut body, too_large(limit_bytes)).await);
    }
    let mut held = bodies.memory.hold();
    let mut part = BytesMut::new();
    let mut file: Option<(StagedFile, Stage)> = None;
    while let Some(chunk) = body.next_chunk().await.transpose()? {
        if body.received_bytes() > limit_bytes {
            drop((part, held, file));
            return Err(refused(&mut body, too_large(limit_bytes)).await);
        }
        if part.len() + chunk.len() <= PART_BYTES && held.resize(part.len() + chunk.len()) {
            part.extend_from_slice(&chunk);
            continue;
        }
        // Without memory for more, smaller parts are written.
        let started = Instant::now();
        match write(engine, bodies, file.take(), [part.split().freeze(), chunk]).await {
            Ok(written) => file = Some(written),
            Err(problem) => {
                drop((part, held));
                return Err(refused(&mut body, problem).await);
            }
        }
        body.excuse(started.elapsed());
    }
    match file {
        None => Ok(Upload::Memory(part.freeze(), held)),
        Some(file) => {
            let (file, stage) = write(engine, bodies, Some(file), [part.freeze(), Bytes::new()]).await?;
            Ok(Upload::File(BufReader::new(file.into_file().map_err(ImportError::from)?), stage))
        }
    }
}

fn too_large(limit_bytes: u64) -> Problem {
    let detail = format!("A list has at most {limit_bytes} bytes (--max-upload): send it in parts");
    Problem::new(Code::TooLarge, detail)
}

/// Appends to the file of an upload, which is made first if there is none.
async fn write(
    engine: &Arc<Engine>,
    bodies: &Bodies,
    file: Option<(StagedFile, Stage)>,
    parts: [Bytes; 2],
) -> Result<(StagedFile, Stage), Problem> {
    let engine = Arc::clone(engine);
    let (file, stage) = if let Some((file, stage)) = file {
        (Some(file), stage)
    } else {
        let stage = Arc::clone(&bodies.stages).try_acquire_owned();
        (None, stage.map_err(|_| overloaded("Too many uploads are in progress: try later"))?)
    };
    blocking::answer(Lane::Staging, move || {
        engine.check_space()?;
        let mut file = file.map_or_else(|| engine.staged_file(), Ok).map_err(ImportError::from)?;
        parts.iter().try_for_each(|part| file.append(part)).map_err(ImportError::from)?;
        Ok((file, stage))
    })
    .await
}
