//! At a start: keeps what the journal has and the log lacks, as after a kill.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::coordinates::{Rank, SegmentId};
use crate::disk::device::Disk;
use crate::engine::clock::Clock;
use crate::engine::counters::outcomes::{self, OTHER_OUTCOME};
use crate::engine::startup::opened_pools::OpenedPools;
use crate::journal::recovery::Journaled;
use crate::numbers::number::Number;
use crate::store::event_batch;
use crate::store::event_log::{EventLog, Keep, Unusable};
use crate::store::totals_file::AllTotals;

use super::Events;
use super::order::{self, Told};
use super::thread::{self, CHANGES_AT_ONCE, Named};

/// What is known of the pools before they are activated.
pub(crate) struct Recovering<'a> {
    pub(crate) journaled: &'a Journaled,
    pub(crate) pools: &'a OpenedPools,
    pub(crate) totals: &'a AllTotals,
}

/// Opens the log and completes it from the journal. A log that cannot be used begins anew: nothing that is confirmed
/// depends on it.
pub(crate) fn open(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    keep: Keep,
    clock: &Arc<Clock>,
    recovering: &Recovering<'_>,
) -> Events {
    let log = EventLog::new(disk, dir, keep, clock.boot_id());
    let next_frame = recovering.journaled.recovered().next_frame.max(1);
    let loaded = log.load();
    if let Some((last, _)) = &recovering.journaled.recovered().last {
        log.note_frame_time(last.time_nanos);
    }
    let first_mark = loaded.and_then(|()| recovering.complete_if_followed(&log, next_frame, clock));
    let first_mark = first_mark.unwrap_or_else(|why| {
        match why {
            Unusable::Empty => {}
            Unusable::Io(error) => thread::not_kept(&error),
            why => thread::gone(&why),
        }
        // The journal's start writes a frame with a later time.
        log.note_frame_time(clock.now_nanos());
        log.reset(next_frame - 1);
        0
    });
    Events::new(log, Arc::clone(clock), first_mark)
}

impl Recovering<'_> {
    /// Returns the first sequence that no change of lists has.
    fn complete_if_followed(&self, log: &EventLog, next_frame: u64, clock: &Clock) -> Result<u64, Unusable> {
        let (covered, recovered) = (log.covered(), self.journaled.recovered());
        let first = self.journaled.frames().next().map_or(next_frame, |frame| frame.head.sequence);
        if covered >= next_frame || first > covered + 1 || !recovered.damage.is_empty() {
            return Err(Unusable::NotFollowed);
        }
        Ok(self.complete(log, covered, clock)?)
    }

    fn complete(&self, log: &EventLog, covered: u64, clock: &Clock) -> io::Result<u64> {
        let pools = self.pools;
        let ids: BTreeSet<u64> = pools.pools().iter().map(|pool| pool.manifest().pool_id()).collect();
        let exists = |pool| ids.contains(&pool);
        let mut told = log.take_last_words();
        let of_lists = told.iter().filter(|((_, key), _)| event_batch::is_of_lists(*key));
        let mut first_mark = of_lists.map(|(_, sequence)| sequence + 1).max().unwrap_or(0);
        let mut frames = self.journaled.frames().filter(|frame| frame.head.sequence > covered).peekable();
        let mut read = |told: &Told| {
            let (mut changes, mut to) = (Vec::new(), None);
            while changes.len() < CHANGES_AT_ONCE
                && let Some(frame) = frames.next()
            {
                let number =
                    |pool, segment: SegmentId, rank: Rank| pools.number(pool, segment, rank).map(Number::get);
                thread::changes_of(&frame, number, &mut changes);
                to = Some(frame.head.sequence);
            }
            let of_lists = changes.iter().filter(|change| event_batch::is_of_lists(change.key().1));
            let sequences = of_lists.map(|change| change.word);
            first_mark = sequences.max().map_or(first_mark, |last| first_mark.max(last + 1));
            changes.retain(|change| !order::is_told(told, change));
            to.map(|to| (changes, to))
        };
        if let Some(mut pending) = read(&told) {
            log.begin(&exists)?;
            loop {
                let ahead = read(&told);
                let (changes, early) =
                    order::in_order(pending.0, ahead.as_ref().map_or(&[], |ahead| &ahead.0));
                let parts = changes.chunks(log.events_per_batch());
                let last = parts.len();
                for (part, place) in parts.zip(1..) {
                    let events = thread::by_pool(part, |pool, named| self.name(pool, named));
                    let to = if place == last { pending.1 } else { log.covered() };
                    log.append(to, &events, clock.now_nanos(), &exists)?;
                }
                log.cover(pending.1);
                told = early;
                let Some((mut rest, to)) = ahead else { break };
                rest.retain(|change| !order::is_told(&told, change));
                pending = (rest, to);
            }
        }
        Ok(first_mark)
    }

    fn name(&self, pool: u64, named: Named) -> Option<String> {
        match named {
            Named::Outcome(tag) => self.outcome(pool, tag),
            Named::Holder(id) => self.pools.holder_name(pool, id),
        }
    }

    /// The name of an outcome's tag in a pool.
    fn outcome(&self, pool: u64, tag: u32) -> Option<String> {
        let opened = self.pools.pools().iter().find(|opened| opened.manifest().pool_id() == pool)?;
        let rules = opened.manifest().settings.outcomes.keys();
        let counted = self.totals.get(&pool).into_iter().flat_map(|kept| kept.returns_by_outcome.keys());
        let names: BTreeSet<&str> = rules.chain(counted).map(String::as_str).chain([OTHER_OUTCOME]).collect();
        outcomes::name_of(tag, names.into_iter()).map(str::to_owned)
    }
}
