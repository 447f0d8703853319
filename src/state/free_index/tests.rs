use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const SLOT: Slot = Slot(0);

fn ranks(ranks: Range<u32>) -> Range<Rank> {
    Rank(ranks.start)..Rank(ranks.end)
}

fn full(len: u32) -> FreeIndex {
    let leaf = |i: u32| if len - i * 64 < 64 { !bits_from(len % 64) } else { u64::MAX };
    FreeIndex::build(len, 1, (0..len.div_ceil(64)).map(leaf))
}

#[test]
fn takes_each_rank_once() {
    for len in [1, 63, 64, 65, 4096, 4097, 300_000] {
        let index = full(len);
        let mut seen = 0;
        while let Some(taken) = index.take(ranks(0..len), 7, SLOT) {
            for rank in taken.ranks() {
                assert_eq!(rank, Rank(seen));
                seen += 1;
            }
        }
        assert_eq!((seen, index.count()), (len, 0));
    }
}

#[test]
fn finds_the_last_one_from_anywhere() {
    let index = FreeIndex::build(1_000_000, 1, []);
    index.put(Rank(777_777), SLOT);
    for start in [0, 64, 700_000, 777_777] {
        assert_eq!(index.take(ranks(start..1_000_000), 1, SLOT).unwrap().ranks().next(), Some(Rank(777_777)));
        index.put(Rank(777_777), SLOT);
    }
    assert_eq!(index.take(ranks(0..777_777), 1, SLOT), None);
    assert_eq!(index.take(ranks(777_778..1_000_000), 1, SLOT), None);
    assert_eq!(index.take(ranks(777_777..u32::MAX), 64, SLOT).unwrap().bits.count_ones(), 1);
}

#[test]
fn a_bit_above_with_nothing_below_is_cleared_on_the_way() {
    let index = FreeIndex::build(1_000_000, 1, []);
    index.announce(0, 777_777 >> NODE_SHIFT);
    // A search clears the lowest of them and goes on from there.
    for _ in 1..index.levels.len() {
        assert_eq!(index.take(ranks(0..1_000_000), 1, SLOT), None);
    }
    assert_eq!(index.levels.last().unwrap()[0].load(Ordering::SeqCst), 0);
    let all = ranks(0..1_000_000);
    assert_eq!(index.mutations.begun(&all), index.mutations.finished(&all));
    index.put(Rank(999_999), SLOT);
    assert_eq!(index.take(ranks(0..1_000_000), 1, SLOT).unwrap().ranks().next(), Some(Rank(999_999)));
}

#[test]
fn a_cleared_bit_above_hides_nothing_from_the_scan() {
    let index = full(10_000);
    for level in 1..index.levels.len() {
        index.levels[level].iter().for_each(|node| node.store(0, Ordering::SeqCst));
    }
    assert_eq!(index.take(ranks(100..10_000), 64, SLOT).unwrap().base, Rank(64));
    assert_eq!(index.take(ranks(100..10_000), 64, SLOT), None);
    assert_eq!(index.take_scanning(ranks(100..10_000), 64, SLOT).unwrap().base, Rank(128));
}

#[test]
fn a_blocked_rank_is_in_the_index_again_only_once_it_is_unblocked() {
    let index = full(1_000);
    let all = || ranks(0..1_000);
    assert!(index.block(Rank(70), SLOT) && !index.block(Rank(70), SLOT));
    assert_eq!((index.count(), index.blocked().parked(), index.contains(Rank(70))), (999, 1, false));
    index.put(Rank(70), SLOT);
    assert!(!index.contains(Rank(70)));
    assert!(index.claim(Rank(70), SLOT) && !index.claim(Rank(70), SLOT));
    // Unblocked while another thread has the bit: that thread puts it back.
    assert!(index.unblock(Rank(70), SLOT) && !index.contains(Rank(70)));
    index.put(Rank(70), SLOT);
    assert!(index.contains(Rank(70)) && index.claim(Rank(70), SLOT));
    // Blocked while another thread has the bit.
    assert!(index.block(Rank(70), SLOT));
    index.put(Rank(70), SLOT);
    assert_eq!((index.contains(Rank(70)), index.blocked().parked()), (false, 1));
    assert!(index.unblock(Rank(70), SLOT) && !index.unblock(Rank(70), SLOT));
    assert_eq!((index.count(), index.blocked().parked(), index.contains(Rank(70))), (1_000, 0, true));
    assert_eq!(index.mutations.begun(&all()), index.mutations.finished(&all()));
}

/// One thread blocks and unblocks ranks, two take and put them back. No bit is lost or doubled, and all are
/// where they belong in the end.
#[test]
fn no_bit_is_lost_between_the_index_and_the_side() {
    const RANKS: u32 = 3;
    let leaf = (1 << RANKS) - 1;
    let index = FreeIndex::build(RANKS, 3, [leaf]);
    std::thread::scope(|scope| {
        for slot in 1..3 {
            let index = &index;
            scope.spawn(move || {
                for turn in 0..200_000_u32 {
                    let rank = Rank(turn % RANKS);
                    // As a lease, and as a change of an available word.
                    let taken = if turn % 2 == 0 {
                        index.take(ranks(0..RANKS), 1, Slot(slot)).and_then(|taken| taken.ranks().next())
                    } else {
                        index.claim(rank, Slot(slot)).then_some(rank)
                    };
                    if let Some(rank) = taken {
                        index.put(rank, Slot(slot));
                    }
                }
            });
        }
        for turn in 0..200_000_u32 {
            let rank = Rank(turn % RANKS);
            assert!(index.block(rank, SLOT));
            assert!(index.unblock(rank, SLOT));
        }
        index.block(Rank(1), SLOT);
    });
    assert_eq!((index.count(), index.contains(Rank(1)), index.blocked().parked()), (2, false, 1));
    assert!(index.unblock(Rank(1), SLOT) && index.contains(Rank(1)));
    assert_eq!(index.mutations.begun(&ranks(0..RANKS)), index.mutations.finished(&ranks(0..RANKS)));
}

proptest! {
    #[test]
    fn behaves_as_a_set(len in 1u32..5000, events in prop::collection::vec((0u8..3, any::<u32>(), any::<u32>(), 1u32..65), 1..400)) {
        let index = FreeIndex::build(len, 1, []);
        let mut model = BTreeSet::new();
        for (kind, a, b, count) in events {
            let (a, b) = (a % len, b % (len + 1));
            if kind == 0 {
                index.put(Rank(a), SLOT);
                model.insert(a);
            } else {
                let taken = if kind == 1 { index.take(ranks(a..b), count, SLOT) } else { index.take_scanning(ranks(a..b), count, SLOT) };
                let first = if a < b { model.range(a..b).next().copied() } else { None };
                let expected: Vec<u32> = first.map_or(vec![], |first| {
                    model.range(first..b.min((first / 64 + 1) * 64)).take(count as usize).copied().collect()
                });
                prop_assert_eq!(taken.map_or(vec![], |t| t.ranks().map(|rank| rank.0).collect()), expected.clone());
                for rank in &expected { model.remove(rank); }
            }
            prop_assert_eq!(index.count(), model.len() as u64);
        }
    }
}
