//! A new life of the process.

use std::io;
use std::os::unix::process::CommandExt;

use tracing::error;

/// Replaces the process by a new one of the same program, with the same arguments.
pub(super) fn restart() -> io::Error {
    let program = std::env::current_exe().unwrap_or_else(|_| "allotd".into());
    let error = std::process::Command::new(program).args(std::env::args_os().skip(1)).exec();
    error!(event = "restart_failed", %error, "this process could not be replaced by a new one: it ends");
    error
}
