//! Moving the words of some segments, the sources, into one that has the numbers of all of them, the target.
//!
//! A word moves in three steps, without stopping any caller:
//!
//! 1. The target's word becomes the larger of both.
//! 2. A compare-exchange replaces the source's word by one that says "moved". If another thread has changed
//!    the word since, both steps are repeated. So at the moment of the exchange the target has the last word.
//! 3. What is derived from the word is updated in the target: its hint, its count, its bit in the free index.
//!
//! Before the second step the target's word counts for nothing: a number is located in the source, and the
//! sweep ignores such words of the target ([`Segment::is_inert`]). After it every thread that meets the moved
//! word goes on to the target ([`Segment::place`]).
//!
//! An available word moves only by a thread that has its bit in the source's free index: the right to make it
//! unavailable there. While it has no bit, the search for free ranks is not believed. The target has the same
//! ranks blocked before the first word moves, and what blocks a rank later does so in both.
//!
//! Moves have no journal records. The word that a number had in its source is in the source's table or in the
//! journal. Both are kept until the target has been written to its table after the last move. A checkpoint of
//! a source moves what has changed in it and then writes the target: so the file of a source never says
//! "moved", except in a shared mapping. A start takes the larger of both words.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use crate::coordinates::Rank;
use crate::disk::mapping::Sharing;
use crate::disk::paced::Pacer;
use crate::state::block::BlockIndex;
use crate::state::holder_column::HolderId;
use crate::state::number_state::State;
use crate::state::segment_state::Changed;
use crate::state::word::Word;
use crate::store::table::Column;
use crate::sys::slot::Slot;

use super::Segment;

/// What became of an attempt to move a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Moved {
    /// It has moved, perhaps earlier. If by this call: the word and its rank in the target.
    Done(Option<(Rank, Word)>),
    /// Another thread is about to change it or its bit.
    Later,
}

impl Segment {
    /// Begins to move its words into `target`. The target must be named by the pool's manifest and be among
    /// the pool's segments.
    pub(crate) fn begin_merge(&self, target: &Arc<Segment>) {
        self.merging.begin(target);
    }

    /// Where the word of a rank is now.
    #[inline]
    pub(crate) fn place(&self, rank: Rank) -> (&Segment, Rank) {
        if self.state.words.get(rank).is_moved() { self.moved_place(rank) } else { (self, rank) }
    }

    #[cold]
    fn moved_place(&self, rank: Rank) -> (&Segment, Rank) {
        let Some(number) = self.set.select(rank) else { return (self, rank) };
        let (mut segment, mut place) = (self, rank);
        while segment.state.words.get(place).is_moved() {
            let Some(target) = segment.merging.target() else { break };
            let Some(rank) = target.set.rank(number) else { break };
            (segment, place) = (&**target, rank);
        }
        (segment, place)
    }

    /// Changes the word of a number by its rank here, wherever it is now. Also returns where it was. As
    /// [`SegmentState::change`](crate::state::segment_state::SegmentState::change).
    pub(crate) fn change<E>(
        &self,
        rank: Rank,
        slot: Slot,
        mut change: impl FnMut(Word) -> Result<Word, E>,
    ) -> (&Segment, Rank, Result<Changed, E>) {
        loop {
            let (segment, place) = self.place(rank);
            let mut has_moved = false;
            let changed = segment.state.change(place, slot, |word| {
                has_moved = word.is_moved();
                if has_moved { Ok(word) } else { change(word) }
            });
            if !has_moved {
                return (segment, place, changed);
            }
        }
    }

    /// The word of a number by its rank here, wherever it is now.
    #[inline]
    pub(crate) fn word(&self, rank: Rank) -> Word {
        let word = self.state.words.get(rank);
        if !word.is_moved() {
            return word;
        }
        let (segment, rank) = self.moved_place(rank);
        segment.state.words.get(rank)
    }

    /// Who holds the number of a word that is leased, by its rank here; nobody if the word is not.
    pub(crate) fn holder_of(&self, rank: Rank, word: Word) -> HolderId {
        if word.state() != State::Leased {
            return HolderId::NOBODY;
        }
        let (segment, rank) = self.place(rank);
        segment.state.holders.get().map_or(HolderId::NOBODY, |column| column.holder(rank, word))
    }

    /// Whether the rank is blocked where the word of a number is now, by its rank here.
    #[inline]
    pub(crate) fn place_is_blocked(&self, rank: Rank) -> bool {
        let (segment, rank) = self.place(rank);
        segment.state.free.blocked().contains(rank)
    }

    /// Whether the word of a rank counts for nothing yet: a merge has copied it, but not moved it.
    pub(crate) fn is_inert(&self, rank: Rank) -> bool {
        if self.merging.is_complete() {
            return false;
        }
        let Some(number) = self.set.select(rank) else { return false };
        // A source that is gone has no word left to move.
        let sources = self.merging.sources();
        let mut places = sources.iter().filter_map(|source| Some((source, source.set.rank(number)?)));
        places.any(|(source, rank)| !source.state.words.get(rank).is_moved())
    }

    /// Moves the word of a rank into the target.
    pub(crate) fn move_word(&self, rank: Rank, slot: Slot) -> Moved {
        let Some(target) = self.merging.target() else { return Moved::Later };
        let Some(place) = self.set.select(rank).and_then(|number| target.set.rank(number)) else {
            // A rank without a number.
            return Moved::Done(None);
        };
        loop {
            let word = self.state.words.get(rank);
            if word.is_moved() {
                return Moved::Done(None);
            }
            if word.is_available() {
                return self.move_available(rank, target, place, slot);
            }
            self.move_holder(rank, target, place);
            target.receive(place, word);
            if self.state.words.replace(rank, word, word.moved()) {
                target.received(place, word, slot);
                return Moved::Done(Some((place, word)));
            }
        }
    }

    /// Moves a word that was seen to be available.
    fn move_available(&self, rank: Rank, target: &Segment, place: Rank, slot: Slot) -> Moved {
        let _mutation = self.state.free.mutations().begin(slot, rank);
        if !self.state.free.claim(rank, slot) {
            return Moved::Later;
        }
        loop {
            let word = self.state.words.get(rank);
            if word.is_moved() {
                return Moved::Done(None);
            }
            self.move_holder(rank, target, place);
            target.receive(place, word);
            if self.state.words.replace(rank, word, word.moved()) {
                target.received(place, word, slot);
                return Moved::Done(Some((place, word)));
            }
        }
    }

    /// Copies who holds the number, or held it last. Before the target has the word: its entry is then there. No
    /// later one is written here, as only a lease does that, which would have changed the word.
    fn move_holder(&self, rank: Rank, target: &Segment, place: Rank) {
        if let (Some(from), Some(to)) = (self.state.holders.get(), target.state.holders.get()) {
            to.raise(place, from.entries.get(rank));
        }
    }

    fn receive(&self, rank: Rank, word: Word) {
        let _ = self.state.words.update(rank, |own| Ok::<_, ()>(own.max(word)));
        self.state.dirty.mark(rank);
    }

    /// Updates what is derived from a word that has moved here.
    fn received(&self, rank: Rank, word: Word, slot: Slot) {
        self.state.blocks.moved(rank, State::Available, word.state());
        if let Some(until) = word.due() {
            self.state.due.note(rank, until);
        }
        if word.is_available() {
            self.state.free.put(rank, slot);
        }
    }

    /// Writes all words that changed to their file, durably. Words that are moving are first moved to the
    /// target by `move_all`, which gets the ranks, and then written there.
    pub(crate) fn checkpoint(
        &self,
        rest: &Pacer<'_>,
        move_all: &dyn Fn(&Segment, Range<Rank>),
    ) -> io::Result<()> {
        let writing = self.merging.writing();
        let words = &self.state.words;
        let Some(target) = self.merging.target() else {
            return self.table.checkpoint(words, &self.state.dirty, self.holder_column(), rest);
        };
        drop(writing);
        if words.memory().sharing() == Sharing::Shared {
            self.table.checkpoint(words, &self.state.dirty, self.holder_column(), rest)?;
        }
        let blocks = BlockIndex(0)..BlockIndex(self.state.dirty.blocks());
        for ranks in self.state.dirty.take(blocks) {
            move_all(self, ranks);
        }
        target.checkpoint(rest, move_all)
    }

    /// The column of holders and its file, if the pool tracks them.
    fn holder_column(&self) -> Option<Column<'_>> {
        let (column, file) = (self.state.holders.get()?, self.holders_file.get()?);
        Some(Column { file, entries: &column.entries, dirty: &column.dirty })
    }
}
