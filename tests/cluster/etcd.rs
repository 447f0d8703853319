//! Nodes of etcd on loopback.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::host::Host;

/// How long etcd may take to be ready.
const PATIENCE: Duration = Duration::from_secs(120);

/// Whether etcd is installed; says why not.
pub(crate) fn is_installed() -> bool {
    let found = Command::new("etcd").arg("--version").output().is_ok_and(|output| output.status.success());
    if !found {
        println!("SKIPPED: etcd is not there: apt-get install etcd-server etcd-client");
    }
    found
}

/// A cluster of nodes.
pub(crate) struct Etcd {
    nodes: Vec<Node>,
    initial: String,
}

struct Node {
    name: String,
    host: Host,
    client: SocketAddr,
    peer: SocketAddr,
    data: std::path::PathBuf,
    child: Option<Child>,
}

impl Etcd {
    /// Starts nodes on loopback, and waits until they have a leader.
    pub(crate) fn start(nodes: usize, root: &Path) -> Self {
        Self::start_on(&vec![Host::LOOPBACK; nodes], root)
    }

    /// Starts a node on each host.
    pub(crate) fn start_on(hosts: &[Host], root: &Path) -> Self {
        let node = |(index, host): (usize, &Host)| Node {
            name: format!("n{index}"),
            host: host.clone(),
            client: host.free(0),
            peer: host.free(1),
            data: root.join(format!("etcd-{index}")),
            child: None,
        };
        let nodes: Vec<_> = hosts.iter().enumerate().map(node).collect();
        let initial: Vec<_> =
            nodes.iter().map(|node| format!("{}=http://{}", node.name, node.peer)).collect();
        let mut etcd = Self { nodes, initial: initial.join(",") };
        (0..etcd.nodes.len()).for_each(|index| etcd.start_node(index));
        etcd.wait_healthy();
        etcd
    }

    pub(crate) fn start_node(&mut self, index: usize) {
        let node = &mut self.nodes[index];
        let client = format!("http://{}", node.client);
        let peer = format!("http://{}", node.peer);
        let mut command = Command::new("etcd");
        command
            .args(["--name", &node.name, "--data-dir"])
            .arg(&node.data)
            .args(["--listen-client-urls", &client, "--advertise-client-urls", &client])
            .args(["--listen-peer-urls", &peer, "--initial-advertise-peer-urls", &peer])
            .args(["--initial-cluster", &self.initial, "--log-level", "error"]);
        let mut command = node.host.run(command);
        node.child = Some(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    }

    /// The value of `--etcd`.
    pub(crate) fn urls(&self) -> String {
        let urls: Vec<_> = self.nodes.iter().map(|node| format!("http://{}", node.client)).collect();
        urls.join(",")
    }

    fn ctl(&self, args: &[&str]) -> Option<String> {
        let output = Command::new("etcdctl")
            .env("ETCDCTL_API", "3")
            .args(["--endpoints", &self.urls(), "--command-timeout", "2s"])
            .args(args)
            .output()
            .unwrap();
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
    }

    pub(crate) fn wait_healthy(&self) {
        let begun = Instant::now();
        while self.ctl(&["endpoint", "health"]).is_none() {
            assert!(begun.elapsed() < PATIENCE, "etcd is not ready");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Which node leads.
    pub(crate) fn leader(&self) -> usize {
        let status = self.ctl(&["endpoint", "status"]).unwrap();
        // The fifth column says whether the node is the leader.
        status.lines().position(|line| line.split(", ").nth(4) == Some("true")).unwrap()
    }

    /// SIGKILL to the leader. Returns which node that was.
    pub(crate) fn kill_leader(&mut self) -> usize {
        let leader = self.leader();
        let mut child = self.nodes[leader].child.take().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        leader
    }

    /// How many entries there are below the key.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        self.ctl(&["get", prefix, "--prefix", "--keys-only"])
            .unwrap()
            .lines()
            .filter(|l| !l.is_empty())
            .count()
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        for child in self.nodes.iter_mut().filter_map(|node| node.child.as_mut()) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
