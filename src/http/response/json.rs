//! The bodies of lease, renew and return, written by hand for speed.

use std::fmt::Write as _;

use bytes::{BufMut, Bytes, BytesMut};
use hyper::Response;
use hyper::header::{CONTENT_TYPE, HeaderValue};

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
/// Most bytes of one item.
const MAX_ITEM_BYTES: usize = 128;
/// Bytes of a body besides its items.
const FRAME_BYTES: usize = 16;

/// The text of the last time, kept until another second is needed: leases that are made in the same second
/// usually end in the same second.
#[derive(Debug)]
pub(crate) struct TimeText {
    time: Option<Timestamp>,
    text: [u8; TIME_BYTES],
}

impl TimeText {
    pub(crate) const fn new() -> Self {
        Self { time: None, text: [0; TIME_BYTES] }
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

    #[inline]
    fn put_lease(&mut self, lease: &Lease, times: &mut TimeText) {
        let mut digits = itoa::Buffer::new();
        self.put(b"{\"number\":");
        self.put(digits.format(lease.number.get()).as_bytes());
        self.put(b",\"token\":\"");
        self.put(&lease.token.encode());
        self.put(b"\",\"generation\":");
        self.put(digits.format(lease.generation).as_bytes());
        self.put(b",\"expires_at\":\"");
        self.put(times.get(lease.expires_at));
        self.put(b"\"}");
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

/// `{"leases":[…]}`
#[inline]
pub(crate) fn leases(leases: &[Lease], times: &mut TimeText) -> Bytes {
    let mut item = Item::new();
    item.put(b"{\"leases\":[");
    if let [lease] = leases {
        item.put_lease(lease, times);
        item.put(b"]}");
        // The exact length makes it one allocation instead of two.
        return Bytes::copy_from_slice(item.take());
    }
    several(item, leases, times)
}

#[inline(never)]
fn several(mut item: Item, leases: &[Lease], times: &mut TimeText) -> Bytes {
    let mut out = BytesMut::with_capacity(FRAME_BYTES + leases.len() * MAX_ITEM_BYTES);
    if leases.is_empty() {
        out.put_slice(item.take());
    }
    for lease in leases {
        item.put_lease(lease, times);
        out.put_slice(item.take());
        item.put(b",");
    }
    out.put_slice(b"]}");
    out.freeze()
}

/// `{"leases":[…]}` of several pools' call: each says of which pool it is.
pub(crate) fn leases_of(pool: &PoolName, leases: &[Lease], times: &mut TimeText) -> Bytes {
    // A pool's name needs no escapes.
    let head = format!("{{\"pool\":\"{pool}\",");
    let mut out = BytesMut::with_capacity(FRAME_BYTES + leases.len() * (head.len() + MAX_ITEM_BYTES));
    let (mut item, mut separator): (_, &[u8]) = (Item::new(), b"{\"leases\":[");
    for lease in leases {
        out.put_slice(separator);
        separator = b",";
        out.put_slice(head.as_bytes());
        item.put_lease(lease, times);
        out.put_slice(&item.take()[1..]);
    }
    out.put_slice(b"]}");
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

/// `{"results":[…]}` of a renewal.
pub(crate) fn renew_results(
    items: impl ExactSizeIterator<Item = (Number, RenewResult)>,
    times: &mut TimeText,
) -> BytesMut {
    results(items, |out, result| match result {
        RenewResult::Renewed { expires_at, .. } => {
            out.put_slice(b",\"result\":\"renewed\"");
            put_time(out, b",\"expires_at\":\"", expires_at, times);
        }
        RenewResult::Blocked { expires_at } => {
            out.put_slice(b",\"result\":\"blocked\"");
            put_time(out, b",\"expires_at\":\"", expires_at, times);
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
pub(crate) fn renewed(number: Number, expires_at: Timestamp, times: &mut TimeText) -> Bytes {
    let mut item = Item::new();
    item.put_number(number);
    item.put(b",\"result\":\"renewed\",\"expires_at\":\"");
    item.put(times.get(expires_at));
    item.put(b"\"}");
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
