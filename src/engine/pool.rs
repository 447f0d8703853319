//! A pool: a named set of numbers with its settings. Its operations are in [`super::operations`]; this file
//! holds what they share.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption, Guard};
use crossbeam::utils::CachePadded;

use crate::coordinates::Rank;
use crate::domain::counts::{Counts, Totals};
use crate::domain::lease_token::TokenKeys;
use crate::domain::note::Note;
use crate::domain::settings::{NextState, PoolName, Settings};
use crate::domain::zone_table::ZoneTable;
use crate::engine::counters::history::{History, Rates, Sample};
use crate::engine::counters::lateness;
use crate::engine::counters::outcomes::{OutcomeId, Outcomes};
use crate::engine::segment::spans::SegmentIndex;
use crate::engine::segment::within::Within;
use crate::histogram::{Distribution, DistributionSnapshot};
use crate::journal::error::JournalError;
use crate::numbers::number::NumberRange;
use crate::state::floors::Floors;
use crate::state::time::Timestamp;
use crate::store::manifest::Manifest;
use crate::store::totals_file::PoolTotals;
use crate::sys::atomics::{AtomicU32, AtomicU64, Ordering};
use crate::sys::lock::Lock;
use crate::sys::sync::{Instant, Mutex, MutexGuard};

use super::budgets::PoolAccount;
use super::counters::PoolCounters;
use super::growth::Growth;
use super::holders::Holders;
use super::lists::blocking::Blocking;
use super::notice::Notices;
use super::pool_error::ChangeError;
use super::pool_mode::{Mode, PoolMode};
use super::segment::Segments;
use super::shared::{OPERATOR_SLOT, SWEEPER_SLOT, Shared};
use super::terms::Terms;
use super::waiting::state::Waiting;
use super::worker::Cursor;

fn joined(round: u32, attempts_floor: u32) -> u64 {
    u64::from(round) << u32::BITS | u64::from(attempts_floor)
}

/// A named set of numbers with its settings.
pub struct Pool {
    pub(crate) name: PoolName,
    pub(crate) dir: PathBuf,
    pub(crate) shared: Arc<Shared>,
    pub(crate) keys: TokenKeys,
    /// Identifies the pool in the journal and in tokens.
    pub(crate) id: u64,
    pub(crate) settings: ArcSwap<Settings>,
    /// What leases and returns read of them.
    pub(crate) terms: Terms,
    pub(crate) note: ArcSwapOption<Note>,
    pub(crate) segments: ArcSwap<Segments>,
    /// The time zones of the numbers.
    pub(crate) zones: ArcSwapOption<ZoneTable>,
    pub(crate) growth: Growth,
    /// What it takes of `--max-numbers`.
    pub(crate) account: PoolAccount,
    pub(crate) blocking: Blocking,
    pub(crate) holders: Holders,
    /// The manifest on disk. Locked during a change, so that changes are serialized.
    pub(super) manifest: Lock<Manifest>,
    /// Held while numbers are added, one addition at a time.
    pub(crate) adding: Mutex<()>,
    /// The round, and in the lower half [`Floors::attempts`]: they change together.
    round_and_floor: AtomicU64,
    mode: PoolMode,
    /// In seconds since 2020; 0 for none.
    paused_until: AtomicU32,
    pub(crate) counters: PoolCounters,
    pub(crate) outcomes: Outcomes,
    /// How late numbers are swept, in milliseconds.
    pub(crate) lateness: Distribution,
    history: Mutex<History>,
    pub(crate) cursors: Box<[CachePadded<Cursor>]>,
    pub(crate) waiting: Arc<Waiting>,
    /// What operators tell those who use it.
    pub(crate) notices: Notices,
}

impl Pool {
    /// A pool over opened segments. `counts` are the states of their numbers; `kept` are the totals to
    /// continue from.
    pub(crate) fn new(
        name: PoolName,
        dir: PathBuf,
        shared: Arc<Shared>,
        manifest: Manifest,
        segments: Segments,
        counts: Counts,
        kept: &PoolTotals,
    ) -> Self {
        let counters = PoolCounters::new(shared.slots);
        counters.found(OPERATOR_SLOT, counts);
        counters.resume(OPERATOR_SLOT, &kept.totals);
        let outcomes = Outcomes::default();
        outcomes
            .add(manifest.settings.outcomes.keys().chain(kept.returns_by_outcome.keys()).map(String::as_str));
        for (name, count) in &kept.returns_by_outcome {
            counters.returned(OPERATOR_SLOT, outcomes.id(name), *count);
        }
        let first = Sample { at: Instant::now(), leases: kept.totals.leases, available: counts.available };
        let cursors = (0..shared.slots)
            .map(|slot| {
                // Threads start in different parts of the pool.
                let position = segments.whole.positions() / shared.slots as u64 * slot as u64;
                if segments.whole.is_empty() {
                    return CachePadded::new(Cursor::new(SegmentIndex(0), Rank(0)));
                }
                let (span, rank) = segments.whole.at(position);
                CachePadded::new(Cursor::new(segments.whole.list[span].segment, rank))
            })
            .collect();
        let mode = if manifest.paused { Mode::Paused } else { Mode::Open };
        let notices = Notices::new(manifest.pause_reason.clone());
        Self {
            name,
            dir,
            keys: TokenKeys::new(&shared.secret, manifest.pool_id(), &manifest.epochs()),
            id: manifest.pool_id(),
            holders: Holders::new(&shared.secret),
            shared,
            settings: ArcSwap::from_pointee(manifest.settings.clone()),
            terms: Terms::new(&manifest.settings),
            note: ArcSwapOption::from_pointee(manifest.note.clone()),
            growth: Growth::new(&segments, &manifest),
            account: PoolAccount::new(),
            blocking: Blocking::new(),
            segments: ArcSwap::from_pointee(segments),
            zones: ArcSwapOption::empty(),
            round_and_floor: AtomicU64::new(joined(manifest.round, manifest.attempts_floor)),
            mode: PoolMode::new(mode),
            paused_until: AtomicU32::new(manifest.paused_until().map_or(0, Timestamp::seconds)),
            manifest: Lock::new(manifest),
            adding: Mutex::new(()),
            counters,
            outcomes,
            lateness: lateness::milliseconds(),
            history: Mutex::new(History::new(first)),
            cursors,
            waiting: Arc::default(),
            notices,
        }
    }

    /// The pool's name.
    pub fn name(&self) -> &PoolName {
        &self.name
    }

    /// The current settings.
    pub fn settings(&self) -> Guard<Arc<Settings>> {
        self.settings.load()
    }

    /// What becomes of a number that is returned without a word of it.
    #[inline]
    pub fn then(&self) -> NextState {
        self.terms.then()
    }

    /// Takes other settings.
    pub(crate) fn use_settings(&self, settings: Arc<Settings>) {
        self.terms.set(&settings);
        self.settings.store(settings);
    }

    /// The current round; the first is 1.
    pub fn round(&self) -> u32 {
        self.round_and_floor().0
    }

    /// The round, and the largest generation whose attempts do not count in it.
    pub(crate) fn round_and_floor(&self) -> (u32, u32) {
        let both = self.round_and_floor.load(Ordering::SeqCst);
        ((both >> u32::BITS) as u32, both as u32)
    }

    pub(crate) fn set_round(&self, round: u32, attempts_floor: u32) {
        self.round_and_floor.store(joined(round, attempts_floor), Ordering::SeqCst);
    }

    /// What the next lease begins above.
    #[inline]
    pub(crate) fn floors(&self) -> Floors {
        let attempts = self.round_and_floor.load(Ordering::SeqCst) as u32;
        Floors { generation: self.keys.floor().max(attempts), attempts }
    }

    /// Whether new leases are refused.
    pub fn is_paused(&self) -> bool {
        self.mode() == Mode::Paused
    }

    #[inline]
    pub(crate) fn mode(&self) -> Mode {
        self.mode.get()
    }

    pub(crate) fn set_mode(&self, mode: Mode) {
        self.mode.set(mode);
    }

    /// Whether the pool is open and no call that waits has precedence.
    #[inline]
    pub(crate) fn is_open_to_all(&self) -> bool {
        self.mode.is_open_to_all()
    }

    /// Says whether a call that waits has precedence. To be called under the line's lock.
    pub(crate) fn set_precedence(&self, has_precedence: bool) {
        self.mode.set_precedence(has_precedence);
    }

    /// When a pause ends by itself.
    pub fn paused_until(&self) -> Option<Timestamp> {
        match self.paused_until.load(Ordering::Relaxed) {
            0 => None,
            seconds => Some(Timestamp::new(seconds)),
        }
    }

    pub(crate) fn set_paused_until(&self, until: Option<Timestamp>) {
        // Relaxed: it is told, and the manifest's lock decides.
        self.paused_until.store(until.map_or(0, Timestamp::seconds), Ordering::Relaxed);
    }

    /// How many numbers the pool holds.
    pub fn numbers(&self) -> u64 {
        self.segments.load().whole.numbers()
    }

    /// How many segments the pool has.
    pub fn segment_count(&self) -> usize {
        self.segments.load().list.len()
    }

    /// How many numbers are in each state, whatever the hours. Sums counters; reads no word.
    pub fn counts(&self) -> Counts {
        let mut counts = self.counters.counts();
        // The words of those that are blocked say available.
        counts.block(
            self.segments.load().list.iter().map(|segment| segment.state.free.blocked().parked()).sum(),
        );
        counts
    }

    /// How often each event happened since the pool was created.
    pub fn totals(&self) -> Totals {
        self.counters.totals()
    }

    /// The counter of an outcome. Each name that the pool's rules ever had has its own, up to a limit.
    pub fn outcome(&self, name: &str) -> OutcomeId {
        self.outcomes.id(name)
    }

    /// Returns with an outcome, by outcome name. Omits outcomes that never occurred.
    pub fn returns_by_outcome(&self) -> BTreeMap<String, u64> {
        let counted = self.outcomes.all().into_iter().map(|(name, id)| (name, self.counters.returns(id)));
        counted.filter(|(_, count)| *count > 0).collect()
    }

    /// How late ended leases and rests were swept, in milliseconds, since the daemon started.
    pub fn lateness(&self) -> DistributionSnapshot {
        self.lateness.snapshot()
    }

    /// Rates over the last minutes. `left` is how many numbers can be leased at present.
    pub fn rates(&self, left: u64) -> Rates {
        self.history().rates(self.now_sample(), left)
    }

    /// Takes a sample for the rates.
    pub(crate) fn sample(&self) {
        let sample = self.now_sample();
        self.history().offer(sample);
    }

    fn now_sample(&self) -> Sample {
        Sample { at: Instant::now(), leases: self.totals().leases, available: self.counts().available }
    }

    fn history(&self) -> MutexGuard<'_, History> {
        self.history.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn kept_totals(&self) -> PoolTotals {
        PoolTotals { totals: self.totals(), returns_by_outcome: self.returns_by_outcome() }
    }

    /// Whether nothing was added to the pool or moved in it since.
    pub fn is_present(&self, within: &Within) -> bool {
        Arc::ptr_eq(&within.segments, &self.segments.load())
    }

    /// The pool's numbers that lie in any of the ranges.
    pub fn within(&self, ranges: &[NumberRange]) -> Within {
        Within::new(self.segments.load_full(), ranges)
    }

    /// The manifest that is on disk and in use. Waits for a change in progress.
    pub(crate) fn manifest(&self) -> Manifest {
        self.manifest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Identifies the pool in the journal. A pool that is created later under the same name has another id.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Changes the manifest on disk, then calls `apply` before any other change can start. All that is written
    /// below the pool's directory is written in here, so never after a deletion.
    pub(crate) fn change_manifest<T, E: From<ChangeError>>(
        &self,
        change: impl FnOnce(&mut Manifest) -> Result<(), E>,
        apply: impl FnOnce(&Manifest) -> T,
    ) -> Result<T, E> {
        let mut manifest = self.manifest.lock().unwrap_or_else(PoisonError::into_inner);
        if self.mode() == Mode::Deleted {
            return Err(ChangeError::Deleted.into());
        }
        let mut next = manifest.clone();
        change(&mut next)?;
        if next != *manifest {
            self.shared.journal.check().map_err(ChangeError::from)?;
            // If it is unknown which of the two manifests the disk has, this ends the daemon.
            next.write(&*self.shared.fail_stop_disk, &self.dir).map_err(ChangeError::from)?;
        }
        *manifest = next;
        Ok(apply(&manifest))
    }

    /// Closes the files after the last checkpoint.
    pub(crate) fn close(&self) -> std::io::Result<()> {
        self.segments.load().list.iter().try_for_each(|segment| segment.close())
    }

    /// Waits until everything seen so far is committed. Blocks the thread.
    pub fn settle(&self) -> Result<(), JournalError> {
        self.shared.journal.settle(SWEEPER_SLOT)
    }
}

pub(crate) type Pools = BTreeMap<String, Arc<Pool>>;
