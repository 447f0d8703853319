//! What the real daemon reports to systemd, over a socket of the test that `NOTIFY_SOCKET` names.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use crate::support::PATIENCE_SECONDS;
use crate::support::logged::Logged;
use rustix::process::Signal;

/// Long enough for three checks of the daemon.
const WATCHDOG: Duration = Duration::from_millis(600);
const ALIVE: &str = "WATCHDOG=1";
/// How long a thread is held at most, in seconds.
const HELD_SECONDS: u32 = 60;

/// A daemon, and what it reports to systemd.
struct Notified {
    logged: Logged,
    messages: Receiver<String>,
}

impl Notified {
    fn start() -> Self {
        let (sender, messages) = mpsc::channel();
        let logged = Logged::start_with(&["--workers", "2"], |command, directory| {
            let socket = UnixDatagram::bind(directory.join("notify")).unwrap();
            socket.set_read_timeout(Some(Duration::from_secs(PATIENCE_SECONDS))).unwrap();
            // Always read, as systemd does: the sender waits while there are many. Ends when the daemon is silent.
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                while let Ok(length) = socket.recv(&mut buffer) {
                    let message = String::from_utf8_lossy(&buffer[..length]).trim_end().to_owned();
                    if sender.send(message).is_err() {
                        return;
                    }
                }
            });
            command.env("NOTIFY_SOCKET", directory.join("notify"));
            command.env("WATCHDOG_USEC", WATCHDOG.as_micros().to_string());
            fs::write(directory.join("allotd.toml"), "").unwrap();
            command.arg("--config").arg(directory.join("allotd.toml"));
        });
        Self { logged, messages }
    }

    /// The next message.
    fn next(&self) -> String {
        self.messages.recv_timeout(Duration::from_secs(PATIENCE_SECONDS)).unwrap()
    }

    /// The next message that is not of the watchdog.
    fn next_state(&self) -> String {
        loop {
            let message = self.next();
            if message != ALIVE {
                return message;
            }
        }
    }

    /// Whether the watchdog is notified within this time; earlier messages do not count.
    fn is_alive_within(&self, patience: Duration) -> bool {
        while self.messages.try_recv().is_ok() {}
        let until = Instant::now() + patience;
        let mut told = std::iter::from_fn(|| self.messages.recv_timeout(until - Instant::now()).ok());
        told.any(|message| message == ALIVE)
    }

    /// Holds the daemon's thread of this name in its next `call`; see [`Held`].
    fn hold(&self, thread: &str, call: &str) -> Option<Held> {
        let tasks = format!("/proc/{}/task", self.logged.daemon.id());
        let id = fs::read_dir(tasks).unwrap().map(|entry| entry.unwrap().path()).find_map(|task| {
            let name = fs::read_to_string(task.join("comm")).unwrap();
            (name.trim_end() == thread).then(|| task.file_name().unwrap().to_str().unwrap().to_owned())
        });
        let id = id.unwrap_or_else(|| panic!("no thread {thread}"));
        let mut strace = Command::new("strace");
        strace.args(["-p", &id, "-e", &format!("trace={call}")]);
        strace.args(["-e", &format!("inject={call}:delay_enter={HELD_SECONDS}s")]);
        let child = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        match child {
            Ok(mut child) => {
                std::thread::sleep(Duration::from_millis(500));
                if child.try_wait().unwrap().is_none() {
                    return Some(Held { strace: child });
                }
                println!("SKIPPED: strace may not trace here");
            }
            Err(error) => println!("SKIPPED: strace is not there: {error}"),
        }
        None
    }
}

/// A thread that waits in a system call, until this is dropped.
struct Held {
    strace: Child,
}

impl Drop for Held {
    fn drop(&mut self) {
        // Both fail where it has ended, which the test notices.
        let _ = self.strace.kill();
        let _ = self.strace.wait();
    }
}

#[test]
fn ready_watchdog_reload_and_stop_are_told_in_order() {
    let notified = Notified::start();
    assert!(notified.next().starts_with("STATUS=opening"), "first it opens");
    let ready = notified.next();
    assert!(ready.contains("READY=1") && ready.contains("STATUS=serving"), "{ready:?}");
    assert_eq!(notified.logged.daemon.client().call("GET", "/readyz").unwrap().status, 200);
    assert_eq!(notified.next(), ALIVE);

    notified.logged.daemon.signal(Signal::HUP);
    let reloading = notified.next_state();
    assert!(reloading.contains("RELOADING=1"), "{reloading:?}");
    let microseconds = reloading.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC=")).unwrap();
    assert!(microseconds.parse::<u64>().unwrap() > 0);
    assert!(notified.next_state().contains("READY=1"));
    assert_eq!(notified.next(), ALIVE);

    notified.logged.daemon.terminate();
    assert!(notified.next_state().contains("STOPPING=1"));
    assert_eq!(notified.logged.daemon.wait(), Some(0));
}

#[test]
fn a_thread_that_is_stuck_is_told_to_the_log_and_not_to_the_watchdog() {
    for (thread, call) in [("worker-1", "epoll_wait"), ("journal-writer", "pwrite64")] {
        let notified = Notified::start();
        assert!(notified.is_alive_within(2 * WATCHDOG), "{thread}");
        let Some(held) = notified.hold(thread, call) else { return };
        let stuck = notified.logged.wait_for("stuck", 1).remove(0);
        assert_eq!((stuck["level"].as_str(), stuck["thread"].as_str()), (Some("ERROR"), Some(thread)));
        assert!(!notified.is_alive_within(3 * WATCHDOG), "{thread}: what is stuck is not alive");
        drop(held);
        notified.logged.wait_for("unstuck", 1);
        assert!(notified.is_alive_within(2 * WATCHDOG), "{thread}: again");
        assert_eq!(notified.logged.daemon.stop(), Some(0));
    }
}
