//! SIGHUP: the config file is read again, by the real daemon.

use std::fs;

use crate::support::Client;
use crate::support::logged::Logged;
use rustix::process::Signal;
use serde_json::Value;

const CONFIG: &str = "allotd.toml";

/// A daemon whose config file says this; all but the address and the data directory.
fn start(config: &str, flags: &[&str]) -> Logged {
    Logged::start_with(flags, |command, directory| {
        fs::write(directory.join(CONFIG), config).unwrap();
        command.arg("--config").arg(directory.join(CONFIG));
    })
}

fn reload(logged: &Logged, config: &str) {
    fs::write(logged.path(CONFIG), config).unwrap();
    logged.daemon.signal(Signal::HUP);
}

/// Whether a request is logged now.
fn logs_requests(logged: &Logged, client: &mut Client) -> bool {
    let before = logged.named("request").len();
    assert_eq!(client.call("GET", "/v1/pools").unwrap().status, 200);
    logged.named("request").len() > before
}

#[test]
fn what_can_change_changes_and_the_rest_is_named() {
    let logged = start("log_level = \"info\"\nworkers = 2\n", &[]);
    let mut first = logged.daemon.client();
    assert!(!logs_requests(&logged, &mut first));
    reload(
        &logged,
        "log_level = \"debug\"\nslow_call_ms = 7\nlog_numbers = true\nmax_connections = 1\nworkers = 3\n\
         durability = \"none\"\n",
    );
    let told = logged.wait_for("reloaded", 1).remove(0);
    for (field, value) in [
        ("log_level", Value::from("debug")),
        ("slow_call_ms", 7.into()),
        ("log_numbers", true.into()),
        ("max_connections", 1.into()),
    ] {
        assert_eq!(told[field], value, "{told}");
    }
    let named: Vec<_> = logged
        .named("restart_needed")
        .iter()
        .map(|event| event["message"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(
        named,
        [
            "workers changed in the file: it needs a restart",
            "durability changed in the file: it needs a restart"
        ]
    );
    assert!(logs_requests(&logged, &mut first));
    assert_eq!(first.call("GET", "/v1/pools/ru/numbers/79123454567").unwrap().status, 404);
    let path = "/v1/pools/ru/numbers/79123454567";
    assert!(logged.named("request").iter().any(|request| request["path"] == path), "{}", logged.text());
    assert_eq!(
        logged.daemon.client().call("GET", "/v1/pools").unwrap().status,
        503,
        "one connection at most"
    );
    assert_eq!(first.call("GET", "/v1/stats").unwrap().json()["durability"], "sync");

    // What is back as it was needs no restart.
    reload(&logged, "workers = 2\n");
    logged.wait_for("reloaded", 2);
    assert_eq!(logged.named("restart_needed").len(), 2);
    assert!(!logs_requests(&logged, &mut first), "the default is info");
}

#[test]
fn a_bad_file_changes_nothing_and_is_told_with_its_line() {
    let logged = start("log_level = \"debug\"\n", &[]);
    for (bad, words) in [
        ("log_level = \"error\"\nworkers = x\n", "line 2"),
        ("log_level = \"error\"\nslow_call_ms = -1\n", "line 2"),
        ("log_level = \"error\"\n\ncolour = 1\n", "line 3"),
        ("log_level = \"loud\"\n", "give error, warn, info or debug"),
        ("log_level = \"error\"\nworkers = 0\n", "is 0: give 1"),
    ] {
        let before = logged.named("reload_failed").len();
        reload(&logged, bad);
        let told = logged.wait_for("reload_failed", before + 1).pop().unwrap();
        let message = told["message"].as_str().unwrap();
        assert!(message.starts_with("nothing was changed: ") && message.contains(words), "{message}");
        assert_eq!(told["level"], "ERROR");
        assert!(logs_requests(&logged, &mut logged.daemon.client()), "{bad}");
    }
}

#[test]
fn a_flag_wins_over_the_file_that_is_read_again() {
    let logged = start("", &["--log-level", "info"]);
    reload(&logged, "log_level = \"debug\"\n");
    assert_eq!(logged.wait_for("reloaded", 1)[0]["log_level"], "info");
}

#[test]
fn without_a_file_the_daemon_goes_on() {
    let logged = Logged::start(&[]);
    logged.daemon.signal(Signal::HUP);
    let told = logged.wait_for("reload_failed", 1).remove(0);
    assert!(told["message"].as_str().unwrap().contains("--config"), "{told}");
    assert_eq!(logged.daemon.stop(), Some(0));
}
