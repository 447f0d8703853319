//! The order of changes.
//!
//! The journal has a number's changes in no order across threads. But the records of all that was decided before a
//! record was pushed are in its group or in the next one: a group waits for each thread that is changing words. So
//! whoever knows the changes of a group and of the next one knows all that belong before them.

use std::collections::HashMap;

/// A change, as an event will tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// The pool's id.
    pub(super) pool: u64,
    /// The number; 0 if it is a change of the pool.
    pub(super) number: u64,
    /// The word after it, or the round.
    pub(super) word: u64,
    pub(super) at_seconds: u32,
    pub(super) kind: u8,
    /// The tag of the outcome; 0 for none.
    pub(super) tag: u32,
    /// The id of the holder; 0 for none.
    pub(super) holder: u64,
}

/// Changes that were told before those around them, by pool and number: the largest word.
pub(super) type Told = HashMap<(u64, u64), u64>;

/// Puts the changes of a batch in order: those of each number by their words, which only grow. Takes in what of
/// `ahead`, the changes that follow, belongs before them, and returns those too.
pub(super) fn in_order(mut changes: Vec<Change>, ahead: &[Change]) -> (Vec<Change>, Told) {
    let count = changes.len();
    changes.extend_from_slice(ahead);
    let mut by_number: Vec<usize> = (0..changes.len()).filter(|index| changes[*index].number != 0).collect();
    by_number.sort_unstable_by_key(|index| {
        let change = &changes[*index];
        (change.pool, change.number, change.word)
    });
    let mut places: Vec<usize> = (0..changes.len()).collect();
    let mut is_in_order = true;
    for pair in by_number.windows(2).rev() {
        let [before, after] = [pair[0], pair[1]];
        let is_same = |a: &Change, b: &Change| (a.pool, a.number) == (b.pool, b.number);
        if is_same(&changes[before], &changes[after]) && places[before] > places[after] {
            places[before] = places[after];
            is_in_order = false;
        }
    }
    let mut told = Told::new();
    if is_in_order {
        changes.truncate(count);
        return (changes, told);
    }
    let mut chosen: Vec<usize> = (0..changes.len()).filter(|index| places[*index] < count).collect();
    chosen.sort_by_key(|index| (places[*index], changes[*index].word));
    for change in chosen.iter().filter(|index| **index >= count).map(|index| &changes[*index]) {
        let word = told.entry((change.pool, change.number)).or_default();
        *word = change.word.max(*word);
    }
    (chosen.into_iter().map(|index| changes[index]).collect(), told)
}

/// Whether a change was told already.
pub(super) fn is_told(told: &Told, change: &Change) -> bool {
    told.get(&(change.pool, change.number)).is_some_and(|word| change.word <= *word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(number: u64, word: u64) -> Change {
        Change { pool: 1, number, word, at_seconds: 0, kind: 1, tag: 0, holder: 0 }
    }

    #[test]
    fn what_belongs_before_a_change_comes_before_it_and_once() {
        let batch = vec![change(7, 2), change(8, 5), change(9, 1), change(8, 4)];
        let ahead = [change(9, 2), change(7, 1), change(8, 6)];
        let (told, early) = in_order(batch, &ahead);
        let words: Vec<_> = told.iter().map(|change| (change.number, change.word)).collect();
        assert_eq!(words, [(7, 1), (7, 2), (8, 4), (8, 5), (9, 1)]);
        let rest: Vec<_> = ahead.iter().filter(|change| !is_told(&early, change)).collect();
        assert_eq!(rest, [&change(9, 2), &change(8, 6)]);
    }

    #[test]
    fn what_is_in_order_stays() {
        let batch = vec![change(7, 1), change(0, 2), change(7, 2)];
        assert_eq!(in_order(batch.clone(), &[change(7, 3)]), (batch, Told::new()));
    }
}
