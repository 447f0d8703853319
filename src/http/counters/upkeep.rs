//! What operators do to keep the daemon in order: the last reload and the last backup, and how they ended.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::backup::Found;
use crate::state::time::Timestamp;

/// The last reload and the last backup.
#[derive(Debug, Default)]
pub(crate) struct Upkeep {
    reload: Mutex<Option<Ended>>,
    backup: Mutex<BackupState>,
}

/// How something ended that an operator asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) at: Timestamp,
    /// Why it failed; `None` if it did not.
    pub(crate) error: Option<String>,
}

/// The last backup that was asked for, and the last that was made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct BackupState {
    /// Since the start.
    pub(crate) ended: Option<Ended>,
    /// Of those of earlier starts, the newest that was found.
    pub(crate) made: Option<Found>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Upkeep {
    /// Of a daemon that has just started. `made` is the newest backup that it has found.
    pub(crate) fn new(made: Option<Found>) -> Self {
        Self { reload: Mutex::default(), backup: Mutex::new(BackupState { ended: None, made }) }
    }

    /// The last reload since the start.
    pub(crate) fn reload(&self) -> Option<Ended> {
        lock(&self.reload).clone()
    }

    pub(crate) fn reloaded(&self, at: Timestamp, error: Option<String>) {
        *lock(&self.reload) = Some(Ended { at, error });
    }

    /// The last backup.
    pub(crate) fn backup(&self) -> BackupState {
        lock(&self.backup).clone()
    }

    pub(crate) fn backed_up(&self, at: Timestamp, made: Result<Found, String>) {
        let mut state = lock(&self.backup);
        match made {
            Ok(made) => *state = BackupState { ended: Some(Ended { at, error: None }), made: Some(made) },
            Err(error) => state.ended = Some(Ended { at, error: Some(error) }),
        }
    }
}
