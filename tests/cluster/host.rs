//! Where a process of a cluster runs: on loopback, or on a host of its own.

use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;

/// Ports of hosts that have all of them for themselves.
const FIRST_PORT: u16 = 7_979;

/// A host.
#[derive(Debug, Clone)]
pub(crate) struct Host {
    address: Ipv4Addr,
    namespace: Option<String>,
}

impl Host {
    pub(crate) const LOOPBACK: Self = Self { address: Ipv4Addr::LOCALHOST, namespace: None };

    pub(crate) fn new(address: Ipv4Addr, namespace: Option<String>) -> Self {
        Self { address, namespace }
    }

    pub(crate) fn address(&self) -> Ipv4Addr {
        self.address
    }

    pub(crate) fn namespace(&self) -> Option<&str> {
        self.namespace.as_deref()
    }

    /// The `number`th address at which nothing listens.
    pub(crate) fn free(&self, number: u16) -> SocketAddr {
        let port = match self.namespace {
            None => TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port(),
            Some(_) => FIRST_PORT + number,
        };
        SocketAddr::new(IpAddr::V4(self.address), port)
    }

    /// The command, run here.
    pub(crate) fn run(&self, command: Command) -> Command {
        let Some(namespace) = &self.namespace else { return command };
        let mut here = Command::new("ip");
        here.args(["netns", "exec", namespace]).arg(command.get_program()).args(command.get_args());
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => here.env(name, value),
                None => here.env_remove(name),
            };
        }
        here
    }
}
