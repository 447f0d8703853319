//! The real binary: run as a command, and as a daemon on a picked port.

use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use super::{Client, PATIENCE_SECONDS};

/// The binary, with nothing of this process's environment.
pub(crate) fn allotd() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_allotd"));
    // Its events below a warning are not for the output of the tests.
    command.env_clear().env("ALLOTD_LOG_LEVEL", "warn");
    command
}

/// Whether this process may trace others; says why not.
pub(crate) fn can_trace() -> bool {
    let output = Command::new("strace").args(["-f", "-o", "/dev/null", "true"]).output();
    match output {
        Ok(output) if output.status.success() => true,
        refused => {
            println!("SKIPPED: strace is not there or may not trace: {refused:?}");
            false
        }
    }
}

/// SIGKILL, to a daemon that others still talk to.
pub(crate) fn kill_process(id: u32) {
    let process = Pid::from_raw(id.try_into().unwrap()).unwrap();
    rustix::process::kill_process(process, Signal::KILL).unwrap();
}

/// A daemon in a process of its own, killed when it is dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Kept open: a daemon that prints more must not be hit by a closed pipe.
    _stdout: BufReader<ChildStdout>,
    pub(crate) address: SocketAddr,
    pub(crate) url: String,
}

impl Daemon {
    pub(crate) fn start(data: &Path) -> Self {
        Self::start_with(data, &[])
    }

    /// With more flags of `serve`. Returns when it is ready.
    pub(crate) fn start_with(data: &Path, flags: &[&str]) -> Self {
        let mut command = allotd();
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).args(flags);
        Self::spawn(command).unwrap_or_else(|code| panic!("ended with {code:?} before it was ready"))
    }

    /// From a command that becomes `allotd serve`. Returns when it is ready, or has ended: its exit code.
    pub(crate) fn spawn(mut command: Command) -> Result<Self, Option<i32>> {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        stdout.read_line(&mut line).unwrap();
        if line.is_empty() {
            return Err(child.wait().unwrap().code());
        }
        let address = line.trim_end().strip_prefix("listening on ").unwrap_or_else(|| panic!("{line:?}"));
        let (address, url) = (address.parse().unwrap(), format!("http://{address}"));
        Ok(Self { child, _stdout: stdout, address, url })
    }

    /// Runs a command against this daemon.
    pub(crate) fn run(&self, args: &[&str]) -> Output {
        allotd().args(args).env("ALLOTD_SERVER", &self.url).output().unwrap()
    }

    /// Runs a command that must succeed; its standard output.
    pub(crate) fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address).unwrap()
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn signal(&self, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Its process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(mut self) -> Option<i32> {
        let started = Instant::now();
        while started.elapsed() < Duration::from_secs(PATIENCE_SECONDS) {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code();
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        None
    }

    /// SIGTERM; the exit code.
    pub(crate) fn stop(self) -> Option<i32> {
        self.terminate();
        self.wait()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // Both fail when it has ended already, as it should have.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Checks that a command failed with this exit code and one line of standard error that has `words` in it.
pub(crate) fn one_line_failure(output: &Output, code: i32, words: &str) {
    let text = String::from_utf8_lossy(&output.stderr);
    assert_eq!((output.status.code(), text.lines().count()), (Some(code), 1), "{text}");
    assert!(text.contains(words), "{text}");
}
