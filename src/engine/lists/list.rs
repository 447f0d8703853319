//! A list: a standing set of numbers. What it holds is the set that was written last, with the changes since.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use crate::disk::mapping::MappedBytes;
use crate::domain::list_name::ListName;
use crate::journal::record::ListRecord;
use crate::numbers::number::{MAX_SET_NUMBERS, Number, NumberRange};
use crate::numbers::pieces::changed;
use crate::numbers::set::NumberSet;
use crate::state::time::Timestamp;
use crate::store::list_files::{ListManifest, SetEntry};
use crate::sys::sync::{Mutex, MutexGuard};

use super::changes::Changes;

/// The longest range of one record.
const MAX_RECORD_NUMBERS: u64 = 1 << 32;

type Set = NumberSet<MappedBytes>;

/// What a list holds.
pub(super) struct Content {
    /// The set; `None` if it would be empty.
    set: Option<Arc<Set>>,
    manifest: ListManifest,
    changes: Changes,
    /// The sequence of the last change.
    sequence: u64,
    /// How many numbers are on the list.
    numbers: u64,
    /// The sequence of the last change that the files have.
    written: u64,
    /// When numbers went onto the list or off it last.
    changed_at: Timestamp,
}

/// What a list held at one moment.
#[derive(Clone)]
pub struct Snapshot {
    set: Option<Arc<Set>>,
    changes: Changes,
    pub(crate) manifest: ListManifest,
    /// The sequence of the last change.
    pub(crate) sequence: u64,
}

/// A list of numbers that pools can be blocked by.
pub struct List {
    pub(crate) name: ListName,
    pub(super) id: u64,
    pub(super) dir: PathBuf,
    /// Held for short. No word is changed and nothing waits while it is.
    content: Mutex<Content>,
    /// Held while the set is exchanged, one exchange at a time.
    pub(super) exchanging: Mutex<()>,
    /// Whether it was deleted. Held while the file of changes is written: its directory exists meanwhile.
    pub(super) deleted: Mutex<bool>,
}

/// A list would hold more numbers than it can.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the list would hold more than {MAX_SET_NUMBERS} numbers: split it into several lists")]
pub struct TooManyNumbers;

fn count_of(set: Option<&Set>, range: NumberRange) -> u64 {
    set.map_or(0, |set| {
        let ranks = set.rank_range(range);
        u64::from(ranks.end.0 - ranks.start.0)
    })
}

/// The numbers inside a range that a set with changes holds, ascending.
fn ranges_in<'a>(
    set: Option<&'a Set>,
    changes: &'a Changes,
    range: NumberRange,
) -> impl Iterator<Item = NumberRange> + 'a {
    let from = set.into_iter().filter_map(move |set| {
        let ranks = set.rank_range(range);
        (!ranks.is_empty()).then(|| set.ranges_from(ranks.start))
    });
    let inside = from.flatten().map_while(move |run| run.intersection(range));
    changed(inside, changes.inside(range))
}

impl Content {
    /// How many numbers of a range are on the list.
    fn count_in(&self, range: NumberRange) -> u64 {
        let set = self.set.as_deref();
        let (mut count, mut replaced) = (count_of(set, range), 0);
        for (changed, on) in self.changes.inside(range) {
            replaced += count_of(set, changed);
            count += if on { changed.len() } else { 0 };
        }
        count - replaced
    }

    fn contains(&self, number: Number) -> bool {
        let in_set = || self.set.as_ref().is_some_and(|set| set.contains(number));
        self.changes.get(number).unwrap_or_else(in_set)
    }

    /// Returns whether it changed what is on the list.
    fn apply(&mut self, range: NumberRange, on: bool, sequence: u64) -> bool {
        let (before, after) = (self.count_in(range), if on { range.len() } else { 0 });
        self.numbers = self.numbers - before + after;
        self.changes.apply(range, on, sequence);
        self.sequence = self.sequence.max(sequence);
        before != after
    }
}

impl List {
    /// A list as its files have it. `records` are its changes since, in any order.
    pub(super) fn new(
        name: ListName,
        dir: PathBuf,
        manifest: ListManifest,
        set: Option<Set>,
        mut records: Vec<ListRecord>,
        written: u64,
    ) -> Self {
        let numbers = set.as_ref().map_or(0, NumberSet::len);
        let (id, sequence) = (manifest.id(), manifest.folded.max(written));
        let set = set.map(Arc::new);
        let changes = Changes::default();
        let changed_at = Timestamp::default();
        let mut content = Content { set, manifest, changes, sequence, numbers, written, changed_at };
        records.sort_unstable_by_key(|record| record.sequence);
        let folded = content.manifest.folded;
        for record in records.iter().filter(|record| record.sequence > folded) {
            if let Some(range) = super::changes::numbers_of(record) {
                content.apply(range, record.on, record.sequence);
            }
        }
        Self {
            name,
            id,
            dir,
            content: Mutex::new(content),
            exchanging: Mutex::new(()),
            deleted: Mutex::new(false),
        }
    }

    pub(super) fn content(&self) -> MutexGuard<'_, Content> {
        self.content.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The list's name.
    pub fn name(&self) -> ListName {
        self.name
    }

    /// How many numbers are on it.
    pub fn numbers(&self) -> u64 {
        self.content().numbers
    }

    /// When numbers went onto it or off it last, as far as this process knows: of earlier changes, when they were
    /// written to the list's files.
    pub fn changed_at(&self) -> Timestamp {
        self.content().changed_at
    }

    /// Notes when numbers went onto it or off it.
    pub(super) fn set_changed_at(&self, time: Timestamp) {
        self.content().changed_at = time;
    }

    /// Whether a number is on it.
    pub fn contains(&self, number: Number) -> bool {
        self.content().contains(number)
    }

    /// The numbers inside a range that are on it now, ascending.
    pub(super) fn ranges_in(&self, range: NumberRange) -> Vec<NumberRange> {
        let content = self.content();
        ranges_in(content.set.as_deref(), &content.changes, range).collect()
    }

    /// What it holds now.
    pub fn snapshot(&self) -> Snapshot {
        let content = self.content();
        Snapshot {
            set: content.set.clone(),
            changes: content.changes.clone(),
            manifest: content.manifest.clone(),
            sequence: content.sequence,
        }
    }

    /// Puts numbers on the list, or takes them off. Returns the records of it, which must be in the journal
    /// before that is confirmed. From here on an exchange of the set keeps it. See [`Self::check_room`].
    pub(super) fn change(
        &self,
        range: NumberRange,
        on: bool,
        now: Timestamp,
    ) -> impl Iterator<Item = ListRecord> + use<> {
        let mut content = self.content();
        let sequence = content.sequence + 1;
        if content.apply(range, on, sequence) {
            content.changed_at = now;
        }
        let last = range.last().get();
        let firsts = (range.first().get()..=last).step_by(MAX_RECORD_NUMBERS as usize);
        let id = self.id;
        firsts.map(move |first: u64| {
            let more = (last - first).min(MAX_RECORD_NUMBERS - 1) as u32;
            ListRecord { list: id, on, first, more, sequence }
        })
    }

    /// Fails if there is no room for more numbers. Calls at the same time may go slightly beyond.
    pub(crate) fn check_room(&self, more: u64) -> Result<(), TooManyNumbers> {
        if self.numbers() + more > MAX_SET_NUMBERS { Err(TooManyNumbers) } else { Ok(()) }
    }

    /// The changes that a checkpoint must write, and the sequence of the last; `None` if the files have all.
    pub(super) fn unwritten(&self) -> Option<(Vec<ListRecord>, u64)> {
        let content = self.content();
        let is_new = content.sequence > content.written;
        is_new.then(|| (content.changes.records(self.id), content.sequence))
    }

    /// Notes that the files have all changes up to a sequence.
    pub(super) fn written(&self, sequence: u64) {
        let mut content = self.content();
        content.written = content.written.max(sequence);
    }

    /// How many changes there are beside the set.
    pub(super) fn changes(&self) -> usize {
        self.content().changes.len()
    }

    /// Takes a new set, which has all changes up to the manifest's `folded`. Returns the one before.
    pub(super) fn exchange(&self, manifest: ListManifest, set: Option<Set>) -> Option<SetEntry> {
        let mut content = self.content();
        let before = content.manifest.numbers;
        content.set = set.map(Arc::new);
        content.changes.forget(manifest.folded);
        content.manifest = manifest;
        let later: Vec<_> = content.changes.all().collect();
        content.numbers = content.set.as_ref().map_or(0, |set| set.len());
        for (range, on) in later {
            content.numbers -= count_of(content.set.as_deref(), range);
            content.numbers += if on { range.len() } else { 0 };
        }
        before
    }
}

impl Snapshot {
    /// The numbers, ascending.
    pub fn ranges(&self) -> impl Iterator<Item = NumberRange> + '_ {
        let set = self.set.iter().flat_map(|set| set.ranges());
        changed(set, self.changes.all())
    }

    /// The numbers inside a range, ascending.
    pub fn ranges_in(&self, range: NumberRange) -> impl Iterator<Item = NumberRange> + '_ {
        ranges_in(self.set.as_deref(), &self.changes, range)
    }

    /// The bytes of the set, if there is one.
    pub(crate) fn set_bytes(&self) -> Option<(SetEntry, &[u8])> {
        Some((self.manifest.numbers?, self.set.as_ref()?.as_bytes()))
    }

    /// The changes since the set was written, as records.
    pub(crate) fn records(&self) -> Vec<ListRecord> {
        self.changes.records(self.manifest.id())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(first: u64, last: u64) -> NumberRange {
        NumberRange::new(Number::new(first).unwrap(), Number::new(last).unwrap()).unwrap()
    }

    fn at(seconds: u32) -> Timestamp {
        Timestamp::new(seconds)
    }

    #[test]
    fn what_changes_during_an_exchange_stays() {
        let manifest = ListManifest::new(7, 0, None);
        let list = List::new("a".parse().unwrap(), PathBuf::new(), manifest, None, Vec::new(), 0);
        let change =
            |first, last, on| list.change(range(first, last), on, at(first as u32)).collect::<Vec<_>>();
        change(1, 10, true);
        let before = list.snapshot();
        // The new set is written meanwhile: it has none of these numbers.
        let record = change(3, 4, true)[0];
        assert_eq!((record.first, record.more, record.on, record.sequence), (3, 1, true, 2));
        change(9, 9, false);
        change(5, 5, true);
        assert_eq!(list.changed_at(), at(9), "it was on the list");
        list.exchange(ListManifest::new(7, before.sequence, None), None);
        let numbers: Vec<_> = list.snapshot().ranges().collect();
        assert_eq!((numbers, list.numbers()), (vec![range(3, 5)], 3));
        assert!(!list.contains(Number::new(1).unwrap()) && list.contains(Number::new(4).unwrap()));
        // A start has the same from the records.
        let records = list.snapshot().records();
        let again = ListManifest::new(7, before.sequence, None);
        let again = List::new("a".parse().unwrap(), PathBuf::new(), again, None, records, 0);
        assert_eq!((again.numbers(), again.snapshot().sequence), (3, 4));
        assert_eq!(again.change(range(5, 5), true, at(0)).next().map(|record| record.sequence), Some(5));
    }

    #[test]
    fn long_ranges_are_several_records() {
        let list = List::new(
            "a".parse().unwrap(),
            PathBuf::new(),
            ListManifest::new(7, 0, None),
            None,
            Vec::new(),
            0,
        );
        let records: Vec<_> = list.change(range(1, 10_000_000_000), false, at(0)).collect();
        assert_eq!(records.len(), 3);
        assert!(records.iter().all(|record| record.sequence == 1));
        let ends: Vec<_> = records.iter().map(|record| record.first + u64::from(record.more)).collect();
        assert_eq!(ends, [1 << 32, 1 << 33, 10_000_000_000]);
        assert!(list.check_room(MAX_SET_NUMBERS).is_ok() && list.check_room(MAX_SET_NUMBERS + 1).is_err());
    }
}
