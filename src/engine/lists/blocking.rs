//! What a pool is blocked by: its lists, and the segments that are about to become its own.

use std::sync::{Arc, PoisonError};

use arc_swap::{ArcSwap, Guard};

use crate::domain::list_name::ListName;
use crate::engine::segment::Segment;
use crate::numbers::number::Number;
use crate::sys::sync::{Mutex, MutexGuard};

use super::list::List;

/// What a pool is blocked by.
pub(crate) struct Blocking {
    /// The lists that its settings name.
    lists: ArcSwap<Vec<Arc<List>>>,
    /// Segments that are about to become the pool's.
    incoming: Mutex<Vec<Arc<Segment>>>,
}

impl Blocking {
    pub(crate) fn new() -> Self {
        Self { lists: ArcSwap::default(), incoming: Mutex::default() }
    }

    /// The segments that are about to become the pool's.
    pub(super) fn incoming(&self) -> MutexGuard<'_, Vec<Arc<Segment>>> {
        self.incoming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the pool is blocked by any list.
    pub(crate) fn is_used(&self) -> bool {
        !self.lists.load().is_empty()
    }

    pub(super) fn set(&self, lists: Vec<Arc<List>>) {
        self.lists.store(Arc::new(lists));
    }

    /// The lists that block the pool.
    pub(super) fn lists(&self) -> Guard<Arc<Vec<Arc<List>>>> {
        self.lists.load()
    }

    /// Whether a list other than `list` blocks a number.
    pub(super) fn is_blocked_besides(&self, list: Option<&List>, number: Number) -> bool {
        let lists = self.lists.load();
        let mut others = lists.iter().filter(|other| list.is_none_or(|list| list.id != other.id));
        others.any(|other| other.contains(number))
    }

    /// The names of the lists that have a number.
    pub(crate) fn lists_with(&self, number: Number) -> Vec<ListName> {
        let lists = self.lists.load();
        lists.iter().filter(|list| list.contains(number)).map(|list| list.name).collect()
    }
}
