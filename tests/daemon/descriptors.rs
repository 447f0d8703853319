//! What may end the daemon: a failure of what confirmations depend on, and nothing else. On the real binary, out of
//! file descriptors and with a directory of backups that does not work.

use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::{Duration, Instant};

use crate::support::daemon::{Daemon, allotd};
use serde_json::Value;

/// Open files that the daemon may have: few more than its own.
const DESCRIPTORS: u32 = 128;
/// The totals are saved each second.
const SEVERAL_SAVES: Duration = Duration::from_secs(4);

/// A daemon under a limit on open files, and its log below `directory`.
fn limited(directory: &Path, limits: &str, flags: &[&str]) -> Daemon {
    let mut command = Command::new("sh");
    command.env_clear().env("ALLOTD_LOG_LEVEL", "info").env("ALLOTD_LOG_FORMAT", "json");
    let script = format!("{limits}; exec \"$0\" \"$@\"");
    command.arg("-c").arg(script).arg(allotd().get_program());
    command
        .args(["serve", "--listen", "127.0.0.1:0", "--workers", "2", "--data"])
        .arg(directory.join("data"));
    command.args(flags).stderr(fs::File::create(directory.join("log")).unwrap());
    Daemon::spawn(command).unwrap_or_else(|code| panic!("ended with {code:?} before it was ready"))
}

/// The events of a kind in the log.
fn events(directory: &Path, event: &str) -> Vec<Value> {
    let log = fs::read_to_string(directory.join("log")).unwrap();
    let lines = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter(|line| line["event"] == event).collect()
}

/// Connections on which nothing is sent; as many as the system and the daemon take.
fn idle(address: SocketAddr, count: usize) -> Vec<TcpStream> {
    (0..count).filter_map(|_| TcpStream::connect_timeout(&address, Duration::from_secs(1)).ok()).collect()
}

#[test]
fn idle_connections_up_to_the_limit_of_open_files_end_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = limited(directory.path(), &format!("ulimit -n {DESCRIPTORS}"), &[]);
    let mut client = daemon.client();
    assert_eq!(client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n100,199\n").unwrap().status, 201);
    let connections = idle(daemon.address, 2 * DESCRIPTORS as usize);
    sleep(SEVERAL_SAVES);
    assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
    // Its own files still find a descriptor.
    let created = client.send("PUT", "/v1/pools/by", "text/csv", b"first,last\n100,199\n").unwrap();
    assert_eq!(created.status, 201, "{created:?}");
    assert_eq!(client.send("PATCH", "/v1/pools/ru", "application/json", b"{\"ttl\":7}").unwrap().status, 200);
    let backup = client.call("POST", "/v1/backup").unwrap();
    assert_eq!(backup.status, 200, "{backup:?}");
    drop(connections);
    assert_eq!(events(directory.path(), "poisoned").len(), 0);
    let ready = &events(directory.path(), "ready")[0];
    assert!(ready["max_connections"].as_u64().unwrap() < u64::from(DESCRIPTORS), "{ready}");
    assert_eq!(events(directory.path(), "connections_limited").len(), 1);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn the_limit_of_open_files_is_raised_as_far_as_it_goes() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = limited(
        directory.path(),
        "ulimit -Sn 64; ulimit -Hn 1000",
        &["--max-connections", "300", "--max-connections-per-address", "300"],
    );
    let mut clients: Vec<_> = (0..200).map(|_| daemon.client()).collect();
    for client in &mut clients {
        assert_eq!(client.call("GET", "/healthz").unwrap().status, 200);
    }
    let ready = &events(directory.path(), "ready")[0];
    assert_eq!(ready["max_connections"], 300, "{ready}");
    assert_eq!(events(directory.path(), "connections_limited").len(), 0);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn a_backup_that_cannot_be_made_answers_its_error() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "not a directory").unwrap();
    let below = file.join("backups");
    let daemon = limited(directory.path(), "true", &["--backup-dir", below.to_str().unwrap()]);
    let mut client = daemon.client();
    assert_eq!(client.send("PUT", "/v1/pools/ru", "text/csv", b"first,last\n100,199\n").unwrap().status, 201);
    for _ in 0..2 {
        let backup = client.call("POST", "/v1/backup").unwrap();
        assert_eq!(backup.problem(), (500, "internal".to_owned()));
        // The caller is told an id, and the log the reason.
        assert!(!backup.body.contains(directory.path().to_str().unwrap()), "{backup:?}");
        let id = backup.header("x-request-id").unwrap();
        assert!(backup.body.contains(id), "{backup:?}");
        let failed = events(directory.path(), "request_failed");
        let of_it = failed.iter().find(|event| event["request_id"] == id).unwrap();
        assert!(of_it["message"].as_str().unwrap().contains("Not a directory"), "{of_it}");
    }
    assert_eq!(client.call("GET", "/readyz").unwrap().status, 200);
    assert_eq!(client.call("POST", "/v1/pools/ru/lease").unwrap().status, 200);
    assert_eq!(daemon.stop(), Some(0));
}

#[test]
fn parts_of_pools_leave_the_descriptors_that_the_daemon_needs() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = limited(directory.path(), &format!("ulimit -n {DESCRIPTORS}"), &[]);
    let mut client = daemon.client();
    let mut created = 0;
    let refused = loop {
        let answer = client
            .send("PUT", &format!("/v1/pools/p{created}"), "text/csv", b"first,last\n100,199\n")
            .unwrap();
        if answer.status != 201 {
            break answer;
        }
        created += 1;
        assert!(created < DESCRIPTORS, "it makes pools without end");
    };
    assert_eq!(refused.problem(), (503, "overloaded".to_owned()));
    assert!(refused.body.contains("LimitNOFILE="), "{refused:?}");
    assert!(created > 20, "{created}");
    // The daemon goes on: with leases, backups, its totals, and the same after a restart.
    assert_eq!(client.call("POST", "/v1/pools/p0/lease").unwrap().status, 200);
    assert_eq!(client.call("POST", "/v1/backup").unwrap().status, 200);
    sleep(SEVERAL_SAVES);
    assert_eq!(client.call("DELETE", "/v1/pools/p1").unwrap().status, 200);
    // The workers let go of a deleted pool at their next tick.
    let started = Instant::now();
    while client.send("PUT", "/v1/pools/again", "text/csv", b"first,last\n100,199\n").unwrap().status != 201 {
        assert!(
            started.elapsed() < Duration::from_secs(crate::support::PATIENCE_SECONDS),
            "nothing was given back"
        );
        sleep(Duration::from_millis(50));
    }
    assert_eq!(events(directory.path(), "poisoned").len(), 0);
    assert_eq!(daemon.stop(), Some(0));
}
