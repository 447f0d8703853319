//! What operators are given: alert rules and a dashboard, against the metrics that there are; and Prometheus'
//! own tool on all of it (Debian package `prometheus`), which these tests skip without.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Output, Stdio};

use crate::support::daemon::Daemon;

const METRICS_PAGE: &str = include_str!("../../docs/operations/metrics.md");
const ALERTS: &str = include_str!("../../docs/operations/alerts.yml");
const ALERT_TESTS: &str = include_str!("../../docs/operations/alerts.test.yml");
const DASHBOARD: &str = include_str!("../../docs/operations/dashboard.json");
/// What a histogram's samples are named by beside its own name.
const HISTOGRAM_SUFFIX: &str = "_bucket";

/// Runs promtool with an input; `None`, with the reason printed, where there is none.
fn promtool(args: &[&str], input: &str) -> Option<Output> {
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/operations");
    let mut command = Command::new("promtool");
    command.args(args).current_dir(directory).stdin(Stdio::piped());
    let spawned = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = match spawned {
        Ok(child) => child,
        Err(error) => {
            println!("SKIPPED: promtool cannot be run, install Debian's prometheus: {error}");
            return None;
        }
    };
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    Some(child.wait_with_output().unwrap())
}

fn accepts(args: &[&str], input: &str) {
    if let Some(output) = promtool(args, input) {
        assert!(output.status.success(), "{args:?}: {output:?}");
    }
}

#[test]
fn promtool_accepts_the_metrics() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon::start(directory.path());
    let mut client = daemon.client();
    assert_eq!(client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n100,199\n").unwrap().status, 201);
    assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
    assert_eq!(client.call("POST", "/v1/pools/none/lease").unwrap().status, 404);
    accepts(&["check", "metrics"], &client.call("GET", "/metrics").unwrap().body);
}

#[test]
fn promtool_accepts_the_alerts_and_their_tests_pass() {
    accepts(&["check", "rules", "alerts.yml"], "");
    accepts(&["test", "rules", "alerts.test.yml"], "");
}

#[test]
fn every_alert_has_a_test() {
    let names = |text: &str, key: &str| -> BTreeSet<String> {
        text.lines().filter_map(|line| line.trim_start().strip_prefix(key).map(str::to_owned)).collect()
    };
    let alerts = names(ALERTS, "- alert: ");
    assert!(!alerts.is_empty());
    assert_eq!(alerts, names(ALERT_TESTS, "alertname: "));
}

/// All names of metrics in a text of queries.
fn metrics_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let names = words.filter(|word| word.starts_with("allotd_") || word.starts_with("process_"));
    names.map(|name| name.strip_suffix(HISTOGRAM_SUFFIX).unwrap_or(name).to_owned()).collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let known = metrics_in(METRICS_PAGE);
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    assert!(
        panels.iter().all(|panel| panel["targets"].as_array().is_some_and(|targets| !targets.is_empty()))
    );
    for text in [ALERTS, DASHBOARD] {
        let asked = metrics_in(text);
        assert!(asked.len() > 5 && asked.is_subset(&known), "{:?}", asked.difference(&known));
    }
}
