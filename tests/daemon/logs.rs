//! The log of the real daemon: JSON lines with stable fields, masked numbers, request ids, limits.

use std::io::Write as _;
use std::time::Duration;

use crate::support::daemon::allotd;
use crate::support::logged::Logged;
use crate::support::{Client, read_answer};
use serde_json::Value;

const NUMBER: &str = "79123454567";

/// Makes a pool of one number, leases it, looks it up in two ways, retires it.
fn work(client: &mut Client) {
    let list = format!("{NUMBER}\n");
    assert_eq!(client.send("PUT", "/v1/pools/ru", "text/plain", list.as_bytes()).unwrap().status, 201);
    assert!(client.call("POST", "/v1/pools/ru/lease").unwrap().body.contains(NUMBER));
    for path in [format!("/v1/pools/ru/numbers/{NUMBER}"), format!("/v1/pools/ru/numbers?within={NUMBER}")] {
        assert_eq!(client.call("GET", &path).unwrap().status, 200);
    }
    let path = "/v1/pools/ru/numbers/7-912-345-45-67";
    assert_eq!(client.call("GET", path).unwrap().status, 400);
    assert_eq!(client.call("POST", &format!("/v1/pools/{NUMBER}/lease")).unwrap().status, 404);
    let retired = client.send("POST", "/v1/pools/ru/retire", "text/plain", list.as_bytes()).unwrap();
    assert_eq!(retired.status, 200);
}

fn string<'a>(event: &'a Value, field: &str) -> &'a str {
    event[field].as_str().unwrap_or_else(|| panic!("no {field} in {event}"))
}

#[test]
fn every_line_is_json_and_shows_no_number() {
    let logged = Logged::start(&["--log-level", "debug"]);
    work(&mut logged.daemon.client());
    logged.daemon.terminate();
    logged.wait_for("stopped", 1);
    for event in logged.events() {
        for field in ["timestamp", "level", "event", "message"] {
            assert!(!string(&event, field).is_empty(), "{event}");
        }
    }
    let text = logged.text();
    assert!(!text.contains(NUMBER) && !text.contains("345-45-67") && !text.contains("345456"), "{text}");
    let requests = logged.named("request");
    assert_eq!(requests.len(), 7);
    for request in &requests {
        assert_eq!(string(request, "level"), "DEBUG");
        for field in ["method", "path", "call", "request_id"] {
            assert!(!string(request, field).is_empty(), "{request}");
        }
        assert!(request["status"].is_u64() && request["took_us"].is_u64(), "{request}");
    }
    assert_eq!((string(&requests[1], "call"), string(&requests[1], "pool")), ("lease", "ru"));
    assert_eq!(string(&requests[2], "path"), "/v1/pools/ru/numbers/7912***4567");
    assert_eq!(string(&requests[4], "path"), "/v1/pools/ru/numbers/7912***4567");
    assert_eq!(string(&requests[5], "pool"), "7912***4567");
    for (event, count) in [("pool_created", 1), ("numbers_retired", 1), ("starting", 1), ("drained", 1)] {
        assert_eq!(logged.named(event).len(), count, "{event}");
    }
    assert_eq!(string(&logged.named("stopping")[0], "signal"), "SIGTERM");
}

#[test]
fn numbers_are_shown_where_they_are_asked_for() {
    let logged = Logged::start(&["--log-level", "debug", "--log-numbers"]);
    work(&mut logged.daemon.client());
    assert_eq!(string(&logged.named("request")[2], "path"), format!("/v1/pools/ru/numbers/{NUMBER}"));
}

#[test]
fn the_first_line_of_service_names_every_setting() {
    let flags =
        ["--durability", "interval", "--sync-interval-ms", "7", "--workers", "2", "--slow-call-ms", "9"];
    let logged = Logged::start(&flags);
    let ready = logged.wait_for("ready", 1).remove(0);
    for (field, value) in [
        ("workers", Value::from(2)),
        ("durability", "interval".into()),
        ("sync_interval_ms", 7.into()),
        ("slow_call_ms", 9.into()),
        ("max_connections", 16_384.into()),
        ("journal_file_mib", 128.into()),
        ("recover_damaged", false.into()),
        ("accept_clock", false.into()),
        ("serve_at_once", false.into()),
        ("log_level", "info".into()),
        ("log_format", "auto".into()),
        ("log_numbers", false.into()),
        ("pools", 0.into()),
        ("numbers", 0.into()),
        ("version", env!("CARGO_PKG_VERSION").into()),
        ("listen", logged.daemon.address.to_string().into()),
        ("data", logged.path("data").to_str().unwrap().into()),
        ("pid", logged.daemon.id().into()),
    ] {
        assert_eq!(ready[field], value, "{field} in {ready}");
    }
    assert!(ready["opening_ms"].is_u64(), "{ready}");
}

#[test]
fn at_the_default_level_requests_are_not_told() {
    let logged = Logged::start(&[]);
    work(&mut logged.daemon.client());
    logged.wait_for("numbers_retired", 1);
    assert_eq!(logged.named("request").len(), 0);
}

/// The library that speaks HTTP/2 logs each frame at this level.
#[test]
fn libraries_tell_nothing() {
    let logged = Logged::start(&["--log-level", "debug"]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let work = async {
        let stream = tokio::net::TcpStream::connect(logged.daemon.address).await.unwrap();
        let io = hyper_util::rt::TokioIo::new(stream);
        let executor = hyper_util::rt::TokioExecutor::new();
        let (mut sender, connection) = hyper::client::conn::http2::handshake(executor, io).await.unwrap();
        tokio::spawn(async move { drop(connection.await) });
        let request = hyper::Request::get("http://a/healthz");
        let request = request.body(http_body_util::Empty::<bytes::Bytes>::new()).unwrap();
        assert_eq!(sender.send_request(request).await.unwrap().status(), 200);
    };
    runtime.block_on(work);
    logged.wait_for("request", 1);
    let events: Vec<_> = logged.events().iter().map(|event| string(event, "event").to_owned()).collect();
    assert_eq!(events, ["starting", "no_tokens", "ready", "request"]);
}

#[test]
fn people_read_lines() {
    let logged = Logged::start(&["--log-format", "human"]);
    work(&mut logged.daemon.client());
    logged.daemon.terminate();
    assert_eq!(logged.daemon.wait(), Some(0));
    let text = std::fs::read_to_string(logged.directory.path().join("log")).unwrap();
    assert!(text.lines().any(|line| line.contains(" INFO allotd is ready event=\"ready\"")), "{text}");
    assert!(serde_json::from_str::<Value>(text.lines().next().unwrap()).is_err(), "{text}");
}

#[test]
fn a_failed_start_is_one_line_of_the_log() {
    let directory = tempfile::tempdir().unwrap();
    // Digits like those of a journal's file.
    let file = directory.path().join("00000017");
    std::fs::write(&file, "").unwrap();
    let mut command = allotd();
    let output = command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&file).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let line: Value = serde_json::from_slice(&output.stderr).unwrap();
    assert_eq!((string(&line, "level"), string(&line, "event")), ("ERROR", "failed"));
    let message = string(&line, "message");
    assert!(message.contains("give a directory") && message.contains("00000017"), "{line}");
}

#[test]
fn a_slow_call_is_told_with_the_id_of_its_request() {
    let logged = Logged::start(&["--slow-call-ms", "20"]);
    let mut client = logged.daemon.client();
    client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n1,9\n").unwrap();
    let head = "POST /v1/pools/ru/lease HTTP/1.1\r\nhost: localhost\r\nx-request-id: call-17\r\ncontent-length: 2\r\n\r\n";
    client.connection.get_mut().write_all(head.as_bytes()).unwrap();
    // What a body takes to come is part of the call.
    std::thread::sleep(Duration::from_millis(60));
    client.connection.get_mut().write_all(b"{}").unwrap();
    let answer = read_answer(&mut client.connection, false);
    assert_eq!((answer.status, answer.header("x-request-id")), (200, Some("call-17")));
    let slow = logged.wait_for("slow_call", 1).remove(0);
    assert_eq!((string(&slow, "level"), string(&slow, "request_id")), ("WARN", "call-17"));
    assert_eq!((string(&slow, "call"), string(&slow, "pool"), &slow["status"]), ("lease", "ru", &200.into()));
    assert!(slow["took_ms"].as_u64().unwrap() >= 20, "{slow}");
}

#[test]
fn an_answer_has_an_id_only_if_its_request_had_a_safe_one() {
    let logged = Logged::start(&["--log-level", "debug"]);
    let mut client = logged.daemon.client();
    let long = "a".repeat(65);
    for (header, echoed) in [
        ("x-request-id: 01J-x_y.z:1\r\n", Some("01J-x_y.z:1")),
        ("", None),
        ("x-request-id: a b\r\n", None),
        (&format!("x-request-id: {long}\r\n"), None),
    ] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: localhost\r\n{header}\r\n");
        client.connection.get_mut().write_all(request.as_bytes()).unwrap();
        let answer = read_answer(&mut client.connection, false);
        assert_eq!(answer.header("x-request-id"), echoed, "{header:?}");
    }
    let told = logged.wait_for("request", 4);
    let ids: Vec<_> = told.iter().map(|event| string(event, "request_id")).collect();
    assert_eq!(ids[0], "01J-x_y.z:1");
    assert!(ids[1..].iter().all(|id| !id.contains("aaa") && !id.contains(' ')), "{ids:?}");
    assert!(ids[1] != ids[2] && ids[2] != ids[3], "{ids:?}");
}

#[test]
fn failures_are_told_a_few_times_a_second_and_counted() {
    const CALLS: u64 = 40;
    // Checked every 0.1 s, because of the watchdog.
    let logged = Logged::start_with(&["--max-connections", "1"], |command, _| {
        command.env("WATCHDOG_USEC", "300000");
    });
    let first = logged.daemon.client();
    for _ in 0..CALLS {
        assert_eq!(logged.daemon.client().call("GET", "/v1/pools").unwrap().status, 503);
    }
    drop(first);
    let sum = |name: &str| {
        let events = logged.named(name);
        let left_out: u64 = events.iter().map(|event| event["suppressed"].as_u64().unwrap()).sum();
        (events.len() as u64, left_out)
    };
    logged.wait_for("suppressed", 1);
    let ((told, with_them), (_, later)) = (sum("request_failed"), sum("suppressed"));
    assert!((5..CALLS).contains(&told), "{told}");
    assert_eq!(told + with_them + later, CALLS);
    let failed = logged.named("request_failed").remove(0);
    assert_eq!((string(&failed, "level"), string(&failed, "code")), ("WARN", "overloaded"));
    assert!(string(&failed, "message").contains("--max-connections"), "{failed}");
}

#[test]
fn a_trace_goes_into_the_log_and_the_answer() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    let logged = Logged::start(&["--log-level", "debug"]);
    let mut client = logged.daemon.client();
    client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n1,9\n").unwrap();
    let good = format!("00-{TRACE}-b7ad6b7169203331-01");
    let bad = format!("00-{}-b7ad6b7169203331-01", "0".repeat(32));
    // A plain lease, a refused one, a call with a body, and a trace that is none.
    for (method, path, header, status) in [
        ("POST", "/v1/pools/ru/lease", &good, 200),
        ("POST", "/v1/pools/none/lease", &good, 404),
        ("GET", "/v1/pools", &good, 200),
        ("POST", "/v1/pools/ru/lease", &bad, 200),
    ] {
        let request = format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\ntraceparent: {header}\r\n\r\n");
        client.connection.get_mut().write_all(request.as_bytes()).unwrap();
        let answer = read_answer(&mut client.connection, false);
        assert_eq!(answer.status, status, "{path}");
        let told = answer.header("traceparent").map(str::to_owned);
        assert_eq!(told.is_some(), header == &good, "{path}: {told:?}");
        if let Some(told) = told {
            assert!(
                told.starts_with(&format!("00-{TRACE}-")) && told.ends_with("-01") && told != good,
                "{told}"
            );
        }
    }
    let events = logged.wait_for("request", 5);
    let traced: Vec<_> = events.iter().filter(|event| event["trace_id"] == TRACE).collect();
    assert_eq!(traced.len(), 3, "{events:?}");
    for event in &traced {
        assert_eq!(string(event, "span_id").len(), 16, "{event}");
    }
    assert_ne!(traced[0]["span_id"], traced[2]["span_id"]);
    assert!(events[0].get("trace_id").is_none() && events[4].get("trace_id").is_none(), "{events:?}");
}
