//! One run: a few lives of a daemon on one machine, each ended in its own way, and the verdict.

use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use allotd::backup::{Serving, restore};
use allotd::disk::device::RealDisk;
use allotd::disk::mapping::PAGE_BYTES;

use allotd::engine::{Engine, EngineConfig};
use allotd::journal::{Durability, MIN_FILE_BYTES, file};
use allotd::store::event_log::Keep;
use allotd::sys::simulation::{thread, world};
use rand::SeedableRng;
use rand::rngs::StdRng;

use super::caller::Caller;
use super::disk::{Fault, SimulatedDisk};
use super::life::{Life, Run};
use super::listing::LISTS;
use super::operator::LONGEST_TTL_SECONDS;
use super::replay::any_kept;

/// Lives of one run.
const MOST_LIVES: u64 = 3;
/// Threads that lease.
const MOST_CALLERS: u64 = 3;
const MOST_CALLS: u64 = 14;
const MOST_OPERATORS: u64 = 2;
const MOST_OPERATIONS: u64 = 7;
/// More than a run has.
const EVENTS_KEEP: Keep = Keep { bytes: 1 << 30, seconds: 365 * 24 * 3_600 };
/// How the frames of a journal begin, after their checksum.
const FRAME_MAGIC: &[u8; 4] = b"ALJF";

/// How a life ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// The daemon closes its files.
    Close,
    /// The process is killed: what it wrote is there.
    Kill,
    /// The power is lost: what it did not sync may be there.
    PowerLoss,
}

struct Plan {
    durability: Durability,
    end: End,
    /// After how many calls of the disk; `None` for when all threads are done.
    after_calls: Option<u64>,
    fault: Option<Fault>,
}

fn plan(run: &Run, durability: Durability) -> Plan {
    let end = match run.below(10) {
        0..2 => End::Close,
        2..5 => End::Kill,
        _ => End::PowerLoss,
    };
    let after_calls = (end != End::Close && run.below(3) > 0).then(|| run.below(260));
    let fault = match run.below(24) {
        0 => Some(Fault::Broken),
        1 | 2 => Some(Fault::Full { calls: 1 + run.below(40) }),
        3 => Some(Fault::NoDescriptors { calls: 1 + run.below(6) }),
        _ => None,
    };
    Plan { durability, end, after_calls, fault }
}

fn durability(run: &Run) -> Durability {
    match run.below(8) {
        0 => Durability::Interval { sync_interval_ms: 20 },
        1 => Durability::None,
        _ => Durability::Sync,
    }
}

/// Runs one seed. Returns what was found.
pub(crate) fn run(seed: u64, scratch: &Path) -> Vec<String> {
    let _ = std::fs::remove_dir_all(scratch);
    std::fs::create_dir_all(scratch).unwrap();
    let run = Arc::new(Run::new(seed));
    let mut dir = scratch.join("0");
    std::fs::create_dir(&dir).unwrap();
    let mut mode = durability(&run);
    let file_bytes = MIN_FILE_BYTES * (1 + run.below(3));
    let lives = 1 + run.below(MOST_LIVES);
    for number in 0..lives {
        let plan = plan(&run, mode);
        world::note(|| {
            format!(
                "life {number}: {:?}, ends by {:?} after {:?} calls, fault {:?}",
                plan.durability, plan.end, plan.after_calls, plan.fault
            )
        });
        dir = live(&run, &dir, &scratch.join((number + 1).to_string()), &plan, file_bytes);
        if run.has_found() {
            break;
        }
        if run.one_in(16) {
            dir = restored(&run, dir, &scratch.join(format!("restored-{number}")));
        }
        if plan.end != End::PowerLoss && run.one_in(5) && flip_a_bit(&run, &dir) {
            let disk = Arc::new(SimulatedDisk::over(&dir, false));
            if Engine::open(&config(&run, &dir, &disk, mode, file_bytes)).is_err() {
                world::note(|| "the damage is seen".to_owned());
                return std::mem::take(&mut run.model().findings);
            }
        }
        if run.one_in(8) {
            mode = durability(&run);
        }
    }
    if !run.has_found() {
        world::note(|| "the verdict".to_owned());
        verdict(&run, &dir, mode, file_bytes);
    }
    std::mem::take(&mut run.model().findings)
}

fn config(
    run: &Run,
    dir: &Path,
    disk: &Arc<SimulatedDisk>,
    mode: Durability,
    file_bytes: u64,
) -> EngineConfig {
    EngineConfig {
        durability: mode,
        journal_file_bytes: file_bytes,
        events_keep: (run.has_events && mode != Durability::None).then_some(EVENTS_KEEP),
        disk: Arc::clone(disk) as _,
        clocks: Arc::clone(&run.clocks) as _,
        ..EngineConfig::new(dir, MOST_CALLERS as usize)
    }
}

/// One life on a directory. Returns the directory that it leaves.
fn live(run: &Arc<Run>, dir: &Path, next: &Path, plan: &Plan, file_bytes: u64) -> PathBuf {
    let disk = Arc::new(SimulatedDisk::over(dir, plan.end == End::PowerLoss));
    let config = config(run, dir, &disk, plan.durability, file_bytes);
    if run.one_in(3) {
        disk.set_slow(1 + run.below(40_000));
    }
    if let Some(calls) = plan.after_calls {
        disk.set_off_after(calls);
    }
    if let Some(fault) = plan.fault {
        disk.set_fault(run.below(150), fault);
    }
    match Engine::open(&config) {
        Ok(engine) => be_used(run, engine, &disk, plan),
        Err(error) => {
            world::note(|| format!("not opened: {error}"));
            if !disk.is_off() && plan.fault.is_none() && !run.has_damage.load(Ordering::Relaxed) {
                run.model().find(format!("it does not open: {error}"));
            }
        }
    }
    disk.set_off(true);
    if plan.end == End::PowerLoss || run.one_in(3) {
        run.clocks.reboot();
        // The other modes do not journal the time of every change.
        if plan.durability == Durability::Sync && run.one_in(3) {
            run.clocks.set_back(run.below(100));
        }
    }
    let Some((mut replay, events)) = disk.trace() else { return dir.to_owned() };
    events.iter().for_each(|event| replay.apply(event));
    let random = &mut StdRng::seed_from_u64(run.below(u64::MAX));
    let kept = any_kept(random);
    world::note(|| format!("the power is lost: {kept:?} of what was not synced is kept"));
    replay.lose_power(next, kept, random);
    if plan.durability != Durability::Sync {
        run.model().forget();
    }
    next.to_owned()
}

/// Flips a bit of a frame of the journal that is not its last: a flip in that one looks like a torn write.
fn flip_a_bit(run: &Run, dir: &Path) -> bool {
    let Ok(files) = file::list(&dir.join("journal")) else { return false };
    let mut frames = Vec::new();
    for (_, path) in files {
        let content = std::fs::read(&path).unwrap();
        let is_frame = |page: &&[u8]| page[4..8] == *FRAME_MAGIC;
        let count = content.chunks(PAGE_BYTES).skip(1).take_while(is_frame).count();
        frames.extend((1..=count).map(|page| (path.clone(), page * PAGE_BYTES)));
    }
    frames.pop();
    if frames.is_empty() {
        return false;
    }
    let (path, offset) = &frames[run.below(frames.len() as u64) as usize];
    let offset = *offset as u64 + run.below(64);
    let file = std::fs::File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    byte[0] ^= 1 << run.below(8);
    file.write_all_at(&byte, offset).unwrap();
    run.has_damage.store(true, Ordering::Relaxed);
    world::note(|| format!("a bit flips at {offset} of {}", path.display()));
    true
}

/// Restores the newest backup, if there is one, after the longest lease has ended. Returns where.
fn restored(run: &Run, dir: PathBuf, target: &Path) -> PathBuf {
    let backups = dir.join("backups");
    let Ok(entries) = std::fs::read_dir(&backups) else { return dir };
    let mut names: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    let is_finished = |path: &PathBuf| {
        path.join("BACKUP").exists() && !path.file_name().unwrap().to_string_lossy().starts_with('.')
    };
    names.retain(is_finished);
    names.sort();
    let Some(backup) = names.pop() else { return dir };
    run.clocks.advance(LONGEST_TTL_SECONDS + 1);
    match restore(&RealDisk, &backup, target, Serving::AtOnce) {
        Ok(_) => world::note(|| format!("restored {}", backup.display())),
        Err(error) => {
            run.model().find(format!("a backup is not restored: {error}"));
            return dir;
        }
    }
    let mut model = run.model();
    model.forget();
    model.pools.clear();
    model.names.clear();
    model.lists.clear();
    target.to_owned()
}

fn be_used(run: &Arc<Run>, engine: Arc<Engine>, disk: &Arc<SimulatedDisk>, plan: &Plan) {
    let fills_up = matches!(plan.fault, Some(Fault::Full { .. }));
    let life = Arc::new(Life::new(run, engine, disk, fills_up));
    life.look_at_everything("after a start");
    let followed = Arc::clone(&life);
    world::watch(Some(std::rc::Rc::new(move |step| followed.look(step))));
    if life.uses_lists() {
        LISTS.iter().for_each(|list| life.create_list(list));
    }
    for name in ["a", "b"] {
        if life.pool(name).is_none() {
            life.create(name);
        }
    }
    let mut threads = Vec::new();
    let mut start = |name: String, work: Box<dyn FnOnce() + Send>| {
        threads.push(thread::Builder::new().name(name).spawn(work).expect("a thread"));
    };
    for number in 0..1 + run.below(MOST_CALLERS) {
        let caller = Caller::new(&life, life.engine.worker());
        let most = if run.one_in(4) { 4 * MOST_CALLS } else { MOST_CALLS };
        let calls = 1 + run.below(most);
        start(format!("caller {number}"), Box::new(move || caller.run(calls)));
    }
    for number in 0..run.below(MOST_OPERATORS + 1) {
        let (life, calls) = (Arc::clone(&life), 1 + run.below(MOST_OPERATIONS));
        start(format!("operator {number}"), Box::new(move || life.operate(calls)));
    }
    if plan.fault.is_some() {
        let life = Arc::clone(&life);
        start("repair".to_owned(), Box::new(move || life.repair()));
    }
    for thread in threads {
        let _ = thread.join();
    }
    if plan.end == End::Close {
        let closed = life.engine.close();
        world::note(|| format!("closed: {closed:?}"));
        if let Err(error) = closed
            && !disk.may_end_the_daemon()
            && !fills_up
        {
            run.model().find(format!("it does not close: {error}"));
        }
    }
    if plan.end == End::Close && life.engine.journal().poisoned_by().is_none() {
        life.look_at_all_events("after its end");
    }
    if let Some(reason) = life.engine.journal().poisoned_by()
        && !disk.may_end_the_daemon()
    {
        run.model().find(format!("the daemon ended without a cause: {reason}"));
    }
    world::watch(None);
    life.now();
    life.judge_suspects();
    disk.set_off(true);
    let Ok(life) = Arc::try_unwrap(life).map_err(drop) else { panic!("a thread has the engine still") };
    drop(life);
}

/// Opens what is left, looks at all of it and leases all that can be leased.
fn verdict(run: &Arc<Run>, dir: &Path, mode: Durability, file_bytes: u64) {
    let disk = Arc::new(SimulatedDisk::over(dir, false));
    match Engine::open(&config(run, dir, &disk, mode, file_bytes)) {
        Ok(engine) => {
            let life = Arc::new(Life::new(run, engine, &disk, false));
            life.look_at_everything("at the end");
            let mut caller = Caller::new(&life, life.engine.worker());
            caller.use_up();
            drop(caller);
            disk.set_off(true);
        }
        Err(_) if run.has_damage.load(Ordering::Relaxed) => {}
        Err(error) => run.model().find(format!("it does not open: {error}")),
    }
}
