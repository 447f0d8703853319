//! Connections whose client's certificate ends, or is revoked, while they are open.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant, SystemTime};

use http_body_util::{BodyExt, Empty};
use hyper::Request;

use crate::certificates::{Authority, Pair};
use crate::daemon::{Secure, TlsDaemon, call};

/// How long a connection may stay open that is to end.
const PATIENCE: Duration = Duration::from_secs(10);

fn with_authority(authority: &Authority, more: &[&str]) -> Vec<String> {
    let ca = authority.ca().to_str().unwrap().to_owned();
    let more = more.iter().map(|&flag| flag.to_owned());
    ["--tls-client-ca".to_owned(), ca].into_iter().chain(more).collect()
}

fn connect(daemon: &TlsDaemon, pair: &Pair) -> Secure {
    daemon.connect(&daemon.authority.client_config_as(Some(pair), &["http/1.1"])).unwrap()
}

/// The next request is refused, and the connection ends.
fn ends(connection: &mut Secure) {
    let answer = call(connection, "GET", "/v1/pools").unwrap();
    assert_eq!(answer.problem(), (401, "unauthorized".to_owned()));
    assert!(answer.body.contains("certificate"), "{}", answer.body);
    let started = Instant::now();
    while call(connection, "GET", "/healthz").is_ok() {
        assert!(started.elapsed() < PATIENCE, "the connection stays open");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_revoked_certificate_ends_its_open_connections_and_no_others() {
    for required in [&["--tls-client-required"][..], &["--allow-anyone"]] {
        let daemon = TlsDaemon::start(|authority| {
            let crl = authority.revoke(1_000).to_str().unwrap().to_owned();
            with_authority(authority, &[required, &["--tls-client-crl", &crl]].concat())
        });
        let (one, other) = (daemon.authority.client("one", 7), daemon.authority.client("other", 8));
        let (mut idle, mut revoked, mut kept) =
            (connect(&daemon, &one), connect(&daemon, &one), connect(&daemon, &other));
        for connection in [&mut idle, &mut revoked, &mut kept] {
            assert_eq!(call(connection, "GET", "/v1/pools").unwrap().status, 200);
        }
        daemon.authority.revoke(7);
        daemon.reload("reloaded", 1);
        ends(&mut revoked);
        assert_eq!(call(&mut kept, "GET", "/v1/pools").unwrap().status, 200);
        // A connection that asks for nothing ends too.
        let mut byte = [0];
        let read = std::io::Read::read(idle.get_mut(), &mut byte);
        assert!(
            matches!(read, Ok(0)) || read.is_err_and(|error| error.kind() != std::io::ErrorKind::WouldBlock)
        );
        // Taken off the list again, the certificate does for the next connection.
        daemon.authority.revoke(1_000);
        daemon.reload("reloaded", 2);
        assert_eq!(call(&mut connect(&daemon, &one), "GET", "/v1/pools").unwrap().status, 200);
    }
}

#[test]
fn a_certificate_that_ends_ends_its_open_connections() {
    let daemon = TlsDaemon::start(|authority| with_authority(authority, &["--tls-client-required"]));
    let end = SystemTime::now() + Duration::from_secs(4);
    let (short, long) = (daemon.authority.client_until("one", 7, end), daemon.authority.client("other", 8));
    let (mut ending, mut kept) = (connect(&daemon, &short), connect(&daemon, &long));
    for connection in [&mut ending, &mut kept] {
        assert_eq!(call(connection, "GET", "/v1/pools").unwrap().status, 200);
    }
    std::thread::sleep(Duration::from_secs(6));
    assert!(
        call(&mut ending, "GET", "/v1/pools").is_ok_and(|answer| answer.status == 401)
            || ending_is_cut(&mut ending)
    );
    assert_eq!(call(&mut kept, "GET", "/v1/pools").unwrap().status, 200);
    assert!(
        daemon.connect(&daemon.authority.client_config_as(Some(&short), &["http/1.1"])).is_err() || {
            // With TLS 1.3 a client learns of it with its first answer.
            let config = daemon.authority.client_config_as(Some(&short), &["http/1.1"]);
            daemon.connect(&config).is_ok_and(|mut new| call(&mut new, "GET", "/v1/pools").is_err())
        }
    );
}

/// The connection was idle at the certificate's end.
fn ending_is_cut(connection: &mut Secure) -> bool {
    call(connection, "GET", "/healthz").is_err()
}

#[test]
fn what_a_certificate_allows_ends_with_its_entry() {
    let daemon = TlsDaemon::start(|authority| {
        let path = authority.path("tokens.toml");
        let end = humantime::format_rfc3339_seconds(SystemTime::now() + Duration::from_secs(4));
        let text = format!(
            "[[token]]\nname = \"a\"\nrole = \"viewer\"\npools = [\"*\"]\ncertificates = [\"one\"]\nexpires = \"{end}\"\n\
             [[token]]\nname = \"b\"\nrole = \"viewer\"\npools = [\"*\"]\ncertificates = [\"other\"]\n"
        );
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        with_authority(authority, &["--tokens", path.to_str().unwrap()])
    });
    let (one, other) = (daemon.authority.client("one", 7), daemon.authority.client("other", 8));
    let (mut ending, mut kept) = (connect(&daemon, &one), connect(&daemon, &other));
    for connection in [&mut ending, &mut kept] {
        assert_eq!(call(connection, "GET", "/v1/pools").unwrap().status, 200);
    }
    std::thread::sleep(Duration::from_secs(6));
    let answer = call(&mut ending, "GET", "/v1/pools").unwrap();
    assert_eq!(answer.problem(), (401, "unauthorized".to_owned()));
    assert!(answer.body.contains("expired at"), "{}", answer.body);
    assert_eq!(call(&mut kept, "GET", "/v1/pools").unwrap().status, 200);
}

/// A revoked client's HTTP/2 connection: its next request is refused, and the connection ends.
#[test]
fn a_revoked_certificate_ends_http2_too() {
    let daemon = TlsDaemon::start(|authority| {
        let crl = authority.revoke(1_000).to_str().unwrap().to_owned();
        with_authority(authority, &["--tls-client-required", "--tls-client-crl", &crl])
    });
    let pair = daemon.authority.client("one", 7);
    let config = daemon.authority.client_config_as(Some(&pair), &["h2"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let tcp = tokio::net::TcpStream::connect(daemon.logged.daemon.address).await.unwrap();
        let tls = tokio_rustls::TlsConnector::from(config);
        let stream = tls.connect("localhost".try_into().unwrap(), tcp).await.unwrap();
        let executor = hyper_util::rt::TokioExecutor::new();
        let io = hyper_util::rt::TokioIo::new(stream);
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        let open = tokio::spawn(connection);
        let authority = format!("localhost:{}", daemon.logged.daemon.address.port());
        let request = || {
            let request = Request::get(format!("https://{authority}/v1/pools"));
            request.body(Empty::<bytes::Bytes>::new()).unwrap()
        };
        assert_eq!(sender.send_request(request()).await.unwrap().status(), 200);
        daemon.authority.revoke(7);
        daemon.reload("reloaded", 1);
        let refused = sender.send_request(request()).await.unwrap();
        assert_eq!(refused.status(), 401);
        assert!(refused.headers().get("connection").is_none());
        drop(refused.into_body().collect().await.unwrap());
        tokio::time::timeout(PATIENCE, open).await.expect("the connection ends").unwrap().unwrap();
    });
}
