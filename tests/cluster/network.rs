//! A network of hosts on this machine, each a namespace with a link to a common bridge, whose links and routes are cut.
//! It needs root.

use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use super::host::Host;

/// The first parts of the addresses of all hosts; the third is one that this machine does not use.
const SUBNETS: [u8; 2] = [10, 177];
/// The last part of the address of the first host; that of the bridge is 1.
const FIRST_HOST: u8 = 10;

fn ip(args: &[&str]) -> bool {
    let status = Command::new("ip").args(args).stdout(Stdio::null()).stderr(Stdio::null()).status();
    status.is_ok_and(|status| status.success())
}

fn must(args: &[&str]) {
    assert!(ip(args), "ip {args:?}");
}

/// Some hosts on one bridge. Their links are removed with it.
pub(crate) struct Network {
    tag: String,
    hosts: Vec<Host>,
}

impl Network {
    /// Makes hosts; `None`, and says why, if this user may not.
    pub(crate) fn new(count: u8) -> Option<Self> {
        let tag = format!("alt{}", std::process::id() % 10_000);
        if !ip(&["link", "add", &tag, "type", "bridge"]) {
            println!("SKIPPED: no network can be made here: that needs root, and the command ip");
            return None;
        }
        let mut network = Self { tag: tag.clone(), hosts: Vec::new() };
        let [a, b] = SUBNETS;
        // Those of another run, and of one that was killed, stay apart.
        let used = Command::new("ip").args(["-o", "addr", "show"]).output().unwrap().stdout;
        let used = String::from_utf8_lossy(&used).into_owned();
        let c = (1..=u8::MAX).find(|c| !used.contains(&format!("{a}.{b}.{c}."))).expect("a free network");
        must(&["addr", "add", &format!("{a}.{b}.{c}.1/24"), "dev", &tag]);
        must(&["link", "set", &tag, "up"]);
        for number in 0..count {
            let (namespace, address) =
                (format!("{tag}n{number}"), Ipv4Addr::new(a, b, c, FIRST_HOST + number));
            must(&["netns", "add", &namespace]);
            network.hosts.push(Host::new(address, Some(namespace.clone())));
            let link = network.link(network.hosts.len() - 1);
            must(&["link", "add", &link, "type", "veth", "peer", "name", "eth0", "netns", &namespace]);
            must(&["link", "set", &link, "master", &tag, "up"]);
            must(&["-n", &namespace, "addr", "add", &format!("{address}/24"), "dev", "eth0"]);
            must(&["-n", &namespace, "link", "set", "eth0", "up"]);
            must(&["-n", &namespace, "link", "set", "lo", "up"]);
        }
        Some(network)
    }

    pub(crate) fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// The bridge's side of a host's link.
    fn link(&self, host: usize) -> String {
        format!("{}h{host}", self.tag)
    }

    /// Cuts a host off from all, or mends that.
    pub(crate) fn set_link(&self, host: usize, is_up: bool) {
        must(&["link", "set", &self.link(host), if is_up { "up" } else { "down" }]);
    }

    /// From now on nothing that one host sends reaches another, or again.
    pub(crate) fn set_route(&self, from: usize, to: usize, is_up: bool) {
        let namespace = self.hosts[from].namespace().expect("it has one");
        let what = if is_up { "del" } else { "add" };
        must(&["-n", namespace, "route", what, "blackhole", &format!("{}/32", self.hosts[to].address())]);
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        for host in &self.hosts {
            ip(&["netns", "del", host.namespace().unwrap_or_default()]);
        }
        ip(&["link", "del", &self.tag]);
    }
}
