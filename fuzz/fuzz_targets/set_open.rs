//! Any bytes as a number set. What opens must answer every query without a panic; what is also valid must hold
//! exactly what CRoaring reads from the same bytes.

#![no_main]

use allotd::numbers::set::NumberSet;
use allotd::coordinates::Rank;
use allotd::numbers::number::{Number, NumberRange};
use croaring::{Bitmap64, Portable};
use libfuzzer_sys::fuzz_target;

/// Ranks and ranges checked in each set: enough for every container of a small file.
const MAX_LOOKS: usize = 256;

fuzz_target!(|bytes: &[u8]| {
    let Ok(set) = NumberSet::open(bytes) else { return };
    let valid = set.validate().is_ok();
    let reference = valid.then(|| Bitmap64::try_deserialize::<Portable>(bytes)).map(|reference| {
        reference.expect("CRoaring refuses a set that was found valid")
    });
    if let Some(reference) = &reference {
        assert_eq!(set.len(), reference.cardinality());
        compare_ranges(&set, reference);
    }
    let step = (set.len() / MAX_LOOKS as u64).max(1) as usize;
    for rank in (0..set.len()).step_by(step).chain(set.len().checked_sub(1)) {
        let number = set.select(Rank(rank as u32));
        if let Some(reference) = &reference {
            assert_eq!(number.map(Number::get), reference.select(rank));
            assert_eq!(number.and_then(|number| set.rank(number)), Some(Rank(rank as u32)));
        }
        for near in number.into_iter().flat_map(|number| [number.get().saturating_sub(1), number.get(), number.get() + 1]) {
            look_around(&set, near, reference.as_ref());
        }
        set.ranges_from(Rank(rank as u32)).take(3).for_each(drop);
    }
});

fn compare_ranges(set: &NumberSet<&[u8]>, reference: &Bitmap64) {
    let mut counted = 0;
    for range in set.ranges().take(MAX_LOOKS) {
        assert!(reference.contains_range(range.first().get()..=range.last().get()));
        assert!(!reference.contains(range.last().get() + 1), "a range could be longer");
        assert_eq!(reference.position(range.first().get()), Some(counted), "numbers before a range are missing");
        counted += range.len();
    }
}

fn look_around(set: &NumberSet<&[u8]>, value: u64, reference: Option<&Bitmap64>) {
    let Ok(number) = Number::new(value) else { return };
    let ranks = set.rank_range(NumberRange::single(number));
    let rank = set.rank(number).map(|rank| u64::from(rank.0));
    if let Some(reference) = reference {
        assert_eq!(rank, reference.position(value));
        assert_eq!(set.contains(number), reference.contains(value));
        assert_eq!(u64::from(ranks.start.0), reference.rank(value) - u64::from(reference.contains(value)));
        assert_eq!(u64::from(ranks.end.0), reference.rank(value));
    }
}
