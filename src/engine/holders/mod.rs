//! The holders of a pool's leases: their names, and how many leases each has.
//!
//! A name gets an id when it first leases. The columns beside the words have ids
//! ([`crate::state::holder_column`]). Ids only grow, so none ever means another name.
//!
//! **Names are durable first.** A thread that leases under a name whose record is not known to be committed pushes
//! the name's record itself, before that of the word. Both go into its own queue, so no journal has the word
//! without the name. A name is known to others before its record is pushed: so a checkpoint that began before
//! either finds it or, as the older files were closed before it looked, the record goes into a newer file.
//!
//! **Reading takes no lock.** Both tables are immutable maps in shards, replaced as a whole by the thread that adds
//! a name, under a lock that is never held while that thread waits.
//!
//! **Counts.** A lease takes its place in the count before its word says so, all other changes are counted after
//! the word. A name whose count is 0 for a while is forgotten. A lease of it that had ended and is renewed late has
//! no holder then.

pub(crate) mod holder;
mod names;
pub(crate) mod recovered;

use std::collections::HashMap;
use std::sync::{Arc, OnceLock, PoisonError};

use crate::domain::holder::HolderName;
use crate::domain::lease_token::SECRET_BYTES;
use crate::journal::handle::Journal;
use crate::journal::record::{HOLDER_PART_BYTES, HolderRecord};
use crate::state::holder_column::{HolderId, MAX_HOLDER_ID};
use crate::sys::lock::Lock;
use crate::sys::slot::Slot;

use holder::Holder;
use names::Names;
use recovered::RecoveredHolder;

/// Most names of one pool at a time.
pub const MAX_HOLDERS: u64 = 1 << 18;
/// From this share of [`MAX_HOLDERS`] on, names without leases are forgotten at once.
const CROWDED: u64 = MAX_HOLDERS / 4 * 3;

/// The pool has as many holders as it can have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TooManyHolders;

/// What is guarded by the lock of changes.
#[derive(Debug)]
struct Ids {
    /// The next id that is given out.
    next: HolderId,
    /// How many names there are.
    known: u64,
}

/// What a pool's holders have together.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HolderSummary {
    /// How many holders have leases.
    pub holders: u64,
    /// How many leases they have.
    pub leased: u64,
    /// Those with the most leases, the most first, with their leases.
    pub top: Vec<(HolderName, u64)>,
}

/// The holders of a pool.
pub(crate) struct Holders {
    secret: [u8; SECRET_BYTES],
    /// There once the pool has tracked holders in this process.
    names: OnceLock<Names>,
    ids: Lock<Ids>,
}

impl Holders {
    /// No holders yet.
    pub(crate) fn new(secret: &[u8; SECRET_BYTES]) -> Self {
        let ids = Lock::new(Ids { next: HolderId(1), known: 0 });
        Self { secret: *secret, names: OnceLock::new(), ids }
    }

    /// Says which id is the first that no holder has been given.
    pub(crate) fn start_from(&self, next: HolderId) {
        self.ids.lock().unwrap_or_else(PoisonError::into_inner).next = next;
    }

    /// Whether the pool's segments have columns.
    #[inline]
    pub(crate) fn have_columns(&self) -> bool {
        self.names.get().is_some()
    }

    /// Begins to keep names. All segments have columns by now.
    pub(crate) fn begin(&self) {
        let _ = self.names.set(Names::new(&self.secret));
    }

    /// Adds the holders that a start has found, the latest ids first, with their leases.
    pub(crate) fn restore(&self, found: Vec<RecoveredHolder>, leases: &HashMap<HolderId, u64>) {
        self.begin();
        let Some(names) = self.names.get() else { return };
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        for RecoveredHolder { id, name, has_returned } in found {
            let leases = leases.get(&id).copied().unwrap_or(0);
            // A name that came back under another id had no lease before.
            let is_wanted = leases > 0 || ids.known < MAX_HOLDERS;
            if is_wanted && names.find(&name).is_none() {
                names.insert(&Arc::new(Holder::new(id, name, leases, has_returned, true)));
                ids.known += 1;
            }
        }
    }

    /// The holder of this name, if it is known.
    pub(crate) fn find(&self, name: &HolderName) -> Option<Arc<Holder>> {
        self.names.get()?.find(name)
    }

    /// The name that an id stands for.
    pub(crate) fn name(&self, id: HolderId) -> Option<HolderName> {
        self.by_id(id, |holder| holder.name.clone())
    }

    #[inline]
    fn by_id<T>(&self, id: HolderId, look: impl FnOnce(&Holder) -> T) -> Option<T> {
        self.names.get()?.numbered(id).load().get(&id.0).map(|holder| look(holder))
    }

    /// The holder of this name, which is made known if it is not. A record of the calling thread that names it
    /// is never durable without the name.
    #[inline]
    pub(crate) fn enter(
        &self,
        journal: &Journal,
        slot: Slot,
        pool: u64,
        name: &HolderName,
    ) -> Result<Arc<Holder>, TooManyHolders> {
        if let Some(holder) = self.find(name)
            && holder.is_recorded(journal)
        {
            return Ok(holder);
        }
        self.enter_recorded(journal, slot, pool, name)
    }

    #[cold]
    fn enter_recorded(
        &self,
        journal: &Journal,
        slot: Slot,
        pool: u64,
        name: &HolderName,
    ) -> Result<Arc<Holder>, TooManyHolders> {
        journal.make_room(slot, name.as_str().len().div_ceil(HOLDER_PART_BYTES) as u64);
        // Before others see the name.
        let changing = journal.change(slot);
        let holder = self.find_or_insert(name)?;
        for record in HolderRecord::of(pool, holder.id, name.as_str(), holder.has_returned()) {
            changing.record_holder(record);
        }
        drop(changing);
        holder.recorded_in(slot, journal.own_position(slot).own);
        Ok(holder)
    }

    fn find_or_insert(&self, name: &HolderName) -> Result<Arc<Holder>, TooManyHolders> {
        let names = self.names.get().ok_or(TooManyHolders)?;
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(holder) = names.find(name) {
            return Ok(holder);
        }
        if ids.known >= MAX_HOLDERS || ids.next.0 > MAX_HOLDER_ID {
            return Err(TooManyHolders);
        }
        let holder = Arc::new(Holder::new(ids.next, name.clone(), 0, false, false));
        ids.next.0 += 1;
        ids.known += 1;
        names.insert(&holder);
        Ok(holder)
    }

    /// Counts a change of a number that a holder has or had.
    #[inline]
    pub(crate) fn count(&self, id: HolderId, was_leased: bool, is_leased: bool, is_returned: bool) {
        self.by_id(id, |holder| holder.count(was_leased, is_leased, is_returned));
    }

    /// Forgets the names that had no lease when this was last called, and have none. If there are many, those that
    /// have none.
    pub(crate) fn forget_idle(&self) {
        let Some(names) = self.names.get() else { return };
        let mut ids = self.ids.lock().unwrap_or_else(PoisonError::into_inner);
        let is_crowded = ids.known >= CROWDED;
        let mut forgotten = 0;
        names.each(|holder| {
            let (is_idle, was_idle) = holder.look_whether_idle();
            if (was_idle || is_crowded) && is_idle && holder.forget() {
                forgotten += 1;
            }
        });
        if forgotten > 0 {
            names.remove_forgotten();
            ids.known -= forgotten;
        }
    }

    /// Whether there are so many names that those without leases have to go.
    pub(crate) fn are_crowded(&self) -> bool {
        self.have_columns() && self.ids.lock().unwrap_or_else(PoisonError::into_inner).known >= CROWDED
    }

    /// What the holders have together, and the `top` of them.
    pub(crate) fn summary(&self, top: usize) -> HolderSummary {
        let (mut summary, mut all) = (HolderSummary::default(), Vec::new());
        let Some(names) = self.names.get() else { return summary };
        names.each(|holder| {
            let leases = holder.leases();
            if leases > 0 {
                summary.holders += 1;
                summary.leased += leases;
                all.push((leases, Arc::clone(holder)));
            }
        });
        let most_first = |a: &(u64, Arc<Holder>), b: &(u64, Arc<Holder>)| {
            b.0.cmp(&a.0).then_with(|| a.1.name.cmp(&b.1.name))
        };
        if all.len() > top && top > 0 {
            all.select_nth_unstable_by(top - 1, most_first);
        }
        all.truncate(top);
        all.sort_unstable_by(most_first);
        summary.top = all.into_iter().map(|(leases, holder)| (holder.name.clone(), leases)).collect();
        summary
    }

    /// The names as records, and which ids have been given out.
    pub(crate) fn records(&self, pool: u64, records: &mut Vec<HolderRecord>) {
        let next = self.ids.lock().unwrap_or_else(PoisonError::into_inner).next;
        if next.0 > 1 {
            records.push(HolderRecord::given_out(pool, next));
        }
        let Some(names) = self.names.get() else { return };
        names.each(|holder| {
            records.extend(HolderRecord::of(pool, holder.id, holder.name.as_str(), holder.has_returned()));
        });
    }
}

#[cfg(test)]
mod tests {
    use super::holder::Taken;
    use crate::domain::holder::MAX_HOLDER_BYTES;

    use super::*;
    use crate::journal::durability::Durability;

    fn holders() -> (Holders, Journal) {
        let holders = Holders::new(&[7; SECRET_BYTES]);
        holders.start_from(HolderId(5));
        holders.begin();
        (holders, Journal::new(2, Durability::Sync))
    }

    fn enter(holders: &Holders, journal: &Journal, name: &str) -> Arc<Holder> {
        holders.enter(journal, Slot(1), 3, &name.parse().unwrap()).unwrap()
    }

    #[test]
    fn ids_only_grow_and_a_name_is_forgotten_when_it_was_idle_for_a_while() {
        let (holders, journal) = holders();
        let (a, b) = (enter(&holders, &journal, "a"), enter(&holders, &journal, "b"));
        assert_eq!((a.id, b.id), (HolderId(5), HolderId(6)));
        assert_eq!(b.take(2, u64::MAX), Taken::Leases(2));
        holders.forget_idle();
        assert_eq!(enter(&holders, &journal, "a").id, a.id, "it was idle only now");
        holders.forget_idle();
        assert_eq!((holders.name(a.id), a.take(1, 9)), (None, Taken::Forgotten));
        assert_eq!(holders.name(b.id).map(|name| name.to_string()).as_deref(), Some("b"));
        assert_eq!(enter(&holders, &journal, "a").id, HolderId(7), "never the old id");
        // A late renewal of what nobody knows any more counts for nobody.
        holders.count(a.id, false, true, false);
        assert_eq!((a.leases(), holders.summary(9).leased), (0, 2));
    }

    #[test]
    fn one_that_leases_between_two_looks_is_not_forgotten() {
        let (holders, journal) = holders();
        let a = enter(&holders, &journal, "a");
        for _ in 0..3 {
            holders.forget_idle();
            assert_eq!(a.take(1, 9), Taken::Leases(1));
            a.give_back(1);
        }
        assert_eq!(enter(&holders, &journal, "a").id, a.id);
    }

    #[test]
    fn a_count_is_limited_and_the_top_is_in_order() {
        let (holders, journal) = holders();
        for (name, leases) in [("c", 1), ("a", 3), ("d", 1), ("b", 2)] {
            assert_eq!(enter(&holders, &journal, name).take(leases, 3), Taken::Leases(leases));
        }
        let a = enter(&holders, &journal, "a");
        assert_eq!(a.take(1, 3), Taken::Full(3));
        assert_eq!(a.take(5, 5), Taken::Leases(2));
        let summary = holders.summary(3);
        let top: Vec<_> = summary.top.iter().map(|(name, leases)| (name.as_str(), *leases)).collect();
        assert_eq!((summary.holders, summary.leased), (4, 9));
        assert_eq!(top, [("a", 5), ("b", 2), ("c", 1)]);
        assert_eq!(holders.summary(0).top, []);
    }

    #[test]
    fn a_name_is_recorded_by_each_thread_until_the_first_record_is_committed() {
        let (holders, journal) = holders();
        let records = MAX_HOLDER_BYTES.div_ceil(HOLDER_PART_BYTES) as u64;
        let long = "x".repeat(MAX_HOLDER_BYTES);
        enter(&holders, &journal, &long);
        assert_eq!(journal.own_position(Slot(1)).own, records);
        let again = holders.enter(&journal, Slot(0), 3, &long.parse().unwrap()).unwrap();
        assert_eq!(journal.own_position(Slot(0)).own, records);
        // Nothing is committed without a writer.
        assert!(!again.is_recorded(&journal));
        enter(&holders, &journal, &long);
        assert_eq!(journal.own_position(Slot(1)).own, 2 * records);
        // One that a start has found is.
        let found = RecoveredHolder { id: HolderId(2), name: "b".parse().unwrap(), has_returned: true };
        holders.restore(vec![found], &HashMap::from([(HolderId(2), 4)]));
        let b = enter(&holders, &journal, "b");
        assert_eq!((b.leases(), b.has_returned(), journal.own_position(Slot(1)).own), (4, true, 2 * records));
    }
}
