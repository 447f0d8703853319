//! `GET /v1/pools/{pool}/events`: what happened in a pool, as lines of JSON or as events for a browser.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use hyper::body::Incoming;
use hyper::header::{ACCEPT, CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Request, Response};

use crate::engine::events::reader::Reader;
use crate::engine::events::{DEFAULT_EVENTS, Events, MAX_EVENTS, MAX_EVENTS_WAIT_SECONDS};
use crate::engine::pool::Pool;
use crate::http::actor::Actor;
use crate::http::blocking::blocking;
use crate::http::calls::{Api, Handled, Reply, pool_of, query_of};
use crate::http::request::query::Query;
use crate::http::response::body::{Body, Parts, Stream};
use crate::http::response::code::Code;
use crate::http::response::event_lines::{EventLines, Format};
use crate::http::response::problem::Problem;
use crate::http::wait_link::WaitLink;
use crate::journal::durability::Durability;

/// How long a browser's call waits if it does not say, in seconds.
const STREAM_WAIT_SECONDS: u32 = 30;
/// What begins a browser's stream: it comes back this many milliseconds after the end.
const RETRY_LINE: &[u8] = b"retry: 200\n\n";
/// The header by which a browser resumes.
const LAST_EVENT_ID: &str = "last-event-id";

impl Format {
    /// The media type of an answer.
    fn media_type(self) -> &'static str {
        match self {
            Self::Lines => "application/x-ndjson",
            Self::Stream => "text/event-stream",
        }
    }

    fn accepted(headers: &HeaderMap) -> Result<Self, Problem> {
        let Some(accept) = headers.get(ACCEPT) else { return Ok(Self::Lines) };
        let mut types = accept.to_str().unwrap_or_default().split(',');
        types
            .find_map(|item| match item.split(';').next().unwrap_or_default().trim() {
                "application/x-ndjson" | "application/*" | "*/*" => Some(Self::Lines),
                "text/event-stream" | "text/*" => Some(Self::Stream),
                _ => None,
            })
            .ok_or_else(|| {
                Problem::bad_request(
                    "Accept names no type that events can have: give application/x-ndjson or text/event-stream",
                )
            })
    }
}

/// What is asked for.
struct Asked {
    format: Format,
    /// The first event; the oldest one if it does not say.
    from: Option<u64>,
    limit: u32,
    wait_seconds: u32,
}

impl Asked {
    fn of(request: &Request<Incoming>) -> Result<Self, Problem> {
        let query = Query::parse(query_of(request), &["from", "limit", "wait"])?;
        let format = Format::accepted(request.headers())?;
        let place = |name: &str, text: &str| {
            let what = "give the seq of an event as an integer";
            text.trim().parse().map_err(|_| Problem::bad_request(format!("{name} is \"{text}\": {what}")))
        };
        let from = query.text("from").map(|text| place("from", text)).transpose()?;
        let seen = request.headers().get(LAST_EVENT_ID).map(|value| value.to_str().unwrap_or_default());
        let seen = seen.map(|text| place("Last-Event-ID", text)).transpose()?;
        let limit = query.integer("limit", "1 to 1000000 events")?.unwrap_or(DEFAULT_EVENTS);
        if !(1..=MAX_EVENTS).contains(&limit) {
            return Err(Problem::bad_request(format!("limit is {limit}: give 1 to {MAX_EVENTS} events")));
        }
        let wait = query.integer("wait", "whole seconds from 0 to 60")?;
        let default = if format == Format::Stream { STREAM_WAIT_SECONDS } else { 0 };
        let wait_seconds = wait.unwrap_or(default);
        if wait_seconds > MAX_EVENTS_WAIT_SECONDS {
            return Err(Problem::bad_request(format!(
                "wait is {wait_seconds}: give whole seconds from 0 to {MAX_EVENTS_WAIT_SECONDS}"
            )));
        }
        // A browser repeats its address when it resumes: what it has seen counts.
        Ok(Self { format, from: seen.map(|seen: u64| seen.saturating_add(1)).or(from), limit, wait_seconds })
    }
}

/// `GET /v1/pools/{pool}/events`
pub(crate) fn show(api: &Arc<Api>, _actor: &Actor, request: Request<Incoming>) -> Result<Handled, Problem> {
    let asked = Asked::of(&request)?;
    let pool = pool_of(api, &request)?;
    let Some(events) = api.engine.events() else { return Err(off(api)) };
    let (api, events) = (Arc::clone(api), Arc::clone(events));
    Handled::waiting(move |link| answer(api, events, pool, asked, link))
}

fn off(api: &Api) -> Problem {
    let detail = match api.engine.journal().durability() {
        Durability::None => {
            "With --durability none changes are in no journal, so there are no events: start the daemon with \
             --durability sync or interval and --events-keep, as in --events-keep 64MiB,24h"
        }
        Durability::Sync | Durability::Interval { .. } => {
            "This daemon keeps no events: start it with --events-keep, as in --events-keep 64MiB,24h"
        }
    };
    Problem::new(Code::EventsOff, detail)
}

/// The first event of an answer, and whether one that waits waits for it.
fn first(events: &Events, pool: &Pool, from: Option<u64>) -> Result<(u64, bool), Problem> {
    let kept = events.kept(pool.id());
    let from = from.unwrap_or(kept.oldest);
    if from > kept.next {
        let newest = kept.next - 1;
        return Err(Problem::bad_request(format!(
            "Event {from} of the pool {} has not happened: the newest is {newest}, so give from={} for the next",
            pool.name(),
            kept.next
        ))
        .with_members(format!(",\"newest\":{newest}")));
    }
    if from < kept.oldest {
        let detail = format!(
            "Event {from} of the pool {} is not kept any more: read the numbers' states anew, then the events from \
             {} on",
            pool.name(),
            kept.oldest
        );
        return Err(Problem::new(Code::Gone, detail).with_members(format!(",\"oldest\":{}", kept.oldest)));
    }
    Ok((from, from >= events.announced(pool.id())))
}

async fn answer(
    api: Arc<Api>,
    events: Arc<Events>,
    pool: Arc<Pool>,
    asked: Asked,
    link: Arc<WaitLink>,
) -> Reply {
    let (from, is_early) = first(&events, &pool, asked.from)?;
    let reader = Reader::new(&events, pool.id(), from);
    if is_early && asked.wait_seconds > 0 && !api.draining.load(Ordering::SeqCst) {
        let began = Instant::now();
        link.begin();
        tokio::select! {
            biased;
            () = reader.wait() => {}
            () = poll_fn(|cx| link.poll_gone(cx)) => {}
            () = tokio::time::sleep(Duration::from_secs(asked.wait_seconds.into())) => {}
        }
        link.end(began.elapsed());
    }
    let mut lines = Lines {
        reader,
        writer: EventLines::new(asked.format),
        left: asked.limit,
        begins: asked.format == Format::Stream,
    };
    // Made before the answer begins, so that a position that is gone by then is told as such.
    let (part, lines) = blocking(move || Ok((lines.next_part(), lines))).await?;
    let part = match part {
        Ok(part) => part,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            first(&events, &pool, Some(from))?;
            return Err(Problem::internal(&error));
        }
        Err(error) => return Err(Problem::internal(&error)),
    };
    let body = match part {
        Some(part) => Body::Stream(Box::new(Stream::new(After(Some(part), lines)))),
        None => Body::default(),
    };
    let mut response: Response<Body> = Response::new(body);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(asked.format.media_type()));
    Ok(response)
}

/// A part that is made, and those after it.
struct After(Option<Bytes>, Lines);

impl Parts for After {
    fn next_part(&mut self) -> io::Result<Option<Bytes>> {
        match self.0.take() {
            Some(part) => Ok(Some(part)),
            None => self.1.next_part(),
        }
    }
}

/// The events of an answer.
struct Lines {
    reader: Reader,
    writer: EventLines,
    /// How many may follow.
    left: u32,
    /// Whether the beginning of a browser's stream is still to be written.
    begins: bool,
}

impl Parts for Lines {
    fn next_part(&mut self) -> io::Result<Option<Bytes>> {
        let mut part = BytesMut::new();
        if std::mem::take(&mut self.begins) {
            part.extend_from_slice(RETRY_LINE);
        }
        let (left, writer) = (&mut self.left, &mut self.writer);
        let mut goes_on = *left > 0;
        while goes_on && part.is_empty() {
            goes_on = self.reader.read(&mut |event| {
                writer.put(&mut part, &event);
                *left -= 1;
                *left > 0
            })?;
        }
        Ok((!part.is_empty()).then(|| part.freeze()))
    }
}
