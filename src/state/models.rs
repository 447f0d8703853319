//! Loom models: every interleaving of a few threads on the real index, hints and words. Nodes and blocks have
//! a size of two, so that small models reach all levels. Run with
//! `RUSTFLAGS="--cfg allotd_loom" cargo test --release --lib models`.

use std::ops::Range;
use std::sync::OnceLock;

use loom::sync::Arc;
use loom::thread;

use crate::coordinates::Rank;
use crate::sys::atomics::{AtomicU64, Ordering};
use crate::sys::slot::Slot;

use super::block_counts::BlockCounts;
use super::dirty_blocks::DirtyBlocks;
use super::due_hints::DueHints;
use super::end_rules::ExpiryRule;
use super::floors::Floors;
use super::free_index::FreeIndex;
use super::number_state::State;
use super::segment_state::SegmentState;
use super::time::Timestamp;
use super::word::{NextWord, Word};
use super::word_table::WordTable;

/// Enough to find every bug planted by hand; more takes hours.
const PREEMPTIONS: usize = 4;
const SLOTS: usize = 4;

fn check(model: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS);
    builder.check(model);
}

fn at(seconds: u32) -> Timestamp {
    Timestamp::new(seconds)
}

/// An index over `len` ranks in which `free` are free: three levels from five ranks on.
fn index(len: u32, free: &[u32]) -> FreeIndex {
    let mut leaves = vec![0; len.div_ceil(2) as usize];
    free.iter().for_each(|rank| leaves[(rank / 2) as usize] |= 1 << (rank % 2));
    FreeIndex::build(len, SLOTS, leaves)
}

fn take_one(index: &FreeIndex, slot: Slot) -> Option<Rank> {
    index.take(Rank(0)..Rank(index.len()), 1, slot).and_then(|taken| taken.ranks().next())
}

/// Words of which the free ones are new and the others leased until 10 at generation 1.
fn ranks(len: u32, free: &[u32]) -> SegmentState<Box<[AtomicU64]>> {
    let leased = Word::NEW.lease(at(10), Floors::NONE).unwrap().bits();
    let words = (0..len).map(|rank| AtomicU64::new(if free.contains(&rank) { 0 } else { leased })).collect();
    let (due, dirty) = (DueHints::new(len), DirtyBlocks::new(len));
    (0..len).filter(|rank| !free.contains(rank)).for_each(|rank| due.note(Rank(rank), at(10)));
    SegmentState {
        words: WordTable::new(words),
        free: index(len, free),
        due,
        dirty,
        blocks: BlockCounts::new(len),
        holders: OnceLock::new(),
    }
}

type Model = SegmentState<Box<[AtomicU64]>>;

fn lease_one(model: &Model, slot: Slot, until: u32) -> Option<(Rank, Word)> {
    let lease = |rank| Some((rank, model.lease(rank, at(until), Floors::NONE).ok()?));
    std::iter::from_fn(|| take_one(&model.free, slot)).find_map(lease)
}

/// All ranks of any model.
const ALL: Range<Rank> = Rank(0)..Rank(8);

fn sweep(model: &Model, now: u32, slot: Slot) {
    let all = Rank(0)..Rank(model.words.len());
    while let Some(block) = model.due.due_block(at(now), &all, &mut 0) {
        let ranks = block.ranks(model.words.len());
        model.sweep_ranks(&ranks, at(now), ExpiryRule::Available.into(), slot, |_, _| {});
        model.settle_block(block, slot);
    }
    if model.due.is_due(at(now)) {
        model.settle_groups(at(now), slot);
    }
}

/// After all threads: everything available is found through the tree, and nothing else.
fn index_agrees(model: &Model) {
    let available = (0..model.words.len()).map(Rank).filter(|rank| model.words.get(*rank).is_available());
    let mut expected: Vec<Rank> = available.collect();
    let mut found = Vec::new();
    while let Some((rank, _)) = lease_one(model, Slot(3), 1000) {
        found.push(rank);
    }
    found.sort_unstable();
    expected.sort_unstable();
    assert_eq!(found, expected);
}

#[test]
fn models_two_takers_of_the_last_two() {
    check(|| {
        let shared = Arc::new(index(5, &[1, 4]));
        let other = shared.clone();
        let thread = thread::spawn(move || take_one(&other, Slot(1)));
        let mine = take_one(&shared, Slot(0));
        let theirs = thread.join().unwrap();
        // A search can miss a rank that is hidden for a moment, but no two threads get the same rank.
        assert!(mine.is_none() || mine != theirs);
        let mut got: Vec<Rank> = [mine, theirs].into_iter().flatten().collect();
        while let Some(rank) = take_one(&shared, Slot(0)) {
            got.push(rank);
        }
        got.sort_unstable();
        assert_eq!(got, [1, 4].map(Rank));
    });
}

#[test]
fn models_a_put_beside_a_take_that_empties_the_node() {
    check(|| {
        // Not rank 0, whose leaf a search reads without the tree, and not alone in its parent.
        let shared = Arc::new(index(8, &[4, 6]));
        let other = shared.clone();
        let thread = thread::spawn(move || other.put(Rank(5), Slot(1)));
        let taken = shared.take(Rank(4)..Rank(5), 1, Slot(0)).map(|taken| taken.bits);
        assert_eq!(taken, Some(1));
        thread.join().unwrap();
        assert_eq!(take_one(&shared, Slot(0)), Some(Rank(5)), "a put rank is found");
        assert_eq!(take_one(&shared, Slot(0)), Some(Rank(6)));
        assert_eq!(take_one(&shared, Slot(0)), None);
    });
}

#[test]
fn models_two_puts_and_a_take() {
    check(|| {
        let shared = Arc::new(index(8, &[]));
        let threads = [(1, 0), (2, 1)].map(|(slot, rank)| {
            let shared = shared.clone();
            thread::spawn(move || shared.put(Rank(rank), Slot(slot)))
        });
        let mine = take_one(&shared, Slot(0));
        threads.into_iter().for_each(|t| t.join().unwrap());
        let mut got: Vec<Rank> = mine.into_iter().collect();
        while let Some(rank) = take_one(&shared, Slot(0)) {
            got.push(rank);
        }
        got.sort_unstable();
        assert_eq!(got, [0, 1].map(Rank));
    });
}

/// A rank comes back behind the search before the one in front of it is taken: at every instant one
/// is free, so no search that found none may be believed.
#[test]
fn models_none_is_only_believed_when_it_is_true() {
    check(|| {
        let shared = Arc::new(index(5, &[4]));
        let other = shared.clone();
        let thread = thread::spawn(move || {
            other.put(Rank(0), Slot(1));
            assert!(other.take(Rank(4)..Rank(5), 1, Slot(1)).is_some());
        });
        let finished = shared.mutations().finished(&ALL);
        let seen = (0..5).any(|rank| rank % 2 == 0 && shared.contains(Rank(rank)));
        let believed = !seen && shared.mutations().begun(&ALL) == finished;
        assert!(!believed, "said none while there was one");
        thread.join().unwrap();
    });
}

/// The same with the search through the tree, which takes what it finds.
#[test]
fn models_exhausted_is_true() {
    check(|| {
        let shared = Arc::new(index(5, &[4]));
        let other = shared.clone();
        let thread = thread::spawn(move || {
            other.put(Rank(0), Slot(1));
            other.take(Rank(4)..Rank(5), 1, Slot(1)).is_some()
        });
        let finished = shared.mutations().finished(&ALL);
        let mine = take_one(&shared, Slot(0));
        let believed = mine.is_none() && shared.mutations().begun(&ALL) == finished;
        assert!(!believed, "said none while there was one");
        thread.join().unwrap();
    });
}

#[test]
fn models_two_leases_of_one_number() {
    check(|| {
        let shared = Arc::new(ranks(1, &[0]));
        let other = shared.clone();
        let thread = thread::spawn(move || lease_one(&other, Slot(1), 20));
        let mine = lease_one(&shared, Slot(0), 20);
        let theirs = thread.join().unwrap();
        assert_eq!(u32::from(mine.is_some()) + u32::from(theirs.is_some()), 1);
        assert_eq!(shared.words.get(Rank(0)).generation(), 1);
    });
}

#[test]
fn models_a_late_renewal_against_the_sweep_and_a_lease() {
    check(|| {
        let shared = Arc::new(ranks(1, &[]));
        let (a, b) = (shared.clone(), shared.clone());
        let renew = thread::spawn(move || {
            let same = |word: Word| {
                if word.generation() == 1 { word.renew(at(50)).map_err(|_| ()) } else { Err(()) }
            };
            a.change(Rank(0), Slot(1), same).is_ok()
        });
        let lease = thread::spawn(move || {
            sweep(&b, 10, Slot(2));
            lease_one(&b, Slot(2), 60).is_some()
        });
        let (renewed, leased) = (renew.join().unwrap(), lease.join().unwrap());
        let word = shared.words.get(Rank(0));
        assert!(!(renewed && leased), "two hold one number");
        assert_eq!(word.generation(), 1 + u32::from(leased));
        // Whichever came first, once it is due it is found again.
        sweep(&shared, 100, Slot(0));
        assert_eq!(shared.words.get(Rank(0)).state(), State::Available);
        index_agrees(&shared);
    });
}

#[test]
fn models_a_return_against_the_sweep() {
    for end in [NextWord::Available, NextWord::Rest(at(30)), NextWord::Done(1)] {
        check(move || {
            let shared = Arc::new(ranks(3, &[]));
            let other = shared.clone();
            let thread = thread::spawn(move || sweep(&other, 10, Slot(1)));
            let returned = shared.change(Rank(0), Slot(0), |word| word.return_lease(end));
            assert!(returned.is_ok());
            thread.join().unwrap();
            sweep(&shared, 10, Slot(0));
            assert!(shared.words.get(Rank(1)).is_available() && shared.words.get(Rank(2)).is_available());
            let expected = match end {
                NextWord::Available => State::Available,
                NextWord::Rest(_) => State::Resting,
                _ => State::Done,
            };
            assert_eq!(shared.words.get(Rank(0)).state(), expected);
            sweep(&shared, 30, Slot(0));
            index_agrees(&shared);
        });
    }
}

/// A lease notes its end while the sweep of the block's other word raises the hint.
#[test]
fn models_no_end_is_forgotten() {
    check(|| {
        let shared = Arc::new(ranks(5, &[1]));
        let other = shared.clone();
        let thread = thread::spawn(move || sweep(&other, 10, Slot(1)));
        let rank = shared.free.take(Rank(1)..Rank(2), 1, Slot(0)).and_then(|taken| taken.ranks().next());
        if let Some(rank) = rank {
            assert!(shared.lease(rank, at(20), Floors::NONE).is_ok());
        }
        thread.join().unwrap();
        assert!(shared.due.is_due(at(20)), "the new lease's end is known");
        sweep(&shared, 20, Slot(0));
        (0..5).for_each(|rank| assert!(shared.words.get(Rank(rank)).is_available(), "rank {rank}"));
        index_agrees(&shared);
    });
}

/// A number that was seen to be returned is found, or its return counts as under way.
#[test]
fn models_exhausted_is_true_after_a_return_was_seen() {
    check(|| {
        let shared = Arc::new(ranks(1, &[]));
        let other = shared.clone();
        let thread = thread::spawn(move || {
            let returned = other.words.get(Rank(0)).is_available();
            let finished = other.free.mutations().finished(&ALL);
            let mine = take_one(&other.free, Slot(0));
            let believed = mine.is_none() && other.free.mutations().begun(&ALL) == finished;
            assert!(!(returned && believed), "said none after one was seen");
        });
        assert!(shared.change(Rank(0), Slot(1), |word| word.return_lease(NextWord::Available)).is_ok());
        thread.join().unwrap();
    });
}

/// What is due is found by a lease that helps, or the sweep that does it counts as under way.
#[test]
fn models_exhausted_is_true_while_leases_end() {
    check(|| {
        let shared = Arc::new(ranks(3, &[]));
        let other = shared.clone();
        let thread = thread::spawn(move || sweep(&other, 10, Slot(1)));
        let finished = shared.free.mutations().finished(&ALL);
        let mine = take_one(&shared.free, Slot(0));
        let due = shared.due.is_due(at(10));
        let believed = mine.is_none() && !due && shared.free.mutations().begun(&ALL) == finished;
        assert!(!believed, "said none while three had ended");
        thread.join().unwrap();
    });
}

/// The same when another sweeper finds the hints raised by the first, which is not done yet.
#[test]
fn models_exhausted_is_true_while_two_sweep() {
    check(|| {
        let shared = Arc::new(ranks(1, &[]));
        let other = shared.clone();
        let thread = thread::spawn(move || sweep(&other, 10, Slot(1)));
        let finished = shared.free.mutations().finished(&ALL);
        sweep(&shared, 10, Slot(0));
        let mine = take_one(&shared.free, Slot(0));
        // Its own sweep counts as begun and finished since.
        let own = shared.free.mutations().begun_in_slot(Slot(0));
        let believed = mine.is_none() && shared.free.mutations().begun(&ALL) - own == finished;
        assert!(!believed || shared.due.is_due(at(10)), "said none while one had ended");
        thread.join().unwrap();
    });
}

/// A late renewal and a lease of one number, beside a search: whoever has the bit changes the word, so a
/// search that is believed had no number to find.
#[test]
fn models_no_claim_is_in_vain() {
    check(|| {
        let shared = Arc::new(ranks(1, &[]));
        sweep(&shared, 10, Slot(0));
        let other = shared.clone();
        let thread = thread::spawn(move || {
            let same = |word: Word| {
                if word.generation() == 1 { word.renew(at(50)).map_err(|_| ()) } else { Err(()) }
            };
            other.change(Rank(0), Slot(1), same).is_ok()
        });
        let claimed = take_one(&shared.free, Slot(0));
        let leased = claimed.is_some_and(|rank| shared.lease(rank, at(20), Floors::NONE).is_ok());
        assert_eq!(claimed.is_some(), leased, "a claim was in vain");
        assert_ne!(thread.join().unwrap(), leased);
    });
}

/// A late renewal takes the number out of the index while it is returned.
#[test]
fn models_a_late_renewal_against_a_return() {
    check(|| {
        let shared = Arc::new(ranks(1, &[]));
        sweep(&shared, 10, Slot(0));
        let other = shared.clone();
        let thread = thread::spawn(move || {
            other.change(Rank(0), Slot(1), |word| word.return_lease(NextWord::Available)).is_ok()
        });
        let renewed = shared.change(Rank(0), Slot(0), |word| word.renew(at(50)));
        assert!(thread.join().unwrap());
        assert!(shared.words.get(Rank(0)).is_available(), "{renewed:?}");
        index_agrees(&shared);
    });
}

#[test]
fn models_retire_against_a_lease() {
    check(|| {
        let shared = Arc::new(ranks(2, &[0]));
        let other = shared.clone();
        let thread =
            thread::spawn(move || other.change(Rank(0), Slot(1), |word| word.retire().ok_or(())).is_ok());
        let leased = lease_one(&shared, Slot(0), 20);
        assert!(thread.join().unwrap());
        assert_eq!(shared.words.get(Rank(0)).state(), State::Retired);
        assert_eq!(shared.words.get(Rank(0)).generation(), u32::from(leased.is_some()));
        let word = shared.words.memory()[0].load(Ordering::SeqCst);
        let back = shared.change(Rank(0), Slot(0), |word| word.reinstate(Floors::NONE).ok_or(()));
        assert!(back.is_ok_and(|changed| changed.after.bits() > word));
        index_agrees(&shared);
    });
}

/// A rank is blocked while another thread puts it into the index, and a third may take it there.
#[test]
fn models_a_block_and_a_put() {
    check(|| {
        let shared = Arc::new(index(2, &[]));
        let (putting, blocking) = (shared.clone(), shared.clone());
        let put = thread::spawn(move || putting.put(Rank(1), Slot(1)));
        let block = thread::spawn(move || blocking.block(Rank(1), Slot(2)));
        let taken = take_one(&shared, Slot(0));
        put.join().unwrap();
        assert!(block.join().unwrap());
        assert!(!shared.contains(Rank(1)), "it is blocked");
        assert_eq!(shared.blocked().parked(), u64::from(taken.is_none()));
        assert!(shared.unblock(Rank(1), Slot(2)));
        assert_eq!(take_one(&shared, Slot(0)).is_some(), taken.is_none());
    });
}
