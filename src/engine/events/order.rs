//! The order of changes.
//!
//! The journal has a number's changes in no order across threads. But the records of all that was decided before a
//! record was pushed are in its group or in the next one: a group waits for each thread that is changing words. So
//! whoever knows the changes of a group and of the next one knows all that belong before them.

use std::collections::HashMap;

use crate::store::event_batch;

/// A change, as an event will tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Change {
    /// The pool's id.
    pub(super) pool: u64,
    /// The number; 0 if it is a change of the pool.
    pub(super) number: u64,
    /// The word after it, the round, or the place of a change of lists.
    pub(super) word: u64,
    pub(super) at_seconds: u32,
    pub(super) kind: u8,
    /// The tag of the outcome; 0 for none.
    pub(super) tag: u32,
    /// The id of the holder; 0 for none.
    pub(super) holder: u64,
}

impl Change {
    /// What it is in order with: of one key, the words only grow.
    pub(super) fn key(&self) -> (u64, u64) {
        (self.pool, event_batch::order_key(self.number, self.kind))
    }
}

/// Changes that were told before those around them, by pool and key: the largest word.
pub(super) type Told = HashMap<(u64, u64), u64>;

/// Puts the changes of a batch in order: those of each key by their words, which only grow. Takes in what of
/// `ahead`, the changes that follow, belongs before them, and returns those too.
pub(super) fn in_order(changes: Vec<Change>, ahead: &[Change]) -> (Vec<Change>, Told) {
    let count = changes.len();
    let at = |index: u32| {
        let index = index as usize;
        if index < count { &changes[index] } else { &ahead[index - count] }
    };
    let all = (count + ahead.len()) as u32;
    let mut by_key: Vec<u32> = (0..all).collect();
    by_key.sort_by_cached_key(|index| {
        let change = at(*index);
        (change.key(), change.word)
    });
    let mut places: Vec<u32> = (0..all).collect();
    let mut is_in_order = true;
    for pair in by_key.windows(2).rev() {
        let [before, after] = [pair[0], pair[1]];
        if places[before as usize] > places[after as usize] && at(before).key() == at(after).key() {
            places[before as usize] = places[after as usize];
            is_in_order = false;
        }
    }
    let mut told = Told::new();
    if is_in_order {
        return (changes, told);
    }
    let place = |index: u32| places[index as usize];
    let mut chosen: Vec<u32> = (0..all).filter(|index| (place(*index) as usize) < count).collect();
    chosen.sort_by_key(|index| (place(*index), at(*index).word));
    for change in chosen.iter().filter(|index| **index as usize >= count).map(|index| at(*index)) {
        let word = told.entry(change.key()).or_default();
        *word = change.word.max(*word);
    }
    (chosen.into_iter().map(|index| *at(index)).collect(), told)
}

/// Whether a change was told already.
pub(super) fn is_told(told: &Told, change: &Change) -> bool {
    !told.is_empty() && told.get(&change.key()).is_some_and(|word| change.word <= *word)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::event_batch::{BLOCKED_KIND, UNBLOCKED_KIND};

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
    fn what_lists_do_is_in_an_order_of_its_own() {
        let mark = |kind, word| Change { kind, ..change(7, word) };
        let (blocked, unblocked) = (mark(BLOCKED_KIND, 41), mark(UNBLOCKED_KIND, 42));
        let (told, early) = in_order(vec![change(7, 900), unblocked], &[blocked, change(7, 901)]);
        assert_eq!(told, [change(7, 900), blocked, unblocked]);
        assert!(is_told(&early, &blocked) && !is_told(&early, &change(7, 901)));
        assert!(!is_told(&early, &mark(BLOCKED_KIND, 43)));
    }

    #[test]
    fn what_is_in_order_stays() {
        let batch = vec![change(7, 1), change(0, 2), change(7, 2)];
        assert_eq!(in_order(batch.clone(), &[change(7, 3)]), (batch, Told::new()));
    }
}
