//! Attempts: how often a number is leased in a round, and what becomes of it at the last one.
//!
//! A word counts the leases of its number. They count only while its generation is above the pool's floor, which
//! its manifest keeps: a round that begins, or a limit where there was none, raises the floor to the largest
//! generation of any number. So no word has to change for that, and a crash leaves either floor. A lease gives out
//! generations above the floor only.
//!
//! A lease that was begun under the old floor must not end up above the new one with attempts that it counted on.
//! It is one generation above its number's last, so the floor has room for the leases that were made since the
//! largest generation was looked for; [`Pool::count_anew`] makes sure of it.

use std::sync::Arc;

use crate::coordinates::{self, Rank};
use crate::domain::attempts_error::MAX_ATTEMPTS;
use crate::domain::settings::{Attempts, NextState};
use crate::engine::lists::list::List;
use crate::engine::pool::Pool;
use crate::engine::pool_error::ChangeError;
use crate::engine::segment::Segment;
use crate::engine::shared::SWEEPER_SLOT;
use crate::engine::transition::Transition;
use crate::state::block::BLOCK_WORDS;
use crate::state::end_rules::{AttemptLimit, EndRules, ExpiryRule};
use crate::state::number_state::State;
use crate::state::time::Timestamp;
use crate::state::word::{self, MAX_GENERATION};
use crate::store::manifest::Manifest;
use crate::sys::parallel;
use crate::sys::slot::Slot;

const _: () = assert!(MAX_ATTEMPTS == word::MAX_ATTEMPTS);

/// The highest floor: beyond it a pool counts no attempts of another round, as its numbers would soon be spent.
const MAX_FLOOR: u32 = MAX_GENERATION / 2;
/// Fewest words that a thread reads.
const MIN_WORDS_PER_THREAD: u32 = 1 << 20;
/// Leases for which a floor has room beside those that its pool is seen to make.
const SPARE_LEASES: u64 = 64;

/// The largest generation of a pool, and how many leases it had made when it was looked for.
pub(crate) struct Largest {
    generation: u32,
    leases: u64,
}

/// What becomes of a number at the end of its lease.
fn expiry_rule(then: NextState, round: u32) -> ExpiryRule {
    match then {
        // A number that goes onto a list is available but for that.
        NextState::Available | NextState::List(_) => ExpiryRule::Available,
        NextState::Rest(seconds) => ExpiryRule::Rest(seconds),
        NextState::Done => ExpiryRule::Done(round),
        NextState::Retired => ExpiryRule::Retired,
    }
}

/// What becomes of numbers whose leases end in a round.
pub(crate) fn end_rules(
    on_expiry: NextState,
    attempts: Option<Attempts>,
    (round, floor): (u32, u32),
) -> EndRules {
    let limit = attempts.map(|attempts| AttemptLimit {
        max: attempts.max,
        floor,
        then: expiry_rule(attempts.then, round),
    });
    EndRules { on_expiry: expiry_rule(on_expiry, round), attempts: limit }
}

impl Pool {
    /// The largest generation of any number.
    fn largest_generation(&self) -> u32 {
        let of = |segment: &Arc<Segment>| {
            let words = &segment.state.words;
            let parts = parallel::parts(words.len(), MIN_WORDS_PER_THREAD, BLOCK_WORDS);
            let of_ranks =
                |ranks: std::ops::Range<u32>| ranks.map(|rank| words.get(Rank(rank)).generation()).max();
            parallel::for_each(parts, of_ranks).into_iter().flatten().max()
        };
        self.segments.load().list.iter().filter_map(of).max().unwrap_or(0)
    }

    /// Looks for the largest generation, before a floor is raised.
    pub(crate) fn find_largest(&self) -> Largest {
        let leases = self.totals().leases;
        Largest { generation: self.largest_generation(), leases }
    }

    /// Raises the floor of a manifest above all attempts so far.
    pub(crate) fn raise_floor(&self, manifest: &mut Manifest, largest: &Largest) -> Result<(), ChangeError> {
        let since = self.totals().leases.saturating_sub(largest.leases);
        let room = if since == 0 { 0 } else { since.saturating_mul(2).saturating_add(SPARE_LEASES) };
        let floor = u64::from(largest.generation).saturating_add(room);
        match u32::try_from(floor) {
            Ok(floor) if floor <= MAX_FLOOR => {
                manifest.attempts_floor = manifest.attempts_floor.max(floor);
                Ok(())
            }
            _ => Err(ChangeError::TooManyGenerations),
        }
    }

    /// Completes the change of a floor that is in use already: raises it further as long as a lease that was begun
    /// under the one before may have got above it.
    pub(crate) fn count_anew(&self, largest: &Largest) -> Result<(), ChangeError> {
        loop {
            let published = self.totals().leases;
            let position = self.shared.journal.settled_position(SWEEPER_SLOT);
            self.shared.journal.wait_for(SWEEPER_SLOT, position)?;
            // Of those that were in progress then, each thread made at most one of any number.
            let in_progress = self.totals().leases.saturating_sub(published).min(self.shared.slots as u64);
            let before = published.saturating_sub(largest.leases).saturating_add(in_progress);
            if u64::from(largest.generation) + before <= u64::from(self.floors().attempts) || before == 0 {
                return Ok(());
            }
            self.change_manifest(
                |manifest| self.raise_floor(manifest, largest),
                |manifest| self.set_round(manifest.round, manifest.attempts_floor),
            )?;
        }
    }

    /// What becomes of numbers whose leases end.
    pub(crate) fn end_rules(&self) -> EndRules {
        end_rules(self.terms.on_expiry(), self.attempts(), self.round_and_floor())
    }

    /// The limit of attempts.
    #[inline]
    pub(crate) fn attempts(&self) -> Option<Attempts> {
        if self.terms.limits_attempts() { self.settings().attempts } else { None }
    }

    /// The next state of a number that is returned, or whose lease ends, and would become `then` otherwise. The
    /// caller has its token, or it is due: its attempts do not change meanwhile.
    #[inline]
    pub(crate) fn after_attempt(
        &self,
        attempts: Option<Attempts>,
        segment: &Segment,
        rank: Rank,
        then: NextState,
    ) -> NextState {
        match attempts {
            None => then,
            Some(attempts) if segment.word(rank).attempts(self.floors().attempts) < attempts.max => then,
            Some(attempts) => attempts.instead_of(then),
        }
    }

    /// The list that numbers go onto after their last attempt.
    pub(crate) fn list_after_attempts(&self) -> Option<Arc<List>> {
        let list = self.attempts()?.then.list()?;
        // A list that the settings name is not deleted.
        self.shared.lists.get(list).ok()
    }

    /// Puts the numbers of leases that are due onto the list, if these were their last attempts. It comes before
    /// their words change, so that none is available in between.
    pub(crate) fn list_due(
        &self,
        segment: &Segment,
        ranks: &std::ops::Range<Rank>,
        (now, rules): (Timestamp, EndRules),
        list: &List,
        (slot, transition): (Slot, &Transition<'_>),
    ) {
        let Some(limit) = rules.attempts.filter(|_| self.terms.on_expiry().comes_back()) else {
            return;
        };
        for rank in coordinates::each(ranks) {
            let word = segment.state.words.get(rank);
            let is_last = word.state() == State::Leased && word.has_reached(limit);
            if is_last
                && word.due().is_some_and(|due| due <= now)
                && !segment.is_inert(rank)
                && let Some(number) = segment.set.select(rank)
                && !list.contains(number)
            {
                self.shared.lists.put_one(list, number, slot, now, transition.changing());
            }
        }
    }
}
