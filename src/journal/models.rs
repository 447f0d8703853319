//! Loom models: every interleaving of the writer and a few threads that change words, read them and wait, on
//! the real queues. Atomics model the words and the disk. Run with
//! `RUSTFLAGS="--cfg allotd_loom" cargo test --release --lib models`.

use std::io;

use loom::sync::Arc;
use loom::thread;

use crate::coordinates::{Rank, SegmentId};
use crate::state::word::Word;
use crate::sys::atomics::{AtomicBool, AtomicU64, Ordering, yield_now};
use crate::sys::slot::Slot;

use super::durability::Durability;
use super::handle::Journal;
use super::queue::{Position, Queues};
use super::record::{RECORD_BYTES, Record, WordRecord};
use super::ring::QUEUE_RECORDS;

/// Enough to find every bug planted by hand; more takes hours.
const PREEMPTIONS: usize = 3;
const CHANGER: Slot = Slot(0);
const OBSERVER: Slot = Slot(1);
const SLOTS: usize = 2;
/// More than any model pushes.
const GROUP_RECORDS: u64 = 100;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

fn record(bits: u64) -> Record {
    Record::Word(WordRecord {
        cause: crate::journal::record::Cause::of(crate::journal::cause::ChangeKind::Other),
        pool: 1,
        segment: SegmentId(1),
        rank: Rank(0),
        word: Word::from_bits(bits),
        holder: 0,
    })
}

fn bits_of(record: &[u8; RECORD_BYTES]) -> u64 {
    u64::from_le_bytes(std::array::from_fn(|i| record[16 + i]))
}

/// The queues with a word, and the largest word that the writer has written.
struct Model {
    journal: Journal,
    word: AtomicU64,
    on_disk: AtomicU64,
}

impl Model {
    fn new() -> Arc<Self> {
        let journal = Journal::new(SLOTS, Durability::Sync);
        Arc::new(Self { journal, word: AtomicU64::new(0), on_disk: AtomicU64::new(0) })
    }

    fn queues(&self) -> &Queues {
        &self.journal.queues
    }

    /// One thread's change of the word by one, and its record.
    fn change(&self, slot: Slot) -> u64 {
        let changing = self.journal.change(slot);
        let bits = self.word.fetch_add(1, Ordering::SeqCst) + 1;
        changing.record(|| record(bits));
        bits
    }

    /// One group of the writer.
    fn group(&self, taken: &mut [u64; SLOTS]) {
        let queues = self.queues();
        let group = queues.begin_group();
        for (slot, taken) in taken.iter_mut().enumerate() {
            let take = |record: &[u8; RECORD_BYTES]| {
                // One writer: a load and a store suffice.
                let largest = self.on_disk.load(Ordering::Relaxed).max(bits_of(record));
                self.on_disk.store(largest, Ordering::Relaxed);
            };
            let all = || -> Result<(), ()> {
                queues.take(Slot(slot), GROUP_RECORDS, taken, take);
                Ok(())
            };
            queues.take_changed(Slot(slot), all).unwrap();
        }
        queues.commit(group, taken, |slot| self.journal.wake_slot(slot));
    }

    /// Relaxed: being committed must be enough to see what was written.
    fn assert_on_disk(&self, bits: u64) {
        let on_disk = self.on_disk.load(Ordering::Relaxed);
        assert!(on_disk >= bits, "{bits} may be confirmed and {on_disk} is on the disk");
    }

    /// A slot's thread that sleeps until a commit wakes it. The returned flag is set when it is woken.
    fn sleeper(&self, slot: Slot) -> Arc<AtomicBool> {
        let woken = Arc::new(AtomicBool::new(false));
        let flag = woken.clone();
        self.journal.on_commit(slot, move || flag.store(true, Ordering::SeqCst));
        woken
    }
}

/// A thread that saw the word and asks what to wait for gets no confirmation before the record is written,
/// whatever groups begin and end meanwhile.
#[test]
fn models_what_was_seen_is_committed_before_it_is_told() {
    check(|| {
        let model = Model::new();
        let (changer, writer) = (model.clone(), model.clone());
        let changer = thread::spawn(move || changer.change(CHANGER));
        let writer = thread::spawn(move || {
            let mut taken = [0; SLOTS];
            writer.group(&mut taken);
            taken
        });
        let seen = model.word.load(Ordering::SeqCst);
        let position = Position { own: 0, group: model.queues().observe() };
        if model.queues().is_committed(OBSERVER, position) {
            model.assert_on_disk(seen);
        }
        changer.join().unwrap();
        let mut taken = writer.join().unwrap();
        model.group(&mut taken);
        assert!(model.queues().is_committed(OBSERVER, position), "the next group is always enough");
        model.assert_on_disk(seen);
    });
}

/// The same with a group that began long before the read, and one that begins at the same time.
#[test]
fn models_what_was_seen_waits_for_a_group_that_begins_later() {
    check(|| {
        let model = Model::new();
        let (changer, writer) = (model.clone(), model.clone());
        let changer = thread::spawn(move || changer.change(CHANGER));
        let writer = thread::spawn(move || {
            let mut taken = [0; SLOTS];
            writer.group(&mut taken);
            writer.group(&mut taken);
        });
        let seen = model.word.load(Ordering::SeqCst);
        let position = Position { own: 0, group: model.queues().observe() };
        writer.join().unwrap();
        if model.queues().is_committed(OBSERVER, position) {
            model.assert_on_disk(seen);
        }
        changer.join().unwrap();
    });
}

/// A thread that changes words without pause is never seen at rest, and does not delay the group. What it did
/// before the group began is in the group.
#[test]
fn models_what_was_seen_of_a_busy_thread_is_in_the_next_group() {
    check(|| {
        let model = Model::new();
        let changer = model.clone();
        let changer = thread::spawn(move || (changer.change(CHANGER), changer.change(CHANGER)));
        let seen = model.word.load(Ordering::SeqCst);
        let position = Position { own: 0, group: model.queues().observe() };
        model.group(&mut [0; SLOTS]);
        assert!(model.queues().is_committed(OBSERVER, position));
        model.assert_on_disk(seen);
        changer.join().unwrap();
    });
}

/// What a thread changed itself is committed by the count of its records.
#[test]
fn models_own_records_are_committed_before_they_are_told() {
    check(|| {
        let model = Model::new();
        let writer = model.clone();
        let writer = thread::spawn(move || {
            let mut taken = [0; SLOTS];
            writer.group(&mut taken);
            taken
        });
        let first = model.change(CHANGER);
        let first_position = model.journal.own_position(CHANGER);
        let second = model.change(CHANGER);
        let second_position = model.journal.own_position(CHANGER);
        for (bits, position) in [(first, first_position), (second, second_position)] {
            if model.queues().is_committed(CHANGER, position) {
                model.assert_on_disk(bits);
            }
        }
        let mut taken = writer.join().unwrap();
        model.group(&mut taken);
        assert!(model.queues().is_committed(CHANGER, second_position));
        assert_eq!((taken[CHANGER.0], model.queues().all_pending()), (2, 0));
    });
}

/// A thread marks itself as waiting and checks once more: it sees the commit, or it is woken.
#[test]
fn models_no_wake_up_is_lost() {
    check(|| {
        let model = Model::new();
        let woken = model.sleeper(CHANGER);
        model.change(CHANGER);
        let position = model.journal.own_position(CHANGER);
        let writer = model.clone();
        let writer = thread::spawn(move || writer.group(&mut [0; SLOTS]));
        model.journal.wait(CHANGER);
        let committed = model.journal.is_committed(CHANGER, position);
        writer.join().unwrap();
        assert!(committed || woken.load(Ordering::SeqCst), "it sleeps on, and its record is committed");
    });
}

/// The same for one that waits for what it saw of another.
#[test]
fn models_no_wake_up_of_an_observer_is_lost() {
    check(|| {
        let model = Model::new();
        let woken = model.sleeper(OBSERVER);
        model.change(CHANGER);
        let position = model.journal.observed_position(OBSERVER);
        assert_eq!(position.group, 1);
        let writer = model.clone();
        // One group only: a second one would hide a wake-up that the first forgot.
        let writer = thread::spawn(move || writer.group(&mut [0; SLOTS]));
        model.journal.wait(OBSERVER);
        let committed = model.journal.is_committed(OBSERVER, position);
        writer.join().unwrap();
        assert!(committed || woken.load(Ordering::SeqCst));
    });
}

/// A failed disk wakes every waiting thread, and nothing is confirmed.
#[test]
fn models_poison_wakes_all() {
    check(|| {
        let model = Model::new();
        let woken = model.sleeper(CHANGER);
        model.change(CHANGER);
        let position = model.journal.own_position(CHANGER);
        let writer = model.clone();
        let writer = thread::spawn(move || writer.journal.poison("a test", &io::Error::other("failed")));
        model.journal.wait(CHANGER);
        let poisoned = model.journal.is_poisoned();
        writer.join().unwrap();
        assert!(poisoned || woken.load(Ordering::SeqCst), "it sleeps on after the disk failed");
        assert!(!model.journal.is_committed(CHANGER, position));
    });
}

/// More records in one change than the queue holds: the thread waits for the writer while the writer
/// waits for the thread to come to rest. Each record passes exactly once.
#[test]
fn models_a_full_queue_loses_nothing_and_blocks_nobody() {
    const RECORDS: u64 = QUEUE_RECORDS as u64 + 1;
    check(|| {
        let model = Model::new();
        let changer = model.clone();
        let changer = thread::spawn(move || {
            let changing = changer.journal.change(CHANGER);
            for _ in 0..RECORDS {
                let bits = changer.word.fetch_add(1, Ordering::SeqCst) + 1;
                changing.record(|| record(bits));
            }
        });
        let mut taken = [0; SLOTS];
        while taken[CHANGER.0] < RECORDS {
            model.group(&mut taken);
            yield_now();
        }
        changer.join().unwrap();
        assert_eq!(taken, [RECORDS, 0]);
        model.assert_on_disk(RECORDS);
    });
}
