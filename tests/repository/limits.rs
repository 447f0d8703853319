//! The table of limits in docs/security.md is that of the code.

use allotd::domain::hours::{MAX_CLOSED_DAYS, MAX_HOURS_RULES};
use allotd::domain::note::MAX_NOTE_BYTES;
use allotd::domain::zone_table::MAX_ZONE_ROWS;
use allotd::engine::budgets::{FREE_JOURNAL_FILES, FREE_SPACE_PERCENT, MAX_FREE_SPACE_BYTES};
use allotd::engine::create_delete::MAX_POOLS;
use allotd::engine::holders::MAX_HOLDERS;
use allotd::engine::operations::lease_ref::MAX_ITEMS;
use allotd::http::limits::{
    ANSWER_PAUSE_SECONDS, BODY_MEMORY_BYTES, BODY_PAUSE_SECONDS, HEAD_SECONDS, IDLE_SECONDS, JSON_BODY_BYTES,
    JSON_BODY_SECONDS, JSON_BYTES_PER_SECOND, Limits, MIN_UPLOAD_BYTES_PER_SECOND, REFUSED_SECONDS,
    UPLOAD_BYTES, UPLOAD_GRACE_SECONDS, UPLOAD_SECONDS,
};
use allotd::http::request::body::{EXPORTS_PER_WORKER, UPLOADS_PER_WORKER};
use allotd::http::request::unread::{UNREAD_BODY_BYTES, UNREAD_BODY_SECONDS};
use allotd::http::request::within::MAX_WITHIN_ITEMS;
use allotd::http::response::watched::{HTTP2_PART_BYTES, HTTP2_WAITING_BYTES};
use allotd::http::server::DEFAULT_MAX_CONNECTIONS;
use allotd::http::server::connection::{
    CONNECTION_WINDOW_BYTES, MAX_BUFFER_BYTES, MAX_HTTP2_HEAD_BYTES, MAX_HTTP2_RESETS, MAX_HTTP2_STREAMS,
    STREAM_SEND_BYTES, STREAM_WINDOW_BYTES,
};
use allotd::http::server::listener::{
    KEEPALIVE_IDLE, KEEPALIVE_INTERVAL, KEEPALIVE_PROBES, UNCONFIRMED_TIMEOUT,
};
use allotd::http::server::shares::{
    ADDRESS_SHARE, MAX_REFUSED_CONNECTIONS, MIN_ADDRESS_CONNECTIONS, RESERVED_PLACES,
};
use allotd::http::server::tls::handshakes::{HANDSHAKE_ADDRESS_SHARE, MAX_HANDSHAKES};
use allotd::http::server::tls::{HANDSHAKE_SECONDS, TLS_BUFFER_BYTES};

fn size(bytes: u64) -> String {
    let units = [(30, "GiB"), (20, "MiB"), (10, "KiB")];
    let (shift, unit) = units.into_iter().find(|(shift, _)| bytes.is_multiple_of(1 << shift)).unwrap();
    format!("{} {unit}", bytes >> shift)
}

fn seconds(value: u64) -> String {
    format!("{value} s")
}

/// What the table has to say, in its order: the limit, its default, and its setting.
fn expected() -> Vec<(&'static str, String, &'static str)> {
    assert_eq!((ADDRESS_SHARE, HANDSHAKE_ADDRESS_SHARE), (4, 4), "a quarter");
    let limits = Limits::default();
    assert!((limits.connections_per_address, limits.json_body_bytes) == (None, JSON_BODY_BYTES));
    let refused = format!("{MAX_REFUSED_CONNECTIONS}, a quarter of them of one address");
    let keepalive = format!(
        "{} s, then {KEEPALIVE_PROBES} times each {} s",
        KEEPALIVE_IDLE.as_secs(),
        KEEPALIVE_INTERVAL.as_secs()
    );
    let address = format!("a quarter of all, at least {MIN_ADDRESS_CONNECTIONS}");
    vec![
        ("connections", DEFAULT_MAX_CONNECTIONS.to_string(), "`--max-connections`"),
        (
            "connections of one address, or IPv6 network of 64 bits",
            address,
            "`--max-connections-per-address`",
        ),
        (
            "places that TCP leaves for Unix sockets",
            format!("{RESERVED_PLACES}, at most a quarter of all"),
            "",
        ),
        ("refused connections that are open", refused, ""),
        ("time of a refused connection", seconds(REFUSED_SECONDS), ""),
        ("TLS handshakes under way", format!("{MAX_HANDSHAKES}, a quarter of them of one address"), ""),
        ("TLS handshake: time", seconds(HANDSHAKE_SECONDS), ""),
        ("answers that wait in TLS", size(TLS_BUFFER_BYTES as u64), ""),
        ("time between requests", seconds(IDLE_SECONDS), ""),
        ("head of an HTTP/1 request: time", seconds(HEAD_SECONDS), ""),
        ("head of an HTTP/1 request: size", size(MAX_BUFFER_BYTES as u64), ""),
        ("head of an HTTP/2 request: size", size(MAX_HTTP2_HEAD_BYTES.into()), ""),
        ("JSON body: size", size(JSON_BODY_BYTES), "`--max-json`"),
        (
            "JSON body: time",
            format!("{JSON_BODY_SECONDS} s, and 1 s for each {JSON_BYTES_PER_SECOND} bytes"),
            "",
        ),
        ("list of numbers: size", size(UPLOAD_BYTES), "`--max-upload`"),
        (
            "list of numbers: rate",
            format!("{MIN_UPLOAD_BYTES_PER_SECOND} bytes a second, after {UPLOAD_GRACE_SECONDS} s"),
            "",
        ),
        ("list of numbers: time", format!("{} h", UPLOAD_SECONDS / 3_600), ""),
        ("pause within a body", seconds(BODY_PAUSE_SECONDS), ""),
        (
            "body of a refused request that is read",
            format!("{}, for {UNREAD_BODY_SECONDS} s", size(UNREAD_BODY_BYTES)),
            "",
        ),
        ("memory of all bodies under way", size(BODY_MEMORY_BYTES as u64), ""),
        ("lists over 256 KiB under way, for each worker", UPLOADS_PER_WORKER.to_string(), ""),
        ("exports under way, for each worker", EXPORTS_PER_WORKER.to_string(), ""),
        ("pause of a client within an answer", seconds(ANSWER_PAUSE_SECONDS), ""),
        (
            "answers that wait for an HTTP/1 client",
            format!("{}, and one answer", size(allotd::http::server::MAX_HELD_BYTES as u64)),
            "",
        ),
        (
            "answers that wait for an HTTP/2 client",
            format!("{}, and one answer", size(HTTP2_WAITING_BYTES as u64)),
            "",
        ),
        ("part of an HTTP/2 answer that counts as progress", size(HTTP2_PART_BYTES as u64), ""),
        ("HTTP/2 streams of a connection", MAX_HTTP2_STREAMS.to_string(), ""),
        ("HTTP/2 window of a stream", size(STREAM_WINDOW_BYTES.into()), ""),
        ("HTTP/2 window of a connection", size(CONNECTION_WINDOW_BYTES.into()), ""),
        ("HTTP/2 send buffer of a stream", size(STREAM_SEND_BYTES as u64), ""),
        ("HTTP/2 streams reset before they were looked at", MAX_HTTP2_RESETS.to_string(), ""),
        ("silence until a TCP peer is asked for life", keepalive, ""),
        ("time that sent bytes stay unconfirmed by a TCP peer", seconds(UNCONFIRMED_TIMEOUT.as_secs()), ""),
        ("items of a `within`", MAX_WITHIN_ITEMS.to_string(), ""),
        ("items of a renew or return", MAX_ITEMS.to_string(), ""),
        ("holders of a pool: names at a time", MAX_HOLDERS.to_string(), ""),
        ("note of a pool: size", size(MAX_NOTE_BYTES as u64), ""),
        ("rules of a pool's hours", MAX_HOURS_RULES.to_string(), ""),
        ("closed days of a pool's hours", MAX_CLOSED_DAYS.to_string(), ""),
        ("rows of a table of zones", MAX_ZONE_ROWS.to_string(), ""),
        ("pools", MAX_POOLS.to_string(), ""),
        ("numbers of all pools", "none".to_owned(), "`--max-numbers`"),
        ("backups", "none".to_owned(), "`--max-backups`"),
        (
            "space that imports, pools and backups leave free",
            format!(
                "{FREE_SPACE_PERCENT} % of the disk, at most {}, and {FREE_JOURNAL_FILES} journal files",
                size(MAX_FREE_SPACE_BYTES)
            ),
            "",
        ),
    ]
}

#[test]
fn the_table_of_limits_is_that_of_the_code() {
    let page = include_str!("../../docs/security.md");
    let section = page.split("\n## ").find(|section| section.starts_with("Limits\n")).unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| ")).skip(2);
    let found: Vec<(&str, String, &str)> = rows
        .map(|row| {
            let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
            let [limit, default, setting, beyond] = *cells else { panic!("{row}") };
            assert!(!beyond.is_empty(), "{row}");
            (limit, default.to_owned(), setting)
        })
        .collect();
    for (found, expected) in found.iter().zip(expected()) {
        assert_eq!(*found, expected);
    }
    assert_eq!(found.len(), expected().len());
}
