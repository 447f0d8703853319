//! The commands, end to end.

#![allow(clippy::unwrap_used)]

mod support;

use support::daemon::{Daemon, allotd, one_line_failure};

#[test]
fn a_pool_from_its_creation_to_its_end() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let numbers = directory.path().join("numbers.txt");
    std::fs::write(&numbers, "100-109\n").unwrap();
    let numbers = numbers.to_str().unwrap();
    let daemon = Daemon::start(&data);
    assert!(daemon.ok(&["pool", "create", "ru", numbers, "--order", "lowest"]).contains("numbers     10"));
    assert!(daemon.ok(&["pool", "list"]).contains("ru    10       10"));
    let lease = daemon.ok(&["lease", "ru", "--within", "105"]);
    let held = lease.split('\t').next().unwrap();
    assert!(held.starts_with("105:"));
    assert!(daemon.ok(&["renew", "ru", held, "--ttl", "900"]).contains("renewed"));
    assert!(daemon.ok(&["return", "ru", held, "--then", "rest:60"]).contains("resting"));
    assert_eq!(daemon.ok(&["pool", "export", "ru", "--state", "resting"]), "105\n");
    assert!(
        daemon.ok(&["pool", "retire", "ru", numbers, "--dry-run", "--json"]).starts_with("{\"retired\":10")
    );
    assert!(daemon.ok(&["pool", "set", "ru", "--ttl", "7", "--outcome", "ok=done"]).contains("ttl:7"));
    assert!(daemon.ok(&["pool", "pause", "ru"]).contains("true"));
    one_line_failure(&daemon.run(&["lease", "ru"]), 1, "(paused)");
    daemon.ok(&["pool", "resume", "ru"]);
    assert!(daemon.ok(&["pool", "round", "ru"]).contains('2'));
    assert!(daemon.ok(&["stats"]).contains("durability none"));
    assert!(daemon.ok(&["stats", "--json"]).starts_with("{\"version\""));
    one_line_failure(&daemon.run(&["pool", "show", "nope"]), 1, "(pool_not_found)");
    one_line_failure(&daemon.run(&["pool", "show", ".."]), 2, "not a pool name");
    let second = allotd().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output().unwrap();
    one_line_failure(&second, 1, "in use");
    let port = daemon.url.strip_prefix("http://").unwrap();
    let other = directory.path().join("other");
    let taken = allotd().args(["serve", "--listen", port, "--data"]).arg(&other).output().unwrap();
    one_line_failure(&taken, 1, "in use by another process");
    assert_eq!(daemon.stop(), Some(0));
    let daemon = Daemon::start(&data);
    assert!(daemon.ok(&["pool", "export", "ru", "--state", "resting"]).contains("105"));
    daemon.ok(&["pool", "delete", "ru"]);
    assert_eq!(daemon.stop(), Some(0));
    let checked = allotd().arg("check").arg(&data).output().unwrap();
    assert_eq!(checked.status.code(), Some(0), "{checked:?}");
}

#[test]
fn wrong_usage_is_2_and_failure_is_1() {
    for (args, code, words) in [
        (&["serve"][..], 2, "--data"),
        (&["serve", "--data", "/tmp/a", "--durability", "sync"], 2, "not available in this version"),
        (&["serve", "--data", "/tmp/a", "--listen", "0.0.0.0:1"], 2, "--insecure"),
        (&["serve", "--data", "/proc/version/a"], 1, "/proc/version"),
        (&["check", "/no/such/directory"], 1, "/no/such/directory"),
        (&["stats", "--server", "http://127.0.0.1:1"], 1, "allotd serve"),
        (&["stats", "--server", "ftp://a"], 2, "unix:PATH"),
        (&["renew", "ru", "7"], 2, "NUMBER:TOKEN"),
    ] {
        one_line_failure(&allotd().args(args).output().unwrap(), code, words);
    }
    assert_eq!(allotd().arg("fly").output().unwrap().status.code(), Some(2));
}

#[test]
fn environment_wins_over_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("allotd.toml");
    std::fs::write(&file, "data = \"/tmp/a\"\nworkers = 0\n").unwrap();
    let serve = |workers: Option<&str>| {
        let mut command = allotd();
        command.arg("serve").env("ALLOTD_CONFIG", &file).env("ALLOTD_DURABILITY", "sync");
        if let Some(workers) = workers {
            command.env("ALLOTD_WORKERS", workers);
        }
        command.output().unwrap()
    };
    one_line_failure(&serve(None), 2, "--workers is 0");
    one_line_failure(&serve(Some("999")), 2, "--workers is 999");
    one_line_failure(&serve(Some("1")), 2, "--durability sync");
}
