//! A lock of the engine. Debug builds count the locks that a thread holds: none may be held while it waits for
//! the journal.

use std::cell::Cell;
use std::ops::{Deref, DerefMut};
use std::sync::{LockResult, PoisonError, TryLockError, TryLockResult};

use super::sync::{Mutex, MutexGuard};

thread_local! {
    static HELD: Cell<u32> = const { Cell::new(0) };
}

/// A mutex whose guards are counted in debug builds.
#[derive(Debug, Default)]
pub(crate) struct Lock<T>(Mutex<T>);

/// Holds a [`Lock`].
pub(crate) struct LockGuard<'a, T>(MutexGuard<'a, T>);

/// Fails, in debug builds, if this thread holds an engine lock.
#[inline]
pub(crate) fn assert_none_held() {
    debug_assert_eq!(HELD.get(), 0, "an engine lock is held by a thread that may wait for the journal");
}

impl<'a, T> LockGuard<'a, T> {
    fn new(guard: MutexGuard<'a, T>) -> Self {
        if cfg!(debug_assertions) {
            HELD.set(HELD.get() + 1);
        }
        Self(guard)
    }
}

impl<T> Lock<T> {
    /// A lock over a value.
    pub(crate) fn new(value: T) -> Self {
        Self(Mutex::new(value))
    }

    /// Waits for the lock.
    pub(crate) fn lock(&self) -> LockResult<LockGuard<'_, T>> {
        match self.0.lock() {
            Ok(guard) => Ok(LockGuard::new(guard)),
            Err(poisoned) => Err(PoisonError::new(LockGuard::new(poisoned.into_inner()))),
        }
    }

    /// Takes the lock if it is free.
    pub(crate) fn try_lock(&self) -> TryLockResult<LockGuard<'_, T>> {
        match self.0.try_lock() {
            Ok(guard) => Ok(LockGuard::new(guard)),
            Err(TryLockError::Poisoned(poisoned)) => {
                Err(TryLockError::Poisoned(PoisonError::new(LockGuard::new(poisoned.into_inner()))))
            }
            Err(TryLockError::WouldBlock) => Err(TryLockError::WouldBlock),
        }
    }
}

impl<T> Drop for LockGuard<'_, T> {
    fn drop(&mut self) {
        if cfg!(debug_assertions) {
            HELD.set(HELD.get() - 1);
        }
    }
}

impl<T> Deref for LockGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T> DerefMut for LockGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.0
    }
}
