//! `allotd apply`, against the real daemon: what it refuses, what it leaves alone, and that it ends where a change is refused.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::support::daemon::{Daemon, one_line_failure};

/// Writes the file and what it names, and returns its path.
fn file(directory: &Path, text: &str) -> String {
    fs::write(directory.join("ru.txt"), "79120000000-79120000099\n").unwrap();
    fs::write(directory.join("optouts.txt"), "79120000005\n").unwrap();
    let path = directory.join("pools.toml");
    fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

const WANTED: &str = r#"
[lists.optouts]
numbers = "optouts.txt"

[pools.ru]
numbers = "ru.txt"
settings = { order = "lowest", ttl = 90000, ttl_max = 90000, blocked_by = ["optouts"], attempts = { max = 3, then = "rest:60" }, note = "Hello" }
"#;

#[test]
fn what_a_file_says_is_made_once() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let path = file(directory.path(), WANTED);
    let dry = daemon.ok(&["apply", &path, "--dry-run"]);
    assert!(dry.contains("+ pool ru, with 100 numbers\n") && dry.ends_with("this was a dry run\n"), "{dry}");
    assert!(daemon.ok(&["pool", "list"]).contains("no pool"), "a dry run makes nothing");
    let made = daemon.ok(&["apply", &path]);
    assert!(made.ends_with("\n4 changes made\n"), "{made}");
    assert_eq!(daemon.ok(&["apply", &path]), "nothing to change\n");
    assert!(
        daemon.ok(&["lease", "ru", "--count", "6"]).contains("79120000006:"),
        "79120000005 is on the list"
    );
    // What only the daemon has is left alone, and a setting that is not given too.
    daemon.ok(&["pool", "set", "ru", "--max-waiters", "5"]);
    fs::write(directory.path().join("more.txt"), "79130000000-79130000009\n").unwrap();
    daemon.ok(&["pool", "create", "other", directory.path().join("more.txt").to_str().unwrap()]);
    let path =
        file(directory.path(), &WANTED.replace("max = 3, then = \"rest:60\"", "max = 4, then = \"done\""));
    let made = daemon.ok(&["apply", &path]);
    let expected = "~ pool ru\n    attempts: {\"max\":3,\"then\":{\"rest\":60}} -> {\"max\":4,\"then\":\"done\"}\n\
                    not in the file, and left as they are: pool other\n1 change made\n";
    assert_eq!(made, expected);
    let path = file(directory.path(), "[pools.ru.settings]\nattempts = \"none\"\n");
    assert!(daemon.ok(&["apply", &path]).contains("\n    attempts: {\"max\":4,\"then\":\"done\"} -> null\n"));
    assert!(daemon.ok(&["pool", "show", "ru", "--json"]).contains("\"max_waiters\":5"));
}

#[test]
fn what_is_not_understood_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    for (text, reason) in [
        ("[pool.ru]\n", "unknown field `pool`"),
        ("[pools.ru]\nnumbers = 5\n", "line 2"),
        ("[pools.ru]\nnumbers = \"none.txt\"\n", "none.txt: No such file"),
        ("[pools.ru]\nnumbers = \"ru.txt\"\nreading = { colour = \"red\" }\n", "colour"),
        (
            "[pools.ru]\nnumbers = \"ru.txt\"\nsettings = { ttl_seconds = 60 }\n",
            "the settings of pool ru are not understood",
        ),
        ("[pools.\"a b\"]\n", "not a pool name"),
        ("[pools.new]\n", "say with numbers what it is made of"),
        ("[[token]]\nname = \"shop\"\n", "without tokens_file"),
        (
            "tokens_file = \"t.toml\"\n[[token]]\nname = \"shop\"\n",
            "the tokens are not understood: token 1 (shop)",
        ),
    ] {
        let path = file(directory.path(), text);
        let output = daemon.run(&["apply", &path]);
        let code = output.status.code().unwrap();
        one_line_failure(&output, code, reason);
        assert!(code == 1 || text.contains("a b"), "{text}: {code}");
    }
    assert!(daemon.ok(&["pool", "list"]).contains("no pool"));
    assert!(!directory.path().join("t.toml").exists());
}

#[test]
fn what_would_be_refused_is_refused_before_the_first_change_and_by_a_dry_run() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let invalid = directory.path().join("invalid.txt");
    fs::write(&invalid, "79120000005\nx\n").unwrap();
    let refused = |text: &str, reason: &str| {
        let path = file(directory.path(), text);
        for args in [&["apply", &path, "--dry-run"][..], &["apply", &path]] {
            let output = daemon.run(args);
            one_line_failure(&output, 1, reason);
            let blamed = String::from_utf8_lossy(&output.stderr).into_owned();
            assert!(!blamed.contains("ru.txt"), "{blamed}");
        }
    };
    let cases = [
        ("ttl_max = 90000", "ttl_max = 60", "ttl_max"),
        ("ttl = 90000", "ttl = 0", "ttl"),
        ("[\"optouts\"]", "[\"nolist\"]", "the list nolist, which is not there: add [lists.nolist]"),
        ("then = \"rest:60\"", "then = \"list:nolist\"", "the list nolist"),
        ("\"optouts.txt\"", "\"none.txt\"", "none.txt: No such file"),
        ("\"optouts.txt\"", "\"invalid.txt\"", "invalid.txt: "),
    ];
    for (is, becomes, reason) in cases {
        refused(&WANTED.replace(is, becomes), reason);
    }
    assert!(daemon.ok(&["pool", "list"]).contains("no pool"));
    assert!(daemon.ok(&["list", "show"]).contains("no list"), "not even what comes before it");
    let path = file(directory.path(), WANTED);
    assert!(daemon.ok(&["apply", &path]).contains("+ pool ru, with 100 numbers\n"));
    for (is, becomes, reason) in &cases[..4] {
        refused(&WANTED.replace(is, becomes), reason);
    }
    let path = file(directory.path(), WANTED);
    assert_eq!(daemon.ok(&["apply", &path]), "nothing to change\n");
}

#[test]
fn the_tokens_file_keeps_its_mode_and_is_what_a_daemon_takes() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(&directory.path().join("data"));
    let entry = |name: &str, digit: &str| {
        format!(
            "[[token]]\nname = \"{name}\"\nrole = \"viewer\"\npools = [\"*\"]\nsha256 = [\"{}\"]\n",
            digit.repeat(64)
        )
    };
    let tokens = directory.path().join("tokens.toml");
    let apply = |entries: &str| {
        daemon.ok(&["apply", &file(directory.path(), &format!("tokens_file = \"tokens.toml\"\n{entries}"))])
    };
    assert!(apply(&entry("a", "1")).starts_with("+ token a\n"));
    assert_eq!(fs::metadata(&tokens).unwrap().permissions().mode() & 0o777, 0o600);
    fs::set_permissions(&tokens, fs::Permissions::from_mode(0o640)).unwrap();
    let changed = apply(&(entry("a", "2") + &entry("b", "3")));
    assert!(changed.starts_with("~ token a\n+ token b\n"), "{changed}");
    assert_eq!(fs::metadata(&tokens).unwrap().permissions().mode() & 0o777, 0o640);
    assert!(apply(&entry("b", "3")).starts_with("- token a\n"));
    assert_eq!(apply(&entry("b", "3")), "nothing to change\n");
    assert!(daemon.ok(&["token", "check", tokens.to_str().unwrap()]).contains("1 principal, no faults"));
}
