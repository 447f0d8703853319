//! The thread that follows the journal and keeps what happened.

use std::collections::{HashMap, HashSet};
use std::fmt::Display;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use tracing::warn;

use crate::coordinates::{Rank, SegmentId};
use crate::engine::pool::Pools;
use crate::journal::cause::{Cause, ChangeKind};
use crate::journal::frame::Frame;
use crate::journal::handle::Journal;
use crate::journal::marks::MarkKind;
use crate::journal::record::Record;
use crate::journal::recovery::Recovered;
use crate::journal::tail::{FollowError, Follower};
use crate::state::holder_column::{HolderId, MAX_HOLDER_ID};
use crate::store::event_batch::{ADDED_KIND, BLOCKED_KIND, ROUND_KIND, RawEvent, UNBLOCKED_KIND};
use crate::store::event_log::PoolBatch;
use crate::sys::atomics::Ordering;
use crate::sys::background;
use crate::sys::sync::thread::{self, JoinHandle};
use crate::sys::sync::{Instant, Mutex};

use super::known::Known;
use super::order::{self, Change, Told};
use super::{Events, lock};

/// Most changes that are put in order at once, unless one frame has more: more than a group has.
pub(super) const CHANGES_AT_ONCE: usize = 1 << 18;
/// How long the thread waits for the next groups before it asks for them.
const GROUP_PATIENCE: Duration = Duration::from_millis(2);
/// How long it waits before it writes again what could not be written.
const WRITE_RETRY: Duration = Duration::from_secs(1);
/// How often readers are woken at most: each of them makes a call for what there is then.
const WAKE_INTERVAL: Duration = Duration::from_millis(20);
/// How much longer that is for each of many readers, and its most: their calls together stay about as many.
const WAKE_INTERVAL_PER_READER: Duration = Duration::from_millis(1);
const MAX_WAKE_INTERVAL: Duration = Duration::from_secs(1);
/// How often what is too old is removed.
const TIDY_INTERVAL: Duration = Duration::from_secs(30);
const NANOS_PER_SECOND: u64 = 1_000_000_000;

/// The kind of an event of a word; `None` if it is none.
fn kind_of(cause: Cause) -> Option<(u8, u32)> {
    match cause.kind() {
        _ if cause == Cause::ADDED => Some((ADDED_KIND, 0)),
        ChangeKind::Other => None,
        kind => Some((kind as u8, cause.tag())),
    }
}

/// The changes of a frame, of which `number` tells the number of a place: a pool's id, a segment, and a rank.
pub(super) fn changes_of(
    frame: &Frame<'_>,
    mut number: impl FnMut(u64, SegmentId, Rank) -> Option<u64>,
    take: &mut Vec<Change>,
) {
    let at_seconds = u32::try_from(frame.head.time_nanos / NANOS_PER_SECOND).unwrap_or(u32::MAX);
    for record in frame.records() {
        match record {
            Record::Word(record) => {
                let Some((kind, tag)) = kind_of(record.cause) else { continue };
                let Some(number) = number(record.pool, record.segment, record.rank) else { continue };
                let (pool, word, holder) = (record.pool, record.word.bits(), record.holder);
                take.push(Change { pool, number, word, at_seconds, kind, tag, holder });
            }
            Record::Marks(record) => {
                let (kind, word) = match record.kind {
                    // Before any word.
                    MarkKind::Added => (ADDED_KIND, 0),
                    MarkKind::Blocked => (BLOCKED_KIND, record.sequence),
                    MarkKind::Unblocked => (UNBLOCKED_KIND, record.sequence),
                };
                let pool = record.pool;
                let numbers = record.ranks().filter_map(|rank| number(pool, record.segment, rank));
                take.extend(numbers.map(|number| Change {
                    pool,
                    number,
                    word,
                    at_seconds,
                    kind,
                    tag: 0,
                    holder: 0,
                }));
            }
            Record::Round(record) => take.push(Change {
                pool: record.pool,
                number: 0,
                word: record.round.into(),
                at_seconds,
                kind: ROUND_KIND,
                tag: 0,
                holder: 0,
            }),
            _ => {}
        }
    }
}

/// What an event names.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Named {
    /// The outcome of this tag.
    Outcome(u32),
    /// The holder of this id.
    Holder(HolderId),
}

/// The events of changes, by pool. `name` tells names of a pool.
pub(super) fn by_pool(
    changes: &[Change],
    mut name: impl FnMut(u64, Named) -> Option<String>,
) -> Vec<PoolBatch> {
    let mut places: HashMap<u64, usize> = HashMap::new();
    let mut known: HashMap<(u64, Named), usize> = HashMap::new();
    let mut pools: Vec<PoolBatch> = Vec::new();
    let mut place_of = |pool: u64, named: Named, names: &mut Vec<String>| {
        *known.entry((pool, named)).or_insert_with(|| match name(pool, named) {
            Some(name) => {
                names.push(name);
                names.len()
            }
            None => 0,
        })
    };
    for change in changes {
        let place = *places.entry(change.pool).or_insert_with(|| {
            pools.push((change.pool, Vec::new(), Vec::new()));
            pools.len() - 1
        });
        // Those of outcomes first, as their places have one byte.
        if change.tag != 0 {
            place_of(change.pool, Named::Outcome(change.tag), &mut pools[place].1);
        }
    }
    for change in changes {
        let Some((_, names, events)) = places.get(&change.pool).map(|place| &mut pools[*place]) else {
            continue;
        };
        let outcome =
            if change.tag == 0 { 0 } else { place_of(change.pool, Named::Outcome(change.tag), names) };
        let holder = match HolderId(change.holder & MAX_HOLDER_ID) {
            HolderId::NOBODY => 0,
            holder => place_of(change.pool, Named::Holder(holder), names),
        };
        let Change { number, word, at_seconds, kind, .. } = *change;
        let (outcome, holder) = (u8::try_from(outcome).unwrap_or(0), u16::try_from(holder).unwrap_or(0));
        events.push(RawEvent { number, word, at_seconds, kind, outcome, holder });
    }
    pools
}

pub(super) fn not_kept(error: &io::Error) {
    warn!(event = "events_not_kept", %error, "changes could not be kept for those who follow them: free some space; it is tried again");
}

pub(super) fn gone(why: &dyn Display) {
    warn!(event = "events_gone", %why, "changes were lost for those who follow them: their positions are gone");
}

struct Follow {
    events: Arc<Events>,
    journal: Arc<Journal>,
    known: Known,
    follower: Follower,
    /// Changes that are read and not kept yet.
    pending: Vec<Change>,
    /// How many groups were committed when they were read.
    pending_at_group: u64,
    /// The frame that they go up to.
    pending_to: u64,
    /// Which of them were told early.
    told: Told,
    /// Pools that have events of which their readers do not know.
    to_wake: HashSet<u64>,
    woken_at: Option<Instant>,
}

impl Follow {
    /// Reads the next changes.
    fn read(&mut self) -> Result<Vec<Change>, FollowError> {
        let Self { events, known, told, .. } = self;
        let (mut changes, mut frame_nanos) = (Vec::new(), 0);
        self.follower.read(self.journal.published(), &mut |frame| {
            let number = |pool, segment, rank| known.number(events, (pool, segment), rank);
            changes_of(frame, number, &mut changes);
            frame_nanos = frame.head.time_nanos;
            changes.len() < CHANGES_AT_ONCE
        })?;
        events.log.note_frame_time(frame_nanos);
        changes.retain(|change| !order::is_told(told, change));
        self.events.read.store(self.follower.next() - 1, Ordering::Release);
        Ok(changes)
    }

    /// Keeps the changes that are pending, and what of those ahead belongs before them. What cannot be written is tried
    /// again until the daemon ends.
    fn keep(&mut self, ahead: &[Change]) -> io::Result<()> {
        let (changes, told) = order::in_order(std::mem::take(&mut self.pending), ahead);
        self.told = told;
        let (events, known) = (&self.events, &mut self.known);
        let parts = changes.chunks(events.log.events_per_batch());
        let last = parts.len();
        for (part, place) in parts.zip(1..) {
            let pools = by_pool(part, |pool, named| {
                let pool = known.pool(pool)?;
                match named {
                    Named::Outcome(tag) => pool.outcomes.name(tag),
                    Named::Holder(id) => pool.holders.name(id).map(|name| name.to_string()),
                }
            });
            let covered = if place == last { self.pending_to } else { events.log.covered() };
            let now_nanos = events.clock.now_nanos();
            let exists = |pool| known.has(pool);
            for (pool, ..) in &pools {
                events.hold_back(*pool);
            }
            while let Err(error) = events.log.append(covered, &pools, now_nanos, &exists) {
                not_kept(&error);
                if events.ends.load(Ordering::Acquire) {
                    return Err(error);
                }
                thread::sleep(WRITE_RETRY);
            }
            events.rate.count(events.clock.now().seconds(), part.len() as u64);
            self.to_wake.extend(pools.iter().map(|(pool, ..)| *pool));
        }
        Ok(())
    }

    /// Wakes the readers of what was kept, if the last time is long enough ago. Returns when to come back for it.
    fn wake_readers(&mut self) -> Option<Duration> {
        if self.to_wake.is_empty() {
            return None;
        }
        let readers = u32::try_from(self.events.readers.load(Ordering::Relaxed)).unwrap_or(u32::MAX);
        let interval =
            WAKE_INTERVAL_PER_READER.saturating_mul(readers).clamp(WAKE_INTERVAL, MAX_WAKE_INTERVAL);
        let left = self.woken_at.map_or(Duration::ZERO, |at| interval.saturating_sub(at.elapsed()));
        if !left.is_zero() {
            return Some(left);
        }
        let pools = std::mem::take(&mut self.to_wake);
        self.events.wake(|pool| pools.contains(&pool));
        self.woken_at = Some(Instant::now());
        None
    }

    /// Forgets the segments that no record names which is still to be read: all is read up to these groups.
    fn forget_removed(&self, groups: u64) {
        lock(&self.events.segments).retain(|_, kept| groups < kept.until_group);
    }

    /// Does what there is to do. Returns whether there may be more.
    fn turn(&mut self) -> Result<bool, FollowError> {
        self.known.begin();
        let groups = self.journal.committed_groups();
        let is_idle = self.pending.is_empty();
        if !is_idle && groups < self.pending_at_group + 2 {
            thread::park_timeout(GROUP_PATIENCE);
            if self.journal.committed_groups() < self.pending_at_group + 2 {
                self.journal.want_group(self.pending_at_group + 2);
            }
            return Ok(true);
        }
        if is_idle && self.journal.published() < self.follower.next() {
            self.forget_removed(groups);
            return Ok(false);
        }
        let published = self.journal.published();
        let mut ahead = self.read()?;
        if self.follower.next() > published {
            self.forget_removed(groups);
        }
        let read_to = self.follower.next() - 1;
        if !is_idle {
            self.keep(&ahead)?;
            ahead.retain(|change| !order::is_told(&self.told, change));
        }
        if ahead.is_empty() {
            self.events.log.cover(read_to);
        }
        (self.pending, self.pending_to) = (ahead, read_to);
        self.pending_at_group = self.journal.committed_groups();
        Ok(true)
    }

    /// Begins the log anew with what is written from now on.
    fn begin_anew(&mut self) -> io::Result<()> {
        self.pending.clear();
        self.told.clear();
        self.follower.skip_to_newest()?;
        self.events.log.reset(self.follower.next().saturating_sub(1));
        self.known.begin();
        self.events.log.begin(&|pool| self.known.has(pool))?;
        self.events.wake(|_| true);
        Ok(())
    }

    fn begin_anew_until_it_works(&mut self) {
        while let Err(error) = self.begin_anew() {
            not_kept(&error);
            if self.events.ends.load(Ordering::Acquire) {
                return;
            }
            thread::park_timeout(WRITE_RETRY);
        }
    }

    /// `has_begun` tells whether the log can be written.
    fn run(mut self, has_begun: bool) {
        if !has_begun {
            self.begin_anew_until_it_works();
        }
        loop {
            // Read first, so that all that was published before the end is kept.
            let ends = self.events.ends.load(Ordering::Acquire);
            self.wake_readers();
            match self.turn() {
                Ok(true) if !ends => {}
                Ok(_) if ends => return self.finish(),
                Ok(_) => {
                    let now_nanos = self.events.clock.now_nanos();
                    // What cannot be removed is tried again.
                    let _ = self.events.log.tidy(now_nanos, &|pool| self.known.has(pool));
                    thread::park_timeout(self.wake_readers().unwrap_or(TIDY_INTERVAL));
                }
                Err(_) if self.events.ends.load(Ordering::Acquire) || self.journal.is_poisoned() => {
                    return self.events.wake(|_| true);
                }
                Err(why) => {
                    gone(&why);
                    self.begin_anew_until_it_works();
                }
            }
        }
    }

    /// Keeps the rest: no more groups come.
    fn finish(mut self) {
        while let Ok(ahead) = self.read() {
            let read_to = self.follower.next() - 1;
            if !self.pending.is_empty() && self.keep(&ahead).is_err() {
                break;
            }
            let is_last = ahead.is_empty();
            (self.pending, self.pending_to) = (ahead, read_to);
            self.pending.retain(|change| !order::is_told(&self.told, change));
            if is_last {
                self.events.log.cover(read_to);
                // A start reads again what was not kept, as after a kill.
                let _ = self.events.log.close();
                break;
            }
        }
        self.events.wake(|_| true);
    }
}

/// The thread.
pub(crate) struct EventThread {
    events: Arc<Events>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl EventThread {
    /// Starts it, before the journal has records after the recovered ones, and after its start has written a frame
    /// with the time: what the log's first positions are made of is durable then.
    pub(crate) fn start(
        events: &Arc<Events>,
        journal: &Arc<Journal>,
        pools: &Arc<ArcSwap<Pools>>,
        dir: &Path,
        recovered: &Recovered,
    ) -> io::Result<Self> {
        let file_sequence = recovered.files.last().map_or(1, |last| last + 1);
        let follow = Follow {
            events: Arc::clone(events),
            journal: Arc::clone(journal),
            known: Known::new(pools),
            follower: Follower::new(dir, file_sequence, recovered.next_frame.max(1)),
            pending: Vec::new(),
            pending_at_group: 0,
            pending_to: 0,
            told: Told::new(),
            to_wake: HashSet::new(),
            woken_at: None,
        };
        // Nothing that is confirmed depends on it.
        let begun = events.log.begin(&|pool| follow.known.has(pool)).inspect_err(not_kept);
        let has_begun = begun.is_ok();
        let thread = background::spawn("allotd-events", move || follow.run(has_begun))?;
        journal.follow(thread.thread().clone());
        Ok(Self { events: Arc::clone(events), thread: Mutex::new(Some(thread)) })
    }

    /// Keeps what the journal has, and ends the thread. To be called once the journal is closed.
    pub(crate) fn stop(&self) {
        self.events.ends.store(true, Ordering::Release);
        let Some(thread) = lock(&self.thread).take() else { return };
        thread.thread().unpark();
        // A thread that panicked has already reported it.
        let _ = thread.join();
    }
}

impl Drop for EventThread {
    fn drop(&mut self) {
        self.stop();
    }
}
