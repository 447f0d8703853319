//! The real daemon with its log in a file.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::PATIENCE_SECONDS;
use super::daemon::{Daemon, allotd};

/// A daemon, and its log in a file.
pub(crate) struct Logged {
    pub(crate) daemon: Daemon,
    pub(crate) directory: tempfile::TempDir,
}

impl Logged {
    /// Starts `allotd serve` with these flags and what `change` adds to the command, which may use the
    /// directory of the data and the log.
    pub(crate) fn start_with(flags: &[&str], change: impl FnOnce(&mut Command, &Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let mut command = allotd();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(directory.path().join("data"));
        command.args(flags).env_remove("ALLOTD_LOG_LEVEL");
        command.stderr(File::create(directory.path().join("log")).unwrap());
        change(&mut command, directory.path());
        Self { daemon: Daemon::spawn(command).unwrap(), directory }
    }

    pub(crate) fn start(flags: &[&str]) -> Self {
        Self::start_with(flags, |_, _| ())
    }

    pub(crate) fn text(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// Every whole line, which has to be JSON.
    pub(crate) fn events(&self) -> Vec<Value> {
        let text = self.text();
        let whole = &text[..text.rfind('\n').map_or(0, |end| end + 1)];
        let read = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        whole.lines().map(read).collect()
    }

    /// The events of a name.
    pub(crate) fn named(&self, name: &str) -> Vec<Value> {
        self.events().into_iter().filter(|event| event["event"] == name).collect()
    }

    /// Waits until there are `count` events of a name.
    pub(crate) fn wait_for(&self, name: &str, count: usize) -> Vec<Value> {
        let started = Instant::now();
        loop {
            let found = self.named(name);
            if found.len() >= count {
                return found;
            }
            assert!(started.elapsed().as_secs() < PATIENCE_SECONDS, "no {name} in {}", self.text());
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
