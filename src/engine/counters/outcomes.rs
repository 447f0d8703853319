//! The outcomes by which a pool counts returns.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use arc_swap::ArcSwap;

use crate::domain::settings::MAX_OUTCOMES;
use crate::journal::cause::Cause;
use crate::sys::sync::Mutex;

/// Counters of returns by outcome: one per known name, and one for all others.
pub(crate) const OUTCOME_COUNTERS: usize = MAX_OUTCOMES + 1;
/// The name under which outcomes without their own counter are counted.
pub const OTHER_OUTCOME: &str = "other";
const OTHER: OutcomeId = OutcomeId { index: MAX_OUTCOMES as u8, tag: OTHER_TAG };
const OTHER_TAG: u32 = 1;

/// The counter of an outcome in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutcomeId {
    index: u8,
    tag: u32,
}

impl OutcomeId {
    pub(crate) fn index(self) -> usize {
        usize::from(self.index)
    }

    /// What the journal names it by, the same in every process.
    pub(crate) fn tag(self) -> u32 {
        self.tag
    }
}

/// The tag of an outcome. Of a million tags two names seldom share one; neither is told then.
pub(crate) fn tag_of(name: &str) -> u32 {
    if name == OTHER_OUTCOME {
        return OTHER_TAG;
    }
    let first = OTHER_TAG + 1;
    first + crc32c::crc32c(name.as_bytes()) % ((1 << Cause::TAG_BITS) - first)
}

/// The name of this tag among these, if one alone has it.
pub(crate) fn name_of<'a>(tag: u32, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let mut found = names.filter(|name| tag_of(name) == tag);
    let name = found.next()?;
    found.next().is_none().then_some(name)
}

/// The names with their own counter: those that the pool's rules ever had, up to [`MAX_OUTCOMES`]. Names made
/// up by callers get none, so the number of counters is bounded.
#[derive(Debug, Default)]
pub(crate) struct Outcomes {
    names: ArcSwap<BTreeMap<String, OutcomeId>>,
    adding: Mutex<()>,
}

impl Outcomes {
    /// Assigns counters to names while any are left.
    pub(crate) fn add<'a>(&self, names: impl Iterator<Item = &'a str>) {
        let _adding = self.adding.lock().unwrap_or_else(PoisonError::into_inner);
        let mut known = BTreeMap::clone(&self.names.load());
        for name in names {
            if known.len() < MAX_OUTCOMES && name != OTHER_OUTCOME && !known.contains_key(name) {
                let (index, tag) = (known.len() as u8, tag_of(name));
                known.insert(name.to_owned(), OutcomeId { index, tag });
            }
        }
        self.names.store(known.into());
    }

    /// The counter of an outcome.
    pub(crate) fn id(&self, name: &str) -> OutcomeId {
        self.names.load().get(name).copied().unwrap_or(OTHER)
    }

    /// The name of a tag.
    pub(crate) fn name(&self, tag: u32) -> Option<String> {
        let names = self.names.load();
        name_of(tag, names.keys().map(String::as_str).chain([OTHER_OUTCOME])).map(str::to_owned)
    }

    /// All names and their counters, [`OTHER_OUTCOME`] last.
    pub(crate) fn all(&self) -> Vec<(String, OutcomeId)> {
        let names = self.names.load();
        let own = names.iter().map(|(name, id)| (name.clone(), *id));
        own.chain([(OTHER_OUTCOME.to_owned(), OTHER)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_counter_and_there_are_only_so_many() {
        let outcomes = Outcomes::default();
        outcomes.add(["b", "a", OTHER_OUTCOME].into_iter());
        let (a, b) = (outcomes.id("a"), outcomes.id("b"));
        assert!(a != b && outcomes.id("c") == OTHER && outcomes.id(OTHER_OUTCOME) == OTHER);
        let many: Vec<_> = (0..200).map(|i| format!("outcome {i}")).collect();
        outcomes.add(many.iter().map(String::as_str));
        assert_eq!((outcomes.id("a"), outcomes.id("b")), (a, b));
        assert_eq!(outcomes.all().len(), OUTCOME_COUNTERS);
        assert!(outcomes.all().iter().all(|(_, id)| id.index() < OUTCOME_COUNTERS));
    }
}
