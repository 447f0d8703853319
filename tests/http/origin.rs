//! What a web page of someone else can make a browser send is refused, and what services send is not.

use std::io::{BufReader, Write};
use std::os::unix::net::UnixStream;

use crate::support::daemon::{Daemon, one_line_failure};
use crate::support::{Answer, Server, read_answer};

/// Sends these bytes on a connection of their own, with `{own}` replaced by the server's address.
fn raw(server: &Server, request: &str) -> Answer {
    let mut connection = server.connect();
    let request = request.replace("{own}", &server.address.to_string());
    connection.get_mut().write_all(request.as_bytes()).unwrap();
    read_answer(&mut connection, false)
}

/// How many numbers were leased.
fn leased(server: &Server) -> u64 {
    server.call("GET", "/v1/pools/ru").json()["leased"].as_u64().unwrap()
}

#[test]
fn a_foreign_name_or_origin_leases_nothing() {
    let server = Server::with_pool("", "100-199");
    for headers in [
        "host: evil.test\r\n",
        "host: {own}.evil.test\r\n",
        "host: \r\n",
        "host: {own}\r\norigin: http://evil.test\r\n",
        "host: {own}\r\norigin: null\r\n",
        "host: {own}\r\norigin: http://127.0.0.1:1\r\n",
        "host: {own}\r\norigin: https://{own}.evil.test\r\n",
        "host: {own}\r\nsec-fetch-site: cross-site\r\n",
        // Rebound: the page's own domain points at the daemon.
        "host: evil.test\r\norigin: http://evil.test\r\n",
        "host: evil.test\r\norigin: http://{own}\r\n",
    ] {
        for rest in
            ["\r\n", "content-length: 0\r\n\r\n", "content-type: text/plain\r\ncontent-length: 2\r\n\r\n{}"]
        {
            let answer = raw(&server, &format!("POST /v1/pools/ru/lease HTTP/1.1\r\n{headers}{rest}"));
            assert_eq!(answer.problem(), (403, "forbidden".into()), "{headers}");
            assert!(answer.body.contains("--allow-host"), "{}", answer.body);
            assert_eq!(answer.header("access-control-allow-origin"), None);
        }
        for other in
            ["GET /v1/stats", "OPTIONS /v1/pools/ru/lease", "POST /v1/pools/ru/pause", "GET /nowhere"]
        {
            let answer = raw(&server, &format!("{other} HTTP/1.1\r\n{headers}\r\n"));
            assert_eq!(answer.problem(), (403, "forbidden".into()), "{other} {headers}");
        }
    }
    assert_eq!(leased(&server), 0);
}

#[test]
fn services_and_the_own_page_are_let_in() {
    let server = Server::with_pool("", "100-199");
    for (count, headers) in [
        "host: {own}\r\n",
        "Host: LOCALHOST\r\n",
        "host: localhost:9000\r\n",
        "host: [::1]:7979\r\n",
        "host: {own}\r\norigin: http://{own}\r\nsec-fetch-site: same-origin\r\n",
        "origin: http://localhost:9000\r\nhost: localhost:9000\r\n",
    ]
    .iter()
    .enumerate()
    {
        let answer = raw(&server, &format!("POST /v1/pools/ru/lease HTTP/1.1\r\n{headers}\r\n"));
        assert_eq!(answer.status, 200, "{headers}: {}", answer.body);
        assert_eq!(leased(&server), count as u64 + 1);
    }
}

#[test]
fn the_host_header_is_there_once() {
    let server = Server::with_pool("", "100-199");
    for headers in ["", "host: {own}\r\nhost: {own}\r\n", "host: {own}\r\nhost: evil.test\r\n"] {
        let answer = raw(&server, &format!("POST /v1/pools/ru/lease HTTP/1.1\r\n{headers}\r\n"));
        assert_eq!(answer.problem(), (400, "bad_request".into()), "{headers}");
    }
    assert_eq!(leased(&server), 0);
    assert_eq!(raw(&server, "POST /v1/pools/ru/lease HTTP/1.0\r\n\r\n").status, 200, "no browser speaks it");
    // The target of a request to a proxy says the same as its header.
    for (host, status) in [("{own}", 400), ("evil.test", 403)] {
        let to_proxy = format!("POST http://evil.test/v1/pools/ru/lease HTTP/1.1\r\nhost: {host}\r\n\r\n");
        assert_eq!(raw(&server, &to_proxy).problem().0, status);
    }
}

#[test]
fn probes_of_the_health_need_no_name() {
    let server = Server::start();
    for path in ["/healthz", "/readyz"] {
        assert_eq!(raw(&server, &format!("GET {path} HTTP/1.1\r\nhost: 10.0.0.7:7979\r\n\r\n")).status, 200);
        let foreign = format!("GET {path} HTTP/1.1\r\nhost: evil.test\r\norigin: http://evil.test\r\n\r\n");
        assert_eq!(raw(&server, &foreign).status, 403);
        assert_eq!(raw(&server, &format!("POST {path} HTTP/1.1\r\nhost: evil.test\r\n\r\n")).status, 403);
    }
}

#[test]
fn a_socket_file_has_no_name_but_origins_are_checked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let server = Server::start_with(Some(&path), &["allotd.example"]);
    for (headers, status) in [
        ("host: anything\r\n", 200),
        ("host: a\r\norigin: https://allotd.example\r\n", 200),
        ("host: evil.test\r\norigin: http://evil.test\r\n", 403),
        ("host: a\r\norigin: null\r\n", 403),
    ] {
        let mut stream = UnixStream::connect(&path).unwrap();
        write!(stream, "GET /v1/stats HTTP/1.1\r\n{headers}\r\n").unwrap();
        assert_eq!(read_answer(&mut BufReader::new(stream), false).status, status, "{headers}");
    }
    let asked = "GET /v1/stats HTTP/1.1\r\nhost: allotd.example\r\norigin: https://allotd.example\r\n\r\n";
    assert_eq!(raw(&server, asked).status, 200, "the name that was given");
}

#[test]
fn the_authority_of_http2_is_a_name() {
    let server = Server::with_pool("", "100-199");
    assert_eq!(server.http2_lease("evil.test"), 403);
    assert_eq!(leased(&server), 0);
    assert_eq!(server.http2_lease(&server.address.to_string()), 200);
    assert_eq!(leased(&server), 1);
}

#[test]
fn names_are_given_by_a_flag() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start_with(directory.path(), &["--allow-host", "allotd.test,other.test:1"]);
    for (host, status) in
        [("allotd.test:7979", 200), ("other.test:1", 200), ("other.test:2", 403), ("evil.test", 403)]
    {
        let mut client = daemon.client();
        write!(client.connection.get_mut(), "GET /v1/stats HTTP/1.1\r\nhost: {host}\r\n\r\n").unwrap();
        assert_eq!(read_answer(&mut client.connection, false).status, status, "{host}");
    }
    let wrong = daemon.run(&["serve", "--data", "/nowhere", "--allow-host", "http://a"]);
    one_line_failure(&wrong, 2, "--allow-host is \"http://a\"");
}
