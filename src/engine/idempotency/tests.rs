use super::*;
use crate::numbers::number::Number;

const SECRET: [u8; SECRET_BYTES] = [7; SECRET_BYTES];

fn at(seconds: u32) -> Timestamp {
    Timestamp::new(seconds)
}

fn stored(until: u32, leases: u32) -> StoredLeases {
    let lease = |index: u32| StoredLease {
        number: Number::new(u64::from(index) + 100).unwrap(),
        generation: index + 1,
    };
    StoredLeases { pool: 5, until: at(until), leases: (0..leases).map(lease).collect() }
}

fn insert(keys: &Keys, key: &KeyHash, leases: u32, until: u32) {
    let Begun::First(entry) = keys.begin(key, 9, leases, None, at(1)) else { panic!("the first use") };
    keys.complete(&entry, leases, stored(until, leases));
}

fn recover<'r>(records: impl IntoIterator<Item = &'r Record>) -> RecoveredKeys {
    let mut recovered = RecoveredKeys::default();
    for record in records {
        match record {
            Record::Key(record) => recovered.key(record),
            Record::KeyLease(record) => recovered.lease(record),
            Record::Word(_)
            | Record::OldKeyLease(_)
            | Record::List(_)
            | Record::Holder(_)
            | Record::Round(_)
            | Record::Marks(_) => {
                unreachable!()
            }
        }
    }
    recovered
}

fn none(_: &KeyEntry) -> Option<Timestamp> {
    None
}

#[test]
fn keys_are_restored_from_their_records_and_forgotten_at_their_end() {
    let keys = Keys::new(&SECRET, 1 << 20);
    let (a, b) = (keys.hash(5, None, b"a"), keys.hash(5, None, b"b"));
    assert_ne!(a, keys.hash(6, None, b"a"));
    insert(&keys, &a, 3, 100);
    let of_a = keys.records();
    insert(&keys, &b, 2, 50);
    let records = keys.records();
    assert_eq!((of_a.len(), records.len()), (4, 7));
    // The key's record alone, then everything, then a part: its file has gone since.
    let read = || recover(of_a[..1].iter().chain(&records).chain(&of_a[2..]));
    let restored = Keys::new(&SECRET, 1 << 20);
    restored.restore(read(), at(60), |_, lease| lease.generation != 2, none);
    assert!(matches!(restored.begin(&b, 9, 2, None, at(60)), Begun::First(_)), "it has ended");
    // Unless a lease was renewed.
    let renewed = Keys::new(&SECRET, 1 << 20);
    renewed.restore(read(), at(60), |_, _| true, |entry| (entry.leases().len() == 2).then_some(at(90)));
    assert!(matches!(renewed.begin(&b, 9, 2, None, at(89)), Begun::Stored(_)));
    let Begun::Stored(entry) = restored.begin(&a, 9, 3, None, at(99)) else { panic!("stored") };
    let all = stored(100, 3).leases;
    assert_eq!(entry.leases(), [all[0], all[2]], "the word of the second is lost");
    assert!(matches!(restored.begin(&a, 8, 3, None, at(99)), Begun::OtherBody));
    assert!(matches!(restored.begin(&a, 9, 3, None, at(100)), Begun::Ended(_)));
}

#[test]
fn a_standby_keeps_the_part_of_a_key_that_it_has() {
    let keys = Keys::new(&SECRET, 1 << 20);
    let a = keys.hash(5, None, b"a");
    insert(&keys, &a, 3, 100);
    let records = keys.records();
    // It is recovered in the middle of the key's records, and the file of keys is all that is left of the first of them.
    let of_part = recover(&records[..2]);
    let standby = Keys::new(&SECRET, 1 << 20);
    standby.keep_parts(&of_part);
    standby.restore(of_part, at(60), |_, _| true, none);
    assert!(matches!(standby.begin(&a, 9, 3, None, at(60)), Begun::First(_)), "it is not whole");
    let kept = standby.records();
    let later = Keys::new(&SECRET, 1 << 20);
    later.restore(recover(kept.iter().chain(&records[2..])), at(60), |_, _| true, none);
    let Begun::Stored(entry) = later.begin(&a, 9, 3, None, at(60)) else { panic!("stored") };
    assert_eq!(entry.leases(), &*stored(100, 3).leases);
}

#[test]
fn a_key_is_kept_while_a_lease_lives() {
    let keys = Keys::new(&SECRET, 1 << 20);
    let a = keys.hash(5, None, b"a");
    insert(&keys, &a, 1, 100);
    let purge = |now, live: Option<u32>| {
        (0..SHARDS as u64 / PURGED_SHARDS).for_each(|_| keys.purge_some(at(now), |_| live.map(at)));
    };
    purge(100, Some(300));
    assert!(matches!(keys.begin(&a, 9, 1, None, at(299)), Begun::Stored(_)));
    purge(300, None);
    assert!(matches!(keys.begin(&a, 9, 1, None, at(299)), Begun::First(_)));
}

#[test]
fn a_call_under_way_is_pending_and_a_failed_one_is_forgotten() {
    let keys = Keys::new(&SECRET, 1 << 20);
    let a = keys.hash(5, None, b"a");
    let Begun::First(entry) = keys.begin(&a, 9, 1, None, at(1)) else { panic!("the first use") };
    assert!(matches!(keys.begin(&a, 9, 1, None, at(1)), Begun::Pending));
    assert_eq!(keys.records().len(), 0);
    keys.complete(&entry, 1, stored(0, 0));
    assert!(matches!(keys.begin(&a, 9, 1, None, at(1)), Begun::First(_)));
}

#[test]
fn a_key_with_a_lease_missing_is_not_restored() {
    let keys = Keys::new(&SECRET, 1 << 20);
    let a = keys.hash(5, None, b"a");
    let records: Vec<_> = KeyEntry::completed(9, stored(100, 3)).records(&a).take(3).collect();
    keys.restore(recover(&records), at(1), |_, _| true, none);
    assert!(matches!(keys.begin(&a, 9, 1, None, at(1)), Begun::First(_)));
}

#[test]
fn memory_is_bounded_and_comes_back() {
    let keys = Keys::new(&SECRET, 64 << 10);
    let most = keys.most_leases as u32;
    assert_eq!(most, 256);
    let (a, b) = (keys.hash(5, None, b"a"), keys.hash(5, None, b"b"));
    // What a call under way may lease counts.
    let Begun::First(entry) = keys.begin(&a, 9, most, None, at(1)) else { panic!("room") };
    assert!(matches!(keys.begin(&b, 9, 1, None, at(1)), Begun::Full));
    keys.complete(&entry, most, stored(100, 10));
    let Begun::First(entry) = keys.begin(&b, 9, most - 10, None, at(1)) else { panic!("room again") };
    keys.complete(&entry, most - 10, stored(0, 0));
    (0..SHARDS as u64 / PURGED_SHARDS).for_each(|_| keys.purge_some(at(100), none));
    assert!(matches!(keys.begin(&a, 9, most, None, at(100)), Begun::First(_)));
}

#[test]
fn keys_of_owners_differ_and_each_has_its_share() {
    let keys = Keys::new(&SECRET, 1 << 20);
    let (one, other) = (Arc::new(KeyOwner::new("one")), Arc::new(KeyOwner::new("other")));
    let a = keys.hash(5, Some(&one), b"a");
    assert_eq!(a, keys.hash(5, Some(&KeyOwner::new("one")), b"a"));
    assert_ne!(a, keys.hash(5, Some(&other), b"a"));
    assert_ne!(a, keys.hash(5, None, b"a"));
    assert_ne!(keys.hash(5, Some(&KeyOwner::new("on")), b"ea"), keys.hash(5, Some(&one), b"a"));
    let begin = |key, count, owner, most_leases| {
        keys.begin(key, 9, count, Some(KeyShare { owner, most_leases }), at(1))
    };
    let most = (keys.most_leases / OWNER_SHARE) as u32;
    assert!(matches!(begin(&a, most + 1, &one, u64::MAX), Begun::OwnerFull));
    assert!(matches!(begin(&a, 3, &one, 2), Begun::OwnerFull));
    let Begun::First(entry) = begin(&a, most, &one, u64::MAX) else { panic!("its share") };
    let b = keys.hash(5, Some(&other), b"b");
    assert!(matches!(begin(&b, 1, &one, u64::MAX), Begun::OwnerFull));
    assert!(matches!(begin(&b, 1, &other, 1), Begun::First(_)));
    keys.complete(&entry, most, stored(100, 2));
    let c = keys.hash(5, Some(&one), b"c");
    assert!(matches!(begin(&c, most - 1, &one, u64::MAX), Begun::OwnerFull));
    let Begun::First(_) = begin(&c, most - 2, &one, u64::MAX) else { panic!("what was not used") };
    assert!(keys.forget(&a, &entry));
    assert!(matches!(begin(&a, 2, &one, u64::MAX), Begun::First(_)));
}

#[test]
fn of_two_uses_of_a_key_the_later_one_is_restored_whichever_is_read_first() {
    let keys = Keys::new(&SECRET, 1 << 20);
    let a = keys.hash(5, None, b"a");
    let of = |until, leases| KeyEntry::completed(9, stored(until, leases)).records(&a).collect::<Vec<_>>();
    let (earlier, later) = (of(100, 2), of(200, 3));
    for records in [[&earlier, &later], [&later, &earlier]] {
        let restored = Keys::new(&SECRET, 1 << 20);
        restored.restore(recover(records.into_iter().flatten()), at(110), |_, _| true, none);
        let Begun::Stored(entry) = restored.begin(&a, 9, 3, None, at(110)) else { panic!("stored") };
        assert_eq!(entry.leases(), &*stored(200, 3).leases);
    }
}
