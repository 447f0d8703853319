//! Who may use the files that this process makes.

use rustix::fs::Mode;

/// What files and directories are made without: all permissions of others than their owner.
const NOT_FOR_OTHERS: u32 = 0o077;

/// Keeps all files and directories that this process makes from now on to its user.
pub(crate) fn keep_private() {
    rustix::process::umask(Mode::from_raw_mode(NOT_FOR_OTHERS));
}
