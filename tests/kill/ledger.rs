//! What the clients know: every acknowledged change of a number, and which requests have no answer yet.
//!
//! A request is entered before it is sent and once more when its answer is there, so at a kill the entries say
//! what must be true of each number and what may be.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};

/// What becomes of a returned number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NextState {
    Available,
    Rest,
    Done,
    Retired,
}

/// Longer than any run.
const REST_SECONDS: u32 = 100_000;

impl NextState {
    pub(crate) const ALL: [Self; 4] = [Self::Available, Self::Rest, Self::Done, Self::Retired];

    pub(crate) fn json(self) -> Value {
        match self {
            Self::Available => json!("available"),
            Self::Rest => json!({"rest": REST_SECONDS}),
            Self::Done => json!("done"),
            Self::Retired => json!("retired"),
        }
    }

    fn state(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Rest => "resting",
            Self::Done => "done",
            Self::Retired => "retired",
        }
    }
}

/// A lease that was acknowledged.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Hold {
    token: String,
    until: String,
    /// A renewal has no answer yet.
    renewing: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Known {
    Held(Hold),
    /// A return has no answer yet.
    Returning(Hold, NextState),
    /// Returned, with the end of its rest.
    Returned(NextState, Option<String>),
    /// Leased by a request whose answer was lost.
    Orphan,
}

#[derive(Debug, Clone)]
struct Entry {
    generation: u64,
    known: Known,
}

/// One row of an export.
#[derive(Debug)]
pub(crate) struct Row<'a> {
    pub(crate) number: u64,
    pub(crate) state: &'a str,
    generation: u64,
    until: &'a str,
}

impl<'a> Row<'a> {
    /// Reads `number,state,generation,until`.
    pub(crate) fn parse(line: &'a str) -> Self {
        let fields: Vec<_> = line.split(',').collect();
        let [number, state, generation, until] = fields[..] else { panic!("{line:?}") };
        Self { number: number.parse().unwrap(), state, generation: generation.parse().unwrap(), until }
    }
}

/// The held numbers of one request that is sent.
pub(crate) struct Batch {
    /// Each with the generation of its lease.
    numbers: Vec<(u64, u64)>,
    /// As the request names them.
    pub(crate) leases: Value,
}

impl Batch {
    /// The numbers with their results, of which there must be as many.
    fn results<'a>(&self, answer: &'a Value) -> impl Iterator<Item = (u64, u64, &'a Value)> {
        let results = answer["results"].as_array().unwrap();
        assert_eq!(results.len(), self.numbers.len());
        let one = |(&(number, generation), result): (&(u64, u64), &'a Value)| {
            assert_eq!(result["number"], number);
            (number, generation, result)
        };
        self.numbers.iter().zip(results).map(one).collect::<Vec<_>>().into_iter()
    }
}

/// The numbers of one pool, from outside.
pub(crate) struct Ledger {
    entries: Mutex<BTreeMap<u64, Entry>>,
}

impl Ledger {
    pub(crate) fn new(numbers: std::ops::Range<u64>) -> Self {
        let entry = Entry { generation: 0, known: Known::Returned(NextState::Available, None) };
        Self { entries: Mutex::new(numbers.map(|number| (number, entry.clone())).collect()) }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lease was answered: its numbers.
    pub(crate) fn leased(&self, answer: &Value) -> Vec<u64> {
        let mut entries = self.lock();
        let take = |lease: &Value| {
            let number = lease["number"].as_u64().unwrap();
            let generation = lease["generation"].as_u64().unwrap();
            let entry = entries.get_mut(&number).unwrap_or_else(|| panic!("{number} is not in the pool"));
            assert!(entry.may_be_leased(), "{number} was leased again while it was {entry:?}");
            assert_eq!(generation, entry.generation + 1, "{number} was {entry:?}");
            let hold = Hold {
                token: lease["token"].as_str().unwrap().to_owned(),
                until: lease["expires_at"].as_str().unwrap().to_owned(),
                renewing: false,
            };
            *entry = Entry { generation, known: Known::Held(hold) };
            number
        };
        answer["leases"].as_array().unwrap().iter().map(take).collect()
    }

    /// A renewal of held numbers is about to be sent.
    pub(crate) fn begin_renewal(&self, numbers: &[u64]) -> Batch {
        self.begin(numbers, |hold| Known::Held(Hold { renewing: true, ..hold.clone() }))
    }

    /// A return of held numbers is about to be sent.
    pub(crate) fn begin_return(&self, numbers: &[u64], then: NextState) -> Batch {
        self.begin(numbers, |hold| Known::Returning(hold.clone(), then))
    }

    fn begin(&self, numbers: &[u64], change: impl Fn(&Hold) -> Known) -> Batch {
        let mut entries = self.lock();
        let mut batch = Batch { numbers: Vec::new(), leases: json!([]) };
        for number in numbers {
            let entry = entries.get_mut(number).unwrap();
            let Known::Held(hold) = &entry.known else { panic!("{number} is {entry:?}, not held") };
            batch.leases.as_array_mut().unwrap().push(json!({"number": number, "token": hold.token}));
            batch.numbers.push((*number, entry.generation));
            entry.known = change(hold);
        }
        batch
    }

    /// The renewal was answered: every token must have been good.
    pub(crate) fn renewed(&self, batch: &Batch, answer: &Value) {
        let mut entries = self.lock();
        for (number, _, result) in batch.results(answer) {
            let entry = entries.get_mut(&number).unwrap();
            assert_eq!(result["result"], "renewed", "{number} is {entry:?}");
            let Known::Held(hold) = &mut entry.known else { panic!("{number} is not held") };
            let until = result["expires_at"].as_str().unwrap().to_owned();
            (hold.until, hold.renewing) = (until, false);
        }
    }

    /// The return was answered.
    pub(crate) fn returned(&self, batch: &Batch, answer: &Value) {
        let mut entries = self.lock();
        for (number, generation, result) in batch.results(answer) {
            let entry = entries.get_mut(&number).unwrap();
            assert_eq!(result["result"], "returned", "{number} is {entry:?}");
            // Another client may have leased it before this answer was read.
            if entry.generation == generation
                && let Known::Returning(_, then) = entry.known
            {
                assert_eq!(result["state"], then.state(), "{number}");
                let until = result["available_at"].as_str().map(str::to_owned);
                entry.known = Known::Returned(then, until);
            }
        }
    }

    /// The numbers that are held.
    pub(crate) fn held(&self) -> Vec<u64> {
        let entries = self.lock();
        let held = entries.iter().filter(|(_, entry)| matches!(entry.known, Known::Held(_)));
        held.map(|(number, _)| *number).collect()
    }

    /// The numbers that nobody can lease until an operator makes them available.
    pub(crate) fn out_of_use(&self) -> Vec<u64> {
        let entries = self.lock();
        let out = entries.iter().filter(|(_, entry)| {
            matches!(
                entry.known,
                Known::Orphan | Known::Returned(NextState::Rest | NextState::Done | NextState::Retired, _)
            )
        });
        out.map(|(number, _)| *number).collect()
    }

    /// The operator made these available, which may have begun a new generation, so that old tokens are stale.
    pub(crate) fn made_available(&self, numbers: &[u64], rows: &[Row<'_>]) {
        let mut entries = self.lock();
        for row in rows.iter().filter(|row| numbers.contains(&row.number)) {
            let entry = entries.get_mut(&row.number).unwrap();
            assert!(row.generation >= entry.generation, "{row:?} was {entry:?}");
            entry.generation = row.generation;
            entry.known = Known::Returned(NextState::Available, None);
        }
    }

    /// Compares what is known with all rows of the pool, and takes over what was uncertain. Requests for
    /// `lost_leases` numbers were under way when the daemon ended.
    pub(crate) fn compare(&self, rows: &[Row<'_>], mut lost_leases: u64) {
        let mut entries = self.lock();
        assert!(rows.iter().map(|row| row.number).eq(entries.keys().copied()), "other numbers than before");
        for row in rows {
            let entry = entries.get_mut(&row.number).unwrap();
            let before = entry.clone();
            let agrees = entry.take_over(row);
            assert!(agrees, "{} is {row:?}, the clients know {before:?}", row.number);
            if entry.known == Known::Orphan && before.known != Known::Orphan {
                assert!(lost_leases > 0, "{row:?} was leased by nobody: the clients know {before:?}");
                lost_leases -= 1;
            }
        }
    }
}

impl Entry {
    fn may_be_leased(&self) -> bool {
        match self.known {
            Known::Returned(then, _) | Known::Returning(_, then) => then == NextState::Available,
            Known::Held(_) | Known::Orphan => false,
        }
    }

    /// Whether a row agrees with what is known; if so, the entry is what the row says.
    fn take_over(&mut self, row: &Row<'_>) -> bool {
        let leased = row.state == "leased";
        if leased && row.generation == self.generation + 1 && self.may_be_leased() {
            *self = Self { generation: row.generation, known: Known::Orphan };
            return true;
        }
        if row.generation != self.generation {
            return false;
        }
        match &mut self.known {
            Known::Held(hold) => {
                let agrees = leased && (hold.renewing || row.until == hold.until);
                (hold.until, hold.renewing) = (row.until.to_owned(), false);
                agrees
            }
            Known::Returning(hold, _) if leased => {
                let agrees = row.until == hold.until;
                self.known = Known::Held(hold.clone());
                agrees
            }
            Known::Returning(_, then) => {
                let (then, until) = (*then, (!row.until.is_empty()).then(|| row.until.to_owned()));
                self.known = Known::Returned(then, until);
                row.state == then.state()
            }
            Known::Returned(then, until) => {
                row.state == then.state() && row.until == until.as_deref().unwrap_or_default()
            }
            Known::Orphan => leased,
        }
    }
}
