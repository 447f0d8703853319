//! The `HAProxy` file of the docs, in front of two clusters.

use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::etcd::{self, Etcd};
use super::host::Host;
use super::members::Members;
use super::support::Client;

const FLAGS: [&str; 2] = ["--cluster-ttl", "2"];
const PATIENCE: Duration = Duration::from_secs(30);

struct Haproxy(Child);

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until a lease of the pool comes through.
fn wait_for_lease(address: SocketAddr, pool: &str) {
    let begun = Instant::now();
    loop {
        let leased = Client::connect(address)
            .and_then(|mut client| client.call("POST", &format!("/v1/pools/{pool}/lease")));
        if leased.as_ref().is_ok_and(|answer| answer.status == 200) {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "{pool}: {leased:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn a_load_balancer_finds_the_primary_and_routes_pools_to_clusters() {
    let is_there = Command::new("haproxy").arg("-v").output().is_ok_and(|output| output.status.success());
    if !etcd::is_installed() || !is_there {
        println!("SKIPPED: haproxy or etcd is not there: apt-get install haproxy etcd-server");
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let etcd = Etcd::start(1, directory.path());
    let mut numbers = Members::start(2, &directory.path().join("numbers"), &etcd.urls(), &FLAGS);
    let eu = Members::start_named("eu", 2, &directory.path().join("eu"), &etcd.urls(), &FLAGS);
    for (members, pool) in [(&numbers, "ru"), (&eu, "eu-1")] {
        let mut client = members.client(members.wait_primary());
        let path = format!("/v1/pools/{pool}");
        let created = client.send("PUT", &path, "text/csv", b"first,last\n1,100000\n").unwrap();
        assert_eq!(created.status, 201, "{created:?}");
    }
    let address = Host::LOOPBACK.free(0);
    let mut config = include_str!("../../docs/operations/haproxy.cfg").to_owned();
    let members = numbers.all.iter().chain(&eu.all).map(|member| member.address);
    for (in_docs, found) in [7979, 7980, 7981, 7982].into_iter().zip(members) {
        config = config.replace(&format!("127.0.0.1:{in_docs}"), &found.to_string());
    }
    let config = config.replace("127.0.0.1:8080", &address.to_string());
    let path = directory.path().join("haproxy.cfg");
    std::fs::write(&path, config).unwrap();
    let child = Command::new("haproxy").arg("-db").arg("-f").arg(&path).stdout(Stdio::null()).spawn();
    let _haproxy = Haproxy(child.unwrap());
    wait_for_lease(address, "ru");
    wait_for_lease(address, "eu-1");
    let primary = numbers.wait_primary();
    numbers.kill(primary);
    wait_for_lease(address, "ru");
    assert_ne!(numbers.wait_primary(), primary);
}
