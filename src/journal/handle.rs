//! The journal as the threads that change words see it.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crossbeam::utils::CachePadded;

use crate::sys::atomics::{self, AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::sys::lock;
use crate::sys::slot::Slot;
use crate::sys::sync::Mutex;
use crate::sys::sync::thread::Thread;

use super::durability::Durability;
use super::error::JournalError;
use super::queue::{Position, Queues};
use super::record::{HolderRecord, ListRecord, MarksRecord, Record, RoundRecord};
use super::replica::Replica;
use super::stats::{JournalSnapshot, JournalStats};

/// A thread that never runs out of work wakes the writer after this many records.
const WAKE_RECORDS: u64 = 1_024;
/// How long a thread that waits for the writer sleeps before it checks again.
const FULL_QUEUE_PAUSE_MICROS: u64 = if cfg!(allotd_shuttle) { 1_000 } else { 50 };

pub(super) const OPEN: u32 = 0;
pub(super) const FULL: u32 = 1;
pub(super) const POISONED: u32 = 2;
pub(super) const TOO_FEW_REPLICAS: u32 = 3;

type Callback = Box<dyn Fn() + Send + Sync>;

/// The journal, shared by the threads that change words and the writer.
pub struct Journal {
    pub(super) queues: Queues,
    durability: Durability,
    /// Whether changes of words are recorded. Not with `none`, where only the tables hold them.
    records_words: bool,
    pub(super) state: AtomicU32,
    /// For each slot, the count of its records at its last wake-up of the writer. Only its thread uses it.
    woken: Box<[CachePadded<AtomicU64>]>,
    on_commit: Box<[OnceLock<Callback>]>,
    pub(super) on_poison: OnceLock<Callback>,
    pub(super) on_refusal: OnceLock<Callback>,
    /// Whether the file being written is half full and there is no spare one.
    pub(super) scarce: AtomicBool,
    /// Set when the daemon ends: nothing waits for space on the disk any more.
    pub(super) ending: AtomicBool,
    /// Set once the writer has ended: nothing more is committed.
    pub(super) ended: AtomicBool,
    pub(super) poison: Mutex<Option<String>>,
    pub(super) writer: OnceLock<Thread>,
    /// The last frame with records that is written for good. Only the writer changes it.
    published: AtomicU64,
    follower: OnceLock<Thread>,
    /// Where records stand before they are written here.
    pub(super) replica: OnceLock<Arc<dyn Replica>>,
    pub(super) stats: JournalStats,
}

impl Journal {
    /// A journal for `slots` threads. Its writer is started by [`super::running::Running::start`].
    pub fn new(slots: usize, durability: Durability) -> Self {
        Self {
            queues: Queues::new(slots),
            durability,
            records_words: durability != Durability::None,
            state: AtomicU32::new(OPEN),
            woken: (0..slots).map(|_| CachePadded::new(AtomicU64::new(0))).collect(),
            on_commit: (0..slots).map(|_| OnceLock::new()).collect(),
            on_poison: OnceLock::new(),
            on_refusal: OnceLock::new(),
            scarce: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            ended: AtomicBool::new(false),
            poison: Mutex::new(None),
            writer: OnceLock::new(),
            published: AtomicU64::new(0),
            follower: OnceLock::new(),
            replica: OnceLock::new(),
            stats: JournalStats::default(),
        }
    }

    /// Fails if changes are not accepted now.
    #[inline]
    pub fn check(&self) -> Result<(), JournalError> {
        match self.state.load(Ordering::Relaxed) {
            OPEN => Ok(()),
            FULL => Err(JournalError::Full),
            TOO_FEW_REPLICAS => Err(JournalError::TooFewReplicas),
            _ if !self.may_answer() => Err(JournalError::Deposed),
            _ => Err(JournalError::Poisoned),
        }
    }

    /// Returns a guard to hold while the slot's thread changes words, or takes or places bits of a free index.
    /// It takes the records. A thread has one at a time.
    #[inline]
    pub fn change(&self, slot: Slot) -> Changing<'_> {
        self.queues.enter(slot);
        Changing { journal: self, slot }
    }

    /// Waits until `records` more fit the slot's queue, so that pushing them waits for nobody. Once the journal
    /// has ended, it does not wait.
    #[inline]
    pub fn make_room(&self, slot: Slot, records: u64) {
        if self.records_words && !self.queues.fits(slot, records) {
            self.wait_for_room(slot, records);
        }
    }

    /// Whether `records` more fit the slot's queue, or need not, as after the journal has ended.
    pub fn has_room(&self, slot: Slot, records: u64) -> bool {
        !self.records_words || self.queues.fits(slot, records) || self.has_ended()
    }

    #[cold]
    fn wait_for_room(&self, slot: Slot, records: u64) {
        lock::assert_none_held();
        while !self.has_room(slot, records) {
            self.wake_writer();
            atomics::sleep(Duration::from_micros(FULL_QUEUE_PAUSE_MICROS));
        }
    }

    /// Pushes a record, and waits for the writer while the queue is full. Once the journal has ended, records
    /// are dropped and nothing more is confirmed.
    pub fn push(&self, slot: Slot, record: Record) {
        lock::assert_none_held();
        let mut record = record;
        while let Err(back) = self.queues.push(slot, record) {
            if self.has_ended() {
                return;
            }
            record = back;
            self.wake_writer();
            atomics::sleep(Duration::from_micros(FULL_QUEUE_PAUSE_MICROS));
        }
        if self.queues.pushed(slot) >= self.woken[slot.0].load(Ordering::Relaxed) + WAKE_RECORDS {
            self.wake_for(slot);
        }
    }

    /// Wakes the writer if the slot's thread pushed records since its last wake-up. Call when the thread runs
    /// out of work, so that groups grow with the load.
    #[inline]
    pub fn wake_for(&self, slot: Slot) {
        let pushed = self.queues.pushed(slot);
        if pushed != self.woken[slot.0].swap(pushed, Ordering::Relaxed) {
            self.wake_writer();
        }
    }

    /// Shows the frames up to this one to the follower. A frame without records may be written again: it is never
    /// the last.
    pub(super) fn publish(&self, frame: u64) {
        self.published.store(frame, Ordering::Release);
    }

    /// Has this thread woken after each group.
    pub(crate) fn follow(&self, thread: Thread) {
        let _ = self.follower.set(thread);
    }

    pub(super) fn wake_follower(&self) {
        if let Some(follower) = self.follower.get() {
            follower.unpark();
        }
    }

    /// The last frame with records that is written for good; 0 if there is none.
    pub(crate) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// How many groups are committed.
    pub(crate) fn committed_groups(&self) -> u64 {
        self.queues.committed_groups()
    }

    /// Has the writer make groups up to this one at once, with or without records.
    pub(crate) fn want_group(&self, group: u64) {
        self.queues.want(group);
        self.wake_writer();
    }

    /// Wakes the writer.
    pub fn wake_writer(&self) {
        if let Some(writer) = self.writer.get() {
            writer.unpark();
        }
    }

    /// What must be committed before a reply may confirm the slot's own changes.
    #[inline]
    pub fn own_position(&self, slot: Slot) -> Position {
        Position { own: self.queues.pushed(slot), group: 0 }
    }

    /// What must be committed before a reply may report anything that this thread saw so far.
    pub fn observed_position(&self, slot: Slot) -> Position {
        let group = self.queues.observe();
        if group > 0 {
            self.wake_writer();
        }
        Position { own: self.queues.pushed(slot), group }
    }

    /// What must be committed before a reply may confirm that this thread has blocked a rank of a free index.
    ///
    /// Two times all threads that were changing words must have come to rest. After the first, nobody is left
    /// who asked before the rank was blocked and still places its bit. A lease may have taken that bit in
    /// between; it is made, and committed, after the second. The thread that takes a bit, or reads whether a rank
    /// is blocked, has been marked as changing words before that, with a read-modify-write in between.
    pub fn settled_position(&self, slot: Slot) -> Position {
        let group = match self.queues.observe() {
            0 => self.queues.observe(),
            // The group after it begins when it is committed.
            first => first + 1,
        };
        if group > 0 {
            // Before it is woken: it looks for this after each group.
            self.queues.want(group);
            self.wake_writer();
        }
        Position { own: self.queues.pushed(slot), group }
    }

    /// Whether all of a position is committed.
    #[inline]
    pub fn is_committed(&self, slot: Slot, position: Position) -> bool {
        self.queues.is_committed(slot, position)
    }

    /// Whether this process may answer at this instant.
    #[inline]
    pub fn may_answer(&self) -> bool {
        self.replica.get().is_none_or(|replica| replica.may_answer())
    }

    /// Requests the slot's callback at the next commit. Check [`Self::is_committed`] once more after this.
    pub fn wait(&self, slot: Slot) {
        self.queues.wait(slot);
    }

    /// Blocks until all that this thread saw so far is committed. For threads that may block.
    pub fn settle(&self, slot: Slot) -> Result<(), JournalError> {
        self.wait_for(slot, self.observed_position(slot))
    }

    /// Blocks until a position is committed. For threads that may block.
    pub(crate) fn wait_for(&self, slot: Slot, position: Position) -> Result<(), JournalError> {
        lock::assert_none_held();
        while !self.is_committed(slot, position) {
            if self.has_ended() {
                return Err(JournalError::Poisoned);
            }
            self.wake_writer();
            atomics::sleep(Duration::from_micros(FULL_QUEUE_PAUSE_MICROS));
        }
        Ok(())
    }

    /// Sets the callback for a commit that the slot waits for. Once per slot.
    pub fn on_commit(&self, slot: Slot, callback: impl Fn() + Send + Sync + 'static) {
        // `Engine::worker` rules out a second worker on a slot.
        let _ = self.on_commit[slot.0].set(Box::new(callback));
    }

    pub(super) fn wake_slot(&self, slot: Slot) {
        if let Some(callback) = self.on_commit[slot.0].get() {
            callback();
        }
    }

    /// What a reply promises.
    pub fn durability(&self) -> Durability {
        self.durability
    }

    /// How often the writer's loop ran. It runs at least once per second, also while the disk is full.
    pub fn writer_turns(&self) -> u64 {
        self.stats.turns.load(Ordering::Relaxed)
    }

    /// The journal's counters.
    pub fn stats(&self) -> JournalSnapshot {
        self.stats.snapshot()
    }

    /// For how long the group that is being written has been: what is not confirmed waits for it. Zero if none is.
    pub fn writing_for(&self) -> Duration {
        self.stats.writing_for()
    }

    /// Completed checkpoints.
    pub(crate) fn checkpoints(&self) -> u64 {
        self.stats.checkpoints.load(Ordering::Relaxed)
    }

    /// Records that are not committed yet.
    pub fn pending_records(&self) -> u64 {
        self.queues.all_pending()
    }
}

/// The slot's thread is changing words until this is dropped.
pub struct Changing<'a> {
    journal: &'a Journal,
    slot: Slot,
}

impl Changing<'_> {
    /// Records a change of a list, in every durability mode: no table has it.
    pub fn record_list(&self, record: ListRecord) {
        self.journal.push(self.slot, Record::List(record));
    }

    /// Records a part of a holder's name, in every durability mode.
    pub fn record_holder(&self, record: HolderRecord) {
        self.journal.push(self.slot, Record::Holder(record));
    }

    /// Records the opening of a round.
    pub fn record_round(&self, record: RoundRecord) {
        if self.journal.records_words {
            self.journal.push(self.slot, Record::Round(record));
        }
    }

    /// Records what happened to numbers beside their words.
    pub fn record_marks(&self, record: MarksRecord) {
        if self.journal.records_words {
            self.journal.push(self.slot, Record::Marks(record));
        }
    }

    /// Records a change of a word whose compare-exchange succeeded.
    #[inline]
    pub fn record(&self, record: impl FnOnce() -> Record) {
        if self.journal.records_words {
            self.journal.push(self.slot, record());
        }
    }
}

impl Drop for Changing<'_> {
    #[inline]
    fn drop(&mut self) {
        self.journal.queues.finish(self.slot);
    }
}
