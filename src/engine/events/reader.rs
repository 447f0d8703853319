//! One reader of a pool's events.

use std::future::poll_fn;
use std::io;
use std::sync::Arc;

use crate::journal::cause::ChangeKind;
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::Word;
use crate::store::event_batch::{ADDED_KIND, BLOCKED_KIND, ROUND_KIND, RawEvent, UNBLOCKED_KIND};
use crate::store::event_log::Cursor;
use crate::sys::atomics::Ordering;

use super::{Events, lock};

/// An event.
#[derive(Debug, Clone, Copy)]
pub struct Event<'a> {
    /// Its place among the pool's events.
    pub seq: u64,
    /// When it happened.
    pub at: Timestamp,
    /// What it is called.
    pub name: &'static str,
    /// The number; `None` for what happened to the pool.
    pub number: Option<u64>,
    /// What the event says of the number's state; `None` if it is none of a state.
    pub word: Option<OfWord>,
    /// The round that began, or in which the number is done.
    pub round: Option<u32>,
    /// The outcome of a return.
    pub outcome: Option<&'a str>,
    /// Who held the number.
    pub holder: Option<&'a str>,
}

/// What an event says of its number's state.
#[derive(Debug, Clone, Copy)]
pub struct OfWord {
    /// Its generation after the change.
    pub generation: u32,
    /// Its state after it.
    pub state: State,
    /// When the lease or rest ends.
    pub until: Option<Timestamp>,
}

fn name_of(kind: u8) -> &'static str {
    match kind {
        ROUND_KIND => return "round",
        ADDED_KIND => return "added",
        BLOCKED_KIND => return "blocked",
        UNBLOCKED_KIND => return "unblocked",
        _ => {}
    }
    match ChangeKind::of(kind) {
        ChangeKind::Other => "changed",
        ChangeKind::Leased => "leased",
        ChangeKind::Renewed => "renewed",
        ChangeKind::Returned => "returned",
        ChangeKind::Expired => "expired",
        ChangeKind::Released => "released",
        ChangeKind::Retired => "retired",
        ChangeKind::Reinstated => "reinstated",
    }
}

fn event<'a>(seq: u64, raw: &RawEvent, names: &[&'a str]) -> Event<'a> {
    let at_place = |place: usize| place.checked_sub(1).and_then(|place| names.get(place).copied());
    let word = Word::from_bits(raw.word);
    let is_of_pool = raw.kind == ROUND_KIND;
    let has_word = !is_of_pool && !matches!(raw.kind, BLOCKED_KIND | UNBLOCKED_KIND);
    let of_word = OfWord { generation: word.generation(), state: word.state(), until: word.due() };
    Event {
        seq,
        at: Timestamp::new(raw.at_seconds),
        name: name_of(raw.kind),
        number: (!is_of_pool).then_some(raw.number),
        word: has_word.then_some(of_word),
        round: if has_word {
            word.done_in_round()
        } else {
            u32::try_from(raw.word).ok().filter(|_| is_of_pool)
        },
        outcome: at_place(raw.outcome.into()),
        holder: at_place(raw.holder.into()),
    }
}

/// A reader. What it has not read costs nothing but the files.
pub struct Reader {
    events: Arc<Events>,
    cursor: Cursor,
    id: u64,
}

impl Reader {
    /// A reader of a pool's events from `next` on.
    pub fn new(events: &Arc<Events>, pool: u64, next: u64) -> Self {
        let id = events.next_waiter.fetch_add(1, Ordering::Relaxed);
        events.readers.fetch_add(1, Ordering::Relaxed);
        Self { events: Arc::clone(events), cursor: Cursor::new(pool, next), id }
    }

    /// Waits until there is an event.
    pub async fn wait(&self) {
        poll_fn(|cx| self.events.poll_next(self.id, self.cursor.pool, self.cursor.next, cx)).await;
    }

    /// Calls `take` with some of the next events until it returns false. Returns false at the end of what there is.
    /// Reads files.
    pub fn read(&mut self, take: &mut dyn FnMut(Event<'_>) -> bool) -> io::Result<bool> {
        self.events.log.read(&mut self.cursor, &mut |seq, raw, names| take(event(seq, raw, names)))
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        self.events.readers.fetch_sub(1, Ordering::Relaxed);
        lock(&self.events.waiters).retain(|waiter| waiter.id != self.id);
    }
}
