//! Which threads speak for a member of a cluster: what they see is told to callers only while that is primary for
//! certain, as the gate at the daemon's sockets has it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::sync::Arc;

use allotd::journal::Journal;
use allotd::sys::simulation::world;

thread_local! {
    static SPEAKERS: RefCell<BTreeMap<usize, Arc<Journal>>> = const { RefCell::new(BTreeMap::new()) };
}

/// The calling thread speaks for a daemon from now on, or for none.
pub(crate) fn speak_for(journal: Option<&Arc<Journal>>) {
    let task = world::this_task();
    let before = SPEAKERS.with_borrow_mut(|all| match journal {
        Some(journal) => all.insert(task, Arc::clone(journal)),
        None => all.remove(&task),
    });
    drop(before);
}

/// Nobody speaks for anybody.
pub(crate) fn forget() {
    let before = SPEAKERS.with_borrow_mut(std::mem::take);
    drop(before);
}

/// Whether what the calling thread sees may be told.
pub(crate) fn may_answer() -> bool {
    let journal = SPEAKERS.with_borrow(|all| all.get(&world::this_task()).cloned());
    journal.is_none_or(|journal| world::quietly(|| journal.may_answer()))
}
