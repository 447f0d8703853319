//! The 64-bit state of one number, and every transition between states. Pure: no memory, clock or threads.
//!
//! ```text
//! bit 63          38 37      34 33 32 31                     1  0
//!     | generation  | attempts | phase| until                 | swept |
//!       26 bits       4 bits     2      31 bits                 1
//! ```
//!
//! * `generation`: how often the number was leased, reinstated or released.
//! * `attempts`: how often it was leased since its pool began to count, this lease among them; 15 stands for all
//!   that is more. It counts only while the generation is above the pool's [`Floors::attempts`]: to begin anew, a
//!   pool raises that, and no word has to change.
//! * `phase`: leased 0, returned 1, done 2, retired 3.
//! * `until`: a [`Timestamp`] for leased and returned; for done, the round in which it was done; 0 for
//!   retired.
//! * `swept`: `until` has passed and the number is available again. The thread that sets it puts the number
//!   back into the free index, so exactly one thread does so and counts it.
//!
//! The word of a number that was never leased is 0 and available, so a new table is a file of zeros.
//! Every change makes the word larger as an unsigned integer: merging two histories is `max`. Attempts change
//! with the generation only.

use super::end_rules::{AttemptLimit, EndRules, ExpiryRule};
use super::floors::Floors;
use super::number_state::State;
use super::time::Timestamp;

const SWEPT: u64 = 1;
const UNTIL_SHIFT: u32 = 1;
const UNTIL_BITS: u32 = 31;
const PHASE_SHIFT: u32 = UNTIL_SHIFT + UNTIL_BITS;
const PHASE_BITS: u32 = 2;
const ATTEMPTS_SHIFT: u32 = PHASE_SHIFT + PHASE_BITS;
const ATTEMPTS_BITS: u32 = 4;
pub(super) const GENERATION_SHIFT: u32 = ATTEMPTS_SHIFT + ATTEMPTS_BITS;
const GENERATION_BITS: u32 = 26;
/// Where the generation of a word began that had no attempts.
const OLD_GENERATION_SHIFT: u32 = ATTEMPTS_SHIFT;
const _: () = assert!(GENERATION_SHIFT + GENERATION_BITS == u64::BITS);

/// The last generation: a number that reaches it is retired at its next lease.
pub const MAX_GENERATION: u32 = (1 << GENERATION_BITS) - 1;
/// The most attempts that a word can count.
pub const MAX_ATTEMPTS: u32 = (1 << ATTEMPTS_BITS) - 1;
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

    fn build(generation: u32, attempts: u32, phase: Phase, until: u32, swept: bool) -> Self {
        debug_assert!(generation <= MAX_GENERATION && until <= Timestamp::MAX.seconds());
        debug_assert!(attempts <= MAX_ATTEMPTS);
        Self(
            u64::from(generation) << GENERATION_SHIFT
                | u64::from(attempts) << ATTEMPTS_SHIFT
                | (phase as u64) << PHASE_SHIFT
                | u64::from(until) << UNTIL_SHIFT
                | u64::from(swept),
        )
    }

    /// How often the number was leased, reinstated or released.
    pub fn generation(self) -> u32 {
        (self.0 >> GENERATION_SHIFT) as u32
    }

    fn attempt_bits(self) -> u32 {
        (self.0 >> ATTEMPTS_SHIFT) as u32 & MAX_ATTEMPTS
    }

    /// How often the number was leased since its pool's attempts were last counted anew; `floor` is
    /// [`Floors::attempts`]. [`MAX_ATTEMPTS`] stands for all that is more.
    #[inline]
    pub fn attempts(self, floor: u32) -> u32 {
        if self.generation() > floor { self.attempt_bits() } else { 0 }
    }

    /// The word that a table or a journal has from before words had attempts. A larger word is never made the
    /// smaller one, except that all whose generation does not fit any more are retired.
    #[must_use]
    pub fn from_bits_without_attempts(bits: u64) -> Self {
        let generation = (bits >> OLD_GENERATION_SHIFT) as u32;
        let rest = Self(bits & !(u64::MAX << OLD_GENERATION_SHIFT));
        let word = Self(u64::from(generation.min(MAX_GENERATION)) << GENERATION_SHIFT | rest.0);
        match generation {
            _ if rest.is_moved() => word.moved(),
            0..=MAX_GENERATION => word,
            _ => Self::given_up(MAX_GENERATION),
        }
    }

    /// Whether the number's lease is the last attempt that a limit allows, or a later one.
    pub fn has_reached(self, limit: AttemptLimit) -> bool {
        self.attempts(limit.floor) >= limit.max
    }

    /// What becomes of the number when its lease ends.
    fn expiry(self, rules: EndRules) -> ExpiryRule {
        match (rules.on_expiry, rules.attempts) {
            (ExpiryRule::Available | ExpiryRule::Rest(_), Some(limit)) if self.has_reached(limit) => {
                limit.then
            }
            (on_expiry, _) => on_expiry,
        }
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

    /// The number leased until then, with the next generation above the floor, and one attempt more.
    pub fn lease(self, until: Timestamp, floors: Floors) -> Result<Self, LeaseRefusal> {
        if !self.is_available() {
            return Err(LeaseRefusal::NotAvailable);
        }
        let used = self.generation().max(floors.generation);
        if used >= MAX_GENERATION {
            return Err(LeaseRefusal::GenerationsSpent);
        }
        let attempts = (self.attempts(floors.attempts) + 1).min(MAX_ATTEMPTS);
        Ok(Self::build(used + 1, attempts, Phase::Leased, until.seconds(), false))
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
        Ok(self.max(Self::build(self.generation(), self.attempt_bits(), Phase::Leased, until, false)))
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
        Self::build(self.generation(), self.attempt_bits(), phase, until, swept)
    }

    /// What the sweep turns the word into; `None` if it is not due at `now`.
    pub fn sweep(self, now: Timestamp, rules: EndRules) -> Option<Self> {
        let due = self.due().filter(|due| *due <= now)?;
        let swept = Self(self.0 | SWEPT);
        if self.phase() == Phase::Returned {
            return Some(swept);
        }
        Some(match self.expiry(rules) {
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

    /// A retired number available again, with the next generation above the floor, unless its generations are
    /// used up. Its attempts count anew.
    pub fn reinstate(self, floors: Floors) -> Option<Self> {
        let used = self.generation().max(floors.generation);
        let retired = self.state() == State::Retired && !self.is_moved() && used < MAX_GENERATION;
        retired.then(|| Self::build(used + 1, 0, Phase::Returned, 0, true))
    }

    /// A leased or resting number available again, by an operator. So is one whose lease has ended and could
    /// still be renewed. `None` for any other.
    ///
    /// The token of a lease proves its generation. So the number gets the next one above the floor, which is given
    /// out to nobody: from here on no token fits the word, and the next lease has a later generation still. The
    /// word grows like at a lease. A number whose generations are used up is retired instead: it is never
    /// leased again, and a retired number cannot be renewed. The attempts that were made count on.
    pub fn release(self, floors: Floors) -> Option<Self> {
        let has_token = match self.phase() {
            Phase::Leased => self.generation() > 0,
            Phase::Returned => !self.is_swept(),
            Phase::Done | Phase::Retired => false,
        };
        let used = self.generation().max(floors.generation);
        has_token.then(|| {
            if used < MAX_GENERATION {
                Self::build(used + 1, self.attempts(floors.attempts), Phase::Returned, 0, true)
            } else {
                self.ended(NextWord::Retired)
            }
        })
    }

    /// What replaces a word that has moved to another segment: larger than every other word of its generation.
    #[must_use]
    pub fn moved(self) -> Self {
        Self::build(self.generation(), MAX_ATTEMPTS, Phase::Retired, 0, true)
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
        Self::build(generation.min(MAX_GENERATION), 0, Phase::Leased, 0, false).ended(state)
    }

    /// A retired number of this generation, which replaces a lost word: not smaller than that was, unless it had
    /// moved.
    pub fn given_up(generation: u32) -> Self {
        Self::build(generation.min(MAX_GENERATION), MAX_ATTEMPTS, Phase::Retired, 0, false)
    }

    /// When the number becomes available if nobody renews or returns it before.
    pub fn available_at(self, rules: EndRules) -> Option<Timestamp> {
        let due = self.due()?;
        match (self.state(), self.expiry(rules)) {
            (State::Resting, _) | (_, ExpiryRule::Available) => Some(due),
            (_, ExpiryRule::Rest(seconds)) => Some(due.after(seconds)),
            _ => None,
        }
    }

    /// The word as it is at `now`, whether or not the sweep has reached it. A number that was done in an
    /// earlier round is done until the scan that opens the round has reached it.
    #[must_use]
    pub fn seen(self, now: Timestamp, rules: EndRules) -> Self {
        let mut word = self;
        while let Some(next) = word.sweep(now, rules) {
            word = next;
        }
        word
    }
}

#[cfg(test)]
#[cfg(not(allotd_loom))]
mod tests;
