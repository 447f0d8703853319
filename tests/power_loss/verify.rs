//! A daemon that came up after a power cut, against all that was confirmed before it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;

use serde_json::{Value, json};

use super::daemon::{Connection, Daemon, POOL};
use super::load::{History, Lease, RENEWED_SECONDS, integer, results, string};
use super::operator::{NUMBERS, Operator};

const BATCH: usize = 2000;

/// What every cut is compared with: the history by number, each number's leases by generation.
#[derive(Debug)]
pub(crate) struct Expected {
    by_number: BTreeMap<u64, Vec<Lease>>,
    unanswered: Vec<(u64, u64)>,
    operator: Operator,
}

/// A number as the daemon shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Seen {
    state: String,
    generation: u64,
    until: String,
}

impl Expected {
    pub(crate) fn new(history: History, operator: Operator) -> Self {
        let mut by_number: BTreeMap<u64, Vec<Lease>> = BTreeMap::new();
        for lease in history.leases {
            by_number.entry(lease.number).or_default().push(lease);
        }
        for leases in by_number.values_mut() {
            leases.sort_by_key(|lease| lease.generation);
        }
        Self { by_number, unanswered: history.unanswered, operator }
    }

    /// Leases of one number and generation that more than one client was given.
    pub(crate) fn given_twice(&self) -> Vec<&Lease> {
        let pairs = self.by_number.values().flat_map(|leases| leases.windows(2));
        pairs.filter(|pair| pair[0].generation == pair[1].generation).map(|pair| &pair[1]).collect()
    }

    /// All that is wrong with a daemon on a disk that was cut at a position of its log.
    pub(crate) fn faults(&self, daemon: &Daemon, cut: u64) -> io::Result<Vec<String>> {
        let mut connection = daemon.connect()?;
        let seen = export(&mut connection)?;
        let mut faults = self.compare(&seen, cut);
        faults.extend(self.operator.faults(&mut connection, cut)?);
        count(&mut connection, &seen, &mut faults)?;
        let accepted = self.try_tokens(&mut connection, &seen, &mut faults)?;
        lease_the_rest(&mut connection, &seen, &accepted, &mut faults)?;
        Ok(faults)
    }

    fn compare(&self, seen: &BTreeMap<u64, Seen>, cut: u64) -> Vec<String> {
        let mut faults = Vec::new();
        let mut unexplained = 0;
        for (number, seen) in seen {
            let leases = self.by_number.get(number).map_or(&[][..], Vec::as_slice);
            if let Err(fault) = judge(leases, seen, cut, &mut unexplained) {
                faults.push(format!("{number} is {seen:?}: {fault}"));
            }
        }
        let asked_for: u64 =
            self.unanswered.iter().filter(|(sent, _)| *sent < cut).map(|(_, numbers)| numbers).sum();
        if unexplained > asked_for {
            faults.push(format!("{unexplained} leases that nobody was told of, {asked_for} were asked for"));
        }
        // A number that was added during the load may be missing, but not if it was confirmed as leased.
        let kept = |leases: &[Lease]| leases.iter().any(|lease| lease.asked.is_kept(cut));
        let gone =
            self.by_number.iter().filter(|(number, leases)| !seen.contains_key(number) && kept(leases));
        faults.extend(gone.map(|(number, _)| format!("{number} is gone")));
        if (seen.len() as u64) < NUMBERS {
            faults.push(format!("the pool has {} numbers", seen.len()));
        }
        faults
    }

    /// Renews with every token that was ever given: those of the leases that are seen are accepted, and no
    /// others.
    fn try_tokens(
        &self,
        connection: &mut Connection,
        seen: &BTreeMap<u64, Seen>,
        faults: &mut Vec<String>,
    ) -> io::Result<Vec<Lease>> {
        let all: Vec<&Lease> = self.by_number.values().flatten().collect();
        let mut accepted: HashMap<u64, Lease> = HashMap::new();
        for (lease, renewed) in all.iter().zip(renew(connection, &all)?) {
            let holds = seen
                .get(&lease.number)
                .is_some_and(|seen| seen.state == "leased" && seen.generation == lease.generation);
            if renewed != holds {
                faults.push(format!("renewed: {renewed}, but is held: {holds}: {lease:?}"));
            }
            if renewed && accepted.insert(lease.number, (*lease).clone()).is_some() {
                faults.push(format!("two holders: {lease:?}"));
            }
        }
        Ok(accepted.into_values().collect())
    }
}

/// What a number may look like, after its leases as far as they were confirmed or requested at the cut.
fn judge(leases: &[Lease], seen: &Seen, cut: u64, unexplained: &mut u64) -> Result<(), String> {
    if let Some(last) = leases.iter().rfind(|lease| lease.asked.is_kept(cut)) {
        if seen.generation < last.generation {
            return Err(format!("a confirmed lease is lost: {last:?}"));
        }
        let may_be_returned = last.returned.is_some_and(|(asked, _)| asked.is_possible(cut));
        if seen.generation > last.generation && !may_be_returned {
            return Err(format!("leased again over its holder: {last:?}"));
        }
    }
    let known = leases.iter().find(|lease| lease.generation == seen.generation);
    let Some(lease) = known.filter(|lease| lease.asked.is_possible(cut)) else {
        if seen.generation == 0 && seen.state == "available" {
            return Ok(());
        }
        *unexplained += 1;
        return if seen.state == "leased" { Ok(()) } else { Err("nobody asked for that".to_owned()) };
    };
    let then = lease.returned.filter(|(asked, _)| asked.is_possible(cut));
    if then.is_some_and(|(_, then)| seen.state == then.state()) {
        return Ok(());
    }
    if then.is_some_and(|(asked, _)| asked.is_kept(cut)) {
        return Err(format!("a confirmed return is lost: {lease:?}"));
    }
    if seen.state != "leased" {
        return Err(format!("a confirmed lease is not held any more: {lease:?}"));
    }
    let renewals = lease.renewals.iter().filter(|(asked, _)| asked.is_kept(cut)).map(|(_, until)| until);
    let until = lease.asked.is_kept(cut).then_some(&lease.expires_at).into_iter().chain(renewals).max();
    match until {
        Some(until) if seen.until < *until => Err(format!("a confirmed renewal is lost: {lease:?}")),
        _ => Ok(()),
    }
}

fn export(connection: &mut Connection) -> io::Result<BTreeMap<u64, Seen>> {
    let answer = connection.get(&format!("{POOL}/numbers"), "text/csv")?;
    let mut lines = answer.body.lines();
    if answer.status != 200 || lines.next() != Some("number,state,generation,until") {
        return Err(io::Error::other(format!("no export: {} {:.200}", answer.status, answer.body)));
    }
    let parse = |line: &str| {
        let mut fields = line.split(',');
        let (number, state) = (fields.next()?.parse().ok()?, fields.next()?.to_owned());
        let (generation, until) = (fields.next()?.parse().ok()?, fields.next()?.to_owned());
        Some((number, Seen { state, generation, until }))
    };
    lines.map(|line| parse(line).ok_or_else(|| io::Error::other(line.to_owned()))).collect()
}

/// The counts against the numbers themselves.
fn count(
    connection: &mut Connection,
    seen: &BTreeMap<u64, Seen>,
    faults: &mut Vec<String>,
) -> io::Result<()> {
    let shown = connection.get(POOL, "application/json")?.json()?;
    for state in ["available", "leased", "resting", "done", "retired"] {
        let counted = seen.values().filter(|seen| seen.state == state).count() as u64;
        if shown[state].as_u64() != Some(counted) {
            faults.push(format!("{counted} numbers are {state}, the pool says {}", shown[state]));
        }
    }
    Ok(())
}

/// Renews leases; which of them were.
fn renew(connection: &mut Connection, leases: &[&Lease]) -> io::Result<Vec<bool>> {
    let mut renewed = Vec::with_capacity(leases.len());
    for batch in leases.chunks(BATCH) {
        let items: Vec<Value> =
            batch.iter().map(|lease| json!({ "number": lease.number, "token": lease.token })).collect();
        let answer =
            connection.post(&format!("{POOL}/renew"), &json!({ "leases": items, "ttl": RENEWED_SECONDS }))?;
        let body = answer.json()?;
        let before = renewed.len();
        renewed.extend(results(&body).map(|result| result["result"] == "renewed"));
        if renewed.len() - before != batch.len() {
            return Err(io::Error::other(format!(
                "an answer for each lease is missing: {:.200}",
                answer.body
            )));
        }
    }
    Ok(renewed)
}

/// Leases all that is left: nothing of it may be held, and nobody may lose what they hold by it.
fn lease_the_rest(
    connection: &mut Connection,
    seen: &BTreeMap<u64, Seen>,
    accepted: &[Lease],
    faults: &mut Vec<String>,
) -> io::Result<()> {
    let available = seen.values().filter(|seen| seen.state == "available").count();
    let body = connection.post(&format!("{POOL}/lease"), &json!({ "count": 65_536 }))?.json()?;
    let held: HashSet<u64> = accepted.iter().map(|lease| lease.number).collect();
    let mut fresh = HashSet::new();
    for lease in body["leases"].as_array().into_iter().flatten() {
        let number = integer(&lease["number"]);
        let known = seen.get(&number).filter(|seen| seen.state == "available");
        let next = known.is_some_and(|seen| integer(&lease["generation"]) == seen.generation + 1);
        if held.contains(&number) || !next || !fresh.insert(number) {
            faults.push(format!("{number} is leased anew, {}, but was {known:?}", string(&lease["token"])));
        }
    }
    if fresh.len() != available {
        faults.push(format!("{available} are available, {} could be leased", fresh.len()));
    }
    let accepted: Vec<&Lease> = accepted.iter().collect();
    let lost = renew(connection, &accepted)?.iter().filter(|renewed| !**renewed).count();
    if lost > 0 {
        faults.push(format!("{lost} holders lost their lease to later ones"));
    }
    Ok(())
}
