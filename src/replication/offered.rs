//! The files that an entry names, kept open for standbys to fetch until each has them.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::{Arc, PoisonError};

use crate::sys::sync::{Mutex, MutexGuard};

/// Files by the entry that names them.
#[derive(Debug, Default)]
pub struct Offered {
    files: Mutex<BTreeMap<u64, Vec<Arc<File>>>>,
}

impl Offered {
    /// Offers the files of an entry, in its order.
    pub(crate) fn offer(&self, sequence: u64, files: Vec<Arc<File>>) {
        self.lock().insert(sequence, files);
    }

    /// Ends an offer.
    pub(crate) fn end(&self, sequence: u64) {
        self.lock().remove(&sequence);
    }

    /// A file that is offered.
    pub fn file(&self, sequence: u64, index: usize) -> Option<Arc<File>> {
        self.lock().get(&sequence)?.get(index).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<Arc<File>>>> {
        self.files.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
