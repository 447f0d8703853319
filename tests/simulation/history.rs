//! Events: what a reader has seen stays as it was, each number's changes are in their order, and what was told is
//! among them once.

use std::collections::BTreeMap;
use std::sync::Arc;

use allotd::engine::Pool;
use allotd::engine::events::reader::{Event, Reader};
use allotd::state::number_state::State;
use allotd::sys::simulation::world;

use super::life::Life;
use super::model::Model;

/// What a reader has seen of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SeenEvent {
    name: &'static str,
    number: Option<u64>,
    generation: Option<u32>,
    state: Option<State>,
    holder: Option<String>,
}

impl SeenEvent {
    fn of(event: &Event<'_>) -> Self {
        Self {
            name: event.name,
            number: event.number,
            generation: event.word.map(|word| word.generation),
            state: event.word.map(|word| word.state),
            holder: event.holder.map(ToOwned::to_owned),
        }
    }
}

/// What is known of the events of one pool: by their places.
pub(crate) type SeenEvents = BTreeMap<u64, SeenEvent>;

/// How a number's events do not follow each other as its changes can.
fn out_of_order<'a>(events: impl Iterator<Item = (&'a u64, &'a SeenEvent)>) -> Vec<String> {
    let mut last: BTreeMap<u64, (u32, bool, &SeenEvent)> = BTreeMap::new();
    let mut findings = Vec::new();
    for (seq, event) in events {
        let (Some(number), Some(generation)) = (event.number, event.generation) else { continue };
        // A number that is added has no change before.
        if event.name == "added" {
            continue;
        }
        let ends = matches!(event.name, "returned" | "retired");
        let before = last.get(&number).copied();
        let fits = before.is_none_or(|(last, was_ended, _)| match event.name {
            "leased" | "released" | "reinstated" => generation > last,
            "renewed" | "returned" => generation == last && !was_ended || generation > last,
            _ => generation >= last,
        });
        if !fits {
            findings.push(format!("event {seq} {event:?} comes after {before:?}"));
        }
        let was_ended = before.is_some_and(|(last, was_ended, _)| last == generation && was_ended);
        last.insert(number, (generation, was_ended || ends, event));
    }
    findings
}

impl Life {
    /// Reads all events of a pool, and compares them with what was read before and with what was told.
    pub(crate) fn look_at_events(&self, pool: &Arc<Pool>, how: &str) {
        let Some(events) = self.engine.events() else { return };
        let kept = events.kept(pool.id());
        let mut reader = Reader::new(events, pool.id(), kept.oldest);
        let mut read = SeenEvents::new();
        loop {
            match reader.read(&mut |event| read.insert(event.seq, SeenEvent::of(&event)).is_none()) {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    // It is off, or it has begun anew.
                    world::note(|| format!("events of {} are not read: {error}", pool.name()));
                    return;
                }
            }
        }
        let expected = kept.oldest..kept.oldest + read.len() as u64;
        let mut findings = out_of_order(read.iter());
        if !read.keys().copied().eq(expected) {
            findings.push(format!("events from {} on are {:?}", kept.oldest, read.keys()));
        }
        let mut model = self.run.model();
        findings.extend(model.undone(pool.id(), kept.oldest, &read));
        if kept.oldest <= 1 {
            findings.extend(model.told_without_event(pool.id(), &read));
        }
        model.events.insert(pool.id(), read);
        findings
            .into_iter()
            .for_each(|finding| model.find(format!("{how}: pool {}: {finding}", pool.name())));
    }

    /// As [`Self::look_at_events`], for all pools.
    pub(crate) fn look_at_all_events(&self, how: &str) {
        for pool in world::quietly(|| self.engine.pools()) {
            self.look_at_events(&pool, how);
        }
    }
}

impl Model {
    /// Events that were read before and are others now, or none.
    fn undone(&self, pool: u64, oldest: u64, read: &SeenEvents) -> Vec<String> {
        let before = self.events.get(&pool).into_iter().flat_map(|before| before.range(oldest..));
        before
            .filter(|(seq, event)| read.get(seq) != Some(event))
            .map(|(seq, event)| format!("event {seq} was {event:?}, and is {:?}", read.get(seq)))
            .collect()
    }

    /// Leases that were told and are no event, or more than one.
    fn told_without_event(&self, pool: u64, read: &SeenEvents) -> Vec<String> {
        let mut leased: BTreeMap<(u64, u32), u64> = BTreeMap::new();
        for event in read.values().filter(|event| event.name == "leased") {
            let (Some(number), Some(generation)) = (event.number, event.generation) else { continue };
            *leased.entry((number, generation)).or_default() += 1;
        }
        let numbers = self.numbers.range((pool, 0)..=(pool, u64::MAX));
        let told = numbers.flat_map(|((_, number), known)| known.leases.iter().map(|told| (*number, told)));
        told.filter_map(|(number, told)| {
            let count = leased.get(&(number, told.lease.generation)).copied().unwrap_or(0);
            (count != 1).then(|| format!("{count} events of the lease {told:?}"))
        })
        .collect()
    }
}
