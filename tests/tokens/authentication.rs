//! Who is let in at all.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::support::daemon::{allotd, one_line_failure};
use super::{Guarded, TOKENS, issue, write_tokens};

#[test]
fn without_a_valid_token_only_health_and_the_page_are_served() {
    let client: (&str, &[&str]) = ("shop", &["--role", "client", "--pools", "*"]);
    let (guarded, tokens) = Guarded::start(&[], &[client]);
    let token = &tokens[0];
    let old = issue(guarded.logged.directory.path(), "old", &["--role", "admin", "--pools", "*"]);
    let text = guarded.tokens_file();
    let expired = text.replacen("name = \"old\"", "name = \"old\"\nexpires = \"2020-06-01T00:00:00Z\"", 1);
    guarded.exchange(&expired);
    let other = if token.as_bytes()[10] == b'A' { 'B' } else { 'A' };
    let mistyped = format!("{}{other}{}", &token[..10], &token[11..]);
    let bearer = |token: &str| format!("Authorization: Bearer {token}\r\n");
    let stranger = {
        let elsewhere = tempfile::tempdir().unwrap();
        issue(elsewhere.path(), "x", &["--role", "admin", "--pools", "*"])
    };
    for (header, words) in [
        (String::new(), "send Authorization: Bearer"),
        ("Authorization: Basic eDp4\r\n".to_owned(), "not understood"),
        (format!("Authorization: {token}\r\n"), "not understood"),
        ("Authorization: Bearer\r\n".to_owned(), "not understood"),
        (bearer("alt_short"), "not an access token"),
        (bearer(&mistyped), "checksum is wrong"),
        (bearer(&stranger), "not known"),
        (bearer(&old), "expired at 2020-06-01"),
        (bearer(token) + &bearer(token), "several Authorization headers"),
    ] {
        let mut caller = guarded.with_header(&header);
        for (method, path) in [
            ("POST", "/v1/pools/ru/lease"),
            ("GET", "/v1/stats"),
            ("PUT", "/v1/pools/x"),
            ("GET", "/metrics"),
            ("GET", "/openapi.json"),
            ("GET", "/nothing"),
            ("DELETE", "/v1/stats"),
        ] {
            let answer = caller.call(method, path);
            assert_eq!(answer.problem(), (401, "unauthorized".to_owned()), "{header}{method} {path}");
            let expected = if header.is_empty() {
                "Bearer realm=\"allotd\""
            } else {
                "Bearer realm=\"allotd\", error=\"invalid_token\""
            };
            assert_eq!(answer.header("www-authenticate"), Some(expected), "{header}");
            assert!(answer.body.contains(words), "{header}: {}", answer.body);
        }
        for path in ["/healthz", "/readyz", "/"] {
            assert_eq!(caller.call("GET", path).status, 200, "{header}{path}");
        }
        // The connection is not lost: with a token it is served.
        caller.header = format!("authorization: bEARER {token}\r\n");
        assert_eq!(caller.lease().status, 200);
    }
    let refused = guarded.logged.named("access_refused");
    assert!(refused.iter().any(|event| event["code"] == "unauthorized"), "{refused:?}");
    assert!(refused.iter().all(|event| event["peer"].as_str().unwrap().starts_with("127.0.0.1:")));
    assert_eq!(guarded.stats()["requests"]["lease"]["by_status"]["401"], 9);
}

#[test]
fn a_daemon_without_tokens_serves_everybody_and_ignores_what_they_show() {
    let logged = super::support::logged::Logged::start(&[]);
    let mut client = logged.daemon.client();
    let created = client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n1,9\n").unwrap();
    assert_eq!(created.status, 201);
    let mut caller = super::Caller { client, header: "Authorization: Basic eDp4\r\n".to_owned() };
    assert_eq!(caller.lease().status, 200);
    assert!(caller.call("GET", "/v1/stats").json().get("principals").is_none());
    assert_eq!(logged.named("no_tokens").len(), 1);
}

#[test]
fn a_bad_tokens_file_is_refused_at_the_start() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join(TOKENS);
    issue(directory.path(), "shop", &["--role", "client", "--pools", "ru*"]);
    let good = fs::read_to_string(&path).unwrap();
    let start = |words: &str| {
        let mut command = allotd();
        command.env("ALLOTD_LOG_LEVEL", "error").env("ALLOTD_LOG_FORMAT", "json");
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(directory.path().join("data"));
        let output = command.arg("--tokens").arg(&path).output().unwrap();
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.code() == Some(1) && log.contains(words), "{words}: {log}");
    };
    for (text, words) in [
        (good.replace("client", "root"), "there is no role"),
        (good.replace("ru*", "*u"), "names no pools"),
        (format!("{good}{good}"), "another entry has this name"),
        (format!("{good}color = 1\n"), "unknown field `color`"),
    ] {
        write_tokens(&path, &text);
        start(words);
        let checked = allotd().args(["token", "check"]).arg(&path).output().unwrap();
        assert_eq!(checked.status.code(), Some(1));
        assert!(String::from_utf8_lossy(&checked.stdout).contains(words), "{checked:?}");
    }
    write_tokens(&path, &good);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    start("chmod 600");
    let checked = allotd().args(["token", "check"]).arg(&path).output().unwrap();
    one_line_failure(&checked, 1, "chmod 600");
    fs::remove_file(&path).unwrap();
    start("cannot be read");
}

#[test]
fn the_commands_make_tokens_and_show_them() {
    let (guarded, _) = Guarded::start(&[], &[]);
    let daemon = &guarded.logged.daemon;
    one_line_failure(&daemon.run(&["pool", "list"]), 1, "give its file with --token-file FILE");
    let file = guarded.logged.path("root.token");
    let file = file.to_str().unwrap();
    assert!(daemon.ok(&["pool", "list", "--token-file", file]).contains("ru"));
    let leased = allotd()
        .args(["lease", "ru", "--json"])
        .env("ALLOTD_SERVER", &daemon.url)
        .env("ALLOTD_TOKEN_FILE", file)
        .output()
        .unwrap();
    assert!(leased.status.success(), "{leased:?}");
    fs::set_permissions(file, fs::Permissions::from_mode(0o644)).unwrap();
    one_line_failure(&daemon.run(&["stats", "--token-file", file]), 1, "chmod 600");
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(file, "alt_nothing").unwrap();
    one_line_failure(&daemon.run(&["stats", "--token-file", file]), 1, "not an access token");

    let shown = daemon.ok(&["token", "new", "a", "--role", "viewer", "--pools", "x*", "--expires", "90d"]);
    assert!(shown.contains("alt_") && shown.contains("expires = \"") && shown.contains("pools = [\"x*\"]"));
    let checked = daemon.ok(&["token", "check", guarded.logged.path(TOKENS).to_str().unwrap()]);
    assert!(
        checked.contains("root: admin, pools *, 1 token,") && checked.contains("1 principal,"),
        "{checked}"
    );
    for (flags, words) in [
        (["--role", "root", "--pools", "x"], "there is no role"),
        (["--role", "client", "--pools", "*x"], "names no pools"),
    ] {
        let output = daemon.run(&[&["token", "new", "a"][..], &flags].concat());
        one_line_failure(&output, 2, words);
    }
    let live = ["token", "new", "a", "--role", "client", "--pools", "x", "--max-live-leases", "3"];
    one_line_failure(&daemon.run(&live), 2, "max_live_leases needs max_ttl");
}

/// A body that is small is read though its request is refused, and the connection goes on; behind a larger one it
/// ends, which the answer says.
#[test]
fn a_refused_body_is_passed_or_ends_the_connection_with_a_word() {
    use std::io::{Read as _, Write as _};
    let limited: &[&str] = &["--role", "client", "--pools", "ru", "--max-body-bytes", "100"];
    let (guarded, tokens) = Guarded::start(&[], &[("shop", limited)]);
    let shop = format!("authorization: Bearer {}\r\n", tokens[0]);
    let expects = format!("{shop}expect: 100-continue\r\n");
    let root = format!("authorization: Bearer {}\r\n", guarded.root);
    let lease = "/v1/pools/ru/lease";
    for (header, path, length, status, closes) in [
        ("", lease, 60, 401, false),
        ("", lease, 64 << 10, 401, false),
        ("", lease, 1 << 20, 401, true),
        ("x: y\r\n", "/v1/nothing", 1 << 20, 401, true),
        (&shop, "/v1/pools/de/lease", 60, 404, false),
        (&shop, "/v1/pools/ru/pause", 60, 403, false),
        (&shop, lease, 200, 413, false),
        (&shop, lease, 1 << 20, 413, true),
        (&expects, "/v1/pools/ru/pause", 60, 403, true),
        // By the call itself, which has not read the body by then.
        (&root, "/v1/pools/none/retire", 60, 404, true),
        ("host: other.example\r\n", lease, 60, 400, true),
    ] {
        let mut client = guarded.logged.daemon.client();
        let stream = client.connection.get_mut();
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: localhost\r\n{header}content-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).unwrap();
        if !header.contains("expect") {
            // In two parts; of a large one not all is sent. The daemon may have ended it already.
            std::thread::sleep(std::time::Duration::from_millis(20));
            let _ = stream.write_all(&vec![b' '; length.min(64 << 10)]);
        }
        let answer = super::try_read_answer(&mut client.connection, false).unwrap();
        let context = format!("{path} {length}: {answer:?}");
        assert_eq!(answer.status, status, "{context}");
        assert_eq!(answer.header("connection"), closes.then_some("close"), "{context}");
        if closes {
            let rest = client.connection.read(&mut [0; 10]);
            assert!(rest.is_err() || rest.is_ok_and(|bytes| bytes == 0), "{context}");
        } else {
            assert_eq!(client.call("GET", "/healthz").unwrap().status, 200, "{context}");
        }
    }
}
