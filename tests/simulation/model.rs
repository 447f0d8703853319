//! What the daemon told its callers, and the verdict over it.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashMap};

use allotd::domain::settings::{Attempts, NextState};
use allotd::engine::NumberState;
use allotd::engine::operations::lease::Lease;
use allotd::state::number_state::State;
use allotd::sys::simulation::world;

use super::history::SeenEvents;
use super::listing::ListModel;
use super::register::{Interval, NEVER, Register};
use super::speakers;

/// A pool's id and a number of it.
pub(crate) type Place = (u64, u64);
/// The text of a token.
pub(crate) type TokenText = [u8; 11];
/// A pool's id and a key in it.
pub(crate) type KeyName = (u64, u8);

/// How a caller was told of leases.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Telling {
    pub(crate) during: Interval,
    /// The time when the call ended.
    pub(crate) now: u32,
    pub(crate) key: Option<KeyName>,
    /// Which holder the leases are for.
    pub(crate) holder: Option<u8>,
}

impl Telling {
    /// Without a key or a holder.
    pub(crate) fn plain(during: Interval, now: u32) -> Self {
        Self { during, now, key: None, holder: None }
    }
}

/// A lease that was told to a caller.
#[derive(Debug, Clone)]
pub(crate) struct ToldLease {
    pub(crate) lease: Lease,
    pub(crate) during: Interval,
    /// The time when the call ended.
    pub(crate) now: u32,
    /// Renewals: when they were told, and which end.
    pub(crate) untils: Vec<(u64, u32)>,
    pub(crate) key: Option<KeyName>,
    pub(crate) holder: Option<u8>,
    /// When a call began that can end it.
    pub(crate) end_begun: u64,
    /// When a call began that can renew it.
    pub(crate) renewal_begun: u64,
    /// When it was told that it is returned.
    pub(crate) returned_told: u64,
}

impl ToldLease {
    /// The latest end that is known before a step.
    pub(crate) fn until(&self, before: u64) -> u32 {
        let renewals = self.untils.iter().filter(|(at, _)| *at <= before).map(|(_, until)| *until);
        renewals.fold(self.lease.expires_at.seconds(), u32::max)
    }

    /// Why this and a later lease of the same number were live at once, if they were.
    fn overlaps(&self, newer: &Self, number: &NumberModel) -> Option<String> {
        let live = newer.now < self.until(newer.during.begun) && self.end_begun > newer.during.ended;
        let ended = number.may_be_ended(self.during.begun, newer.during.ended);
        (live && !ended).then(|| format!("two holders: {self:?} and {newer:?}"))
    }
}

/// What must be seen of a number from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Floor {
    /// This generation or a later one.
    Generation(u32),
    /// This generation is leased until then, or over.
    Leased(u32, u32),
    /// This generation was returned.
    Returned(u32),
    /// This generation is retired, or a later one.
    Retired(u32),
    /// It was available with this generation, and then was not.
    Taken(u32),
}

/// What is known of one number.
#[derive(Debug, Default, Clone)]
pub(crate) struct NumberModel {
    pub(crate) leases: Vec<ToldLease>,
    /// What must be seen, and since when.
    floors: Vec<(u64, Floor)>,
    /// Operators' calls that retire it or release it.
    pub(crate) endings: Vec<Interval>,
    /// Calls from which on its attempts count anew, or do not decide what becomes of it.
    pub(crate) counted_anew: Vec<Interval>,
    /// When it was told to be retired, and with which generation.
    pub(crate) retired: Vec<(u64, u32)>,
}

/// What is known of one pool.
#[derive(Debug, Clone)]
pub(crate) struct PoolModel {
    pub(crate) name: String,
    pub(crate) since: u64,
    pub(crate) paused: Register<bool>,
    pub(crate) ttl: Register<u32>,
    pub(crate) round: Register<u32>,
    /// A bit for each of [`LISTS`](super::listing::LISTS) that blocks its numbers.
    pub(crate) blocked_by: Register<u8>,
    pub(crate) has_holders: bool,
    pub(crate) most_per_holder: Option<u32>,
    pub(crate) on_expiry: NextState,
    pub(crate) attempts: Option<Attempts>,
    /// Calls after which attempts may count anew.
    pub(crate) counted_anew: Vec<Interval>,
    /// Which hours it has, and which zones its numbers are in.
    pub(crate) hours: Register<u8>,
    pub(crate) zones: Register<u8>,
}

/// The leases that a call with a key told.
#[derive(Debug, Clone)]
pub(crate) struct ToldKey {
    pub(crate) during: Interval,
    pub(crate) told: u64,
    pub(crate) body: u8,
    pub(crate) count: u32,
    pub(crate) leases: Vec<Lease>,
}

/// One lease call, whether or not it was told.
#[derive(Debug, Clone)]
pub(crate) struct LeaseCall {
    pub(crate) pool: u64,
    pub(crate) during: Interval,
    pub(crate) numbers: Vec<u64>,
}

/// All that was told.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) numbers: BTreeMap<Place, NumberModel>,
    pub(crate) pools: BTreeMap<u64, PoolModel>,
    /// By name: whether a pool is there.
    pub(crate) names: BTreeMap<&'static str, Register<bool>>,
    pub(crate) tokens: HashMap<(u64, TokenText), (Place, Option<KeyName>)>,
    pub(crate) keys: BTreeMap<KeyName, Vec<ToldKey>>,
    pub(crate) lease_calls: Vec<LeaseCall>,
    pub(crate) lists: BTreeMap<&'static str, ListModel>,
    /// Calls that end all that a holder has, by pool.
    pub(crate) holder_endings: Vec<(u64, u8, Interval)>,
    /// Deletions that were not refused.
    pub(crate) deletions: Vec<(&'static str, Interval)>,
    /// By pool: what readers have seen.
    pub(crate) events: BTreeMap<u64, SeenEvents>,
    pub(crate) findings: Vec<String>,
}

impl Model {
    /// Adds a finding, unless its text has a part that `ALLOTD_IGNORE` lists between bars, or the daemon of the calling
    /// thread may not answer any more: what it sees is told to nobody.
    pub(crate) fn find(&mut self, finding: String) {
        if !speakers::may_answer() {
            return;
        }
        let ignored = std::env::var("ALLOTD_IGNORE").unwrap_or_default();
        if !ignored.split('|').any(|part| !part.is_empty() && finding.contains(part)) {
            self.findings.push(finding);
        }
    }

    pub(crate) fn number(&mut self, place: Place) -> &mut NumberModel {
        self.numbers.entry(place).or_default()
    }

    /// What of the past a loss of power took, where the mode allows it: only tokens are known still.
    pub(crate) fn forget(&mut self) {
        for number in self.numbers.values_mut() {
            number.floors.clear();
            number.retired.clear();
            number.leases.clear();
        }
        self.keys.clear();
        self.lists.clear();
        self.events.clear();
    }

    /// A lease was told that is not the repetition of one.
    pub(crate) fn told_lease(
        &mut self,
        pool: u64,
        lease: Lease,
        Telling { during, now, key, holder }: Telling,
    ) {
        let place = (pool, lease.number.get());
        if let Some((other, of)) = self.tokens.insert((pool, lease.token.encode()), (place, key))
            && (of.is_none() || of != key)
        {
            let generation = lease.generation;
            self.find(format!(
                "the token of {place:?} generation {generation}, {during:?}, was told for {other:?}"
            ));
        }
        let told = ToldLease {
            lease,
            during,
            now,
            untils: Vec::new(),
            key,
            holder,
            end_begun: self.first_ending(place.0, holder, during.begun),
            renewal_begun: NEVER,
            returned_told: NEVER,
        };
        let mut findings: Vec<String> = self.leased_too_often(place, lease, during).into_iter().collect();
        let number = self.number(place);
        for other in &number.leases {
            let (older, newer) = match other.lease.generation.cmp(&lease.generation) {
                Ordering::Less => (other, &told),
                Ordering::Greater => (&told, other),
                Ordering::Equal => continue,
            };
            findings.extend(older.overlaps(newer, number));
        }
        let retired = |(at, generation): &(u64, u32)| *at < during.begun && *generation >= lease.generation;
        if number.retired.iter().any(retired) {
            findings.push(format!("{place:?} was retired and then leased: {lease:?} {during:?}"));
        }
        number.leases.retain(|other| other.lease.generation != lease.generation);
        number.leases.push(told);
        number.must_be(Floor::Leased(lease.generation, lease.expires_at.seconds()));
        // A repeated key tells leases of before, which may never have been told.
        if key.is_none() {
            findings.extend(self.leased_though_blocked(place, lease, during));
        }
        findings.into_iter().for_each(|finding| self.find(finding));
    }

    /// When the first call began that ended all of a holder, of those that did not end before a step.
    fn first_ending(&self, pool: u64, holder: Option<u8>, from: u64) -> u64 {
        let endings = self.holder_endings.iter();
        let of_holder = endings
            .filter(|(of, owner, during)| *of == pool && Some(*owner) == holder && during.ended >= from);
        of_holder.map(|(_, _, during)| during.begun).min().unwrap_or(NEVER)
    }

    /// A number was seen: now, or in a call that took some time and was told.
    pub(crate) fn saw(&mut self, place: Place, seen: &NumberState, during: Interval, now: u32, how: &str) {
        if let Some(finding) = self.blocked_wrongly(place, seen, during) {
            self.find(format!("{how}: {finding}"));
        }
        let Some(number) = self.numbers.get(&place) else { return };
        // While calls run, one may have claimed a number that it is about to lease.
        let quiet = during.begun == during.ended;
        let counts =
            |(at, floor): &&(u64, Floor)| *at <= during.begun && (quiet || !matches!(floor, Floor::Taken(_)));
        let lost =
            number.floors.iter().filter(counts).find(|(_, floor)| !number.fits(*floor, seen, during, now));
        if let Some(lost) = lost {
            let leases = &number.leases;
            let finding = format!(
                "{how}: {place:?} is {seen:?} at {now} ({during:?}), but it was {lost:?}; {leases:?}"
            );
            self.find(finding);
        }
    }

    /// Whether a pool that was there at a step may be deleted at another.
    pub(crate) fn may_be_deleted(&self, name: &str, from: u64, to: u64) -> bool {
        self.deletions
            .iter()
            .any(|(other, during)| *other == name && during.begun <= to && during.ended >= from)
    }

    /// All places of a pool of which something is known.
    pub(crate) fn known_of(&self, pool: u64) -> BTreeSet<u64> {
        let numbers = self.numbers.range((pool, 0)..=(pool, u64::MAX));
        numbers.filter(|(_, known)| !known.floors.is_empty()).map(|((_, number), _)| *number).collect()
    }
}

impl NumberModel {
    /// Whether an operator's call that ends leases of the number ran between two steps.
    pub(crate) fn may_be_ended(&self, from: u64, to: u64) -> bool {
        self.endings.iter().any(|ending| ending.begun <= to && ending.ended >= from)
    }

    /// From now on this must be seen.
    pub(crate) fn must_be(&mut self, floor: Floor) {
        self.floors.push((world::steps(), floor));
    }

    /// The told lease of a generation.
    pub(crate) fn lease_mut(&mut self, generation: u32) -> Option<&mut ToldLease> {
        self.leases.iter_mut().find(|told| told.lease.generation == generation)
    }

    /// The told leases of later generations.
    pub(crate) fn later_than(&self, generation: u32) -> impl Iterator<Item = &ToldLease> {
        self.leases.iter().filter(move |told| told.lease.generation > generation)
    }

    fn lease(&self, generation: u32) -> Option<&ToldLease> {
        self.leases.iter().find(|told| told.lease.generation == generation)
    }

    fn fits(&self, floor: Floor, seen: &NumberState, during: Interval, now: u32) -> bool {
        let (Floor::Generation(generation)
        | Floor::Leased(generation, _)
        | Floor::Returned(generation)
        | Floor::Retired(generation)
        | Floor::Taken(generation)) = floor;
        if seen.generation != generation {
            return seen.generation > generation;
        }
        let until = seen.until.map_or(0, |until| until.seconds());
        match floor {
            Floor::Generation(_) => true,
            Floor::Leased(_, end) => {
                let since = self.lease(generation).map_or(0, |told| told.during.begun);
                let by_operator = self.may_be_ended(since, during.ended);
                let ended = self.lease(generation).is_none_or(|told| told.end_begun <= during.ended);
                ended || by_operator || now >= end || (seen.state == State::Leased && until >= end)
            }
            Floor::Returned(_) => seen.state != State::Leased,
            Floor::Retired(_) => seen.state == State::Retired,
            Floor::Taken(_) => {
                let told = self.lease(generation);
                let touched = told
                    .is_some_and(|told| told.renewal_begun <= during.ended || told.end_begun <= during.ended);
                // A lease that was never told may have been renewed by nobody.
                seen.state == State::Retired || touched || seen.state != State::Available
            }
        }
    }
}
