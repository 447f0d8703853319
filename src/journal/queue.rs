//! Carries records from the threads that change words to the writer, and reports what is committed.
//!
//! Each thread has a slot with a bounded queue of its own. The writer works in *groups*: it begins a group,
//! takes what all queues hold, writes it, and marks the group as committed.
//!
//! What a reply has to wait for is a [`Position`]:
//!
//! 1. *Its own records.* The thread counts what it pushed. The writer publishes, per slot, the count that it
//!    has committed. The threads share nothing for this.
//! 2. *What it saw of others.* A word that another thread changed is visible before its record is in the
//!    queue. So a thread marks that it is changing words ([`Queues::enter`] until [`super::handle::Changing`]
//!    is dropped), by a store before the compare-exchange of the word. A thread that sees the word sees that
//!    store. If it finds all slots at rest and all that they pushed committed, it waits for nothing.
//!    Otherwise it waits for the next group that begins after this moment: once a group has begun, it waits
//!    for each thread that is changing words to come to rest, and takes its records. The count of groups is
//!    read by a read-modify-write. Either that comes before the beginning of the group in the count's order,
//!    which makes what the reader saw visible to the writer, or it returns a later group.
//!
//! A thread never waits for another to change words; only the writer does.

use crossbeam::utils::CachePadded;

use crate::sys::atomics::{AtomicBool, AtomicU64, Ordering, yield_now};
use crate::sys::slot::Slot;

use super::record::{RECORD_BYTES, Record};
use super::ring::{QUEUE_RECORDS, Ring};

/// What must be committed before a reply may be sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Position {
    /// The number of records of the own slot.
    pub own: u64,
    /// The number of groups; 0 for none.
    pub group: u64,
}

/// What the slot's thread writes.
struct Producer {
    /// Odd while the thread is changing words.
    changing: AtomicU64,
    /// Records ever pushed.
    pushed: AtomicU64,
    /// The count of taken records when the thread last looked: it seldom has to read the writer's line.
    seen_taken: AtomicU64,
}

/// What the writer writes.
struct Consumer {
    /// Records taken from the ring.
    taken: AtomicU64,
    /// Records committed.
    committed: AtomicU64,
    /// Whether the slot's thread wants a callback at the next commit.
    waiting: AtomicBool,
}

/// The two sides have cache lines of their own.
struct SlotQueue {
    ring: Ring,
    producer: CachePadded<Producer>,
    consumer: CachePadded<Consumer>,
}

impl SlotQueue {
    fn new() -> Self {
        let counter = || AtomicU64::new(0);
        Self {
            ring: Ring::new(),
            producer: CachePadded::new(Producer {
                changing: counter(),
                pushed: counter(),
                seen_taken: counter(),
            }),
            consumer: CachePadded::new(Consumer {
                taken: counter(),
                committed: counter(),
                waiting: AtomicBool::new(false),
            }),
        }
    }

    /// Whether `records` more fit. For the slot's thread.
    #[inline]
    fn fits(&self, records: u64) -> bool {
        let Producer { pushed, seen_taken, .. } = &*self.producer;
        let full = pushed.load(Ordering::Relaxed) + records;
        if full <= seen_taken.load(Ordering::Relaxed) + QUEUE_RECORDS as u64 {
            return true;
        }
        // Acquire: what was taken is read, so its cells may be written again.
        let taken = self.consumer.taken.load(Ordering::Acquire);
        seen_taken.store(taken, Ordering::Relaxed);
        full <= taken + QUEUE_RECORDS as u64
    }
}

/// The queues of all slots, and the counts of groups.
pub struct Queues {
    slots: Box<[SlotQueue]>,
    /// Groups that have begun.
    begun: CachePadded<AtomicU64>,
    /// Groups that are committed.
    committed: CachePadded<AtomicU64>,
    /// The latest group that somebody waits for and whose beginning nobody may announce.
    wanted: CachePadded<AtomicU64>,
}

impl Queues {
    /// Queues for `slots` threads.
    pub fn new(slots: usize) -> Self {
        Self {
            slots: (0..slots).map(|_| SlotQueue::new()).collect(),
            begun: CachePadded::new(AtomicU64::new(0)),
            committed: CachePadded::new(AtomicU64::new(0)),
            wanted: CachePadded::new(AtomicU64::new(0)),
        }
    }

    /// Marks the slot's thread as changing words. Call before it changes the first.
    #[inline]
    pub fn enter(&self, slot: Slot) {
        let changing = &self.slots[slot.0].producer.changing;
        debug_assert!(
            changing.load(Ordering::Relaxed).is_multiple_of(2),
            "the thread is changing words already"
        );
        // Only this thread writes it. Release: a thread that sees this change begin sees the last one's
        // records.
        changing.store(changing.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Marks the slot's thread as at rest: the words are changed and their records pushed.
    #[inline]
    pub fn finish(&self, slot: Slot) {
        let changing = &self.slots[slot.0].producer.changing;
        // Release: a thread that sees this one at rest sees what it pushed.
        changing.store(changing.load(Ordering::Relaxed) + 1, Ordering::Release);
    }

    /// Pushes a record, or returns it if the queue is full.
    #[inline]
    pub fn push(&self, slot: Slot, record: Record) -> Result<(), Record> {
        let slot = &self.slots[slot.0];
        if !slot.fits(1) {
            return Err(record);
        }
        let pushed = slot.producer.pushed.load(Ordering::Relaxed);
        slot.ring.put(pushed, &record.encode());
        // Release: the writer that sees the count sees the record.
        slot.producer.pushed.store(pushed + 1, Ordering::Release);
        Ok(())
    }

    /// Whether `records` more fit the slot's queue. For the slot's thread only.
    #[inline]
    pub fn fits(&self, slot: Slot, records: u64) -> bool {
        self.slots[slot.0].fits(records)
    }

    /// The number of records that the slot's thread pushed. For that thread only.
    #[inline]
    pub fn pushed(&self, slot: Slot) -> u64 {
        self.slots[slot.0].producer.pushed.load(Ordering::Relaxed)
    }

    /// The number of records of a slot that are not committed.
    pub fn pending(&self, slot: Slot) -> u64 {
        let slot = &self.slots[slot.0];
        let committed = slot.consumer.committed.load(Ordering::Acquire);
        slot.producer.pushed.load(Ordering::Acquire).saturating_sub(committed)
    }

    /// The number of records of all slots that are not committed.
    pub fn all_pending(&self) -> u64 {
        (0..self.slots.len()).map(|slot| self.pending(Slot(slot))).sum()
    }

    /// The group to wait for before a reply may report words that were read before this call; 0 if all of
    /// them are committed.
    pub fn observe(&self) -> u64 {
        let at_rest = |slot: &SlotQueue| {
            // The order matters: first whether it is at rest, then what it pushed until then.
            let (producer, consumer) = (&slot.producer, &slot.consumer);
            producer.changing.load(Ordering::Acquire).is_multiple_of(2)
                && producer.pushed.load(Ordering::Acquire) <= consumer.committed.load(Ordering::Acquire)
        };
        if self.slots.iter().all(at_rest) { 0 } else { self.next_group() }
    }

    /// The next group that begins after this.
    pub fn next_group(&self) -> u64 {
        self.begun.fetch_add(0, Ordering::AcqRel) + 1
    }

    /// Requests that the groups up to this one begin without waiting for work.
    pub fn want(&self, group: u64) {
        self.wanted.fetch_max(group, Ordering::SeqCst);
    }

    /// Whether a group after this one is requested. For the writer.
    pub fn is_later_wanted(&self, group: u64) -> bool {
        self.wanted.load(Ordering::SeqCst) > group
    }

    /// How many groups are committed.
    pub fn committed_groups(&self) -> u64 {
        self.committed.load(Ordering::SeqCst)
    }

    /// Whether all of a position is committed.
    #[inline]
    pub fn is_committed(&self, slot: Slot, position: Position) -> bool {
        // SeqCst: `wait` needs a single order of its store and these loads.
        self.slots[slot.0].consumer.committed.load(Ordering::SeqCst) >= position.own
            && (position.group == 0 || self.committed.load(Ordering::SeqCst) >= position.group)
    }

    /// Marks the slot's thread as waiting for a commit. The thread must check [`Self::is_committed`] once
    /// more after this. Either it sees the commit, or the writer sees that it waits: both write first and
    /// then read, in the single order of `SeqCst`.
    pub fn wait(&self, slot: Slot) {
        self.slots[slot.0].consumer.waiting.store(true, Ordering::SeqCst);
        crate::sys::atomics::total_order_for_loom();
    }

    /// Begins a group. For the writer.
    pub fn begin_group(&self) -> u64 {
        self.begun.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Takes at most `most` encoded records from the queue of a slot. `taken` counts all records taken from the
    /// slot so far. For the writer.
    pub fn take(&self, slot: Slot, most: u64, taken: &mut u64, mut take: impl FnMut(&[u8; RECORD_BYTES])) {
        let slot = &self.slots[slot.0];
        let pushed = slot.producer.pushed.load(Ordering::Acquire).min(*taken + most);
        if *taken == pushed {
            return;
        }
        for position in *taken..pushed {
            take(&slot.ring.get(position));
        }
        *taken = pushed;
        // Release: the thread that sees the count may write the cells again.
        slot.consumer.taken.store(pushed, Ordering::Release);
    }

    /// Whether the slot's thread was at rest at any moment since the first call with this `first`, which is
    /// `None` for the first call. Then all that it changed before that call is in the queue. For the writer.
    fn came_to_rest(&self, slot: Slot, first: &mut Option<u64>) -> bool {
        let now = self.slots[slot.0].producer.changing.load(Ordering::Acquire);
        now.is_multiple_of(2) || *first.get_or_insert(now) != now
    }

    /// Calls `take` until it has taken all that the slot's thread changed before this call. For the writer.
    pub fn take_changed<E>(&self, slot: Slot, mut take: impl FnMut() -> Result<(), E>) -> Result<(), E> {
        let mut first = None;
        loop {
            // Read before the queue, which then holds what was changed before.
            let rested = self.came_to_rest(slot, &mut first);
            take()?;
            if rested {
                return Ok(());
            }
            yield_now();
        }
    }

    /// The number of slots.
    pub fn slots(&self) -> usize {
        self.slots.len()
    }

    /// Marks a group as committed, and with it all that was taken from each slot. Calls `wake` for each slot
    /// whose thread waits. For the writer.
    pub fn commit(&self, group: u64, taken: &[u64], mut wake: impl FnMut(Slot)) {
        for (slot, taken) in self.slots.iter().zip(taken) {
            slot.consumer.committed.store(*taken, Ordering::SeqCst);
        }
        self.committed.store(group, Ordering::SeqCst);
        self.wake_all(&mut wake);
    }

    /// Calls `wake` for each slot whose thread waits.
    pub fn wake_all(&self, mut wake: impl FnMut(Slot)) {
        crate::sys::atomics::total_order_for_loom();
        for (index, slot) in self.slots.iter().enumerate() {
            let waiting = &slot.consumer.waiting;
            if waiting.load(Ordering::SeqCst) && waiting.swap(false, Ordering::SeqCst) {
                wake(Slot(index));
            }
        }
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use crate::coordinates::{Rank, SegmentId};
    use crate::journal::record::WordRecord;
    use crate::state::word::Word;

    fn record(index: u64) -> Record {
        let (rank, word) = (Rank(index as u32), Word::from_bits(index));
        Record::Word(WordRecord {
            cause: crate::journal::record::Cause::of(crate::journal::cause::ChangeKind::Other),
            pool: !index,
            segment: SegmentId(1),
            rank,
            word,
            holder: index,
        })
    }

    #[test]
    fn every_record_arrives_once_in_order_and_whole() {
        const RECORDS: u64 = 50 * QUEUE_RECORDS as u64 + 7;
        let queues = Queues::new(1);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for index in 0..RECORDS {
                    while queues.push(Slot(0), record(index)).is_err() {
                        std::thread::yield_now();
                    }
                }
            });
            let (mut taken, mut expected) = (0, 0);
            while expected < RECORDS {
                queues.take(Slot(0), 1_000, &mut taken, |bytes| {
                    assert_eq!(Record::decode(bytes), Ok(record(expected)));
                    expected += 1;
                });
            }
        });
    }

    #[test]
    fn a_full_queue_refuses_until_some_is_taken() {
        let queues = Queues::new(1);
        (0..QUEUE_RECORDS as u64).for_each(|index| assert_eq!(queues.push(Slot(0), record(index)), Ok(())));
        assert_eq!(queues.push(Slot(0), record(0)), Err(record(0)));
        queues.take(Slot(0), 3, &mut 0, |_| ());
        assert!(queues.fits(Slot(0), 3) && !queues.fits(Slot(0), 4));
    }
}
