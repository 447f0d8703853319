//! Members of a cluster, each a daemon in a process of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use super::host::Host;
use super::support::Client;
use super::support::daemon::{Daemon, allotd};

/// How long a cluster may take to be whole.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a member may take to answer whether it is primary.
const SHORT: Duration = Duration::from_millis(500);
const LOOK: Duration = Duration::from_millis(10);

/// The members of a cluster.
pub(crate) struct Members {
    cluster: String,
    etcd: String,
    flags: Vec<String>,
    pub(crate) all: Vec<Member>,
}

pub(crate) struct Member {
    pub(crate) id: String,
    pub(crate) data: PathBuf,
    pub(crate) address: SocketAddr,
    host: Host,
    daemon: Option<Daemon>,
}

impl Members {
    /// Starts members, and waits until all others follow the first.
    pub(crate) fn start(count: usize, root: &Path, etcd: &str, flags: &[&str]) -> Self {
        Self::start_named("test", count, root, etcd, flags)
    }

    pub(crate) fn start_named(cluster: &str, count: usize, root: &Path, etcd: &str, flags: &[&str]) -> Self {
        Self::start_on(cluster, &vec![Host::LOOPBACK; count], root, etcd, flags)
    }

    /// Starts a member on each host, and waits until all others follow the first.
    pub(crate) fn start_on(cluster: &str, hosts: &[Host], root: &Path, etcd: &str, flags: &[&str]) -> Self {
        let members = Self::launch_on(cluster, hosts, root, etcd, flags);
        members.wait_whole();
        members
    }

    /// Starts a member on each host. They listen; nothing more is known of them.
    pub(crate) fn launch_on(cluster: &str, hosts: &[Host], root: &Path, etcd: &str, flags: &[&str]) -> Self {
        let member = |(index, host): (usize, &Host)| Member {
            id: format!("m{index}"),
            data: root.join(format!("member-{index}")),
            address: host.free(0),
            host: host.clone(),
            daemon: None,
        };
        let count = hosts.len();
        let flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        let mut members = Self {
            cluster: cluster.to_owned(),
            etcd: etcd.to_owned(),
            flags,
            all: hosts.iter().enumerate().map(member).collect(),
        };
        (0..count).for_each(|index| members.start_member(index));
        members
    }

    pub(crate) fn command(&self, index: usize) -> std::process::Command {
        let member = &self.all[index];
        let mut command = allotd();
        command
            .args(["serve", "--cluster", &self.cluster, "--etcd", &self.etcd, "--member", &member.id])
            .args([
                "--listen",
                &member.address.to_string(),
                "--advertise",
                &format!("http://{}", member.address),
            ])
            .arg("--data")
            .arg(&member.data)
            .args(&self.flags);
        member.host.run(command)
    }

    pub(crate) fn start_member(&mut self, index: usize) {
        let daemon = Daemon::spawn(self.command(index));
        self.all[index].daemon = Some(daemon.unwrap_or_else(|code| panic!("ended with {code:?}")));
    }

    /// What a member says of the cluster; `None` if it does not answer.
    pub(crate) fn status(&self, index: usize) -> Option<Value> {
        let member = &self.all[index];
        member.daemon.as_ref()?;
        let answer = Client::connect(member.address).ok()?.call("GET", "/v1/cluster").ok()?;
        (answer.status == 200).then(|| answer.json())
    }

    /// The member that says that it is primary and is ready.
    pub(crate) fn primary(&self) -> Option<usize> {
        (0..self.all.len()).find(|index| {
            let Ok(mut client) = Client::connect_within(self.all[*index].address, SHORT) else {
                return false;
            };
            client.call("GET", "/readyz").is_ok_and(|answer| answer.status == 200)
        })
    }

    pub(crate) fn wait_primary(&self) -> usize {
        let begun = Instant::now();
        loop {
            if let Some(primary) = self.primary() {
                return primary;
            }
            assert!(begun.elapsed() < PATIENCE, "there is no primary");
            std::thread::sleep(LOOK);
        }
    }

    /// Waits until all members that run are there and have what the primary has. Returns the primary.
    pub(crate) fn wait_whole(&self) -> usize {
        let begun = Instant::now();
        let running = self.all.iter().filter(|member| member.daemon.is_some()).count();
        loop {
            let primary = self.wait_primary();
            if let Some(status) = self.status(primary)
                && let Some(members) = status["members"].as_array()
                && members.len() == running
            {
                let committed = status["committed"].as_u64().unwrap();
                let own = &status["member"];
                let standbys = members.iter().filter(|line| line["member"] != *own);
                if standbys.clone().all(|line| line["position"].as_u64().unwrap() >= committed) {
                    return primary;
                }
            }
            let shown: Vec<_> = (0..self.all.len()).map(|index| self.status(index)).collect();
            assert!(begun.elapsed() < PATIENCE, "the cluster is not whole: {shown:?}");
            std::thread::sleep(LOOK);
        }
    }

    pub(crate) fn signal(&self, index: usize, signal: Signal) {
        self.all[index].daemon.as_ref().unwrap().signal(signal);
    }

    pub(crate) fn kill(&mut self, index: usize) {
        self.all[index].daemon.take().unwrap().kill();
    }

    /// SIGTERM; the exit code.
    pub(crate) fn stop(&mut self, index: usize) -> Option<i32> {
        self.all[index].daemon.take().unwrap().stop()
    }

    pub(crate) fn client(&self, index: usize) -> Client {
        Client::connect(self.all[index].address).unwrap()
    }
}
