//! One holder: its name, and the count of its leases.

use crate::domain::holder::HolderName;
use crate::journal::handle::Journal;
use crate::journal::queue::Position;
use crate::state::holder_column::HolderId;
use crate::sys::atomics::{AtomicBool, AtomicU64, Ordering};
use crate::sys::slot::Slot;

/// What the count of a forgotten holder begins with. No pool has so many numbers.
const FORGOTTEN: i64 = 1 << 60;
/// Bits of [`Holder::recorded_at`] for the count of a slot's records.
const RECORDS_BITS: u32 = 48;

/// What a holder's leases are counted by, before they are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Taken {
    /// So many may be made.
    Leases(u32),
    /// It has so many, which is as many as it may have.
    Full(u64),
    /// The name was forgotten meanwhile: look it up again.
    Forgotten,
}

/// One holder.
pub(crate) struct Holder {
    pub(crate) id: HolderId,
    pub(crate) name: HolderName,
    /// Its live leases, and those that calls under way may make: an `i64`, as a return may be counted before a
    /// late renewal.
    leases: AtomicU64,
    has_returned: AtomicBool,
    /// Whether it had no lease when this was last looked at.
    was_idle: AtomicBool,
    /// Whether the record of its name is committed.
    recorded: AtomicBool,
    /// The slot whose queue has the record, and how many it had then; 0 if none is known.
    recorded_at: AtomicU64,
}

impl Holder {
    pub(super) fn new(
        id: HolderId,
        name: HolderName,
        leases: u64,
        has_returned: bool,
        recorded: bool,
    ) -> Self {
        Self {
            id,
            name,
            leases: AtomicU64::new(leases),
            has_returned: AtomicBool::new(has_returned),
            was_idle: AtomicBool::new(false),
            recorded: AtomicBool::new(recorded),
            recorded_at: AtomicU64::new(0),
        }
    }

    /// Its live leases.
    pub(crate) fn leases(&self) -> u64 {
        let leases = self.leases.load(Ordering::SeqCst).cast_signed();
        if leases >= FORGOTTEN { 0 } else { leases.max(0).cast_unsigned() }
    }

    /// Whether it has returned something since its name is known.
    pub(crate) fn has_returned(&self) -> bool {
        self.has_returned.load(Ordering::Relaxed)
    }

    /// Takes up to `want` places in its count, so that it has at most `most`.
    #[inline]
    pub(crate) fn take(&self, want: u32, most: u64) -> Taken {
        if self.was_idle.load(Ordering::Relaxed) {
            self.was_idle.store(false, Ordering::SeqCst);
        }
        let mut has = self.leases.load(Ordering::SeqCst);
        loop {
            if has.cast_signed() >= FORGOTTEN {
                return Taken::Forgotten;
            }
            let live = has.cast_signed().max(0).cast_unsigned();
            let room = most.saturating_sub(live);
            if room == 0 {
                return Taken::Full(live);
            }
            let taken = room.min(want.into());
            let next = has.wrapping_add(taken);
            match self.leases.compare_exchange(has, next, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return Taken::Leases(taken as u32),
                Err(now) => has = now,
            }
        }
    }

    /// Gives places back.
    #[inline]
    pub(crate) fn give_back(&self, places: u32) {
        if places > 0 {
            self.leases.fetch_sub(places.into(), Ordering::SeqCst);
        }
    }

    /// Whether the record of its name is committed.
    #[inline]
    pub(super) fn is_recorded(&self, journal: &Journal) -> bool {
        self.recorded.load(Ordering::Acquire) || self.is_newly_recorded(journal)
    }

    #[cold]
    fn is_newly_recorded(&self, journal: &Journal) -> bool {
        let at = self.recorded_at.load(Ordering::Acquire);
        let (slot, own) = (Slot((at >> RECORDS_BITS) as usize), at & ((1 << RECORDS_BITS) - 1));
        let recorded = at != 0 && journal.is_committed(slot, Position { own, group: 0 });
        if recorded {
            self.recorded.store(true, Ordering::Release);
        }
        recorded
    }

    /// Counts a lease that began or ended.
    pub(super) fn count(&self, was_leased: bool, is_leased: bool, is_returned: bool) {
        match (was_leased, is_leased) {
            (true, false) => drop(self.leases.fetch_sub(1, Ordering::SeqCst)),
            (false, true) => drop(self.leases.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
        if is_returned && !self.has_returned() {
            self.has_returned.store(true, Ordering::Relaxed);
        }
    }

    /// Notes in which slot's queue its name's record is. The first will do.
    pub(super) fn recorded_in(&self, slot: Slot, records: u64) {
        let at = (slot.0 as u64) << RECORDS_BITS | records & ((1 << RECORDS_BITS) - 1);
        let _ = self.recorded_at.compare_exchange(0, at, Ordering::SeqCst, Ordering::SeqCst);
    }

    /// Whether it has no lease, and had none when this was last asked.
    pub(super) fn look_whether_idle(&self) -> (bool, bool) {
        let is_idle = self.leases.load(Ordering::SeqCst) == 0;
        (is_idle, is_idle && self.was_idle.swap(true, Ordering::SeqCst))
    }

    /// Whether it is forgotten: it counts no lease any more.
    pub(super) fn is_forgotten(&self) -> bool {
        self.leases.load(Ordering::SeqCst).cast_signed() >= FORGOTTEN
    }

    /// Forgets it if it has no lease. Returns whether it did.
    pub(super) fn forget(&self) -> bool {
        self.leases.compare_exchange(0, FORGOTTEN.cast_unsigned(), Ordering::SeqCst, Ordering::SeqCst).is_ok()
    }
}
