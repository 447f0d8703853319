//! At a start: keeps what the journal has and the log lacks, as after a kill.

use std::collections::BTreeSet;
use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::engine::clock::Clock;
use crate::engine::counters::outcomes::{self, OTHER_OUTCOME};
use crate::engine::startup::opened_pools::OpenedPools;
use crate::journal::record::WordRecord;
use crate::journal::recovery::Journaled;
use crate::numbers::number::Number;
use crate::store::event_log::{EventLog, Keep};
use crate::store::totals_file::AllTotals;

use super::Events;
use super::order;
use super::thread::{self, CHANGES_AT_ONCE, Named};

/// Opens the log and completes it from the journal.
pub(crate) fn open(
    dir: &Path,
    keep: Keep,
    clock: &Arc<Clock>,
    journaled: &Journaled,
    pools: &OpenedPools,
    totals: &AllTotals,
) -> io::Result<Events> {
    let log = EventLog::open(dir, keep, clock.boot_id())?;
    let (covered, recovered) = (log.covered(), journaled.recovered());
    let next_frame = recovered.next_frame.max(1);
    let first = journaled.frames().next().map_or(next_frame, |frame| frame.head.sequence);
    if covered == 0 || covered >= next_frame || first > covered + 1 || !recovered.damage.is_empty() {
        log.reset(next_frame - 1)?;
    } else {
        complete(&log, covered, clock, journaled, pools, totals)?;
    }
    Ok(Events::new(log, Arc::clone(clock)))
}

fn complete(
    log: &EventLog,
    covered: u64,
    clock: &Clock,
    journaled: &Journaled,
    pools: &OpenedPools,
    totals: &AllTotals,
) -> io::Result<()> {
    let ids: BTreeSet<u64> = pools.pools().iter().map(|pool| pool.manifest().pool_id()).collect();
    let exists = |pool| ids.contains(&pool);
    let mut told = log.take_last_words();
    let mut frames = journaled.frames().filter(|frame| frame.head.sequence > covered).peekable();
    let mut read = |told: &order::Told| {
        let (mut changes, mut to) = (Vec::new(), None);
        while changes.len() < CHANGES_AT_ONCE
            && let Some(frame) = frames.next()
        {
            let number =
                |record: &WordRecord| pools.number(record.pool, record.segment, record.rank).map(Number::get);
            thread::changes_of(&frame, number, &mut changes);
            to = Some(frame.head.sequence);
        }
        changes.retain(|change| !order::is_told(told, change));
        to.map(|to| (changes, to))
    };
    let Some(mut pending) = read(&told) else { return Ok(()) };
    log.begin(&exists)?;
    loop {
        let ahead = read(&told);
        let (changes, early) = order::in_order(pending.0, ahead.as_ref().map_or(&[], |ahead| &ahead.0));
        let events = thread::by_pool(&changes, |pool, named| match named {
            Named::Outcome(tag) => outcome(pools, totals, pool, tag),
            Named::Holder(id) => pools.holder_name(pool, id),
        });
        log.append(pending.1, &events, clock.now().seconds(), &exists)?;
        told = early;
        let Some((mut rest, to)) = ahead else { return Ok(()) };
        rest.retain(|change| !order::is_told(&told, change));
        pending = (rest, to);
    }
}

/// The name of an outcome's tag in a pool.
fn outcome(pools: &OpenedPools, totals: &AllTotals, pool: u64, tag: u32) -> Option<String> {
    let opened = pools.pools().iter().find(|opened| opened.manifest().pool_id() == pool)?;
    let rules = opened.manifest().settings.outcomes.keys();
    let counted = totals.get(&pool).into_iter().flat_map(|kept| kept.returns_by_outcome.keys());
    let names: BTreeSet<&str> = rules.chain(counted).map(String::as_str).chain([OTHER_OUTCOME]).collect();
    outcomes::name_of(tag, names.into_iter()).map(str::to_owned)
}
