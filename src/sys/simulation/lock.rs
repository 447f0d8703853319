//! Locks and conditions of the simulated machine.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LockResult, PoisonError, TryLockError, TryLockResult};
use std::time::Duration;

use super::world::Task;
use super::{thread, world};

/// A lock, as [`std::sync::Mutex`].
#[derive(Default)]
pub struct Mutex<T: ?Sized> {
    locked: AtomicBool,
    waiters: std::sync::Mutex<Vec<Task>>,
    inner: std::sync::Mutex<T>,
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

/// A lock that is held.
pub struct MutexGuard<'a, T: ?Sized> {
    /// `None` while it is dropped.
    inner: Option<std::sync::MutexGuard<'a, T>>,
    mutex: &'a Mutex<T>,
}

fn lock_now<T: ?Sized>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Mutex<T> {
    /// A lock that is free.
    pub const fn new(value: T) -> Self {
        Self {
            locked: AtomicBool::new(false),
            waiters: std::sync::Mutex::new(Vec::new()),
            inner: std::sync::Mutex::new(value),
        }
    }

    /// What the lock guards.
    pub fn into_inner(self) -> LockResult<T> {
        self.inner.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Waits until the lock is free and takes it.
    #[track_caller]
    pub fn lock(&self) -> LockResult<MutexGuard<'_, T>> {
        world::point();
        if self.locked.load(Ordering::Relaxed) {
            world::waits_at(Some(Location::caller()));
            while self.locked.load(Ordering::Relaxed) {
                lock_now(&self.waiters).push(world::this_task());
                world::block();
            }
            world::waits_at(None);
        }
        self.take()
    }

    /// Takes the lock if it is free.
    pub fn try_lock(&self) -> TryLockResult<MutexGuard<'_, T>> {
        world::point();
        if self.locked.load(Ordering::Relaxed) {
            return Err(TryLockError::WouldBlock);
        }
        self.take().map_err(TryLockError::Poisoned)
    }

    /// Takes the lock, which is free.
    fn take(&self) -> LockResult<MutexGuard<'_, T>> {
        self.locked.store(true, Ordering::Relaxed);
        match self.inner.try_lock() {
            Ok(inner) => Ok(MutexGuard { inner: Some(inner), mutex: self }),
            Err(TryLockError::Poisoned(inner)) => {
                Err(PoisonError::new(MutexGuard { inner: Some(inner.into_inner()), mutex: self }))
            }
            Err(TryLockError::WouldBlock) => unreachable!("the lock was free"),
        }
    }

    /// What the lock guards, without taking it.
    pub fn get_mut(&mut self) -> LockResult<&mut T> {
        self.inner.get_mut()
    }
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.inner.as_ref().expect("held until it is dropped")
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        self.inner.as_mut().expect("held until it is dropped")
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized> Drop for MutexGuard<'_, T> {
    fn drop(&mut self) {
        self.inner = None;
        self.mutex.locked.store(false, Ordering::Relaxed);
        let waiters = std::mem::take(&mut *lock_now(&self.mutex.waiters));
        for waiter in waiters {
            world::wake(waiter);
        }
    }
}

/// Whether a wait ended because its time was over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitTimeoutResult(bool);

impl WaitTimeoutResult {
    /// Whether it did.
    pub fn timed_out(&self) -> bool {
        self.0
    }
}

type Waiter = (Task, Arc<AtomicBool>);

/// A condition, as [`std::sync::Condvar`].
#[derive(Debug, Default)]
pub struct Condvar(std::sync::Mutex<Vec<Waiter>>);

impl Condvar {
    /// A condition that nobody waits for.
    pub const fn new() -> Self {
        Self(std::sync::Mutex::new(Vec::new()))
    }

    /// Releases the lock, waits until notified, and takes it again.
    #[track_caller]
    pub fn wait<'a, T: ?Sized>(&self, guard: MutexGuard<'a, T>) -> LockResult<MutexGuard<'a, T>> {
        self.wait_for(guard, None)
            .map(|(guard, _)| guard)
            .map_err(|error| PoisonError::new(error.into_inner().0))
    }

    /// As [`Self::wait`], for some time.
    #[track_caller]
    pub fn wait_timeout<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Duration,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        self.wait_for(guard, Some(limit))
    }

    #[track_caller]
    fn wait_for<'a, T: ?Sized>(
        &self,
        guard: MutexGuard<'a, T>,
        limit: Option<Duration>,
    ) -> LockResult<(MutexGuard<'a, T>, WaitTimeoutResult)> {
        let (mutex, notified) = (guard.mutex, Arc::new(AtomicBool::new(false)));
        lock_now(&self.0).push((world::this_task(), Arc::clone(&notified)));
        drop(guard);
        thread::wait_until(|| notified.load(Ordering::Relaxed), limit);
        lock_now(&self.0).retain(|(_, other)| !Arc::ptr_eq(other, &notified));
        let timed_out = WaitTimeoutResult(!notified.load(Ordering::Relaxed));
        match mutex.lock() {
            Ok(guard) => Ok((guard, timed_out)),
            Err(error) => Err(PoisonError::new((error.into_inner(), timed_out))),
        }
    }

    /// Wakes all that wait.
    pub fn notify_all(&self) {
        world::point();
        let waiters = std::mem::take(&mut *lock_now(&self.0));
        for (thread, notified) in waiters {
            notified.store(true, Ordering::Relaxed);
            world::wake(thread);
        }
    }

    /// Wakes one that waits: the first.
    pub fn notify_one(&self) {
        world::point();
        let mut waiters = lock_now(&self.0);
        if waiters.is_empty() {
            return;
        }
        let (thread, notified) = waiters.remove(0);
        drop(waiters);
        notified.store(true, Ordering::Relaxed);
        world::wake(thread);
    }
}
