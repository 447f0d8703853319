//! Who may call: tokens against the real daemon.

#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod authentication;
mod exchange;
mod quotas;
mod roles;
mod secrecy;

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::Signal;
use serde_json::Value;

use support::daemon::allotd;
use support::logged::Logged;
use support::{Answer, Client, try_read_answer};

const TOKENS: &str = "tokens.toml";

/// Makes a token by the command, adds its entry to the tokens file, and returns it. The file is in `directory`.
fn issue(directory: &Path, name: &str, flags: &[&str]) -> String {
    let secret = directory.join(format!("{name}.token"));
    let mut command = allotd();
    command.args(["token", "new", name, "--out"]).arg(&secret).args(flags);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let path = directory.join(TOKENS);
    let mut text = fs::read_to_string(&path).unwrap_or_default();
    text.push_str(std::str::from_utf8(&output.stdout).unwrap());
    write_tokens(&path, &text);
    let secret = fs::read_to_string(secret).unwrap().trim().to_owned();
    assert!(!text.contains(&secret));
    secret
}

fn write_tokens(path: &PathBuf, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

/// The tokens file without the entries of a name.
fn without(text: &str, name: &str) -> String {
    let entries = text.split("[[token]]").filter(|entry| !entry.trim().is_empty());
    let others = entries.filter(|entry| !entry.contains(&format!("name = \"{name}\"")));
    others.map(|entry| format!("[[token]]{entry}")).collect::<Vec<_>>().concat()
}

/// A daemon that serves callers with tokens; `root` may do everything, and there are the pools ru and de.
struct Guarded {
    logged: Logged,
    root: String,
}

impl Guarded {
    /// With more principals, each a name and the flags of its token.
    fn start(flags: &[&str], principals: &[(&str, &[&str])]) -> (Self, Vec<String>) {
        let (mut root, mut others) = (String::new(), Vec::new());
        let logged = Logged::start_with(flags, |command, directory| {
            root = issue(directory, "root", &["--role", "admin", "--pools", "*"]);
            others = principals.iter().map(|(name, flags)| issue(directory, name, flags)).collect();
            command.arg("--tokens").arg(directory.join(TOKENS));
        });
        let guarded = Self { logged, root };
        for pool in ["ru", "de"] {
            let created = guarded.root().send(
                "PUT",
                &format!("/v1/pools/{pool}"),
                "text/csv",
                "first,last\n1000,1999\n",
            );
            assert_eq!(created.status, 201, "{created:?}");
        }
        (guarded, others)
    }

    fn root(&self) -> Caller {
        self.caller(&self.root)
    }

    /// A caller on a connection of its own.
    fn caller(&self, token: &str) -> Caller {
        self.with_header(&format!("Authorization: Bearer {token}\r\n"))
    }

    /// A caller with these header lines.
    fn with_header(&self, header: &str) -> Caller {
        Caller { client: self.logged.daemon.client(), header: header.to_owned() }
    }

    fn tokens_file(&self) -> String {
        fs::read_to_string(self.logged.path(TOKENS)).unwrap()
    }

    /// Writes the tokens file and makes the daemon read it; waits until it has.
    fn exchange(&self, text: &str) {
        let before = self.logged.named("reloaded").len();
        write_tokens(&self.logged.path(TOKENS), text);
        self.logged.daemon.signal(Signal::HUP);
        self.logged.wait_for("reloaded", before + 1);
    }

    fn stats(&self) -> Value {
        self.root().call("GET", "/v1/stats").json()
    }
}

/// Someone with a token, on a connection that is kept open.
struct Caller {
    client: Client,
    header: String,
}

impl Caller {
    fn send(&mut self, method: &str, path: &str, content_type: &str, body: &str) -> Answer {
        self.try_send(method, path, content_type, body).unwrap()
    }

    fn try_send(&mut self, method: &str, path: &str, content_type: &str, body: &str) -> io::Result<Answer> {
        let (header, length) = (&self.header, body.len());
        let kind = if body.is_empty() { String::new() } else { format!("content-type: {content_type}\r\n") };
        let connection = &mut self.client.connection;
        write!(
            connection.get_mut(),
            "{method} {path} HTTP/1.1\r\nhost: localhost\r\n{header}{kind}content-length: {length}\r\n\r\n{body}"
        )?;
        try_read_answer(connection, method == "HEAD")
    }

    fn call(&mut self, method: &str, path: &str) -> Answer {
        self.send(method, path, "", "")
    }

    fn post(&mut self, path: &str, body: &str) -> Answer {
        self.send("POST", path, "application/json", body)
    }

    /// A lease of one number by a call without a body.
    fn lease(&mut self) -> Answer {
        self.call("POST", "/v1/pools/ru/lease")
    }

    /// The same with a key.
    fn lease_once(&mut self, key: &str, body: &str) -> Answer {
        self.post_once("/v1/pools/ru/lease", key, body)
    }

    fn post_once(&mut self, path: &str, key: &str, body: &str) -> Answer {
        let header = self.header.clone();
        self.header = format!("{header}Idempotency-Key: {key}\r\n");
        let answer = self.post(path, body);
        self.header = header;
        answer
    }

    /// Returns what an answer leased.
    fn give_back(&mut self, leased: &Answer, then: &str) -> Answer {
        let held: Vec<Value> = leased.json()["leases"]
            .as_array()
            .unwrap()
            .iter()
            .map(|lease| serde_json::json!({ "number": lease["number"], "token": lease["token"] }))
            .collect();
        self.post("/v1/pools/ru/return", &serde_json::json!({ "leases": held, "then": then }).to_string())
    }
}
