//! A segment's part in a merge: where its words move, and from where they come. [`super::moving`] moves them.

use std::sync::{Arc, OnceLock, PoisonError, Weak};

use crate::sys::atomics::{AtomicBool, Ordering};
use crate::sys::sync::{Mutex, MutexGuard};

/// A segment's part in a merge. `S` is the type of segments.
pub(crate) struct Merging<S> {
    /// Where its words move.
    target: OnceLock<Arc<S>>,
    /// Where its words come from. Weak: the sources refer to it.
    sources: Vec<Weak<S>>,
    /// Whether all words of the sources have moved.
    complete: AtomicBool,
    /// Held while its words are written to its table, and when `target` is set.
    writing: Mutex<()>,
}

impl<S> Merging<S> {
    pub(super) fn new(sources: Vec<Weak<S>>) -> Self {
        let complete = AtomicBool::new(sources.is_empty());
        Self { target: OnceLock::new(), sources, complete, writing: Mutex::new(()) }
    }

    /// Whether it is there for the words of other segments.
    pub(crate) fn is_target(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Whether all words of the sources have moved, or there are none.
    pub(crate) fn is_complete(&self) -> bool {
        self.complete.load(Ordering::SeqCst)
    }

    /// Marks the merge as complete.
    pub(crate) fn set_complete(&self) {
        self.complete.store(true, Ordering::SeqCst);
    }

    /// The segments whose words move here.
    pub(crate) fn sources(&self) -> Vec<Arc<S>> {
        self.sources.iter().filter_map(Weak::upgrade).collect()
    }

    /// Where its words move, once they do.
    pub(crate) fn target(&self) -> Option<&Arc<S>> {
        self.target.get()
    }

    /// Begins to move the words to `target`. Waits for a checkpoint that has begun: it writes this segment's
    /// words, and none of them may move meanwhile.
    pub(super) fn begin(&self, target: &Arc<S>) {
        let _writing = self.writing();
        let _ = self.target.set(Arc::clone(target));
    }

    /// Held while words are written to the table of a segment whose words do not move.
    pub(super) fn writing(&self) -> MutexGuard<'_, ()> {
        self.writing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
