//! What the unit forbids, the daemon does not do: every system call of a day in its life against the unit's filter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::support::daemon::{Daemon, allotd};
use rustix::process::Signal;

/// The values of a key of the unit, in order.
fn unit_values(key: &str) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/packaging/allotd.service");
    let text = fs::read_to_string(path).unwrap();
    let values = text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    values.map(str::to_owned).collect()
}

/// systemd's sets of system calls by name, as it lists them; `None`, with a reason, where it is not installed.
fn sets() -> Option<BTreeMap<String, Vec<String>>> {
    let output = match Command::new("systemd-analyze").args(["--no-pager", "syscall-filter"]).output() {
        Ok(output) if output.status.success() => output,
        refused => {
            println!("SKIPPED: systemd-analyze does not list its filters: {refused:?}");
            return None;
        }
    };
    let mut sets: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let word = line.trim();
        if word.is_empty() || word.starts_with('#') {
            continue;
        }
        if line.starts_with('@') {
            word.clone_into(&mut current);
        } else {
            sets.entry(current.clone()).or_default().push(word.to_owned());
        }
    }
    Some(sets)
}

/// The calls of a set, and of those in it.
fn calls_of(name: &str, sets: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut calls = BTreeSet::new();
    for member in sets.get(name).unwrap_or_else(|| panic!("systemd has no set {name}")) {
        if member.starts_with('@') {
            calls.append(&mut calls_of(member, sets));
        } else {
            calls.insert(member.clone());
        }
    }
    calls
}

/// Calls that the unit may refuse: whether the clock is kept by NTP is then not known.
const MAY_BE_REFUSED: [&str; 1] = ["clock_adjtime"];

/// The calls that the unit allows.
fn allowed(sets: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let mut allowed = BTreeSet::new();
    for value in unit_values("SystemCallFilter") {
        match value.strip_prefix('~') {
            None => value.split(' ').for_each(|set| allowed.append(&mut calls_of(set, sets))),
            Some(forbidden) => {
                let forbidden: Vec<_> = forbidden.split(' ').map(|set| calls_of(set, sets)).collect();
                allowed.retain(|call| !forbidden.iter().any(|set| set.contains(call)));
            }
        }
    }
    allowed
}

/// A start, all kinds of calls, a reload, a stop: the lines of `strace`; `None`, with a reason, where it may not trace.
fn trace(directory: &Path) -> Option<String> {
    let probe = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).status();
    if !probe.as_ref().is_ok_and(std::process::ExitStatus::success) {
        println!("SKIPPED: strace is not there or may not trace: {probe:?}");
        return None;
    }
    let (log, config) = (directory.join("trace"), directory.join("allotd.toml"));
    fs::write(&config, "journal_file_mib = 2\n").unwrap();
    let mut command = Command::new("strace");
    command.args(["-D", "-f", "-o"]).arg(&log).arg(allotd().get_program());
    command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(directory.join("data"));
    let group = rustix::process::getgid().as_raw();
    let socket = directory.join("socket");
    let socket = format!("unix:{},mode=660,group={group},peer=user:root:admin", socket.display());
    command.arg("--listen").arg(socket);
    command.arg("--config").arg(&config).env("ALLOTD_LOG_LEVEL", "warn");
    let daemon = Daemon::spawn(command).unwrap();
    let mut client = daemon.client();
    let list = "79120000000-79120099999\n";
    assert_eq!(client.send("PUT", "/v1/pools/ru", "text/plain", list.as_bytes()).unwrap().status, 201);
    let lease = client.call("POST", "/v1/pools/ru/lease").unwrap().json()["leases"][0].clone();
    for action in ["renew", "return"] {
        let held = serde_json::json!({ "leases": [{ "number": lease["number"], "token": lease["token"] }] });
        assert_eq!(client.post(&format!("/v1/pools/ru/{action}"), &held).unwrap().status, 200, "{action}");
    }
    assert_eq!(client.call("GET", "/v1/pools/ru/numbers").unwrap().status, 200);
    assert_eq!(client.send("POST", "/v1/pools/ru/retire", "text/plain", b"79120000001").unwrap().status, 200);
    assert_eq!(client.call("GET", "/v1/stats").unwrap().status, 200);
    assert_eq!(client.call("POST", "/v1/backup").unwrap().status, 200);
    daemon.signal(Signal::HUP);
    assert_eq!(client.call("DELETE", "/v1/pools/ru?force=true").unwrap().status, 200);
    drop(client);
    assert_eq!(daemon.stop(), Some(0));
    Some(fs::read_to_string(log).unwrap())
}

#[test]
fn the_daemon_lives_within_its_unit() {
    let directory = tempfile::tempdir().unwrap();
    let Some(sets) = sets() else { return };
    let Some(trace) = trace(directory.path()) else { return };
    let allowed = allowed(&sets);
    let mut called = BTreeSet::new();
    for line in trace.lines() {
        let call = line.split_once(' ').map_or("", |(_process, call)| call.trim_start());
        let name = call.split('(').next().unwrap_or_default();
        if !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') {
            called.insert(name.to_owned());
        }
        // MemoryDenyWriteExecute= refuses these.
        assert!(!(call.contains("PROT_WRITE") && call.contains("PROT_EXEC")), "{call}");
        assert!(!(call.starts_with("mprotect") && call.contains("PROT_EXEC")), "{call}");
        if let Some(family) = call.strip_prefix("socket(") {
            let family = family.split(',').next().unwrap();
            assert!(unit_values("RestrictAddressFamilies")[0].split(' ').any(|one| one == family), "{call}");
        }
    }
    assert!(called.len() > 30 && called.contains("setpriority") && called.contains("pwrite64"), "{called:?}");
    let is_needed = |call: &&String| !MAY_BE_REFUSED.contains(&call.as_str());
    let forbidden: Vec<_> = called.difference(&allowed).filter(is_needed).collect();
    assert!(forbidden.is_empty(), "the unit forbids {forbidden:?}");
}
