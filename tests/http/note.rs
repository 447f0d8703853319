//! The note of a pool: kept with it, told to whoever asks, and bounded.

use crate::support::Server;
use crate::support::daemon::{Daemon, allotd};
use serde_json::json;

const MAX_NOTE_BYTES: usize = 16 << 10;

fn set(server: &Server, note: &str) -> crate::support::Answer {
    server.send("PATCH", "/v1/pools/ru", "application/json", &json!({"note": note}).to_string())
}

#[test]
fn a_note_is_set_read_changed_and_removed() {
    let server = Server::with_pool("ttl=60", "100-109");
    let none = server.call("GET", "/v1/pools/ru/note");
    assert_eq!(none.problem(), (404, "note_not_found".to_owned()));
    assert!(none.body.contains("PATCH /v1/pools/ru"), "{}", none.body);
    assert_eq!(server.call("GET", "/v1/pools/nope/note").problem(), (404, "pool_not_found".to_owned()));
    for note in ["# Здравствуйте\n\nAsk for *five* minutes.\n", &"x".repeat(MAX_NOTE_BYTES)] {
        let changed = set(&server, note);
        assert_eq!(changed.status, 200, "{}", changed.body);
        assert!(!changed.body.contains("note"), "it is not in every list of the pools: {}", changed.body);
        let shown = server.call("GET", "/v1/pools/ru/note");
        assert_eq!((shown.status, shown.body.as_str()), (200, note));
        assert_eq!(shown.header("content-type"), Some("text/markdown; charset=utf-8"));
    }
    server.send("PATCH", "/v1/pools/ru", "application/json", "{\"ttl\":90}");
    assert_eq!(
        server.call("GET", "/v1/pools/ru/note").body.len(),
        MAX_NOTE_BYTES,
        "another setting keeps it"
    );
    assert_eq!(set(&server, "").status, 200);
    assert_eq!(server.call("GET", "/v1/pools/ru/note").status, 404);
}

#[test]
fn a_note_that_is_too_long_or_no_text_is_refused_and_changes_nothing() {
    let server = Server::with_pool("ttl=60", "100-109");
    set(&server, "first");
    for (note, words) in [
        ("x".repeat(MAX_NOTE_BYTES + 1), "note is longer than 16384 bytes"),
        ("é".repeat(MAX_NOTE_BYTES / 2 + 1), "note is longer than 16384 bytes"),
        ("a\u{1b}[2Jb".to_owned(), "U+001B"),
    ] {
        let refused = set(&server, &note);
        assert_eq!(refused.problem(), (400, "bad_request".to_owned()));
        assert!(refused.body.contains(words), "{}", refused.body);
    }
    let body = json!({"ttl": 0, "note": "second"}).to_string();
    assert_eq!(server.send("PATCH", "/v1/pools/ru", "application/json", &body).status, 400);
    assert_eq!(server.call("GET", "/v1/pools/ru/note").body, "first");
}

#[test]
fn the_commands_set_and_show_it_and_a_restart_keeps_it() {
    let dir = tempfile::tempdir().unwrap();
    let (numbers, note) = (dir.path().join("numbers.csv"), dir.path().join("note.md"));
    std::fs::write(&numbers, "first,last\n100,109\n").unwrap();
    std::fs::write(&note, "Say *hello*.\n").unwrap();
    let data = dir.path().join("data");
    let daemon = Daemon::start(&data);
    let run = |daemon: &Daemon, args: &[&str]| {
        let output = allotd().args(args).args(["--server", &daemon.url]).output().unwrap();
        let text = [output.stdout, output.stderr].concat();
        (output.status.code(), String::from_utf8(text).unwrap())
    };
    assert_eq!(run(&daemon, &["pool", "create", "ru", numbers.to_str().unwrap()]).0, Some(0));
    let (code, text) = run(&daemon, &["pool", "note", "ru"]);
    assert!(code == Some(1) && text.contains("has no note"), "{text}");
    assert_eq!(run(&daemon, &["pool", "set", "ru", "--note", note.to_str().unwrap()]).0, Some(0));
    drop(daemon);
    let daemon = Daemon::start(&data);
    assert_eq!(run(&daemon, &["pool", "note", "ru"]), (Some(0), "Say *hello*.\n".to_owned()));
    std::fs::write(&note, "x".repeat(MAX_NOTE_BYTES + 1)).unwrap();
    let (code, text) = run(&daemon, &["pool", "set", "ru", "--note", note.to_str().unwrap()]);
    assert!(code == Some(1) && text.contains("longer than 16384 bytes"), "{text}");
}
