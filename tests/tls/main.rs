//! TLS, by the real daemon: the commands, handshakes that stall, certificates that are exchanged under load, and
//! clients with certificates.

#![allow(clippy::unwrap_used)]

mod certificates;
mod clients;
mod daemon;
mod exchange;
mod handshakes;
mod open_connections;
mod readme;
#[path = "../support/mod.rs"]
mod support;
mod versions;

use std::io::{Read, Write};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use daemon::{TlsDaemon, call};
use http_body_util::{BodyExt, Empty};
use hyper::{Request, Version};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ProtocolVersion};
use support::daemon::{allotd, one_line_failure};
use support::read_answer;

fn no_flags(_: &certificates::Authority) -> Vec<String> {
    Vec::new()
}

#[test]
fn every_command_speaks_https() {
    let daemon = TlsDaemon::start(no_flags);
    daemon.make_pool("100-999\n");
    assert!(daemon.ok(&["lease", "ru", "--count", "3"]).lines().count() >= 3);
    assert!(daemon.ok(&["stats"]).contains("ru"));
    assert!(daemon.ok(&["pool", "export", "ru"]).contains("999"));
    let bench = ["bench", "ru", "--seconds", "0.5", "--warm-up-seconds", "0.1", "--connections", "4"];
    for more in [&["--mix", "lease+return"][..], &["--mix", "lease+return", "--pipeline", "16"]] {
        let report = daemon.ok(&[&bench[..], more, &["--json"]].concat());
        let report: serde_json::Value = serde_json::from_str(&report).unwrap();
        assert!(report["operations_per_second"].as_f64().unwrap() > 10.0, "{report}");
    }
    assert_eq!(daemon.logged.named("certificate").len(), 1);
    assert!(daemon.logged.named("certificate")[0]["expires"].as_str().unwrap().starts_with("4000-01-01"));
}

#[test]
fn who_cannot_trust_the_daemon_is_told_why() {
    let daemon = TlsDaemon::start(no_flags);
    let stranger = certificates::Authority::new();
    let run = |url: &str, ca: &std::path::Path| {
        allotd().args(["pool", "list", "--server", url, "--ca"]).arg(ca).output().unwrap()
    };
    one_line_failure(&run(&daemon.url(), &stranger.ca()), 1, "authority with --ca");
    let port = daemon.logged.daemon.address.port();
    one_line_failure(
        &run(&format!("https://[::ffff:127.0.0.1]:{port}"), &daemon.authority.ca()),
        1,
        "a name in the URL",
    );
    one_line_failure(
        &run(&format!("http://127.0.0.1:{port}"), &daemon.authority.ca()),
        1,
        "use an https:// URL",
    );
    one_line_failure(&run(&daemon.url(), &daemon.pair.key), 1, "--ca");
    let plain = support::Server::start();
    one_line_failure(
        &run(&format!("https://{}", plain.address), &daemon.authority.ca()),
        1,
        "Try an http:// URL",
    );
}

#[test]
fn a_request_in_plain_text_is_answered_in_plain_text() {
    let daemon = TlsDaemon::start(no_flags);
    let mut tcp = daemon.tcp();
    tcp.write_all(b"GET /v1/stats HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer secret\r\n\r\n")
        .unwrap();
    let answer = read_answer(&mut std::io::BufReader::new(tcp), false);
    assert_eq!(answer.problem(), (400, "bad_request".to_owned()));
    let event = daemon.logged.wait_for("handshake_failed", 1).remove(0);
    assert!(event["error"].as_str().unwrap().contains("plain text"), "{event}");
    assert!(!daemon.logged.text().contains("secret"));
}

/// A stalled handshake is closed after 10 s, and keeps nobody waiting.
#[test]
fn a_stalled_handshake_ends_and_hinders_nobody() {
    let daemon = TlsDaemon::start(no_flags);
    daemon.make_pool("100-999\n");
    let started = Instant::now();
    let stalled: Vec<_> = (0..200)
        .map(|index| {
            let mut tcp = daemon.tcp();
            // Nothing at all, or the head of a record that never comes.
            if index % 2 == 0 {
                tcp.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap();
            }
            tcp
        })
        .collect();
    let config = daemon.authority.client_config(&["http/1.1"]);
    while started.elapsed() < Duration::from_secs(8) {
        let asked = Instant::now();
        let mut connection = daemon.connect(&config).unwrap();
        assert_eq!(call(&mut connection, "POST", "/v1/pools/ru/lease").unwrap().status, 200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{:?}", asked.elapsed());
        thread::sleep(Duration::from_millis(200));
    }
    for mut tcp in stalled {
        assert_eq!(tcp.read(&mut [0; 16]).unwrap_or(0), 0, "the daemon says nothing and closes");
        let after = started.elapsed().as_secs_f64();
        assert!((9.0..16.0).contains(&after), "{after}");
    }
    assert!(!daemon.logged.named("handshake_failed").is_empty());
}

#[test]
fn http2_is_agreed_on_by_alpn() {
    let daemon = TlsDaemon::start(no_flags);
    daemon.make_pool("100-999\n");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let config = daemon.authority.client_config(&["h2", "http/1.1"]);
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(daemon.logged.daemon.address).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(config);
        let tls = connector.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        assert_eq!(tls.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let (io, executor) = (hyper_util::rt::TokioIo::new(tls), hyper_util::rt::TokioExecutor::new());
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(connection);
        for origin in ["https://localhost", "http://localhost"] {
            let request = Request::post("https://localhost/v1/pools/ru/lease").header("origin", origin);
            let request = request.body(Empty::<bytes::Bytes>::new()).unwrap();
            let response = sender.send_request(request).await.unwrap();
            assert_eq!(response.version(), Version::HTTP_2);
            // Whoever is on the way can pass for this name in plain text.
            assert_eq!(response.status() == 200, origin.starts_with("https"), "{origin}");
            response.into_body().collect().await.unwrap();
        }
    });
    // HTTP/1.1 without ALPN.
    let mut connection = daemon.connect(&daemon.authority.client_config(&[])).unwrap();
    assert_eq!(call(&mut connection, "GET", "/healthz").unwrap().status, 200);
}

fn only(daemon: &TlsDaemon, version: &'static rustls::SupportedProtocolVersion) -> Arc<ClientConfig> {
    use rustls::pki_types::pem::PemObject;
    let mut roots = rustls::RootCertStore::empty();
    roots.add(rustls::pki_types::CertificateDer::from_pem_file(daemon.authority.ca()).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider).with_protocol_versions(&[version]).unwrap();
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

#[test]
fn tls_1_2_is_spoken_only_when_told() {
    for (flags, speaks) in [(vec![], false), (vec!["--tls-1-2".to_owned()], true)] {
        let daemon = TlsDaemon::start(|_| flags);
        assert_eq!(daemon.connect(&only(&daemon, &TLS12)).is_ok(), speaks);
        let connection = daemon.connect(&only(&daemon, &TLS13)).unwrap();
        assert_eq!(connection.get_ref().conn.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    }
}

/// A daemon that is told to stop answers what it has, over TLS as without, and makes no new connection.
#[test]
fn a_stop_answers_what_is_in_progress() {
    let daemon = TlsDaemon::start(no_flags);
    let config = daemon.authority.client_config(&["http/1.1"]);
    let mut connection = daemon.connect(&config).unwrap();
    assert_eq!(call(&mut connection, "GET", "/healthz").unwrap().status, 200);
    let _unfinished = daemon.tcp();
    daemon.logged.daemon.terminate();
    let mut rest = Vec::new();
    connection.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "TLS ends with its own goodbye, else this is an error");
    assert_eq!(daemon.logged.daemon.wait(), Some(0));
}
