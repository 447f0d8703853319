//! What systemd is told, over the socket that it names in `NOTIFY_SOCKET`; without one, nothing is.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// The daemon serves.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The daemon reads its config file again; [`ready`] follows.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        // The clock is always there on Linux.
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// The daemon ends.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing the requests under way")]);
}

/// What the daemon is busy with before it is ready.
pub(crate) fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// The daemon was looked at and is alive.
pub(crate) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// How long systemd waits for [`alive`] before it ends the daemon; `None` if it does not.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(
            event = "notify_failed",
            %error,
            "systemd cannot be told of the daemon's state: run it with Type=notify, or without NOTIFY_SOCKET"
        );
    }
}
