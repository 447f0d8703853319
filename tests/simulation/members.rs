//! Runs of a cluster: members that follow and lead over one log, whose links are cut, whose answers are lost, and that
//! are killed. What a caller was told by one must be true at the next.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use allotd::engine::Engine;
use allotd::journal::MIN_FILE_BYTES;
use allotd::replication::memory::MemoryCluster;
use allotd::replication::primary::Primary;
use allotd::sys::simulation::{thread, world};

use super::caller::Caller;
use super::disk::SimulatedDisk;
use super::life::{Life, Run};
use super::member::{MemberProcess, Orders};
use super::speakers;

const MOST_MEMBERS: u64 = 3;
const MOST_FAULTS: u64 = 5;
const LOOK: Duration = Duration::from_millis(100);
/// How long a healed cluster may take to have a primary that serves.
const PATIENCE: Duration = Duration::from_secs(300);
/// How wrong the wall clock of a machine can be.
const MOST_WRONG_SECONDS: u64 = 30;

/// A member that leads.
#[derive(Clone)]
pub(crate) struct Leading {
    pub(crate) primary: Arc<Primary>,
    pub(crate) engine: Arc<Engine>,
    pub(crate) disk: Arc<SimulatedDisk>,
}

#[derive(Default)]
struct State {
    leading: BTreeMap<String, Leading>,
    /// Members whose callers have made their calls since they lead.
    used: BTreeMap<String, bool>,
    next: Option<String>,
    cut: BTreeMap<String, bool>,
    orders: BTreeMap<String, Arc<Orders>>,
    wrong_seconds: BTreeMap<String, u64>,
    /// How far the time of the primaries is ahead of that of the run, in seconds.
    ahead_seconds: Option<u64>,
}

/// What the members of a run share.
pub(crate) struct Members {
    pub(crate) run: Arc<Run>,
    pub(crate) cluster: Arc<MemoryCluster>,
    pub(crate) file_bytes: u64,
    state: Mutex<State>,
    is_over: AtomicBool,
}

impl Members {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether all processes are to end.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Relaxed)
    }

    /// The member that leads, as another reaches it.
    pub(crate) fn leading(&self, by: &str) -> Option<Leading> {
        let state = self.lock();
        let is_cut = |id: &str| state.cut.get(id).copied().unwrap_or(false);
        if is_cut(by) {
            return None;
        }
        let others = state.leading.iter().filter(|(id, _)| *id != by && !is_cut(id));
        let newest = others.max_by_key(|(_, leading)| leading.primary.epoch());
        newest.map(|(_, leading)| leading.clone())
    }

    pub(crate) fn lead(&self, id: &str, leading: Option<Leading>) {
        let mut state = self.lock();
        state.used.remove(id);
        let before = match leading {
            Some(leading) => state.leading.insert(id.to_owned(), leading),
            None => state.leading.remove(id),
        };
        drop(state);
        drop(before);
    }

    /// Looks at the time of a new primary, which may have jumped only if it could not know better.
    pub(crate) fn look_at_time(&self, engine: &Engine, is_measured: bool) {
        let ahead = u64::from(engine.now().seconds()) - world::now().as_secs();
        let before = self.lock().ahead_seconds.replace(ahead);
        if let Some(before) = before
            && is_measured
            && ahead > before + 1
        {
            self.run.model().find(format!("the time jumps ahead by {} s", ahead - before));
        }
    }

    pub(crate) fn was_used(&self, id: &str) {
        self.lock().used.insert(id.to_owned(), true);
    }

    /// Who is to be primary next.
    pub(crate) fn next(&self) -> Option<String> {
        self.lock().next.clone()
    }

    pub(crate) fn handed_over(&self) {
        self.lock().next = None;
    }

    /// How far ahead the wall clock of a member's machine is.
    pub(crate) fn wrong_seconds(&self, id: &str) -> u64 {
        self.lock().wrong_seconds.get(id).copied().unwrap_or(0)
    }

    fn cut(&self, id: &str, is_cut: bool) {
        world::note(|| format!("{id} is cut off: {is_cut}"));
        self.lock().cut.insert(id.to_owned(), is_cut);
        self.cluster.cut(id, is_cut);
    }

    /// A member that leads and was used, if there is one.
    fn served(&self) -> Option<(String, Leading)> {
        let state = self.lock();
        let used = state.leading.iter().filter(|(id, _)| state.used.contains_key(*id));
        used.max_by_key(|(_, leading)| leading.primary.epoch())
            .map(|(id, leading)| (id.clone(), leading.clone()))
    }

    fn leader(&self) -> Option<String> {
        let state = self.lock();
        let newest = state.leading.iter().max_by_key(|(_, leading)| leading.primary.epoch());
        newest.map(|(id, _)| id.clone())
    }

    /// One member, process after process.
    fn live(self: &Arc<Self>, id: &str, dir: &Path) {
        while !self.is_over() {
            let orders = Arc::<Orders>::default();
            self.lock().orders.insert(id.to_owned(), Arc::clone(&orders));
            MemberProcess::new(self, id, dir, &orders).run();
            if self.run.one_in(2) {
                thread::sleep(Duration::from_millis(self.run.below(8_000)));
            }
        }
    }

    fn order(&self, id: &str, give: impl FnOnce(&Orders)) {
        if let Some(orders) = self.lock().orders.get(id) {
            give(orders);
        }
    }

    fn fault(&self, ids: &[String]) {
        let run = &self.run;
        let some = || ids[run.below(ids.len() as u64) as usize].clone();
        let leader = self.leader().unwrap_or_else(some);
        let kill = |id: &str| {
            world::note(|| format!("{id} is killed"));
            self.order(id, |orders| orders.killed.store(true, Ordering::Relaxed));
        };
        let some_time = || thread::sleep(Duration::from_millis(run.below(9_000)));
        match run.below(9) {
            0..2 => kill(&leader),
            2 => kill(&some()),
            3..5 => {
                self.cut(&leader, true);
                some_time();
                self.cut(&leader, false);
            }
            5 => {
                let id = some();
                self.cut(&id, true);
                some_time();
                self.cut(&id, false);
            }
            6 => {
                let id = some();
                world::note(|| format!("{id} gets no answers"));
                self.cluster.deafen(&id, true);
                some_time();
                self.cluster.deafen(&id, false);
            }
            7 => self.cluster.answer_not(1 + run.below(3) as u32),
            _ if run.one_in(2) => {
                let next = some();
                world::note(|| format!("{next} is to be primary"));
                self.lock().next = (Some(&next) != self.leader().as_ref()).then_some(next);
            }
            _ => {
                world::note(|| format!("{leader} stops"));
                self.order(&leader, |orders| orders.ends.store(true, Ordering::Relaxed));
            }
        }
    }
}

/// Runs one seed. Returns what was found.
pub(crate) fn run(seed: u64, scratch: &Path) -> Vec<String> {
    let _ = std::fs::remove_dir_all(scratch);
    let run = Arc::new(Run::of(seed, true));
    let ids: Vec<String> = (0..2 + run.below(MOST_MEMBERS - 1)).map(|at| format!("m{at}")).collect();
    let members = Arc::new(Members {
        cluster: Arc::default(),
        file_bytes: MIN_FILE_BYTES * (1 + run.below(3)),
        state: Mutex::default(),
        is_over: AtomicBool::new(false),
        run: Arc::clone(&run),
    });
    let mut machines = Vec::new();
    for id in &ids {
        let dir = scratch.join(id);
        std::fs::create_dir_all(&dir).unwrap();
        let wrong = if run.one_in(2) { run.below(MOST_WRONG_SECONDS) } else { 0 };
        members.lock().wrong_seconds.insert(id.clone(), wrong);
        let (shared, id) = (Arc::clone(&members), id.clone());
        let name = format!("{id} machine");
        let live = move || shared.live(&id, &dir);
        machines.push(thread::Builder::new().name(name).spawn(live).expect("a thread"));
    }
    for _ in 0..1 + run.below(MOST_FAULTS) {
        thread::sleep(Duration::from_millis(run.below(6_000)));
        if run.has_found() {
            break;
        }
        members.fault(&ids);
    }
    verdict(&members);
    members.is_over.store(true, Ordering::Relaxed);
    for id in &ids {
        members.order(id, |orders| orders.ends.store(true, Ordering::Relaxed));
    }
    machines.into_iter().for_each(|machine| drop(machine.join()));
    for id in ids.iter().filter(|_| !run.has_found()) {
        MemberProcess::new(&members, id, &scratch.join(id), &Arc::default()).look_at_directory();
    }
    std::mem::take(&mut run.model().findings)
}

/// Waits for a primary that serves, and looks at all that it has.
fn verdict(members: &Arc<Members>) {
    let (run, begun) = (&members.run, world::now());
    while !run.has_found() {
        if let Some((id, leading)) = members.served() {
            world::note(|| format!("the verdict, at {id}"));
            speakers::speak_for(Some(leading.engine.journal()));
            let life = Arc::new(Life::new(run, Arc::clone(&leading.engine), &leading.disk, false));
            life.look_at_everything("at the end");
            let is_final = leading.primary.may_answer();
            if is_final {
                Caller::new(&life, leading.engine.worker()).use_up();
            }
            speakers::speak_for(None);
            if is_final {
                return;
            }
        }
        if world::now() - begun > PATIENCE {
            run.model().find(format!("there is no primary that serves; {:?}", members.cluster));
            return;
        }
        thread::sleep(LOOK);
    }
}
