//! Any bytes as the JSON body of a call; the first byte says of which. An answer is JSON, never fails inside the
//! daemon, and is a refusal if the body is no JSON; a lease gives at most what was asked for.

#![no_main]

#[path = "support/server.rs"]
mod server;

use std::io::{BufRead, BufReader, Read, Write};

use libfuzzer_sys::fuzz_target;
use serde_json::Value;
use server::Server;

const CALLS: [(&str, &str); 5] = [
    ("POST", "/v1/pools/ru/lease"),
    ("POST", "/v1/pools/ru/renew"),
    ("POST", "/v1/pools/ru/return"),
    ("PATCH", "/v1/pools/ru"),
    ("POST", "/v1/backup"),
];
/// Statuses of a daemon that works: the directory of backups of this one does not, by intent.
const BACKUP: usize = 4;

fuzz_target!(|bytes: &[u8]| {
    let Some((call, body)) = bytes.split_first() else { return };
    let index = usize::from(*call) % CALLS.len();
    let (method, path) = CALLS[index];
    let server = Server::of_process();
    let mut connection = BufReader::new(server.connect());
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n",
        body.len()
    );
    connection.get_mut().write_all(head.as_bytes()).unwrap();
    let _ = connection.get_mut().write_all(body);
    let mut line = String::new();
    connection.read_line(&mut line).unwrap();
    let status: u16 = line.split(' ').nth(1).unwrap().parse().unwrap();
    while line != "\r\n" {
        line.clear();
        connection.read_line(&mut line).unwrap();
    }
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    let answer: Value = serde_json::from_str(&answer).unwrap_or_else(|error| panic!("{error}: {answer}"));
    assert!(status < 500 || (index == BACKUP && status == 500), "{status} {answer}");
    let wanted = serde_json::from_slice::<Value>(body);
    if wanted.is_err() && !body.is_empty() {
        assert!(status >= 400, "{status} for what is no JSON: {answer}");
    }
    if let (0, 200, Ok(wanted)) = (index, status, &wanted) {
        let most = wanted["count"].as_u64().unwrap_or(1);
        let leases = answer["leases"].as_array().unwrap().len() as u64;
        assert!((1..=most).contains(&leases), "{leases} of {most}");
    }
    server.settle();
});
