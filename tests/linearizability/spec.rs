//! The sequential pool that concurrent histories are compared with.
//!
//! It is a set of states: whatever a call could have done when its answer is not known, or when the
//! model leaves it open which number a lease takes. A call whose answer fits none of them is not possible.

use std::collections::BTreeSet;

use stateright::semantics::SequentialSpec;

/// A token, as far as the model is concerned: the generation it was made for; `None` for a made-up one.
pub(crate) type Proof = Option<u32>;

/// One call, or one event that changes what calls see. Times are seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    Lease {
        ttl: u32,
    },
    Renew {
        number: usize,
        proof: Proof,
        ttl: u32,
    },
    /// `rest` of 0: available at once.
    Return {
        number: usize,
        proof: Proof,
        rest: u32,
    },
    Lookup {
        number: usize,
    },
    /// Time passes; what ends by then ends.
    Tick {
        seconds: u32,
    },
    /// The daemon was killed and started again.
    Restart,
}

/// A call with what limits its effect.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) op: Op,
    /// The time when it began: a call may go by any time between this one and the one of its effect.
    pub(crate) earliest: u32,
    /// How many restarts there had been: a call takes effect before the next one, or never.
    pub(crate) epoch: u32,
    /// Numbers, with the generation that the lease made, that other calls leased meanwhile. The engine
    /// takes a number out of the index first and then leases it: one for which the first is done counts
    /// as taken for "exhausted" and is seen as available until the second is.
    pub(crate) claims: Vec<(usize, u32)>,
    /// Leases meanwhile whose answer, and so whose number, is not known.
    pub(crate) unknown_claims: usize,
}

impl Call {
    pub(crate) fn new(op: Op, earliest: u32, epoch: u32) -> Self {
        Self { op, earliest, epoch, claims: Vec::new(), unknown_claims: 0 }
    }
}

/// What a number is seen as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Seen {
    Available,
    Leased { until: u32 },
    Resting { until: u32 },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    Leased {
        number: usize,
        generation: u32,
        until: u32,
    },
    Exhausted,
    /// Neither a number nor their absence could be made sure of; nothing changed.
    Busy,
    Renewed {
        until: u32,
    },
    /// The end of the rest, if it rests.
    Returned {
        until: Option<u32>,
    },
    Stale,
    Saw {
        generation: u32,
        seen: Seen,
    },
    Done,
}

/// One number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub(crate) struct Entry {
    pub(crate) generation: u32,
    /// Whether it was given back, or never leased.
    pub(crate) returned: bool,
    /// End of the lease or the rest.
    pub(crate) until: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct State {
    now: u32,
    epoch: u32,
    entries: Vec<Entry>,
}

impl State {
    fn is_available(&self, entry: Entry) -> bool {
        entry.until <= self.now
    }

    fn with(&self, number: usize, entry: Entry) -> Self {
        let mut next = self.clone();
        next.entries[number] = entry;
        next
    }

    /// The entry that a token is good for.
    fn held(&self, number: usize, proof: Proof) -> Option<Entry> {
        let entry = self.entries[number];
        (entry.generation > 0 && proof == Some(entry.generation)).then_some(entry)
    }

    /// Everything that a call can do here, with its answer.
    fn outcomes(&self, call: &Call) -> Vec<(Answer, Self)> {
        if call.epoch != self.epoch {
            return Vec::new();
        }
        let times = call.earliest..=self.now;
        match call.op {
            Op::Lease { ttl } => {
                let mut outcomes = vec![(Answer::Busy, self.clone())];
                let mut available = 0;
                for (number, entry) in self.entries.iter().enumerate() {
                    if !self.is_available(*entry) {
                        continue;
                    }
                    available += usize::from(!call.claims.contains(&(number, entry.generation + 1)));
                    let generation = entry.generation + 1;
                    for until in times.clone().map(|time| time + ttl) {
                        let leased = Entry { generation, returned: false, until };
                        let answer = Answer::Leased { number, generation, until };
                        outcomes.push((answer, self.with(number, leased)));
                    }
                }
                if available <= call.unknown_claims {
                    outcomes.push((Answer::Exhausted, self.clone()));
                }
                outcomes
            }
            Op::Renew { number, proof, ttl } => match self.held(number, proof) {
                Some(entry) if !entry.returned => self.renewals(number, entry, times.map(|time| time + ttl)),
                _ => vec![(Answer::Stale, self.clone())],
            },
            Op::Return { number, proof, rest } => match self.held(number, proof) {
                None => vec![(Answer::Stale, self.clone())],
                Some(entry) if entry.returned => {
                    let until = (!self.is_available(entry)).then_some(entry.until);
                    vec![(Answer::Returned { until }, self.clone())]
                }
                Some(entry) => self.returns(number, entry, times.map(|time| (rest, time + rest))),
            },
            Op::Lookup { number } => self.looks(number, call.earliest),
            Op::Tick { seconds } => vec![(Answer::Done, Self { now: self.now + seconds, ..self.clone() })],
            Op::Restart => vec![(Answer::Done, Self { epoch: self.epoch + 1, ..self.clone() })],
        }
    }

    fn renewals(&self, number: usize, entry: Entry, ends: impl Iterator<Item = u32>) -> Vec<(Answer, Self)> {
        let mut outcomes = Vec::new();
        for end in ends {
            // The sweep may have passed since the lease ended: then the renewal lasts a second longer at least.
            let swept = self.is_available(entry).then_some(end.max(entry.until + 1));
            for until in [Some(end.max(entry.until)), swept].into_iter().flatten() {
                outcomes.push((Answer::Renewed { until }, self.with(number, Entry { until, ..entry })));
            }
        }
        outcomes
    }

    fn returns(
        &self,
        number: usize,
        entry: Entry,
        rests: impl Iterator<Item = (u32, u32)>,
    ) -> Vec<(Answer, Self)> {
        let mut outcomes = Vec::new();
        for (rest, end) in rests {
            let until = if rest == 0 { 0 } else { end };
            let next = self.with(number, Entry { returned: true, until, ..entry });
            if rest > 0 {
                outcomes.push((Answer::Returned { until: Some(until) }, next.clone()));
            }
            // Also of a rest, should it be over by the time the answer is made.
            outcomes.push((Answer::Returned { until: None }, next));
        }
        outcomes
    }

    fn looks(&self, number: usize, earliest: u32) -> Vec<(Answer, Self)> {
        let Entry { generation, returned, until, .. } = self.entries[number];
        let mut seen = Vec::new();
        if until > earliest {
            seen.push(if returned { Seen::Resting { until } } else { Seen::Leased { until } });
        }
        if until <= self.now {
            seen.push(Seen::Available);
        }
        seen.into_iter().map(|seen| (Answer::Saw { generation, seen }, self.clone())).collect()
    }
}

/// All the states that the sequential pool can be in.
#[derive(Debug, Clone)]
pub(crate) struct Spec {
    possible: BTreeSet<State>,
}

impl Spec {
    /// A pool whose numbers are known.
    pub(crate) fn new(now: u32, epoch: u32, entries: Vec<Entry>) -> Self {
        Self { possible: BTreeSet::from([State { now, epoch, entries }]) }
    }
}

impl SequentialSpec for Spec {
    type Op = Call;
    /// `None` for a call that may have taken effect though its answer never came.
    type Ret = Option<Answer>;

    fn invoke(&mut self, call: &Call) -> Option<Answer> {
        self.possible =
            self.possible.iter().flat_map(|state| state.outcomes(call)).map(|(_, next)| next).collect();
        None
    }

    fn is_valid_step(&mut self, call: &Call, answer: &Option<Answer>) -> bool {
        let outcomes = self.possible.iter().flat_map(|state| state.outcomes(call));
        self.possible =
            outcomes.filter(|(possible, _)| Some(*possible) == *answer).map(|(_, next)| next).collect();
        !self.possible.is_empty()
    }
}
