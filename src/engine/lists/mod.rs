//! Lists of numbers that pools are blocked by: do-not-call lists and the like.
//!
//! A list is a set of its own ([`list`]). A pool names the lists that block it. A number of the pool that is on
//! one of them is blocked: its rank has a bit in [`crate::state::blocked`], which keeps it out of the free index.
//!
//! **The law.** After the reply that put a number on a list, no lease of it is given, in no pool that uses the
//! list, whatever happens to the process or its power.
//!
//! Whoever changes what a list holds, which lists a pool names, or which numbers a pool has, first makes that
//! change and then *refreshes* the ranks concerned (`Lists::refresh`): under the lock of the number's shard, it
//! asks the pool's lists and sets the bit accordingly. So after the last change the last refresh has asked all of
//! them, in whatever order the changes were. A refresh in between asks a list that may just have changed; the one
//! of that change is still to come.
//!
//! Nothing is missed between a list and the numbers of a pool:
//!
//! 1. *A number goes onto a list while it is added to a pool.* The list first has the number, then looks for it in
//!    the pool's segments. An addition first makes its numbers known there (those of a new segment in
//!    `Blocking::incoming`), then asks the lists, and only then puts them into the index.
//! 2. *A list changes while a pool begins to use it.* The pool first has the list, then looks at what the list
//!    holds; a change of the list first changes it, then looks for pools that use it. A pool that uses a list no more
//!    waits for the refreshes that asked it before, and then looks which of its numbers are blocked.
//! 3. *A lease, or the return of a lease, is in progress.* See 5 and 6 of [`crate::state::free_index`], and
//!    [`crate::journal::handle::Journal::settled_position`], for which whoever confirms a change waits.
//! 4. *The process ends.* Changes of few numbers are records of the journal, and are in it before they are
//!    confirmed, in every durability mode as the words are. A checkpoint writes them to the list's own files. What
//!    exchanges the whole set is in these files before it is confirmed. A start asks the lists before a pool's
//!    index is used.
//! 5. *The set is exchanged while numbers go onto the list.* What was put on the list, or taken off it, after the
//!    exchange has begun is kept beside the new set.

pub(crate) mod apply;
pub(crate) mod blocking;
mod changes;
pub(crate) mod files;
pub mod list;
pub mod operations;
mod windows;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, Weak};

use arc_swap::ArcSwap;

use crate::domain::list_name::ListName;
use crate::domain::settings::Settings;
use crate::journal::record::MarksRecord;
use crate::numbers::number::{Number, NumberRange};
use crate::sys::slot::Slot;
use crate::sys::sync::{Mutex, MutexGuard};

use blocking::Blocking;
use list::List;

/// Locks for numbers, so that seldom two threads wait for one.
const SHARDS: usize = if cfg!(allotd_shuttle) { 2 } else { 64 };

/// Numbers that are refreshed together: those of one window have one lock.
const WINDOW_SHIFT: u32 = if cfg!(allotd_shuttle) { 1 } else { 10 };

/// The lists by name.
type ListMap = BTreeMap<ListName, Arc<List>>;

/// All lists, and the pools that use some.
pub(crate) struct Lists {
    dir: PathBuf,
    all: ArcSwap<ListMap>,
    /// Pools that use lists, or did.
    users: ArcSwap<Vec<Weak<dyn User>>>,
    /// Held while lists are made or deleted, and while pools begin to use some. Taken before a manifest's lock.
    changing: Mutex<()>,
    /// A number's is held while it is refreshed.
    shards: [Mutex<()>; SHARDS],
}

/// A list that is named but does not exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("there is no list {0}: create it first, or give another one")]
pub struct NoSuchList(pub ListName);

/// What a change of a list means for the numbers of one pool.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PoolEffect {
    /// The pool.
    pub pool: String,
    /// How many of its numbers are blocked that were not.
    pub blocked: u64,
    /// How many are not blocked any more.
    pub unblocked: u64,
    /// How many of the newly blocked ones are leased: these leases go on, but cannot be renewed.
    pub leased: u64,
}

/// A pool, as the lists know it.
pub(crate) trait User: Send + Sync {
    /// The pool's name.
    fn pool_name(&self) -> String;

    /// Whether the settings name a list.
    fn names(&self, list: ListName) -> bool;

    /// The lists that the settings name.
    fn named_lists(&self) -> BTreeSet<ListName>;

    /// Whether a list blocks its numbers.
    fn is_blocked_by(&self, list: &List) -> bool;

    /// Sets the bits of a number as its lists say; `is_listed` is what `list` says. The caller holds the number's
    /// shard, is changing words with `slot`, and records the marks before it comes to rest.
    fn refresh_number(
        &self,
        list: &List,
        is_listed: bool,
        number: Number,
        slot: Slot,
        done: (&mut PoolEffect, &mut Vec<MarksRecord>),
    );

    /// As [`Self::refresh_number`], for ascending ranges of one window, each with what `list` says of it. The caller
    /// holds the window's shard and changes no words. The slot's queue has room for a record per number.
    fn refresh_ranges(
        &self,
        list: &List,
        ranges: &[(NumberRange, bool)],
        slot: Slot,
        effect: &mut PoolEffect,
    );

    /// Counts what would change if numbers were on a list, or off it.
    fn count_numbers(&self, list: &List, range: NumberRange, is_listed: bool, effect: &mut PoolEffect);
}

impl Lists {
    pub(crate) fn new(dir: PathBuf, lists: Vec<Arc<List>>) -> Self {
        let all = lists.into_iter().map(|list| (list.name, list)).collect();
        Self {
            dir,
            all: ArcSwap::from_pointee(all),
            users: ArcSwap::default(),
            changing: Mutex::new(()),
            shards: std::array::from_fn(|_| Mutex::new(())),
        }
    }

    /// Keeps lists from being made or deleted, and pools from beginning to use some.
    pub(crate) fn begin_change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A list by its name.
    pub(crate) fn get(&self, name: ListName) -> Result<Arc<List>, NoSuchList> {
        self.all.load().get(&name).cloned().ok_or(NoSuchList(name))
    }

    /// All lists, by name.
    pub(crate) fn all(&self) -> Vec<Arc<List>> {
        self.all.load().values().cloned().collect()
    }

    /// Fails if settings name a list that does not exist.
    pub(crate) fn check(&self, settings: &Settings) -> Result<(), NoSuchList> {
        let all = self.all.load();
        let missing = settings.lists().find(|name| !all.contains_key(name));
        missing.map_or(Ok(()), |name| Err(NoSuchList(name)))
    }

    /// How many pools name each list; those that none names are left out.
    pub(crate) fn uses(&self) -> HashMap<ListName, u64> {
        let mut uses = HashMap::new();
        for name in self.users().iter().flat_map(|pool| pool.named_lists()) {
            *uses.entry(name).or_default() += 1;
        }
        uses
    }

    /// The pools that may use lists.
    fn users(&self) -> Vec<Arc<dyn User>> {
        self.users.load().iter().filter_map(Weak::upgrade).collect()
    }

    /// Makes a pool known whose settings name lists, and gives it the lists that it is blocked by. The caller has
    /// [`Self::begin_change`]; the pool's numbers are still to be refreshed.
    pub(crate) fn enter(
        &self,
        user: &Weak<dyn User>,
        blocking: &Blocking,
        settings: &Settings,
    ) -> Result<(), NoSuchList> {
        self.check(settings)?;
        let blocked_by = settings.blocked_by.iter().map(|name| self.get(*name));
        let blocked_by = blocked_by.collect::<Result<Vec<_>, _>>()?;
        // First the lists: a change of a list that finds the pool must find that it uses the list.
        blocking.set(blocked_by);
        if settings.lists().next().is_some() {
            self.users.rcu(|users| {
                let is_other =
                    |other: &&Weak<dyn User>| other.strong_count() > 0 && !Weak::ptr_eq(other, user);
                let others = users.iter().filter(is_other).cloned();
                others.chain([Weak::clone(user)]).collect::<Vec<_>>()
            });
        }
        Ok(())
    }

    /// Changes the map of lists.
    fn change_map<T>(&self, change: impl FnOnce(&mut ListMap) -> T) -> T {
        let mut all = ListMap::clone(&self.all.load());
        let changed = change(&mut all);
        self.all.store(Arc::new(all));
        changed
    }

    /// Keeps a number from being refreshed by others.
    fn shard(&self, number: Number) -> MutexGuard<'_, ()> {
        let shard = ((number.get() >> WINDOW_SHIFT) % SHARDS as u64) as usize;
        self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the refreshes under way: those that begin after it ask the lists as they are now.
    fn end_refreshes(&self) {
        for shard in &self.shards {
            drop(shard.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
