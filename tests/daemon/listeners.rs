//! Listeners with options, by the real daemon: which calls they serve, who may use a socket file and as what, which
//! addresses are refused; and who may use the daemon's files.

use std::fs;
use std::io::{BufReader, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Output;

use crate::support::daemon::{Daemon, allotd, one_line_failure};
use crate::support::logged::Logged;
use crate::support::{Answer, read_answer};

/// A user of this machine that is not the one of the tests.
const OTHER_USER: u32 = 65_533;

fn start(data: &Path, listen: &str, flags: &[&str]) -> Daemon {
    let mut command = allotd();
    command.args(["serve", "--durability", "none", "--listen", "127.0.0.1:0", "--listen", listen]);
    command.args(flags).arg("--data").arg(data);
    Daemon::spawn(command).unwrap()
}

/// A request over a socket file.
fn call(socket: &Path, method: &str, path: &str) -> Answer {
    let mut stream = BufReader::new(UnixStream::connect(socket).unwrap());
    write!(stream.get_mut(), "{method} {path} HTTP/1.1\r\nhost: localhost\r\n\r\n").unwrap();
    read_answer(&mut stream, false)
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().permissions().mode() & 0o777
}

fn make_pool(daemon: &Daemon) {
    let made = daemon.client().send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n100,199\n").unwrap();
    assert_eq!(made.status, 201, "{}", made.body);
}

#[test]
fn a_lease_listener_serves_what_services_need() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("lease.sock");
    let listen = format!("unix:{},calls=lease", socket.display());
    let daemon = start(&directory.path().join("data"), &listen, &[]);
    make_pool(&daemon);
    for (method, path, status) in [
        ("POST", "/v1/pools/ru/lease", 200),
        ("GET", "/v1/pools/ru", 200),
        ("GET", "/healthz", 200),
        ("GET", "/readyz", 200),
        ("POST", "/v1/pools/ru/renew", 400),
        ("POST", "/v1/pools/ru/return", 400),
        ("GET", "/v1/pools/ru/numbers/100", 403),
        ("GET", "/v1/pools/ru/numbers", 403),
        ("GET", "/v1/pools", 403),
        ("GET", "/v1/stats", 403),
        ("GET", "/metrics", 403),
        ("GET", "/", 403),
        ("GET", "/openapi.json", 403),
        ("POST", "/v1/backup", 403),
        ("POST", "/v1/pools/ru/pause", 403),
        ("DELETE", "/v1/pools/ru", 403),
        ("GET", "/v1/none", 404),
    ] {
        let answer = call(&socket, method, path);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.body);
        assert!(status != 403 || answer.body.contains("calls=lease"), "{}", answer.body);
    }
    assert_eq!(daemon.client().call("GET", "/v1/stats").unwrap().status, 200, "the other listener has all");
}

#[test]
fn a_socket_file_has_its_mode_and_its_group() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let group = rustix::process::getgid().as_raw();
    let listen =
        format!("unix:{},unix:{},mode=660,group={group}", path("own").display(), path("ops").display());
    let daemon = start(&path("data"), &listen, &[]);
    assert_eq!((mode(&path("own")), mode(&path("ops"))), (0o600, 0o660));
    assert_eq!(fs::metadata(path("ops")).unwrap().gid(), group);
    assert_eq!(call(&path("own"), "GET", "/healthz").status, 200);
    // A stop does not need the file.
    fs::remove_file(path("ops")).unwrap();
    assert_eq!(daemon.stop(), Some(0));
    assert!(!path("own").exists());
    let refused = |option: &str| {
        let listen = format!("unix:{},{option}", path("own").display());
        let output = allotd().args(["serve", "--listen", &listen, "--data"]).arg(path("data")).output();
        assert!(!path("own").exists());
        output.unwrap()
    };
    let failed = |output: &Output, words: &str| {
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(1) && text.contains(words), "{text}");
    };
    failed(&refused("group=no-such-group"), "there is no group");
    failed(&refused("peer=user:no-such-user:admin"), "there is no user");
    one_line_failure(&refused("peer=user:root:king"), 2, "no role");
}

#[test]
fn a_user_of_this_machine_has_the_role_that_a_socket_gives() {
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("allotd.sock");
    let own = rustix::process::getuid().as_raw();
    let statuses = |peer: &str| {
        let listen = format!("unix:{},mode=666,peer={peer}", socket.display());
        let daemon = start(&directory.path().join("data"), &listen, &[]);
        if daemon.client().call("GET", "/v1/pools/ru").unwrap().status == 404 {
            make_pool(&daemon);
        }
        let calls = [
            ("GET", "/healthz"),
            ("POST", "/v1/pools/ru/lease"),
            ("GET", "/v1/stats"),
            ("POST", "/v1/pools/ru/resume"),
            ("POST", "/v1/backup"),
        ];
        let statuses = calls.map(|(method, path)| call(&socket, method, path).status);
        assert_eq!(daemon.stop(), Some(0));
        statuses
    };
    let group = rustix::process::getgid().as_raw();
    for (peer, expected) in [
        (format!("user:{own}:client"), [200, 200, 403, 403, 403]),
        (format!("user:{own}:viewer"), [200, 403, 200, 403, 403]),
        (format!("group:{group}:operator"), [200, 200, 200, 200, 403]),
        (format!("group:{group}:client,peer=user:{own}:viewer"), [200, 403, 200, 403, 403]),
        (format!("user:{own}:admin"), [200, 200, 200, 200, 200]),
        (format!("user:{OTHER_USER}:admin"), [200, 403, 403, 403, 403]),
    ] {
        assert_eq!(statuses(&peer), expected, "{peer}");
    }
}

/// The system says who is at the other end, whatever that process says.
#[test]
fn another_user_is_told_apart() {
    if !rustix::process::getuid().is_root() {
        println!("SKIPPED: only root can become another user");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    fs::set_permissions(directory.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let (socket, program) = (directory.path().join("allotd.sock"), directory.path().join("allotd"));
    fs::copy(env!("CARGO_BIN_EXE_allotd"), &program).unwrap();
    let listen =
        format!("unix:{},mode=666,peer=user:0:admin,peer=group:{OTHER_USER}:viewer", socket.display());
    let daemon = start(&directory.path().join("data"), &listen, &[]);
    make_pool(&daemon);
    let run = |gid: u32, args: &[&str]| {
        let mut command = std::process::Command::new(&program);
        command.args(args).arg("--server").arg(format!("unix:{}", socket.display()));
        command.env_clear().uid(OTHER_USER).gid(gid).output().unwrap()
    };
    assert_eq!(run(OTHER_USER, &["pool", "show", "ru"]).status.code(), Some(0));
    one_line_failure(&run(OTHER_USER, &["lease", "ru"]), 1, "(forbidden)");
    one_line_failure(&run(OTHER_USER - 1, &["pool", "show", "ru"]), 1, "This user has no role");
    assert_eq!(call(&socket, "POST", "/v1/pools/ru/lease").status, 200);
}

#[test]
fn what_others_reach_is_refused_without_protection() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let data = data.to_str().unwrap();
    for (flags, words) in [
        (&["--listen", "0.0.0.0:0"][..], "--allow-plain-text"),
        (&["--listen", "[::]:0,calls=lease"], "--allow-plain-text"),
        (&["--listen", "0.0.0.0:0", "--allow-plain-text"], "--allow-anyone"),
        (&["--listen", "0.0.0.0:0", "--allow-anyone"], "--allow-plain-text"),
        (
            &["--listen", "0.0.0.0:0", "--insecure"],
            "give --allow-plain-text (tokens and numbers travel readable)",
        ),
        (&["--insecure=false"], "--insecure is gone"),
        (&["--listen", "0.0.0.0:0,tls"], "needs a certificate"),
        (&["--listen", "0.0.0.0:0,tls", "--tls-certificate", "c", "--tls-key", "k"], "--allow-anyone"),
    ] {
        let output = allotd().args(["serve", "--data", data]).args(flags).output().unwrap();
        one_line_failure(&output, 2, words);
    }
    let flags = ["--listen", "0.0.0.0:0", "--allow-plain-text", "--allow-anyone"];
    let logged = Logged::start(&flags);
    logged.wait_for("ready", 1);
    assert!(logged.named("no_tokens")[0]["listen"].as_str().unwrap().contains("0.0.0.0"));
    assert_eq!(logged.named("plain_text")[0]["listen"], "0.0.0.0:0");
    let local = Logged::start(&[]);
    local.wait_for("ready", 1);
    assert_eq!((local.named("no_tokens").len(), local.named("plain_text").len()), (1, 0));
}

/// Every file and directory, its mode.
fn modes(directory: &Path) -> Vec<(String, u32)> {
    let mut found = vec![(directory.display().to_string(), mode(directory))];
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        if entry.file_type().unwrap().is_dir() {
            found.extend(modes(&entry.path()));
        } else {
            found.push((entry.path().display().to_string(), mode(&entry.path())));
        }
    }
    found
}

#[test]
fn the_daemons_files_are_its_users_own() {
    let directory = tempfile::tempdir().unwrap();
    let data = directory.path().join("data");
    let daemon = Daemon::start(&data);
    make_pool(&daemon);
    daemon.ok(&["backup", "--name", "one"]);
    assert_eq!(daemon.stop(), Some(0));
    let backup = data.join("backups/one");
    let restored = directory.path().join("restored");
    let output = allotd().arg("restore").arg(&backup).arg(&restored).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let all = [modes(&data), modes(&restored)].concat();
    assert!(all.len() > 20, "{all:?}");
    for (path, mode) in all {
        assert_eq!(mode & 0o077, 0, "{path}: {mode:o}");
    }
    // What an earlier version left, or a copy.
    let lock = data.join("LOCK");
    fs::set_permissions(&lock, fs::Permissions::from_mode(0o644)).unwrap();
    let daemon = Daemon::start(&data);
    assert_eq!(mode(&lock), 0o600);
    assert_eq!(daemon.stop(), Some(0));
    fs::set_permissions(&data, fs::Permissions::from_mode(0o777)).unwrap();
    let output = allotd().args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(&data).output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && text.contains("chmod o-w"), "{text}");
}
