//! Any bytes as what a client sends, whole or cut, to the real workers over a pair of sockets. Whatever it is: the
//! daemon ends the connection once the client has, and no lease is without an answer. Over HTTP/2 the client
//! itself may hold answers back, so only the end counts there.

#![no_main]

#[path = "support/server.rs"]
mod server;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use server::Server;

/// More than any answer takes.
const PATIENCE: Duration = Duration::from_secs(10);
/// What the pair of sockets holds at least: no more is sent, as nothing is read before.
const MAX_BYTES: usize = 64 << 10;
const TOKEN: &[u8] = b"\"token\":\"";

fuzz_target!(|bytes: &[u8]| {
    let Some((cut, bytes)) = bytes.split_first() else { return };
    let bytes = &bytes[..bytes.len().min(MAX_BYTES)];
    let server = Server::of_process();
    let before = server.leases();
    let mut client = server.connect();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    let cut = bytes.len() * usize::from(*cut) / 256;
    // The daemon may have closed the connection at the first part.
    let _ = client.write_all(&bytes[..cut]);
    std::thread::yield_now();
    let _ = client.write_all(&bytes[cut..]);
    let _ = client.shutdown(Shutdown::Write);
    let mut answers = Vec::new();
    if let Err(error) = client.read_to_end(&mut answers) {
        assert!(error.kind() != std::io::ErrorKind::WouldBlock, "the connection is not ended");
    }
    if bytes.windows(4).any(|four| four == b"PRI ") {
        return server.settle();
    }
    let answered = answers.windows(TOKEN.len()).filter(|part| *part == TOKEN).count() as u64;
    // A repeated call with an Idempotency-Key is answered with the leases of the first.
    if let (Some(before), Some(after)) = (before, server.leases()) {
        assert!(after - before <= answered, "{} leases, {answered} answers", after - before);
    }
    server.settle();
});
