//! Notifies systemd over the socket that it names in `NOTIFY_SOCKET`; does nothing without one.

use std::time::Duration;

use sd_notify::NotifyState;
use tracing::warn;

/// The daemon serves.
pub(crate) fn ready(status: &str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// The daemon reads its config file again; a call of [`ready`] must follow.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => notify(&[NotifyState::Reloading, now]),
        // Linux always has this clock.
        Err(_) => notify(&[NotifyState::Reloading]),
    }
}

/// The daemon is shutting down.
pub(crate) fn stopping() {
    notify(&[NotifyState::Stopping, NotifyState::Status("finishing the requests in progress")]);
}

/// What the daemon does before it is ready.
pub(crate) fn status(status: &str) {
    notify(&[NotifyState::Status(status)]);
}

/// The supervisor found the daemon alive.
pub(crate) fn alive() {
    notify(&[NotifyState::Watchdog]);
}

/// How long systemd waits for [`alive`] before it kills the daemon; `None` if it has no watchdog.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        warn!(
            event = "notify_failed",
            %error,
            "systemd cannot be notified of the daemon's state: run the daemon with Type=notify, or without \
             NOTIFY_SOCKET"
        );
    }
}
