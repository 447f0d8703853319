//! Brings the pages of words in: first those writable that a replay will change, so that it does not stop for a
//! page fault at each; then the others. In the other order each page that is changed would be exchanged for a copy,
//! and all processors would have to be told.

use std::ops::Range;

use crate::coordinates::Rank;
use crate::engine::segment::opened_files::OpenedSegment;
use crate::journal::record::Record;
use crate::journal::recovery::Journaled;
use crate::state::block::BlockIndex;
use crate::state::dirty_blocks::DirtyBlocks;
use crate::sys::parallel;

use super::opened_pools::OpenedPools;

/// With fewer records a second reading of the journal does not pay.
const MIN_RECORDS: u64 = 1_024;
/// Records that one thread reads at least.
const MIN_RECORDS_PER_THREAD: u64 = 1 << 16;
/// Blocks that one thread makes writable at least: 4 MiB of words.
const MIN_BLOCKS_PER_THREAD: usize = 1_024;

/// Brings all words in, those writable that the journal's records name, on all processors.
pub(crate) fn prefault(pools: &OpenedPools, journal: &Journaled) {
    let records = journal.recovered().records;
    if records >= MIN_RECORDS {
        prefault_named(pools, journal, records);
    }
    let segments = pools.pools().iter().flat_map(|pool| pool.segments().map(|(segment, _)| segment));
    let segments: Vec<&OpenedSegment> = segments.collect();
    let part = segments.len().div_ceil(parallel::processors()).max(1);
    parallel::for_each(segments.chunks(part), |part| part.iter().for_each(|segment| segment.populate()));
}

fn prefault_named(pools: &OpenedPools, journal: &Journaled, records: u64) {
    let named: Vec<Vec<DirtyBlocks>> = pools
        .pools()
        .iter()
        .map(|pool| pool.segments().map(|(segment, _)| DirtyBlocks::new(segment.len())).collect())
        .collect();
    let part = records.div_ceil(parallel::processors() as u64).max(MIN_RECORDS_PER_THREAD);
    parallel::for_each(journal.parts(part), |frames| {
        let words = frames.flat_map(|frame| frame.records()).filter_map(|record| match record {
            Record::Word(record) => Some(record),
            Record::Key(_)
            | Record::KeyLease(_)
            | Record::OldKeyLease(_)
            | Record::List(_)
            | Record::Holder(_)
            | Record::Round(_)
            | Record::Marks(_) => None,
        });
        for record in words {
            let Some(place) = pools.place(record.pool, record.segment) else { continue };
            if record.rank.0 < pools.segment(place).len() {
                named[place.0][place.1].mark(record.rank);
            }
        }
    });
    for (pool, named) in pools.pools().iter().zip(&named) {
        for ((segment, _), blocks) in pool.segments().zip(named) {
            prefault_blocks(segment, blocks);
        }
    }
}

fn prefault_blocks(segment: &OpenedSegment, named: &DirtyBlocks) {
    let blocks = named.take(BlockIndex(0)..BlockIndex(named.blocks()));
    let runs = runs(&blocks);
    let part = runs.len().div_ceil(parallel::processors()).max(MIN_BLOCKS_PER_THREAD);
    parallel::for_each(runs.chunks(part), |runs| runs.iter().for_each(|ranks| segment.prefault(ranks)));
}

/// Joins adjacent blocks.
fn runs(blocks: &[Range<Rank>]) -> Vec<Range<Rank>> {
    let mut runs: Vec<Range<Rank>> = Vec::new();
    for block in blocks {
        match runs.last_mut() {
            Some(run) if run.end == block.start => run.end = block.end,
            _ => runs.push(block.clone()),
        }
    }
    runs
}
