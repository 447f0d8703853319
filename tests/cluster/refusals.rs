//! What a member refuses at its start, and what a standby answers.

use std::collections::BTreeSet;
use std::io::Write as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::json;

use super::document::Document;
use super::etcd::{self, Etcd};
use super::host::Host;
use super::members::Members;
use super::support::daemon::{Daemon, one_line_failure};
use super::support::read_answer;

const FLAGS: [&str; 2] = ["--cluster-ttl", "2"];

#[test]
fn nothing_is_merged_that_does_not_belong_together() {
    if !etcd::is_installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (etcd, other) = (Etcd::start(1, directory.path()), tempfile::tempdir().unwrap());
    let other_etcd = Etcd::start(1, other.path());
    let mut members = Members::start(2, directory.path(), &etcd.urls(), &FLAGS);
    let primary = members.wait_primary();
    let standby = 1 - primary;
    let document = Document::load();
    for index in [primary, standby] {
        let status = members.status(index).unwrap();
        document.check("/components/schemas/ClusterStatus", &status).unwrap();
    }
    let forgotten = members.client(primary).post("/v1/cluster/forget", &json!({"member": "nobody"}));
    assert_eq!(forgotten.unwrap().problem(), (400, "bad_request".to_owned()));
    // Both have the metrics that the page describes, and no others of clusters.
    let described: BTreeSet<_> = include_str!("../../docs/operations/metrics.md")
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'))
        .map(|(name, _)| name)
        .filter(|name| name.starts_with("allotd_cluster_"))
        .collect();
    for index in [primary, standby] {
        let metrics = members.client(index).call("GET", "/metrics").unwrap().body;
        let found: BTreeSet<_> = metrics
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
            .map(|(name, _)| name)
            .filter(|name| name.starts_with("allotd_cluster_"))
            .collect();
        assert_eq!(found, described);
    }
    // A standby says what it is, and sends all else on.
    let client = &mut members.client(standby);
    assert_eq!(client.call("GET", "/healthz").unwrap().status, 200);
    assert_eq!(client.call("GET", "/readyz").unwrap().problem(), (503, "not_primary".to_owned()));
    let sent_on = client.call("GET", "/v1/pools?x=1").unwrap();
    assert_eq!(sent_on.status, 307);
    let expected = format!("http://{}/v1/pools?x=1", members.all[primary].address);
    assert_eq!(sent_on.header("location"), Some(expected.as_str()));
    assert_eq!(client.call("GET", "/v1/stats").unwrap().json()["cluster"]["role"], "standby");
    assert!(client.call("GET", "/metrics").unwrap().body.contains("allotd_cluster_primary 0"));
    assert!(client.call("GET", "/").unwrap().body.contains("standby"));
    // A foreign page that a browser was led here with sees nothing.
    write!(client.connection.get_mut(), "GET /v1/cluster HTTP/1.1\r\nhost: evil.test\r\n\r\n").unwrap();
    assert_eq!(read_answer(&mut client.connection, false).problem(), (403, "forbidden".to_owned()));
    let with = |data: &std::path::Path, etcd: &str, member: &str| {
        super::support::daemon::allotd()
            .args(["serve", "--cluster", "test", "--cluster-ttl", "1", "--etcd", etcd, "--member", member])
            .args(["--listen", "127.0.0.1:0", "--advertise", "http://127.0.0.1:1", "--data"])
            .arg(data)
            .output()
            .unwrap()
    };
    // Its directory is the cluster's, and this member's.
    let data = members.all[standby].data.clone();
    assert_eq!(members.stop(standby), Some(0));
    let alone = super::support::daemon::allotd()
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(&data)
        .output();
    one_line_failure(&alone.unwrap(), 1, "is the directory of a member of a cluster");
    one_line_failure(&with(&data, &etcd.urls(), "x"), 1, "is that of the member");
    let foreign = directory.path().join("foreign");
    let daemon = Daemon::start(&foreign);
    assert_eq!(daemon.client().send("PUT", "/v1/pools/a", "text/plain", b"1\n").unwrap().status, 201);
    assert_eq!(daemon.stop(), Some(0));
    one_line_failure(&with(&foreign, &etcd.urls(), "m7"), 1, "nothing is merged");
    one_line_failure(&with(&data, &other_etcd.urls(), "m1"), 1, "");
    one_line_failure(&with(&directory.path().join("new"), "http://127.0.0.1:1", "m8"), 1, "etcd");
}

/// A token for the role, whose entry goes into the tokens file.
fn issue(role: &str, directory: &Path, entries: &mut String) -> String {
    let secret = directory.join(role);
    let mut command = super::support::daemon::allotd();
    let output =
        command.args(["token", "new", role, "--role", role, "--pools", "*", "--out"]).arg(&secret).output();
    entries.push_str(std::str::from_utf8(&output.unwrap().stdout).unwrap());
    std::fs::read_to_string(secret).unwrap().trim().to_owned()
}

#[test]
fn a_standby_shows_its_figures_to_those_who_may_see_the_primarys() {
    if !etcd::is_installed() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(1, directory.path());
    let mut entries = String::new();
    let viewer = issue("viewer", directory.path(), &mut entries);
    let client = issue("client", directory.path(), &mut entries);
    let tokens = directory.path().join("tokens.toml");
    std::fs::write(&tokens, entries).unwrap();
    std::fs::set_permissions(&tokens, std::fs::Permissions::from_mode(0o600)).unwrap();
    let flags = [FLAGS.as_slice(), &["--tokens", tokens.to_str().unwrap()]].concat();
    // Whether they are whole is told to nobody without a token.
    let members =
        Members::launch_on("test", &[Host::LOOPBACK, Host::LOOPBACK], directory.path(), &etcd.urls(), &flags);
    let primary = members.wait_primary();
    for index in [primary, 1 - primary] {
        for path in ["/v1/cluster", "/v1/stats", "/metrics"] {
            let mut connection = members.client(index);
            let mut with = |token: &str| {
                let head = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{token}\r\n");
                connection.connection.get_mut().write_all(head.as_bytes()).unwrap();
                read_answer(&mut connection.connection, false)
            };
            let refused = with("");
            assert_eq!(refused.problem(), (401, "unauthorized".to_owned()), "{path} of {index}");
            assert!(refused.header("www-authenticate").is_some(), "{path} of {index}");
            let refused = with(&format!("authorization: Bearer {client}\r\n"));
            assert_eq!(refused.problem().0, 403, "{path} of {index}");
            assert_eq!(with(&format!("authorization: Bearer {viewer}\r\n")).status, 200, "{path} of {index}");
        }
        let mut connection = members.client(index);
        for path in ["/healthz", "/readyz", "/"] {
            assert_ne!(connection.call("GET", path).unwrap().status, 401, "{path} of {index}");
        }
    }
    let page = members.client(1 - primary).call("GET", "/").unwrap().body;
    assert!(!page.contains("<td>"), "members are shown to nobody in particular: {page}");
}
