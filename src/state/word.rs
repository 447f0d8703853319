//! The 64-bit state of one number, and every transition between states. Pure: no memory, clock or threads.
//!
//! ```text
//! bit 63          34 33 32 31                     1  0
//!     | generation  | phase| until                 | swept |
//!       30 bits       2      31 bits                 1
//! ```
//!
//! * `generation`: how often the number was leased, reinstated or released.
//! * `phase`: leased 0, returned 1, done 2, retired 3.
//! * `until`: a [`Timestamp`] for leased and returned; for done, the round in which it was done; 0 for
//!   retired.
//! * `swept`: `until` has passed and the number is available again. The thread that sets it puts the number
//!   back into the free index, so exactly one thread does so and counts it.
//!
//! The word of a number that was never leased is 0 and available, so a new table is a file of zeros.
//! Every change makes the word larger as an unsigned integer: merging two histories is `max`.

use super::number_state::State;
use super::time::Timestamp;

const SWEPT: u64 = 1;
const UNTIL_SHIFT: u32 = 1;
const UNTIL_BITS: u32 = 31;
const PHASE_SHIFT: u32 = UNTIL_SHIFT + UNTIL_BITS;
const PHASE_BITS: u32 = 2;
pub(super) const GENERATION_SHIFT: u32 = PHASE_SHIFT + PHASE_BITS;
const GENERATION_BITS: u32 = 30;
const _: () = assert!(GENERATION_SHIFT + GENERATION_BITS == u64::BITS);

/// The last generation: a number that reaches it is retired at its next lease.
pub const MAX_GENERATION: u32 = (1 << GENERATION_BITS) - 1;
/// The last round of a pool.
pub const MAX_ROUND: u32 = (1 << UNTIL_BITS) - 1;

/// What the end of a lease turns a number into, as the words store it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextWord {
    /// Available at once.
    Available,
    /// Resting until then.
    Rest(Timestamp),
    /// Done in this round.
    Done(u32),
    /// Retired.
    Retired,
}

/// What the sweep does with a lease that ended without a return.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExpiryRule {
    /// Available at once.
    Available,
    /// Rests for N seconds after the lease's end.
    Rest(u32),
    /// Done in this round.
    Done(u32),
    /// Retired.
    Retired,
}

/// Why a number cannot be leased.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LeaseRefusal {
    /// It is leased, resting, done or retired.
    NotAvailable,
    /// Its generations are used up; it has to be retired.
    GenerationsSpent,
}

/// The lease that was to be renewed or returned is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LeaseOver;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Leased = 0,
    Returned = 1,
    Done = 2,
    Retired = 3,
}

/// The state of one number in 64 bits. The module documentation has the layout.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Word(u64);

impl Word {
    /// The word of a number that was never leased.
    pub const NEW: Self = Self(0);

    /// The word with these bits.
    pub fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    /// The bits of the word.
    pub fn bits(self) -> u64 {
        self.0
    }

    fn build(generation: u32, phase: Phase, until: u32, swept: bool) -> Self {
        debug_assert!(generation <= MAX_GENERATION && until <= Timestamp::MAX.seconds());
        Self(
            u64::from(generation) << GENERATION_SHIFT
                | (phase as u64) << PHASE_SHIFT
                | u64::from(until) << UNTIL_SHIFT
                | u64::from(swept),
        )
    }

    /// How often the number was leased, reinstated or released.
    pub fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    fn phase(self) -> Phase {
        match (self.0 >> PHASE_SHIFT) & ((1 << PHASE_BITS) - 1) {
            0 => Phase::Leased,
            1 => Phase::Returned,
            2 => Phase::Done,
            _ => Phase::Retired,
        }
    }

    fn until_bits(self) -> u32 {
        (self.0 >> UNTIL_SHIFT) as u32 & Timestamp::MAX.seconds()
    }

    fn is_swept(self) -> bool {
        self.0 & SWEPT != 0
    }

    /// Whether the number can be leased.
    pub fn is_available(self) -> bool {
        self == Self::NEW || (self.is_swept() && self.phase() != Phase::Retired)
    }

    /// The state in which the number is counted: that of its last change or sweep.
    pub fn state(self) -> State {
        if self.is_available() {
            return State::Available;
        }
        match self.phase() {
            Phase::Leased => State::Leased,
            Phase::Returned => State::Resting,
            Phase::Done => State::Done,
            Phase::Retired => State::Retired,
        }
    }

    /// When the word is due for the sweep: at the end of the lease or the rest.
    pub fn due(self) -> Option<Timestamp> {
        let timed = matches!(self.state(), State::Leased | State::Resting);
        timed.then(|| Timestamp::new(self.until_bits()))
    }

    /// The round in which a done number was done.
    pub fn done_in_round(self) -> Option<u32> {
        (self.state() == State::Done).then(|| self.until_bits())
    }

    /// The number leased until then, with the next generation above `floor`.
    pub fn lease(self, until: Timestamp, floor: u32) -> Result<Self, LeaseRefusal> {
        if !self.is_available() {
            return Err(LeaseRefusal::NotAvailable);
        }
        let used = self.generation().max(floor);
        if used >= MAX_GENERATION {
            return Err(LeaseRefusal::GenerationsSpent);
        }
        Ok(Self::build(used + 1, Phase::Leased, until.seconds(), false))
    }

    /// The same lease, extended to `until` if that is later. An expired lease can be renewed as long as
    /// nobody leased the number since.
    pub fn renew(self, until: Timestamp) -> Result<Self, LeaseOver> {
        if self.phase() != Phase::Leased || self.generation() == 0 {
            return Err(LeaseOver);
        }
        let until = if self.is_swept() {
            until.seconds().max((self.until_bits() + 1).min(Timestamp::MAX.seconds()))
        } else {
            until.seconds().max(self.until_bits())
        };
        Ok(self.max(Self::build(self.generation(), Phase::Leased, until, false)))
    }

    /// The number returned by its holder. A second return changes nothing.
    pub fn return_lease(self, end: NextWord) -> Result<Self, LeaseOver> {
        if self.generation() == 0 {
            return Err(LeaseOver);
        }
        if self.phase() != Phase::Leased {
            return Ok(self);
        }
        Ok(self.ended(end))
    }

    fn ended(self, end: NextWord) -> Self {
        let (phase, until, swept) = match end {
            NextWord::Available => (Phase::Returned, 0, true),
            NextWord::Rest(until) => (Phase::Returned, until.seconds(), false),
            NextWord::Done(round) => (Phase::Done, round.min(MAX_ROUND), false),
            NextWord::Retired => (Phase::Retired, 0, false),
        };
        Self::build(self.generation(), phase, until, swept)
    }

    /// What the sweep turns the word into; `None` if it is not due at `now`.
    pub fn sweep(self, now: Timestamp, on_expiry: ExpiryRule) -> Option<Self> {
        let due = self.due().filter(|due| *due <= now)?;
        let swept = Self(self.0 | SWEPT);
        if self.phase() == Phase::Returned {
            return Some(swept);
        }
        Some(match on_expiry {
            ExpiryRule::Available => swept,
            ExpiryRule::Rest(seconds) => self.ended(NextWord::Rest(due.after(seconds))),
            ExpiryRule::Done(round) => self.ended(NextWord::Done(round)),
            ExpiryRule::Retired => self.ended(NextWord::Retired),
        })
    }

    /// A number that was done in an earlier round, available in this one.
    pub fn open_round(self, round: u32) -> Option<Self> {
        (self.state() == State::Done && self.until_bits() < round).then_some(Self(self.0 | SWEPT))
    }

    /// The number retired, unless it already is.
    pub fn retire(self) -> Option<Self> {
        (self.phase() != Phase::Retired).then(|| self.ended(NextWord::Retired))
    }

    /// A retired number available again, with the next generation above `floor`, unless its generations are
    /// used up.
    pub fn reinstate(self, floor: u32) -> Option<Self> {
        let used = self.generation().max(floor);
        let retired = self.state() == State::Retired && !self.is_moved() && used < MAX_GENERATION;
        retired.then(|| Self::build(used + 1, Phase::Returned, 0, true))
    }

    /// A leased or resting number available again, by an operator. So is one whose lease has ended and could
    /// still be renewed. `None` for any other.
    ///
    /// The token of a lease proves its generation. So the number gets the next one above `floor`, which is given
    /// out to nobody: from here on no token fits the word, and the next lease has a later generation still. The
    /// word grows like at a lease. A number whose generations are used up is retired instead: it is never
    /// leased again, and a retired number cannot be renewed.
    pub fn release(self, floor: u32) -> Option<Self> {
        let has_token = match self.phase() {
            Phase::Leased => self.generation() > 0,
            Phase::Returned => !self.is_swept(),
            Phase::Done | Phase::Retired => false,
        };
        let used = self.generation().max(floor);
        has_token.then(|| {
            if used < MAX_GENERATION {
                Self::build(used + 1, Phase::Returned, 0, true)
            } else {
                self.ended(NextWord::Retired)
            }
        })
    }

    /// What replaces a word that has moved to another segment: larger than every other word of its generation.
    #[must_use]
    pub fn moved(self) -> Self {
        Self::build(self.generation(), Phase::Retired, 0, true)
    }

    /// Whether the word has moved to another segment. It says nothing else then.
    #[inline]
    pub fn is_moved(self) -> bool {
        const MOVED: u64 = (Phase::Retired as u64) << PHASE_SHIFT | SWEPT;
        self.0 & MOVED == MOVED
    }

    /// The word of a number that was leased or reinstated `generation` times and is in this state since.
    pub fn restored(generation: u32, state: NextWord) -> Self {
        if generation == 0 && state == NextWord::Available {
            return Self::NEW;
        }
        Self::build(generation.min(MAX_GENERATION), Phase::Leased, 0, false).ended(state)
    }

    /// A retired number of this generation, which replaces a lost word.
    pub fn given_up(generation: u32) -> Self {
        Self::build(generation.min(MAX_GENERATION), Phase::Retired, 0, false)
    }

    /// When the number becomes available if nobody renews or returns it before.
    pub fn available_at(self, on_expiry: ExpiryRule) -> Option<Timestamp> {
        let due = self.due()?;
        match (self.state(), on_expiry) {
            (State::Resting, _) | (_, ExpiryRule::Available) => Some(due),
            (_, ExpiryRule::Rest(seconds)) => Some(due.after(seconds)),
            _ => None,
        }
    }

    /// The word as it is at `now`, whether or not the sweep has reached it. A number that was done in an
    /// earlier round is done until the scan that opens the round has reached it.
    #[must_use]
    pub fn seen(self, now: Timestamp, on_expiry: ExpiryRule) -> Self {
        let mut word = self;
        while let Some(next) = word.sweep(now, on_expiry) {
            word = next;
        }
        word
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(seconds: u32) -> Timestamp {
        Timestamp::new(seconds)
    }

    #[test]
    fn a_lease_goes_round() {
        let leased = Word::NEW.lease(at(100), 0).unwrap();
        assert_eq!((leased.state(), leased.generation(), leased.due()), (State::Leased, 1, Some(at(100))));
        assert_eq!(leased.lease(at(200), 0), Err(LeaseRefusal::NotAvailable));
        assert_eq!(leased.sweep(at(99), ExpiryRule::Available), None);
        let swept = leased.sweep(at(100), ExpiryRule::Available).unwrap();
        assert_eq!((swept.state(), swept.due()), (State::Available, None));
        let again = swept.lease(at(300), 0).unwrap();
        assert_eq!((again.state(), again.generation()), (State::Leased, 2));
        let rested = again.return_lease(NextWord::Rest(at(400))).unwrap();
        assert_eq!((rested.state(), rested.due()), (State::Resting, Some(at(400))));
        assert_eq!(rested.renew(at(900)), Err(LeaseOver));
        assert_eq!(rested.return_lease(NextWord::Done(1)), Ok(rested), "returning twice changes nothing");
        assert_eq!(rested.sweep(at(400), ExpiryRule::Done(1)).unwrap().state(), State::Available);
    }

    #[test]
    fn a_passed_lease_can_still_be_renewed_and_returned() {
        let swept = Word::NEW.lease(at(100), 0).unwrap().sweep(at(100), ExpiryRule::Available).unwrap();
        let renewed = swept.renew(at(150)).unwrap();
        assert_eq!((renewed.state(), renewed.generation(), renewed.due()), (State::Leased, 1, Some(at(150))));
        assert!(renewed > swept && swept.renew(at(100)).unwrap() > swept);
        assert_eq!(swept.return_lease(NextWord::Done(3)).unwrap().state(), State::Done);
    }

    #[test]
    fn a_renewal_never_shortens() {
        let leased = Word::NEW.lease(at(100), 0).unwrap();
        assert_eq!(leased.renew(at(50)), Ok(leased));
    }

    #[test]
    fn expiry_follows_the_pool() {
        let leased = Word::NEW.lease(at(100), 0).unwrap();
        let rests = leased.sweep(at(130), ExpiryRule::Rest(20)).unwrap();
        assert_eq!((rests.state(), rests.due()), (State::Resting, Some(at(120))));
        assert_eq!(leased.seen(at(130), ExpiryRule::Rest(20)).state(), State::Available);
        assert_eq!(leased.sweep(at(130), ExpiryRule::Done(2)).unwrap().state(), State::Done);
        assert_eq!(leased.sweep(at(130), ExpiryRule::Retired).unwrap().state(), State::Retired);
    }

    #[test]
    fn done_comes_back_in_a_later_round_only() {
        let done = Word::NEW.lease(at(100), 0).unwrap().return_lease(NextWord::Done(1)).unwrap();
        assert_eq!(done.open_round(1), None);
        assert_eq!(done.open_round(2).unwrap().state(), State::Available);
        assert_eq!(done.sweep(Timestamp::MAX, ExpiryRule::Available), None);
    }

    #[test]
    fn retired_stays_until_reinstated() {
        for word in [Word::NEW, Word::NEW.lease(at(100), 0).unwrap()] {
            let retired = word.retire().unwrap();
            assert!(retired > word);
            assert_eq!((retired.state(), retired.retire()), (State::Retired, None));
            assert_eq!(retired.lease(at(1), 0), Err(LeaseRefusal::NotAvailable));
            let back = retired.reinstate(0).unwrap();
            assert_eq!((back.state(), back.generation()), (State::Available, word.generation() + 1));
            assert_eq!(back.reinstate(0), None);
        }
    }

    #[test]
    fn a_release_ends_a_lease_or_a_rest_and_its_token() {
        let leased = Word::NEW.lease(at(100), 0).unwrap();
        let lapsed = leased.sweep(at(100), ExpiryRule::Available).unwrap();
        let resting = leased.return_lease(NextWord::Rest(at(400))).unwrap();
        for word in [leased, lapsed, resting] {
            let released = word.release(0).unwrap();
            assert!(released > word);
            assert_eq!(
                (released.state(), released.generation(), released.due()),
                (State::Available, 2, None)
            );
            assert_eq!(released.renew(at(900)), Err(LeaseOver));
            assert_eq!(released.release(0), None, "twice changes nothing");
            assert_eq!(released.lease(at(500), 0).unwrap().generation(), 3);
            assert_eq!(word.release(7).unwrap().generation(), 8);
        }
        let done = leased.return_lease(NextWord::Done(1)).unwrap();
        for word in [Word::NEW, done, leased.retire().unwrap(), leased.moved()] {
            assert_eq!(word.release(0), None);
        }
        let last = Word::build(MAX_GENERATION, Phase::Leased, 100, false);
        let released = last.release(0).unwrap();
        assert_eq!((released.state(), released.renew(at(900))), (State::Retired, Err(LeaseOver)));
    }

    #[test]
    fn a_floor_of_generations_is_passed_by_the_next_lease() {
        let old = Word::NEW.lease(at(10), 0).unwrap().return_lease(NextWord::Available).unwrap();
        assert_eq!(old.lease(at(20), 7).unwrap().generation(), 8);
        assert_eq!(old.lease(at(20), MAX_GENERATION), Err(LeaseRefusal::GenerationsSpent));
        assert_eq!(old.retire().unwrap().reinstate(7).unwrap().generation(), 8);
    }

    #[test]
    fn a_worn_out_number_is_never_leased() {
        let worn = Word::build(MAX_GENERATION, Phase::Returned, 0, true);
        assert_eq!(worn.lease(at(1), 0), Err(LeaseRefusal::GenerationsSpent));
        assert_eq!(worn.retire().unwrap().reinstate(0), None);
    }

    proptest! {
        #[test]
        fn a_moved_word_is_the_largest_of_its_generation_and_never_changes(
            bits: u64, seconds in 0..=Timestamp::MAX.seconds(), round in 0..=MAX_ROUND
        ) {
            let word = Word::from_bits(bits);
            let moved = word.moved();
            let retired = Word::build(word.generation(), Phase::Retired, 0, false);
            prop_assert!(moved.is_moved() && moved.generation() == word.generation() && moved > retired);
            prop_assert_eq!(word.retire().unwrap_or(word).is_moved(), word.is_moved());
            prop_assert!(moved.lease(at(seconds), 0).is_err() && moved.renew(at(seconds)).is_err());
            prop_assert!(moved.retire().is_none() && moved.reinstate(0).is_none() && moved.release(0).is_none());
            prop_assert!(moved.open_round(round).is_none());
            prop_assert!(moved.sweep(at(seconds), ExpiryRule::Available).is_none());
            prop_assert_eq!(moved.return_lease(NextWord::Retired).unwrap_or(moved), moved);
        }

        #[test]
        fn every_change_grows_the_word(bits: u64, seconds in 0..=Timestamp::MAX.seconds(), round in 0..=MAX_ROUND, rest: u32) {
            let word = Word::from_bits(bits);
            let end = [NextWord::Available, NextWord::Rest(at(seconds)), NextWord::Done(round), NextWord::Retired];
            let expiry = [ExpiryRule::Available, ExpiryRule::Rest(rest), ExpiryRule::Done(round), ExpiryRule::Retired];
            let mut changes = vec![word.lease(at(seconds), 0).ok(), word.retire(), word.reinstate(0), word.release(0), word.open_round(round)];
            changes.extend(expiry.map(|e| word.sweep(at(seconds), e)));
            for next in changes.into_iter().flatten() {
                prop_assert!(next > word, "{word:?} -> {next:?}");
            }
            for next in end.iter().filter_map(|e| word.return_lease(*e).ok()).chain(word.renew(at(seconds)).ok()) {
                prop_assert!(next >= word, "{word:?} -> {next:?}");
            }
        }
    }
}
