//! The names of all principals of this process, and what each uses.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use super::principal::{OTHER, Principal, PrincipalSettings};
use super::usage::{NameIndex, Usage};

/// Most principals that the statistics name; the figures of all others are added up.
pub const MAX_NAMES: usize = 256;

/// What each principal uses, by name. A name stays for as long as the process lives, so that the counts of a
/// principal go on when the tokens file is exchanged.
#[derive(Debug, Default)]
pub struct Registry {
    names: Mutex<Names>,
}

#[derive(Debug, Default)]
struct Names {
    usage: HashMap<Arc<str>, Arc<Usage>>,
    /// The first [`MAX_NAMES`], in the order of their places.
    counted: Vec<Arc<str>>,
}

impl Registry {
    /// A principal that uses what others of its name have used.
    pub fn principal(&self, settings: PrincipalSettings) -> Arc<Principal> {
        let mut names = self.lock();
        let usage = match names.usage.get(&*settings.name) {
            Some(usage) => Arc::clone(usage),
            None => names.enter(&settings.name),
        };
        Arc::new(Principal::new(settings, usage))
    }

    /// The names in the statistics, in the order of their places.
    pub fn counted_names(&self) -> Vec<Arc<str>> {
        let mut counted = self.lock().counted.clone();
        if counted.len() == MAX_NAMES {
            counted.push(OTHER.into());
        }
        counted
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Names> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Names {
    fn enter(&mut self, name: &Arc<str>) -> Arc<Usage> {
        let index = NameIndex(self.counted.len() as u16);
        if self.counted.len() < MAX_NAMES {
            self.counted.push(Arc::clone(name));
        }
        let usage = Arc::new(Usage::new(index, name));
        self.usage.insert(Arc::clone(name), Arc::clone(&usage));
        usage
    }
}
