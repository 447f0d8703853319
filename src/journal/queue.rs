//! Records on their way from the threads that change words to the one that writes them, and how a
//! thread learns that they are committed.
//!
//! Each thread has a slot with a bounded queue of its own. The writer goes round in *groups*: it begins
//! one, takes what all queues hold, writes it, and says that the group is committed.
//!
//! What a reply has to wait for is a [`Position`]:
//!
//! 1. *Its own records.* The thread counts what it pushed; the writer says, slot by slot, up to which
//!    count it has committed. Nothing is shared between the threads for this.
//! 2. *What it saw of others.* A word that another thread changed is visible before its record is in the
//!    queue. So a thread says that it is changing words ([`Queues::enter`] until [`super::handle::Changing`] is
//!    dropped), by a store before the compare-exchange of the word. Whoever sees the word sees that
//!    store; if it finds all slots at rest and all that they pushed committed, it waits for nothing. Else
//!    it waits for the next group that begins after this moment: a group, once it has begun, waits for
//!    each thread that is changing words to come to rest, and takes its records. The look at the count of
//!    groups is a read-modify-write, so it comes either before the beginning of that group in the
//!    count's order, which makes what the reader saw visible to the writer, or it gets a later group.
//!
//! A thread never waits for another to change words; the writer alone does.

use crossbeam::utils::CachePadded;

use crate::sys::atomics::{AtomicBool, AtomicU64, BoundedQueue, Ordering, yield_now};
use crate::sys::slot::Slot;

use super::record::Record;

/// Records that one thread may have in its queue; then it waits for the writer.
pub const QUEUE_RECORDS: usize = if cfg!(allotd_loom) { 2 } else { 8_192 };

/// What must be committed before a reply may be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// So many records of the own slot.
    pub own: u64,
    /// So many groups.
    pub group: u64,
}

struct SlotQueue {
    queue: BoundedQueue<Record>,
    /// Odd while the thread is changing words.
    changing: AtomicU64,
    /// Records ever pushed; only the slot's thread writes.
    pushed: AtomicU64,
    /// Records committed; only the writer writes.
    committed: AtomicU64,
    /// Whether the slot's thread wants to be told of the next commit.
    waiting: AtomicBool,
}

/// See the module.
pub struct Queues {
    slots: Box<[CachePadded<SlotQueue>]>,
    /// Groups that have begun.
    begun: CachePadded<AtomicU64>,
    /// Groups that are committed.
    committed: CachePadded<AtomicU64>,
}

impl Queues {
    /// Queues for so many threads.
    pub fn new(slots: usize) -> Self {
        let slot = || {
            CachePadded::new(SlotQueue {
                queue: BoundedQueue::new(QUEUE_RECORDS),
                changing: AtomicU64::new(0),
                pushed: AtomicU64::new(0),
                committed: AtomicU64::new(0),
                waiting: AtomicBool::new(false),
            })
        };
        Self {
            slots: (0..slots).map(|_| slot()).collect(),
            begun: CachePadded::new(AtomicU64::new(0)),
            committed: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Says that the slot's thread is about to change words, before it changes the first.
    #[inline]
    pub fn enter(&self, slot: Slot) {
        let changing = &self.slots[slot.0].changing;
        // Only this thread writes it. Release: whoever sees this change begin sees the last one's records.
        changing.store(changing.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Says that the words are changed and their records pushed.
    #[inline]
    pub fn finish(&self, slot: Slot) {
        let changing = &self.slots[slot.0].changing;
        // Release: whoever sees the thread at rest sees what it pushed.
        changing.store(changing.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Pushes a record, if there is room.
    #[inline]
    pub fn push(&self, slot: Slot, record: Record) -> Result<(), Record> {
        let slot = &self.slots[slot.0];
        slot.queue.push(record)?;
        slot.pushed.store(slot.pushed.load(Ordering::Relaxed) + 1, Ordering::Release);
        Ok(())
    }

    /// How many records the slot's thread pushed; for that thread.
    #[inline]
    pub fn pushed(&self, slot: Slot) -> u64 {
        self.slots[slot.0].pushed.load(Ordering::Relaxed)
    }

    /// How many records of a slot are not committed.
    pub fn pending(&self, slot: Slot) -> u64 {
        let slot = &self.slots[slot.0];
        let committed = slot.committed.load(Ordering::Acquire);
        slot.pushed.load(Ordering::Acquire).saturating_sub(committed)
    }

    /// How many records of all slots are not committed.
    pub fn all_pending(&self) -> u64 {
        (0..self.slots.len()).map(|slot| self.pending(Slot(slot))).sum()
    }

    /// The group that a reply has to wait for which tells of words that were looked at before this; 0
    /// if all of them are committed.
    pub fn observe(&self) -> u64 {
        let at_rest = |slot: &CachePadded<SlotQueue>| {
            // The order matters: at rest first, then what was pushed until then.
            slot.changing.load(Ordering::Acquire).is_multiple_of(2)
                && slot.pushed.load(Ordering::Acquire) <= slot.committed.load(Ordering::Acquire)
        };
        if self.slots.iter().all(at_rest) { 0 } else { self.next_group() }
    }

    /// The next group that begins after this.
    pub fn next_group(&self) -> u64 {
        self.begun.fetch_add(0, Ordering::AcqRel) + 1
    }

    /// Whether all that a reply waits for is committed.
    #[inline]
    pub fn is_committed(&self, slot: Slot, position: Position) -> bool {
        // SeqCst: see `wait`.
        self.slots[slot.0].committed.load(Ordering::SeqCst) >= position.own
            && (position.group == 0 || self.committed.load(Ordering::SeqCst) >= position.group)
    }

    /// Says that the slot's thread waits for a commit. It must look once more with
    /// [`Self::is_committed`] after this: either it sees the commit, or the writer sees that it waits,
    /// as both write first and look then, in the single order of `SeqCst`.
    pub fn wait(&self, slot: Slot) {
        self.slots[slot.0].waiting.store(true, Ordering::SeqCst);
        crate::sys::atomics::total_order_for_loom();
    }

    /// Begins a group. For the writer.
    pub fn begin_group(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Takes what the queue of a slot holds, at most so many records. `taken` counts all that was ever
    /// taken of the slot. For the writer.
    pub fn take(&self, slot: Slot, most: u64, taken: &mut u64, mut take: impl FnMut(Record)) {
        let slot = &self.slots[slot.0];
        let pushed = slot.pushed.load(Ordering::Acquire).min(*taken + most);
        while *taken < pushed {
            let Some(record) = slot.queue.pop() else { return };
            *taken += 1;
            take(record);
        }
    }

    /// Whether the slot's thread was at rest at a moment since this was first asked with the same `first`
    /// (`None` before): then all that it changed before is in the queue. For the writer.
    fn came_to_rest(&self, slot: Slot, first: &mut Option<u64>) -> bool {
        let now = self.slots[slot.0].changing.load(Ordering::Acquire);
        now.is_multiple_of(2) || *first.get_or_insert(now) != now
    }

    /// Takes, by `take`, all that the slot's thread changed before this. For the writer.
    pub fn take_changed<E>(&self, slot: Slot, mut take: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let mut first = None;
        loop {
            // Looked at before the queue: what was changed before is in it.
            let rested = self.came_to_rest(slot, &mut first);
            take()?;
            if rested {
                return Ok(());
            }
            yield_now();
        }
    }

    /// How many slots there are.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Says that a group is committed, with all that was taken of each slot. `wake` is called for each
    /// slot whose thread waits. For the writer.
    pub fn commit(&self, group: u64, taken: &[u64], mut wake: impl FnMut(Slot)) {
        for (slot, taken) in self.slots.iter().zip(taken) {
            slot.committed.store(*taken, Ordering::SeqCst);
        }
        self.committed.store(group, Ordering::SeqCst);
        self.wake_all(&mut wake);
    }

    /// Calls `wake` for each slot whose thread waits.
    pub fn wake_all(&self, mut wake: impl FnMut(Slot)) {
        crate::sys::atomics::total_order_for_loom();
        for (index, slot) in self.slots.iter().enumerate() {
            if slot.waiting.load(Ordering::SeqCst) && slot.waiting.swap(false, Ordering::SeqCst) {
                wake(Slot(index));
            }
        }
    }
}
