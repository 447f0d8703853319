//! What the commands say: in their own words rather than those of the API, with what is to be done, and without what moves
//! the cursor of a terminal.

use std::fs;
use std::path::Path;
use std::process::Output;

use crate::support::daemon::{Daemon, allotd, one_line_failure};

/// A daemon with a pool `ru` of ten numbers that tracks holders.
fn daemon_with_a_pool(directory: &Path) -> Daemon {
    let daemon = Daemon::start(&directory.join("data"));
    let numbers = directory.join("ru.txt");
    fs::write(&numbers, "79120000000-79120000009\n").unwrap();
    daemon.ok(&["pool", "create", "ru", numbers.to_str().unwrap(), "--order", "lowest", "--holders", "true"]);
    daemon
}

fn stdout(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_refusal_names_commands_and_no_calls() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with_a_pool(directory.path());
    let file = directory.path().join("ru.txt");
    let file = file.to_str().unwrap();
    for (args, words) in [
        (&["pool", "show", "none"][..], "\"allotd pool list\""),
        (&["lease", "none"], "\"allotd pool create NAME FILE\""),
        (&["pool", "create", "ru", file], "\"allotd pool add ru FILE\""),
        (&["pool", "hours", "ru"], "\"allotd pool set ru --hours FILE\""),
        (&["pool", "zones", "ru"], "\"allotd pool zones ru --set FILE\""),
        (&["pool", "note", "ru"], "\"allotd pool set ru --note FILE\""),
        (&["list", "show", "none"], "\"allotd list create none\""),
        (&["pool", "set", "ru", "--blocked-by", "none"], "\"allotd list create none\""),
    ] {
        let output = daemon.run(args);
        one_line_failure(&output, 1, words);
        let said = String::from_utf8_lossy(&output.stderr);
        for call in ["/v1/", "PUT ", "PATCH ", "POST ", "GET "] {
            assert!(!said.contains(call), "{args:?}: {said}");
        }
    }
    let tokens = directory.path().join("tokens.toml");
    let root = directory.path().join("root.token");
    let made = allotd()
        .args(["token", "new", "root", "--role", "admin", "--pools", "*", "--out"])
        .arg(&root)
        .output()
        .unwrap();
    fs::write(&tokens, made.stdout).unwrap();
    fs::set_permissions(&tokens, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let flags = ["--tokens", tokens.to_str().unwrap()];
    let guarded = Daemon::start_with(&directory.path().join("guarded"), &flags);
    one_line_failure(&guarded.run(&["pool", "list"]), 1, "--token-file FILE, or in ALLOTD_TOKEN_FILE");
}

#[test]
fn a_lease_that_cannot_be_one_is_wrong_usage_and_each_one_that_is_over_is_told() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with_a_pool(directory.path());
    let line = daemon.ok(&["lease", "ru"]);
    let lease = line.split('\t').next().unwrap();
    for wrong in [line.trim_end(), "79120000000:wrong", "79120000000"] {
        for command in ["renew", "return"] {
            one_line_failure(&daemon.run(&[command, "ru", wrong]), 2, "NUMBER:TOKEN, the first column");
        }
    }
    assert!(daemon.ok(&["return", "ru", lease]).contains("\treturned\t"));
    for command in ["renew", "return"] {
        let output = daemon.run(&[command, "ru", "79120000000:AAAAAAAAAAA", "79990000000:AAAAAAAAAAA"]);
        one_line_failure(&output, 1, "(stale)");
        assert_eq!(stdout(&output), "79120000000\tstale\n79990000000\tunknown\n");
    }
}

#[test]
fn who_holds_a_number_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with_a_pool(directory.path());
    daemon.ok(&["lease", "ru", "--holder", "c-17"]);
    assert!(daemon.ok(&["pool", "number", "ru", "79120000000"]).contains("\nholder      c-17\n"));
    assert!(daemon.ok(&["pool", "why", "ru", "79120000000"]).contains("\n- c-17 holds it until "));
    daemon.ok(&["list", "create", "optouts"]);
    assert!(
        daemon.ok(&["list", "number", "optouts", "79120000001"]).contains(" 79120000001\n"),
        "without commas"
    );
}

#[test]
fn why_a_pool_is_paused_is_shown() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with_a_pool(directory.path());
    daemon.ok(&["pool", "pause", "ru"]);
    assert!(
        stdout(&daemon.run(&["doctor"])).contains("nobody said why: see who did it with \"allotd audit\"")
    );
    daemon.ok(&["pool", "pause", "ru", "--reason", "carrier is down"]);
    assert!(stdout(&daemon.run(&["doctor"])).contains("ru is paused (carrier is down)"));
    let shown = daemon.ok(&["pool", "show", "ru"]);
    let reason = shown.lines().find_map(|line| line.strip_prefix("pause reason ")).unwrap();
    assert_eq!(reason.trim(), "carrier is down");
}

#[test]
fn an_audit_without_entries_says_since_when_and_a_text_of_others_moves_no_cursor() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with_a_pool(directory.path());
    one_line_failure(&daemon.run(&["pool", "pause", "ru", "--reason", "\u{1b}[31mred"]), 1, "(bad_request)");
    daemon.ok(&["pool", "pause", "ru", "--reason", "turned \u{202e}round"]);
    let shown = daemon.ok(&["audit"]);
    assert!(shown.contains(r"turned \u{202e}round") && !shown.contains('\u{1b}'), "{shown}");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = Daemon::start(&directory.path().join("data"));
    let shown = daemon.ok(&["audit"]);
    assert!(shown.contains("since the daemon's start, 0s ago") || shown.contains("s ago: "), "{shown}");
    assert!(shown.contains("--audit-log"), "{shown}");
}

#[test]
fn a_load_that_is_refused_is_said_before_the_figures() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = daemon_with_a_pool(directory.path());
    let flags = ["--seconds", "0.3", "--warm-up-seconds", "0.1", "--connections", "2"];
    let fine = daemon.ok(&[&["bench", "ru", "--mix", "lease+return"], &flags[..]].concat());
    assert!(!fine.contains("REFUSED"), "{fine}");
    let report = daemon.ok(&[&["bench", "ru"], &flags[..]].concat());
    let at = |words: &str| report.find(words).unwrap_or_else(|| panic!("{words} is not in {report}"));
    assert!(at("REFUSED") < at("operations/s"), "{report}");
}

#[test]
fn what_is_given_wrongly_is_told_in_plain_words() {
    let directory = tempfile::tempdir().unwrap();
    let serve = |flags: &[&str]| {
        let mut command = allotd();
        command.arg("serve").args(flags).arg("--data").arg(directory.path().join("data"));
        command.output().unwrap()
    };
    one_line_failure(
        &serve(&["--listen", "127.0.0.1:0,tsl"]),
        2,
        "has the option \"tsl\": give tls, calls=lease",
    );
    let config = directory.path().join("allotd.toml");
    for (text, words) in [
        ("workers = \"three\"", "line 1: invalid type: string \"three\", expected a whole number"),
        ("\nrecover_damaged = 1", "line 2: invalid type: integer `1`, expected true or false"),
    ] {
        fs::write(&config, text).unwrap();
        one_line_failure(&serve(&["--config", config.to_str().unwrap()]), 2, words);
    }
    let token = directory.path().join("a.token");
    let new = |flags: &[&str]| {
        let mut command = allotd();
        command
            .args(["token", "new", "a", "--role", "client", "--pools", "*", "--out"])
            .arg(&token)
            .args(flags);
        command.output().unwrap()
    };
    let refused = new(&["--expires", "yesterday"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("such as 90d or 12h"), "{refused:?}");
    assert_eq!(new(&[]).status.code(), Some(0));
    one_line_failure(&new(&[]), 1, "is there already, and is not overwritten: give another --out");
}
