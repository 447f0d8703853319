//! Why a number cannot be leased at present.

use crate::domain::list_name::ListName;
use crate::engine::calendar::Openness;
use crate::engine::operations::lookup::NumberState;
use crate::engine::pool::Pool;
use crate::numbers::number::Number;
use crate::numbers::set::run::LastRun;
use crate::state::number_state::State;
use crate::state::time::Timestamp;

/// Something that keeps a number from being leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Someone holds it until then.
    Leased(Timestamp),
    /// It rests until then.
    Resting(Timestamp),
    /// It is done until the next round.
    Done,
    /// It is retired until it is reinstated.
    Retired,
    /// It is on these lists, which block the pool.
    Blocked(Vec<ListName>),
    /// It is outside its hours until then; `None` if that is far away, or for ever.
    Closed(Option<Timestamp>),
    /// The pool is paused; until then, if it opens by itself.
    Paused(Option<Timestamp>),
}

impl Reason {
    /// The reason as the API names it.
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Leased(_) => "leased",
            Self::Resting(_) => "resting",
            Self::Done => "done",
            Self::Retired => "retired",
            Self::Blocked(_) => "blocked",
            Self::Closed(_) => "closed",
            Self::Paused(_) => "paused",
        }
    }

    /// When it ends, if that is known.
    pub fn until(&self) -> Option<Timestamp> {
        match self {
            Self::Leased(until) | Self::Resting(until) => Some(*until),
            Self::Closed(until) | Self::Paused(until) => *until,
            Self::Done | Self::Retired | Self::Blocked(_) => None,
        }
    }
}

/// A number, and all that keeps it from being leased: nothing if it can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NumberReport {
    /// The number.
    pub number: NumberState,
    /// How many attempts of the round count; `None` if the pool limits none.
    pub attempts: Option<u32>,
    /// What keeps it from being leased.
    pub reasons: Vec<Reason>,
}

impl NumberReport {
    /// The lists that the number is on, of those that block the pool.
    pub fn blocked_by(&self) -> &[ListName] {
        let lists = self.reasons.iter().find_map(|reason| match reason {
            Reason::Blocked(lists) => Some(lists.as_slice()),
            _ => None,
        });
        lists.unwrap_or_default()
    }
}

impl Pool {
    /// A number and all that keeps it from being leased; `None` if it is not in the pool. In a pool with hours it
    /// takes a while: then not for a serving thread.
    pub fn why(&self, number: Number) -> Option<NumberReport> {
        let segments = self.segments.load();
        let (segment, rank) = segments.locate(number, &mut LastRun::default())?;
        let segment = segments.get(segment);
        let seen = self.look(segment, rank);
        let holder = segment.holder_of(rank, seen);
        let lists = self.blocking.lists_with(number);
        let state = match seen.state() {
            // The lists are asked, not the rank's bit, which follows them a moment later.
            State::Available if !lists.is_empty() => State::Blocked,
            state => state,
        };
        let due = seen.due().unwrap_or_default();
        let mut reasons = Vec::new();
        reasons.extend(match state {
            State::Available | State::Blocked => None,
            State::Leased => Some(Reason::Leased(due)),
            State::Resting => Some(Reason::Resting(due)),
            State::Done => Some(Reason::Done),
            State::Retired => Some(Reason::Retired),
        });
        if !lists.is_empty() {
            reasons.push(Reason::Blocked(lists));
        }
        if let Some(open) = &segments.open
            && let Openness::Closed(until) = open.calendar().of_number(number)
        {
            reasons.push(Reason::Closed(until));
        }
        if self.is_paused() {
            reasons.push(Reason::Paused(self.paused_until()));
        }
        let attempts = self.attempts().map(|_| seen.attempts(self.floors().attempts));
        Some(NumberReport { number: NumberState::new(number, state, seen, holder), attempts, reasons })
    }
}
