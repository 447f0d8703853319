//! A process of a member of a cluster: it follows, becomes primary, serves callers, and ends in some way.

use std::error::Error;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use allotd::disk::device::Disk;
use allotd::engine::member_clocks::MemberClocks;
use allotd::engine::startup::config::Membership;
use allotd::engine::{Engine, EngineConfig};
use allotd::replication::cluster_clock::ClusterClock;
use allotd::replication::filling;
use allotd::replication::follower::Surroundings;
use allotd::replication::log::Log;
use allotd::replication::logged_disk::LoggedDisk;
use allotd::replication::member_file::{Directory, MemberFile};
use allotd::replication::memory::{MemoryLog, TTL};
use allotd::replication::primary::Primary;
use allotd::replication::standby::{self, Doing, Process, Promoted, Standby, Standing};
use allotd::replication::term::{self, Term};
use allotd::sys::simulation::{thread, world};

use super::caller::Caller;
use super::disk::SimulatedDisk;
use super::life::Life;
use super::listing::LISTS;
use super::members::{Leading, Members};
use super::speakers;

/// How often a process looks whether it is to end.
const LOOK: Duration = Duration::from_millis(50);
/// How often a primary says how far it is, and shortens the log.
const TELL: Duration = Duration::from_millis(500);
const TRIM: Duration = Duration::from_secs(2);
const KEEPALIVES_PER_TTL: u32 = 3;
/// Bytes that the log keeps for members that are away.
const LOG_KEEP_BYTES: u64 = 16 << 10;
const MOST_COPIES: u64 = 4;
const MOST_CALLERS: u64 = 3;
const MOST_CALLS: u64 = 12;
const MOST_OPERATIONS: u64 = 6;
const CLUSTER: &str = "simulated";
/// The wall clock at the beginning, in seconds since 2020.
const BEGINNING_SECONDS: u64 = 200_000_000;

/// What a process is told to do.
#[derive(Debug, Default)]
pub(crate) struct Orders {
    /// It is killed.
    pub(crate) killed: AtomicBool,
    /// It ends in order.
    pub(crate) ends: AtomicBool,
}

/// One process.
pub(crate) struct MemberProcess {
    pub(crate) members: Arc<Members>,
    pub(crate) id: String,
    pub(crate) dir: PathBuf,
    pub(crate) orders: Arc<Orders>,
    pub(crate) disk: Arc<SimulatedDisk>,
    pub(crate) log: Arc<MemoryLog>,
    standing: Standing,
}

impl Surroundings for MemberProcess {
    fn fetch(&self, sequence: u64, index: usize, to: &File) -> io::Result<()> {
        let leading = self.primary()?;
        let file = leading.primary.offered.file(sequence, index).ok_or(io::ErrorKind::NotFound)?;
        let mut content = vec![0; file.metadata()?.len() as usize];
        file.read_exact_at(&mut content, 0)?;
        to.write_all_at(&content, 0)
    }

    fn recover(&self) -> Result<(), String> {
        let config = self.config(Membership::Following, Arc::clone(&self.disk) as _);
        let recovered = Engine::open(&config).map_err(|error| error.to_string());
        let recovered = recovered.and_then(|engine| engine.close().map_err(|error| error.to_string()));
        world::note(|| format!("{} is recovered: {recovered:?}", self.id));
        recovered
    }
}

impl Process for MemberProcess {
    fn fill(&self, _: &str) -> Result<MemberFile, Box<dyn Error + Send + Sync>> {
        world::note(|| format!("{} is filled", self.id));
        let leading = self.primary()?;
        let into = filling::begin(&*self.standing.disk, &self.dir)?;
        for _ in 0..MOST_COPIES {
            let (position, files) = (leading.primary.committed(), leading.primary.files());
            let name = format!("fill-{}", world::steps()).parse()?;
            let made = leading.engine.backup(Some(&name), &|| self.stops())?;
            let made = leading.engine.backup_path(&made.name);
            let has_all = filling::has_all(leading.engine.data_dir(), &made)?;
            world::note(|| format!("a copy has all: {has_all}"));
            if has_all && leading.primary.has_files_of(files) {
                copy(&made, &into)?;
                let file = MemberFile::new(CLUSTER, &self.id);
                let file = MemberFile { position, epoch: leading.primary.epoch(), ..file };
                return Ok(filling::install(&*self.standing.disk, &self.dir, file)?);
            }
        }
        Err("files change too often".into())
    }

    fn stops(&self) -> bool {
        self.is_killed() || self.orders.ends.load(Ordering::Relaxed) || self.members.is_over()
    }

    fn show(&self, _: Doing) {}
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for found in fs::read_dir(from)? {
        let found = found?;
        let target = to.join(found.file_name());
        if found.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&found.path(), &target)?;
        } else {
            fs::copy(found.path(), target)?;
        }
    }
    Ok(())
}

impl MemberProcess {
    pub(crate) fn new(members: &Arc<Members>, id: &str, dir: &Path, orders: &Arc<Orders>) -> Self {
        let disk = Arc::new(SimulatedDisk::over(dir, false));
        let log = Arc::new(members.cluster.member(id));
        let wrong = members.wrong_seconds(id);
        let system =
            move || (world::now() + Duration::from_secs(BEGINNING_SECONDS + wrong)).as_nanos() as u64;
        let standing = Standing {
            url: id.to_owned(),
            data_dir: dir.to_owned(),
            disk: Arc::clone(&disk) as _,
            journal_file_bytes: members.file_bytes,
            ttl: TTL,
            clock: Arc::new(ClusterClock::over(system)),
            log: Arc::clone(&log) as _,
        };
        Self {
            members: Arc::clone(members),
            id: id.to_owned(),
            dir: dir.to_owned(),
            orders: Arc::clone(orders),
            disk,
            log,
            standing,
        }
    }

    fn is_killed(&self) -> bool {
        self.orders.killed.load(Ordering::Relaxed) || self.disk.is_off()
    }

    fn primary(&self) -> io::Result<Leading> {
        self.members.leading(&self.id).ok_or_else(|| io::Error::other("the primary is not reached"))
    }

    fn config(&self, membership: Membership, disk: Arc<dyn Disk>) -> EngineConfig {
        let clock = Arc::clone(&self.standing.clock);
        let clocks = match membership {
            Membership::Following => MemberClocks::following(clock),
            _ => MemberClocks::leading(clock),
        };
        EngineConfig {
            journal_file_bytes: self.members.file_bytes,
            disk,
            clocks: Arc::new(clocks),
            membership,
            // One more for the verdict.
            ..EngineConfig::new(&self.dir, MOST_CALLERS as usize + 1)
        }
    }

    /// Looks at all that the directory of a member that has ended has, if that is all that there is.
    pub(crate) fn look_at_directory(&self) {
        let newest = self.log.bounds().ok().flatten().map_or(0, |(_, newest)| newest);
        let Ok(Some(file)) = MemberFile::read(&self.dir) else { return };
        if file.directory != Directory::Follows || file.position < newest {
            return;
        }
        match Engine::open(&self.config(Membership::Following, Arc::clone(&self.disk) as _)) {
            Ok(engine) => {
                let life = Life::new(&self.members.run, engine, &self.disk, false);
                life.look_at_everything(&format!("in the directory of {}", self.id));
            }
            Err(error) => self.members.run.model().find(format!("{}: {error}", self.id)),
        }
        self.disk.set_off(true);
    }

    /// What the directory is to the cluster.
    fn joining(&self) -> Result<MemberFile, Box<dyn Error>> {
        if let Some(found) = MemberFile::read(&self.dir)? {
            return Ok(found);
        }
        fs::write(self.dir.join("LOCK"), "")?;
        let log = &*self.log;
        let has_history = log.view().primary.is_some() || standby::has_history(log)?;
        let directory = if has_history { Directory::Incomplete } else { Directory::Founds };
        let file = MemberFile { directory, ..MemberFile::new(CLUSTER, &self.id) };
        file.write(&*self.disk, &self.dir)?;
        Ok(file)
    }

    /// Runs until it ends.
    pub(crate) fn run(self) {
        let over = Arc::new(AtomicBool::new(false));
        let keeper = {
            let (log, over) = (Arc::clone(&self.log), Arc::clone(&over));
            let (orders, id) = (Arc::clone(&self.orders), self.id.clone());
            let keep = move || {
                while !over.load(Ordering::Relaxed) && !orders.killed.load(Ordering::Relaxed) {
                    let _ = log.keep_alive();
                    thread::sleep(TTL / KEEPALIVES_PER_TTL);
                }
            };
            thread::Builder::new().name(format!("{id} keys")).spawn(keep).expect("a thread")
        };
        let file = loop {
            match self.joining() {
                Ok(file) => break Some(file),
                Err(_) if self.stops() => break None,
                Err(_) => thread::sleep(LOOK),
            }
        };
        let promoted = file.and_then(|file| match Standby::new(&self.standing, &self, file).run() {
            Ok(promoted) => promoted,
            Err(foreign) => {
                self.members.run.model().find(format!("{}: {foreign}", self.id));
                None
            }
        });
        if let Some(promoted) = promoted {
            self.lead(promoted);
        }
        over.store(true, Ordering::Relaxed);
        let _ = keeper.join();
        speakers::speak_for(None);
        self.disk.set_off(true);
    }

    fn lead(&self, promoted: Promoted) {
        world::note(|| format!("{} is primary: {promoted:?}", self.id));
        let Ok(term) = term::begin(&self.standing, promoted) else { return };
        let primary = Arc::clone(term.primary());
        let is_served = Arc::new(AtomicBool::new(true));
        let keeper = self.keep(term, &is_served);
        let _ = fs::remove_dir_all(self.dir.join("events"));
        let disk = LoggedDisk::new(
            Arc::clone(&self.standing.disk),
            self.dir.clone(),
            Arc::clone(&primary),
            Arc::clone(&self.standing.clock),
        );
        let membership = Membership::Leading(Arc::<Primary>::clone(&primary));
        match Engine::open(&self.config(membership, Arc::new(disk))) {
            Ok(engine) => {
                self.serve(&primary, &engine, &is_served);
                self.disk.set_off(true);
                // Others may still copy from it.
                while Arc::strong_count(&engine) > 1 {
                    thread::sleep(LOOK);
                }
            }
            Err(error) => {
                world::note(|| format!("{} cannot lead: {error}", self.id));
                if primary.may_answer() && !self.is_killed() {
                    self.members.run.model().find(format!("{} cannot lead: {error}", self.id));
                }
                primary.end();
                let _ = self.log.resign(primary.epoch(), None);
            }
        }
        is_served.store(false, Ordering::Relaxed);
        let _ = keeper.join();
    }

    /// Keeps the term until it is over, or served no more.
    fn keep(&self, mut term: Term, is_served: &Arc<AtomicBool>) -> thread::JoinHandle<()> {
        let (is_served, id) = (Arc::clone(is_served), self.id.clone());
        let (clock, orders) = (Arc::clone(&self.standing.clock), Arc::clone(&self.orders));
        let keep = move || {
            let (mut told_at, mut trimmed_at) = (Duration::ZERO, world::now());
            while is_served.load(Ordering::Relaxed) && !orders.killed.load(Ordering::Relaxed) {
                if term.is_over() {
                    world::note(|| "its term is over".to_owned());
                    return term.primary().end();
                }
                if world::now() - told_at >= TELL {
                    let _ = term.tell();
                    term.tell_time(&clock);
                    told_at = world::now();
                }
                if world::now() - trimmed_at >= TRIM {
                    let _ = term.trim(LOG_KEEP_BYTES);
                    trimmed_at = world::now();
                }
                thread::sleep(LOOK);
            }
        };
        thread::Builder::new().name(format!("{id} term")).spawn(keep).expect("a thread")
    }

    fn serve(&self, primary: &Arc<Primary>, engine: &Arc<Engine>, is_served: &AtomicBool) {
        let (run, members) = (&self.members.run, &self.members);
        speakers::speak_for(Some(engine.journal()));
        let leading = Leading {
            primary: Arc::clone(primary),
            engine: Arc::clone(engine),
            disk: Arc::clone(&self.disk),
        };
        members.lead(&self.id, Some(leading));
        members.look_at_time(engine, self.standing.clock.is_measured());
        let life = Arc::new(Life::new(run, Arc::clone(engine), &self.disk, false));
        life.look_at_everything("after a take-over");
        if life.uses_lists() {
            LISTS.iter().for_each(|list| life.create_list(list));
        }
        for name in ["a", "b"] {
            if life.pool(name).is_none() {
                life.create(name);
            }
        }
        let (mut threads, active) = (Vec::new(), Arc::new(AtomicUsize::new(0)));
        let mut start = |name: &str, work: Box<dyn FnOnce() + Send>| {
            let (journal, active) = (Arc::clone(engine.journal()), Arc::clone(&active));
            active.fetch_add(1, Ordering::Relaxed);
            let work = move || {
                speakers::speak_for(Some(&journal));
                work();
                speakers::speak_for(None);
                active.fetch_sub(1, Ordering::Relaxed);
            };
            let name = format!("{} {name}", self.id);
            threads.push(thread::Builder::new().name(name).spawn(work).expect("a thread"));
        };
        for _ in 0..1 + run.below(MOST_CALLERS) {
            let (caller, calls) = (Caller::new(&life, engine.worker()), 1 + run.below(MOST_CALLS));
            start("caller", Box::new(move || caller.run(calls)));
        }
        for _ in 0..run.below(2) {
            let (life, calls) = (Arc::clone(&life), 1 + run.below(MOST_OPERATIONS));
            start("operator", Box::new(move || life.operate(calls)));
        }
        let ends = || self.stops() || !primary.may_answer() || run.has_found() || members.next().is_some();
        while !ends() && active.load(Ordering::Relaxed) > 0 {
            thread::sleep(LOOK);
        }
        members.was_used(&self.id);
        while !ends() {
            thread::sleep(LOOK);
        }
        life.stop();
        let in_order = !self.is_killed() && primary.may_answer();
        if in_order {
            primary.stop_changing_files();
        } else {
            primary.end_waits();
        }
        threads.into_iter().for_each(|thread| drop(thread.join()));
        members.lead(&self.id, None);
        let closed = in_order && engine.close().is_ok();
        is_served.store(false, Ordering::Relaxed);
        if closed && primary.may_answer() {
            let next = members.next().filter(|next| *next != self.id);
            let ended = term::end(primary, &self.standing, CLUSTER, next.as_deref());
            world::note(|| format!("{} ends its term, next is {next:?}: {ended:?}", self.id));
        } else {
            world::note(|| format!("{} ends in disorder", self.id));
            primary.end();
        }
        members.handed_over();
        drop(life);
    }
}
