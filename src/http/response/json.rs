//! The bodies of lease, renew and return, written by hand for speed.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{HeaderMap, Response};

use crate::domain::counts::Counts;
use crate::domain::settings::PoolName;
use crate::engine::operations::lease::Lease;
use crate::engine::operations::renew::RenewResult;
use crate::engine::operations::return_leases::ReturnResult;
use crate::numbers::list::InvalidLine;
use crate::numbers::number::Number;
use crate::state::number_state::State;
use crate::state::time::Timestamp;

use super::body::Body;

/// Adds `,"first_invalid":[…]` if there are invalid lines.
pub(crate) fn push_first_invalid(text: &mut String, lines: &[InvalidLine]) {
    let mut separator = ",\"first_invalid\":[";
    for line in lines {
        // Writing to a string does not fail.
        let _ = write!(
            text,
            "{separator}{{\"line\":{},\"text\":{},\"reason\":{}",
            line.line,
            quoted(&line.text),
            quoted(&line.described())
        );
        if let Some(column) = &line.column {
            let _ = write!(text, ",\"column\":{}", quoted(column));
        }
        text.push('}');
        separator = ",";
    }
    if !lines.is_empty() {
        text.push(']');
    }
}

/// Length of a time as text, such as `2026-11-23T22:05:00Z`.
const TIME_BYTES: usize = 20;
/// Most bytes of the end of a lease, such as `2026-11-23T22:05:00Z","expires_in":300`.
const MAX_END_BYTES: usize = TIME_BYTES + br#"","expires_in":"#.len() + 10;
/// Length of a token as text, and where it stands in what is between the number and the generation of a lease.
const TOKEN_BYTES: usize = 11;
const TOKEN_AT: usize = 10;
/// Most bytes of one item.
const MAX_ITEM_BYTES: usize = 160;
/// Bytes of a body besides its items.
const FRAME_BYTES: usize = 16;

/// The texts of the last time and of the last end of a lease, kept until another is needed: leases that are made in
/// the same second usually end in the same second.
#[derive(Debug)]
pub(crate) struct TimeText {
    time: Option<Timestamp>,
    text: [u8; TIME_BYTES],
    /// When the lease ends, and in how many seconds.
    end: Option<(Timestamp, u32)>,
    end_text: [u8; MAX_END_BYTES],
    end_bytes: usize,
}

impl TimeText {
    pub(crate) const fn new() -> Self {
        let end_text = [0; MAX_END_BYTES];
        Self { time: None, text: [0; TIME_BYTES], end: None, end_text, end_bytes: 0 }
    }

    fn get(&mut self, time: Timestamp) -> &[u8; TIME_BYTES] {
        if self.time != Some(time) {
            let text = time.to_string();
            let length = text.len().min(TIME_BYTES);
            self.text[..length].copy_from_slice(&text.as_bytes()[..length]);
            self.time = Some(time);
        }
        &self.text
    }

    /// The end of a lease: the time, and in how many seconds it comes, as two members of an object whose first
    /// has begun.
    #[inline]
    fn end(&mut self, expires_at: Timestamp, expires_in_seconds: u32) -> &[u8] {
        if self.end != Some((expires_at, expires_in_seconds)) {
            self.set_end(expires_at, expires_in_seconds);
        }
        &self.end_text[..self.end_bytes]
    }

    #[inline(never)]
    fn set_end(&mut self, expires_at: Timestamp, expires_in_seconds: u32) {
        let text = format!("{expires_at}\",\"expires_in\":{expires_in_seconds}");
        self.end_bytes = text.len().min(MAX_END_BYTES);
        self.end_text[..self.end_bytes].copy_from_slice(&text.as_bytes()[..self.end_bytes]);
        self.end = Some((expires_at, expires_in_seconds));
    }
}

/// One item, assembled in an array: pieces of known length are copied faster there than to the end of a
/// buffer that could be full.
struct Item {
    bytes: [u8; MAX_ITEM_BYTES],
    length: usize,
}

impl Item {
    fn new() -> Self {
        Self { bytes: [0; MAX_ITEM_BYTES], length: 0 }
    }

    /// Adds a piece. All pieces of an item together are shorter than [`MAX_ITEM_BYTES`].
    #[inline]
    fn put(&mut self, piece: &[u8]) {
        let end = self.length + piece.len();
        self.bytes[self.length..end].copy_from_slice(piece);
        self.length = end;
    }

    #[inline]
    fn put_number(&mut self, number: Number) {
        self.put(b"{\"number\":");
        self.put(itoa::Buffer::new().format(number.get()).as_bytes());
    }

    /// The members of a lease, of which the first has begun: what is before the number and after the last member is
    /// up to the caller.
    #[inline]
    fn put_lease(&mut self, lease: &Lease, times: &mut TimeText) {
        let mut digits = itoa::Buffer::new();
        self.put(digits.format(lease.number.get()).as_bytes());
        let mut middle = *b",\"token\":\"-----------\",\"generation\":";
        middle[TOKEN_AT..TOKEN_AT + TOKEN_BYTES].copy_from_slice(&lease.token.encode());
        self.put(&middle);
        self.put(digits.format(lease.generation).as_bytes());
        self.put(b",\"expires_at\":\"");
        self.put(times.end(lease.expires_at, lease.expires_in_seconds));
    }

    #[inline]
    fn take(&mut self) -> &[u8] {
        &self.bytes[..std::mem::take(&mut self.length)]
    }
}

fn put_number(out: &mut BytesMut, value: u64) {
    out.put_slice(itoa::Buffer::new().format(value).as_bytes());
}

fn put_time(out: &mut BytesMut, name: &[u8], time: Timestamp, times: &mut TimeText) {
    out.put_slice(name);
    out.put_slice(times.get(time));
    out.put_u8(b'"');
}

/// What comes before the number of the first lease, of the next ones, and after the last.
const FIRST_LEASE: &[u8] = b"{\"leases\":[{\"number\":";
const NEXT_LEASE: &[u8] = b"},{\"number\":";
const AFTER_LEASES: &[u8] = b"}]}";

/// `{"leases":[…]}`
#[inline]
pub(crate) fn leases(leases: &[Lease], times: &mut TimeText) -> Bytes {
    if let [lease] = leases {
        let mut item = Item::new();
        item.put(FIRST_LEASE);
        item.put_lease(lease, times);
        item.put(AFTER_LEASES);
        // The exact length makes it one allocation instead of two.
        return Bytes::copy_from_slice(item.take());
    }
    several(leases, times)
}

#[inline(never)]
fn several(leases: &[Lease], times: &mut TimeText) -> Bytes {
    if leases.is_empty() {
        return Bytes::from_static(b"{\"leases\":[]}");
    }
    let mut out = BytesMut::with_capacity(FRAME_BYTES + leases.len() * MAX_ITEM_BYTES);
    let (mut item, mut head) = (Item::new(), FIRST_LEASE);
    for lease in leases {
        item.put(head);
        head = NEXT_LEASE;
        item.put_lease(lease, times);
        out.put_slice(item.take());
    }
    out.put_slice(AFTER_LEASES);
    out.freeze()
}

/// `{"leases":[…]}` of several pools' call: each says of which pool it is.
pub(crate) fn leases_of(pool: &PoolName, leases: &[Lease], times: &mut TimeText) -> Bytes {
    // A pool's name needs no escapes.
    let pool = format!("{{\"pool\":\"{pool}\",\"number\":");
    let mut out = BytesMut::with_capacity(FRAME_BYTES + leases.len() * (pool.len() + MAX_ITEM_BYTES));
    let (mut item, mut separator): (_, &[u8]) = (Item::new(), b"{\"leases\":[");
    for lease in leases {
        out.put_slice(separator);
        separator = b"},";
        out.put_slice(pool.as_bytes());
        item.put_lease(lease, times);
        out.put_slice(item.take());
    }
    out.put_slice(AFTER_LEASES);
    out.freeze()
}

/// `{"results":[…]}`, one result per item.
fn results<R>(
    items: impl ExactSizeIterator<Item = (Number, R)>,
    mut put_result: impl FnMut(&mut BytesMut, R),
) -> BytesMut {
    let mut out = BytesMut::with_capacity(FRAME_BYTES + items.len() * MAX_ITEM_BYTES);
    let mut separator: &[u8] = b"{\"results\":[{\"number\":";
    for (number, result) in items {
        out.put_slice(separator);
        separator = b",{\"number\":";
        put_number(&mut out, number.get());
        put_result(&mut out, result);
        out.put_u8(b'}');
    }
    out.put_slice(b"]}");
    out
}

/// `{"results":[…]}` of a renewal that was made at a time.
pub(crate) fn renew_results(
    items: impl ExactSizeIterator<Item = (Number, RenewResult)>,
    now: Timestamp,
    times: &mut TimeText,
) -> BytesMut {
    results(items, |out, result| match result {
        RenewResult::Renewed { expires_at, .. } => {
            out.put_slice(b",\"result\":\"renewed\",\"expires_at\":\"");
            out.put_slice(times.end(expires_at, expires_at.seconds_after(now)));
        }
        RenewResult::Blocked { expires_at } => {
            out.put_slice(b",\"result\":\"blocked\",\"expires_at\":\"");
            out.put_slice(times.end(expires_at, expires_at.seconds_after(now)));
        }
        RenewResult::Stale => out.put_slice(b",\"result\":\"stale\""),
        RenewResult::Unknown => out.put_slice(b",\"result\":\"unknown\""),
    })
}

/// `{"results":[…]}` of a return.
pub(crate) fn return_results(
    items: impl ExactSizeIterator<Item = (Number, ReturnResult)>,
    times: &mut TimeText,
) -> BytesMut {
    results(items, |out, result| match result {
        ReturnResult::Returned { state, available_at, .. } => {
            out.put_slice(b",\"result\":\"returned\",\"state\":\"");
            out.put_slice(state.as_str().as_bytes());
            out.put_u8(b'"');
            if let Some(time) = available_at {
                put_time(out, b",\"available_at\":\"", time, times);
            }
        }
        ReturnResult::Stale => out.put_slice(b",\"result\":\"stale\""),
        ReturnResult::Unknown => out.put_slice(b",\"result\":\"unknown\""),
    })
}

/// The result of one renewal: an item of [`renew_results`].
pub(crate) fn renewed(number: Number, expires_at: Timestamp, now: Timestamp, times: &mut TimeText) -> Bytes {
    let mut item = Item::new();
    item.put_number(number);
    item.put(b",\"result\":\"renewed\",\"expires_at\":\"");
    item.put(times.end(expires_at, expires_at.seconds_after(now)));
    item.put(b"}");
    Bytes::copy_from_slice(item.take())
}

/// The result of one return: an item of [`return_results`].
pub(crate) fn returned(
    number: Number,
    state: State,
    available_at: Option<Timestamp>,
    times: &mut TimeText,
) -> Bytes {
    let mut item = Item::new();
    item.put_number(number);
    item.put(b",\"result\":\"returned\",\"state\":\"");
    item.put(state.as_str().as_bytes());
    if let Some(time) = available_at {
        item.put(b"\",\"available_at\":\"");
        item.put(times.get(time));
    }
    item.put(b"\"}");
    Bytes::copy_from_slice(item.take())
}

/// Counts by state as members of an object: `"available":1,"leased":0,…`.
pub(crate) fn counts(counts: &Counts) -> String {
    format!(
        "\"available\":{},\"leased\":{},\"resting\":{},\"done\":{},\"retired\":{},\"blocked\":{},\"closed\":{}",
        counts.available,
        counts.leased,
        counts.resting,
        counts.done,
        counts.retired,
        counts.blocked,
        counts.closed
    )
}

/// A string as JSON, quotes included.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// `200` with a JSON body.
pub(crate) fn ok_json(body: impl Into<Body>) -> Response<Body> {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// As [`ok_json`], in a map of headers that was in use: its memory serves again.
#[inline]
pub(crate) fn ok_json_in(mut headers: HeaderMap, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    headers.clear();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    // The response's own map has no memory, and looking for it would cost more than it is worth.
    std::mem::forget(std::mem::replace(response.headers_mut(), headers));
    response
}
