//! `GET /v1/pools/{pool}/numbers`: the numbers of a pool, streamed as text, CSV or Roaring.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Request, Response};
use tokio::sync::OwnedSemaphorePermit;

use crate::engine::operations::export::Export;
use crate::engine::operations::lookup::NumberState;
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::blocking::{self, blocking};
use crate::http::calls::{Api, Handled, Reply, pool_of, query_of};
use crate::http::lanes::Lane;
use crate::http::request::query::Query;
use crate::http::request::within::WithinField;
use crate::http::response::body::{Body, Parts, Stream};
use crate::http::response::code::Code;
use crate::http::response::problem::Problem;
use crate::numbers::number::NumberRange;
use crate::numbers::set::writer::SetWriter;
use crate::state::holder_column::HolderId;
use crate::state::number_state::State;
use crate::state::state_set::StateSet;

/// Approximate bytes of a part, which is handed to the connection at once.
pub(super) const PART_BYTES: usize = 128 << 10;
/// Most blocks that are looked at for one part: few numbers may be in the states that are wanted.
const BLOCKS_PER_PART: usize = 32;

/// The format of an export.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Text,
    Csv,
    Roaring,
}

impl Format {
    /// The content type.
    pub(super) fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Csv => "text/csv; charset=utf-8",
            Self::Roaring => "application/octet-stream",
        }
    }

    /// The first type in `Accept` that an export can have; text if `Accept` allows any type or is missing.
    pub(super) fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(accept) = headers.get(ACCEPT) else { return Ok(Self::Text) };
        let mut types = accept.to_str().unwrap_or_default().split(',');
        types
            .find_map(|item| match item.split(';').next().unwrap_or_default().trim() {
                "text/plain" | "text/*" | "*/*" => Some(Self::Text),
                "text/csv" => Some(Self::Csv),
                "application/octet-stream" => Some(Self::Roaring),
                _ => None,
            })
            .ok_or_else(|| {
                Problem::bad_request(
                    "Accept names no type that an export can have: give text/plain, text/csv or \
                     application/octet-stream",
                )
            })
    }
}

fn states_of(query: &Query) -> Result<StateSet, Problem> {
    let Some(text) = query.text("state") else { return Ok(StateSet::all()) };
    let mut states = StateSet::default();
    for word in text.split(',') {
        let state: State = word.parse().map_err(|error: crate::state::number_state::NotAState| {
            Problem::bad_request(error.to_string())
        })?;
        states = states.with(state);
    }
    Ok(states)
}

/// `GET /v1/pools/{pool}/numbers`
pub(crate) fn export(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let pool = pool_of(api, &request)?;
    let query = Query::parse(query_of(&request), &["state", "within"])?;
    let states = states_of(&query)?;
    let format = Format::accepted(request.headers())?;
    let within = query.text("within").map(WithinField::from_query).transpose()?;
    let place = api.bodies.begin_export()?;
    Handled::later(streamed(Selection { pool, states, within }, format, place))
}

/// What is exported.
struct Selection {
    pool: Arc<Pool>,
    states: StateSet,
    within: Option<WithinField>,
}

impl Selection {
    /// Begins the export. May take long, if there are many ranges.
    fn open(self) -> Export {
        let within = self.within.map(|field| self.pool.within(&field.0));
        Export::new(self.pool, self.states, within.as_ref())
    }
}

async fn streamed(selection: Selection, format: Format, place: OwnedSemaphorePermit) -> Reply {
    let stream = if format == Format::Roaring {
        let file = blocking::answer(Lane::Long, move || roaring_file(&mut selection.open())).await?;
        Stream::new(FileParts(file, place))
    } else {
        let holders_of = selection.pool.tracks_holders().then(|| Arc::clone(&selection.pool));
        let export = blocking(move || Ok(selection.open())).await?;
        Stream::new(Rows {
            export,
            holders_of,
            format,
            header: format == Format::Csv,
            block: Vec::new().into_iter(),
            _place: place,
        })
    };
    let mut response: Response<Body> = Response::new(Body::Stream(Box::new(stream)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(format.media_type()));
    Ok(response)
}

/// The lines of an export.
struct Rows {
    export: Export,
    format: Format,
    /// The pool, if it tracks holders.
    holders_of: Option<Arc<Pool>>,
    /// Whether the header is still to be written.
    header: bool,
    block: std::vec::IntoIter<NumberState>,
    /// Dropping it lets another export begin.
    _place: OwnedSemaphorePermit,
}

impl Parts for Rows {
    fn next_part(&mut self) -> io::Result<Option<Bytes>> {
        let mut part = BytesMut::with_capacity(PART_BYTES + PART_BYTES / 4);
        if std::mem::take(&mut self.header) {
            part.put_slice(b"number,state,generation,until");
            part.put_slice(if self.holders_of.is_some() { b",holder\n" } else { b"\n" });
        }
        let mut digits = itoa::Buffer::new();
        let mut ended = false;
        for _ in 0..BLOCKS_PER_PART {
            for row in self.block.by_ref() {
                part.put_slice(digits.format(row.number.get()).as_bytes());
                if self.format == Format::Csv {
                    put_csv_columns(&mut part, &row);
                    if let Some(pool) = &self.holders_of {
                        put_holder(&mut part, pool, row.holder);
                    }
                }
                part.put_u8(b'\n');
                if part.len() >= PART_BYTES {
                    break;
                }
            }
            if part.len() >= PART_BYTES || ended {
                break;
            }
            let mut block = Vec::new();
            ended = !self.export.next_block(&mut block);
            self.block = block.into_iter();
        }
        if part.is_empty() && ended {
            return Ok(None);
        }
        if !part.is_empty() {
            self.export.settle()?;
        }
        Ok(Some(part.freeze()))
    }
}

fn put_csv_columns(chunk: &mut BytesMut, row: &NumberState) {
    chunk.put_u8(b',');
    chunk.put_slice(row.state.as_str().as_bytes());
    chunk.put_u8(b',');
    chunk.put_slice(itoa::Buffer::new().format(row.generation).as_bytes());
    chunk.put_u8(b',');
    if let Some(until) = row.until {
        chunk.put_slice(until.to_string().as_bytes());
    }
}

/// Writes a holder's name.
fn put_holder(chunk: &mut BytesMut, pool: &Pool, holder: HolderId) {
    chunk.put_u8(b',');
    if let Some(name) = pool.holder_name(holder) {
        chunk.put_slice(name.csv_cell().as_bytes());
    }
}

/// Writes the numbers as a set into a temporary file: a set begins with its count, so it cannot be streamed.
fn roaring_file(export: &mut Export) -> Result<File, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        Problem::new(Code::Internal, format!("The export could not be written to a temporary file: {error}"))
    };
    let file = temporary_file().map_err(|error| failed(&error))?;
    let mut set = SetWriter::new(io::BufWriter::new(&file)).map_err(|error| failed(&error))?;
    let mut rows: Vec<NumberState> = Vec::new();
    while export.next_block(&mut rows) {
        for row in rows.drain(..) {
            set.push(NumberRange::single(row.number)).map_err(|error| failed(&error))?;
        }
    }
    set.finish().map_err(|error| failed(&error))?;
    export.settle().map_err(|error| failed(&error))?;
    (&file).rewind().map_err(|error| failed(&error))?;
    Ok(file)
}

/// Writes ranges as a set into a temporary file.
pub(super) fn set_file(ranges: impl Iterator<Item = NumberRange>) -> Result<File, Problem> {
    let failed = |error: &dyn std::fmt::Display| {
        Problem::new(Code::Internal, format!("The export could not be written to a temporary file: {error}"))
    };
    let file = temporary_file().map_err(|error| failed(&error))?;
    let mut set = SetWriter::new(io::BufWriter::new(&file)).map_err(|error| failed(&error))?;
    for range in ranges {
        set.push(range).map_err(|error| failed(&error))?;
    }
    set.finish().map_err(|error| failed(&error))?;
    (&file).rewind().map_err(|error| failed(&error))?;
    Ok(file)
}

/// A file in the system's temporary directory that is removed when it is closed.
fn temporary_file() -> io::Result<File> {
    let flags = rustix::fs::OFlags::TMPFILE | rustix::fs::OFlags::RDWR | rustix::fs::OFlags::CLOEXEC;
    let mode = rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR;
    Ok(rustix::fs::open(std::env::temp_dir(), flags, mode)?.into())
}

/// The content of a file.
pub(super) struct FileParts(
    pub(super) File,
    #[expect(dead_code, reason = "dropping it lets another export begin")] pub(super) OwnedSemaphorePermit,
);

impl Parts for FileParts {
    fn next_part(&mut self) -> io::Result<Option<Bytes>> {
        let mut part = vec![0; PART_BYTES];
        let length = self.0.read(&mut part)?;
        part.truncate(length);
        Ok((length > 0).then(|| Bytes::from(part)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accept_chooses_the_format() {
        let format = |accept: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, HeaderValue::from_static(accept));
            Format::accepted(&headers).ok()
        };
        assert_eq!(Format::accepted(&HeaderMap::new()).ok(), Some(Format::Text));
        assert_eq!(format("*/*"), Some(Format::Text));
        assert_eq!(format("image/png, text/csv;q=0.5"), Some(Format::Csv));
        assert_eq!(format("application/octet-stream"), Some(Format::Roaring));
        assert_eq!(format("application/json"), None);
    }
}
